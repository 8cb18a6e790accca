#include "core/labels/label_expression.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = skep::fuzz::as_text(data, size);
  const skep::LabelSet some{"a", "b", "linux", "a b", std::string(text.substr(0, 40))};
  const auto strict = skep::LabelExpression::parse(text);
  if (!strict) SKEP_ASSERT(strict.error().code == skep::ErrorCode::invalid_input);
  if (skep::is_any_node_text(text)) return 0;
  const auto job = skep::LabelExpression::from_job(text);
  job.matches(some);
  SKEP_ASSERT(!job.atoms().empty());
  const bool is_quoted = text.front() == '"' || text.front() == '\'';
  if (strict && !is_quoted) {
    SKEP_ASSERT(job.name() == strict->name() && job.expression() == strict->expression());
    SKEP_ASSERT(job.matches(some) == strict->matches(some));
  }
  if (!strict && !is_quoted) SKEP_ASSERT(job.is_atom() && job.name() == text);
  return 0;
}
