// The texts of a controller: why, build addresses, permission ids.
#include "scheduler/jenkins/texts.h"
#include "tests/fuzz/fuzz.h"

using namespace skep::scheduler;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = skep::fuzz::as_text(data, size);
  const WhyFacts facts = read_why(text);
  SKEP_ASSERT(text.find(facts.text) != std::string_view::npos);
  const std::string path = build_path(text);
  SKEP_ASSERT(path.empty() || path.rfind("job/", 0) == 0);
  SKEP_ASSERT(path.empty() || build_path(path) == path);
  SKEP_ASSERT(permission_name(text).size() <= text.size() + 16);
  return 0;
}
