// Time as the cores see it: an argument, never a clock.
//
// Instant is monotonic and only comparable within one process life; WallTime is for people, certificates and
// Jenkins' timestamps. They are different types and there is no conversion between them.
#pragma once

#include <chrono>
#include <cstdint>

namespace skep {

using Duration = std::chrono::nanoseconds;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

struct MonotonicTag {
  using duration = Duration;
  using rep = Duration::rep;
  using period = Duration::period;
  using time_point = std::chrono::time_point<MonotonicTag>;
  static constexpr bool is_steady = true;
};
/// A point on the monotonic clock that the shell (or the simulator) owns.
using Instant = MonotonicTag::time_point;

/// Milliseconds since 1970-01-01 UTC, as Jenkins prints them.
struct WallTime {
  std::int64_t ms_since_epoch = 0;
  friend auto operator<=>(const WallTime&, const WallTime&) = default;
};

constexpr std::int64_t to_ms(Duration d) {
  return std::chrono::duration_cast<milliseconds>(d).count();
}

}  // namespace skep
