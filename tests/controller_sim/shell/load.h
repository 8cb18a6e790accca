// A controller on which much happens: items come and leave the queue, nodes are taken offline and back, as
// many events a second as asked for, by the companion's own count. For benchmarks.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "simulation/controller/controller_model.h"

namespace skep::controller_sim {

struct LoadSpec {
  std::vector<std::string> jobs;   // which exist; an item of each in turn
  std::vector<std::string> nodes;  // permanent ones, not ours
  std::size_t standing = 100;      // so many items stay in the queue; the oldest is cancelled for a new one
  std::int64_t events_per_second = 100;  // with those of nodes
  std::int64_t node_events_per_second = 0;
  Duration length = seconds(10);
};

class Load {
 public:
  Load(LoadSpec spec, const ControllerModel& model, Instant now);
  /// Does what is due; at its end it takes its items out of the queue.
  void step(ControllerModel& model, Instant now);
  bool is_over() const { return is_over_; }

 private:
  void change_item(ControllerModel& model, Instant now);
  void change_node(ControllerModel& model, Instant now);

  LoadSpec spec_;
  Instant began_;
  std::uint64_t first_event_;
  std::int64_t node_events_ = 0;
  std::size_t scheduled_ = 0;
  std::deque<std::int64_t> standing_;
  bool is_over_ = false;
};

}  // namespace skep::controller_sim
