#include "common/http/gunzip.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t limit = 100'000;
  const auto out = skep::http::gunzip(skep::fuzz::as_text(data, size), limit);
  if (out) {
    SKEP_ASSERT(out->size() <= limit);
  } else {
    SKEP_ASSERT(out.error().outcome == skep::Outcome::unknown);
  }
  return 0;
}
