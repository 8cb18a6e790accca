#include "simulation/whatif/timeline.h"

#include <algorithm>

namespace skep::simulation::whatif {
namespace {

constexpr std::array<Duration, 14> round_widths{seconds(1), seconds(5), seconds(10), seconds(30), minutes(1),
                                                minutes(2), minutes(5), minutes(10), minutes(15), minutes(30),
                                                hours(1),   hours(2),   hours(6),    hours(24)};

Duration round_width(Duration expected) {
  for (const Duration width : round_widths) {
    if (expected / width < 300) return width;
  }
  return round_widths.back();
}

}  // namespace

const char* to_string(Doing doing) {
  switch (doing) {
    case Doing::coming:
      return "coming";
    case Doing::idle:
      return "idle";
    case Doing::busy:
      return "busy";
    case Doing::leaving:
      return "leaving";
  }
  return "leaving";
}

void Slot::add(const Slot& other) {
  waits.add(other.waits);
  arrivals += other.arrivals;
  for (std::size_t i = 0; i < doing_count; ++i) time[i] += other.time[i];
}

Timeline::Timeline(Duration expected) : width_(round_width(expected)) {}

Slot& Timeline::slot_at(Duration at) {
  while (at / width_ >= static_cast<std::int64_t>(most_slots)) {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (i % 2 == 1) slots_[i / 2].add(slots_[i]);
      if (i % 2 == 0 && i > 0) slots_[i / 2] = std::move(slots_[i]);
    }
    slots_.resize((slots_.size() + 1) / 2);
    width_ *= 2;
  }
  const auto index = static_cast<std::size_t>(at / width_);
  if (index >= slots_.size()) slots_.resize(index + 1);
  return slots_[index];
}

void Timeline::add_arrival(Duration at) {
  if (at >= Duration::zero()) ++slot_at(at).arrivals;
}

void Timeline::add_wait(Duration arrived_at, Duration wait) {
  if (arrived_at >= Duration::zero()) slot_at(arrived_at).waits.add(wait);
}

void Timeline::add_time(Doing doing, Duration from, Duration to) {
  from = std::max(from, Duration::zero());
  if (to <= from) return;
  slot_at(to - Duration(1));  // the last one first: after it the width does not change any more
  while (from < to) {
    const Duration end = std::min(to, (from / width_ + 1) * width_);
    slot_at(from).time[static_cast<std::size_t>(doing)] += end - from;
    from = end;
  }
}

}  // namespace skep::simulation::whatif
