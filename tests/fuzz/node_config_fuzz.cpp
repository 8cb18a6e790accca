// The edit of a node's config.xml takes one element away and touches nothing else.
#include "scheduler/jenkins/requests.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = skep::fuzz::as_text(data, size);
  const auto edited = skep::scheduler::without_offline_cause(text);
  if (!edited) return 0;
  SKEP_ASSERT(edited->size() < text.size());
  std::size_t same = 0;
  while (same < edited->size() && (*edited)[same] == text[same]) ++same;
  SKEP_ASSERT(text.substr(text.size() - (edited->size() - same)) == std::string_view(*edited).substr(same));
  return 0;
}
