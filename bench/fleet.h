// A farm as values, and SchedulerLogic in the middle of it: hosts, templates, a queue, executors in chosen
// states. The same numbers make the same farm everywhere.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "scheduler/core/logic_state.h"

namespace skep::bench {

struct FleetSize {
  int items = 10'000;
  int hosts = 1'000;
  int templates = 50;
  int idle = 0;  // executors behind closed gates
  int busy = 0;
  bool are_hosts_full = false;  // by executors that are not ours
};

std::vector<scheduler::Template> make_templates(int count);
HostReport make_host_report(int number, bool is_full);
/// One item of the queue; `round` changes what an item asks for, not who it is.
scheduler::QueueItem make_item(std::int64_t id);
scheduler::QueueSnapshot make_queue(std::int64_t first_id, int count);

/// The logic with answers given at once, in virtual time.
class Rig {
 public:
  /// `creations_per_second`: 0 keeps the product's default.
  Rig(const FleetSize& size, int creations_per_second);

  std::vector<scheduler::Action> handle(const scheduler::Event& event);
  std::vector<scheduler::Action> read_queue(scheduler::QueueSnapshot queue);
  void read_nodes();
  void report_hosts(int first, int count);
  /// Reads queue and nodes as they were last, and has every host report: facts grow stale with time.
  void keep_fresh();
  void pass_time(Duration d) { now_ += d; }
  /// The inside of SchedulerLogic, so that a pass can be measured apart from what leads to it.
  scheduler::LogicState& logic() { return *logic_; }
  const HostReport& host(int number) const;
  scheduler::Controller& controller();
  /// What the rig itself keeps on the heap, for measurements of memory.
  std::int64_t own_bytes() const;
  Instant now() const { return now_; }
  WallTime wall() const;

 private:
  void answer(const std::vector<scheduler::Action>& actions);
  void make_executors();
  scheduler::NodeFact& node(const ExecutorId& id);

  FleetSize size_;
  std::unique_ptr<scheduler::LogicState> logic_;
  Instant now_{};
  std::map<std::string, scheduler::NodeFact> nodes_;
  std::map<HostId, HostReport> hosts_;
  bool is_answering_ = false;
};

}  // namespace skep::bench
