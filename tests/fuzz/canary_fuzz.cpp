// Proves that the alarm rings: this defect is planted, and a run in which it is not found counts as failed.
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = skep::fuzz::as_text(data, size);
  SKEP_ASSERT(text.substr(0, 4) != "skep");
  return 0;
}
