// The two clocks, read only by shells. Thread-safe.
#pragma once

#include <chrono>

#include "core/time.h"

namespace skep::shell {

inline Instant now() {
  return Instant(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

inline WallTime wall_now() {
  return WallTime{std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::system_clock::now().time_since_epoch())
                      .count()};
}

}  // namespace skep::shell
