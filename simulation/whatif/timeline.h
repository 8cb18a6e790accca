// What happened when, in a bounded number of equally long slots: when the time grows beyond them, two become
// one. A plain value; pure.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/time.h"
#include "simulation/whatif/histogram.h"

namespace skep::simulation::whatif {

/// What an executor's time is spent on: before its agent is connected, connected without a build, with one,
/// and from the build's end until its room is free. One that never had a build is idle until its room is
/// free.
enum class Doing { coming, idle, busy, leaving };
inline constexpr std::size_t doing_count = 4;
const char* to_string(Doing doing);

struct Slot {
  LogHistogram waits;  // of jobs that arrived in this slot and were started
  std::uint64_t arrivals = 0;
  std::array<Duration, doing_count> time{};  // of executors; divided by the slot's width: how many on average
  void add(const Slot& other);
};

class Timeline {
 public:
  static constexpr std::size_t most_slots = 600;

  /// `expected`: how long it will probably be; the slots are a round length of which at most 300 cover it.
  explicit Timeline(Duration expected);
  Timeline() : Timeline(hours(1)) {}

  // Times count from the beginning; what lies before it is left out.
  void add_arrival(Duration at);
  void add_wait(Duration arrived_at, Duration wait);
  void add_time(Doing doing, Duration from, Duration to);

  Duration width() const { return width_; }
  const std::vector<Slot>& slots() const { return slots_; }

 private:
  Slot& slot_at(Duration at);
  Duration width_;
  std::vector<Slot> slots_;
};

}  // namespace skep::simulation::whatif
