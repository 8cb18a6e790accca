// Label strings of nodes and quoted texts.
#include <algorithm>

#include "core/labels/label_expression.h"
#include "core/labels/quoted_text.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = skep::fuzz::as_text(data, size);
  std::size_t total = 0;
  for (const std::string& part : skep::split_quoted(text)) total += part.size();
  SKEP_ASSERT(total <= text.size());
  for (const std::string& label : skep::parse_label_set(text)) SKEP_ASSERT(label.size() <= text.size());
  SKEP_ASSERT(skep::unquote(skep::quote(text)) == text);
  static_cast<void>(skep::unquote(text));
  const std::string escaped = skep::escape_label(text);
  SKEP_ASSERT(skep::needs_escape(text) ? escaped == skep::quote(text) : escaped == text);
  return 0;
}
