#include "scheduler/jenkins/replies.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto labels = skep::scheduler::parse_label_listing(skep::fuzz::as_text(data, size));
  if (!labels) SKEP_ASSERT(labels.error().outcome == skep::Outcome::unknown);
  return 0;
}
