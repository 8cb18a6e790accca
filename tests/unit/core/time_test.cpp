#include "core/time.h"

#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <type_traits>

#include "core/resources.h"

namespace time_test {

using namespace skep;
using std::chrono::microseconds;

// A time of the wall is never taken for one of the monotonic clock, nor a number for either.
static_assert(!std::is_convertible_v<WallTime, Instant> && !std::is_convertible_v<Instant, WallTime>);
static_assert(!std::is_convertible_v<std::int64_t, Instant> &&
              !std::is_convertible_v<std::int64_t, WallTime>);
static_assert(!std::is_constructible_v<Instant, WallTime> && !std::is_constructible_v<Instant, std::int64_t>);

TEST_CASE("time: milliseconds are whole ones, towards zero", "[unit][core][time]") {
  CHECK(to_ms(Duration::zero()) == 0);
  CHECK(to_ms(microseconds(999)) == 0);
  CHECK(to_ms(microseconds(1999)) == 1);
  CHECK(to_ms(microseconds(-1999)) == -1);
  CHECK(to_ms(hours(1)) == 3'600'000);
  CHECK(WallTime{1} < WallTime{2});
  CHECK(WallTime{-1} < WallTime{});
  CHECK(WallTime{7} == WallTime{7});
}

TEST_CASE("time: durations for people", "[unit][core][time]") {
  struct Case {
    Duration duration;
    std::string text;
  };
  for (const Case& c : {Case{Duration::zero(), "0 ms"},
                        {microseconds(999), "0 ms"},
                        {milliseconds(40), "40 ms"},
                        {milliseconds(999), "999 ms"},
                        {seconds(1), "1 s"},
                        {milliseconds(1099), "1 s"},
                        {milliseconds(1100), "1.1 s"},
                        {milliseconds(2500), "2.5 s"},
                        {milliseconds(59'999), "59.9 s"},
                        {seconds(60), "1m"},
                        {seconds(61), "1m 1s"},
                        {seconds(3599), "59m 59s"},
                        {hours(1), "1h"},
                        {hours(1) + seconds(59), "1h"},
                        {hours(1) + minutes(5), "1h 5m"},
                        {hours(24) - milliseconds(1), "23h 59m"},
                        {hours(24), "1d"},
                        {hours(24) + minutes(59), "1d"},
                        {hours(25), "1d 1h"},
                        {hours(24 * 400), "400d"},
                        {microseconds(-1), "0 ms"},
                        {milliseconds(-2500), "-2.5 s"},
                        {-hours(25), "-1d 1h"},
                        {Duration::max(), "106751d 23h"},
                        {Duration::min(), "-106751d 23h"}})
    CHECK(duration_to_text(c.duration) == c.text);
}

TEST_CASE("time: durations are read", "[unit][core][time]") {
  struct Case {
    std::string text;
    Duration duration;
  };
  for (const Case& c : {Case{"500ms", milliseconds(500)},
                        {"90s", seconds(90)},
                        {"2m", minutes(2)},
                        {"1h30m", minutes(90)},
                        {"1d", hours(24)},
                        {"0s", Duration::zero()},
                        {"1.5h", minutes(90)},
                        {"0.25s", milliseconds(250)},
                        {"1d2h3m4s5ms", hours(26) + minutes(3) + milliseconds(4005)},
                        {"36500d", hours(36'500 * 24)}}) {
    CAPTURE(c.text);
    const auto duration = parse_duration(c.text);
    REQUIRE(duration);
    CHECK(*duration == c.duration);
  }
  for (const std::string& text : std::vector<std::string>{"",
                                                          "5",
                                                          "s",
                                                          "-1s",
                                                          "+1s",
                                                          "1h 30m",
                                                          " 1s",
                                                          "1s ",
                                                          "1x",
                                                          "1hm",
                                                          "1h30",
                                                          "1.s",
                                                          ".5s",
                                                          "1.2.3s",
                                                          "1S",
                                                          "1us",
                                                          "36500d1ms",
                                                          "36501d",
                                                          "999999999999999d",
                                                          "9999999999999999ms",
                                                          std::string(1000, '1')}) {
    CAPTURE(text);
    const auto refused = parse_duration(text);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::invalid_input);
    CHECK(refused.error().outcome == Outcome::failed);
    CHECK(refused.error().message.find("\"" + text.substr(0, 80) + "\" is not a duration") == 0);
  }
}

TEST_CASE("time: a duration that is written in parts is their sum", "[unit][core][time]") {
  CHECK(rc::check("hours, minutes, seconds, milliseconds", [] {
    const int h = *rc::gen::inRange(0, 100), m = *rc::gen::inRange(0, 100);
    const int s = *rc::gen::inRange(0, 100), ms = *rc::gen::inRange(0, 10'000);
    const auto read = parse_duration(std::to_string(h) + "h" + std::to_string(m) + "m" + std::to_string(s) +
                                     "s" + std::to_string(ms) + "ms");
    RC_ASSERT(read.has_value());
    RC_ASSERT(*read == hours(h) + minutes(m) + seconds(s) + milliseconds(ms));
  }));
}

}  // namespace time_test
