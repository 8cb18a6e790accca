// How fast the simulator is, and how well the farm is used when nothing goes wrong. Pure.
#pragma once

#include <cstdint>

#include "core/time.h"

namespace skep::sim {

/// A farm of hosts with twenty executors each, jobs of ten minutes.
struct Measured {
  std::uint64_t digest = 0, events = 0, builds = 0, launches = 0, unused = 0;
  Duration simulated{};
  double utilisation = 0;  // share of the executors' time in which a build ran
  double ideal = 0;        // D / (D + raw recycle + P/2): what one slot could do at best
  bool is_finished = true;
};

/// The queue is never empty, so every slot could always be busy.
Measured run_saturated(int executors, Duration length, std::uint64_t seed);
/// A day with a calm night and two busy times; what is launched should be needed.
Measured run_day(int executors, Duration length, std::uint64_t seed);

}  // namespace skep::sim
