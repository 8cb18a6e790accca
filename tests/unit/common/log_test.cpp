#include "common/log/log.h"

#include <catch2/catch.hpp>

namespace log_test {

using namespace skep;

TEST_CASE("once a minute for each cause, and what was held back is counted") {
  log::OncePerMinute limiter;
  const Instant start{hours(1)};
  std::uint64_t held_back = 99;
  CHECK(limiter.allows("a", start, held_back));
  CHECK(held_back == 0);
  for (int i = 1; i <= 59; ++i) CHECK_FALSE(limiter.allows("a", start + seconds(i), held_back));
  CHECK(limiter.allows("b", start + seconds(5), held_back));
  CHECK(limiter.allows("a", start + seconds(60), held_back));
  CHECK(held_back == 59);
  CHECK_FALSE(limiter.allows("a", start + seconds(61), held_back));
  CHECK(limiter.allows("a", start + seconds(121), held_back));
  CHECK(held_back == 1);
}

TEST_CASE("causes without end do not fill the memory, and are still told") {
  log::OncePerMinute limiter;
  std::uint64_t held_back = 0;
  int told = 0;
  for (int i = 0; i < 50'000; ++i)
    told += limiter.allows(std::to_string(i), Instant{seconds(1)}, held_back) ? 1 : 0;
  CHECK(told == 50'000);
}

}  // namespace log_test
