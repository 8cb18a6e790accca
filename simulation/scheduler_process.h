// One skep-scheduler: the logic, its store, its lines to the controller and to hosts, as scheduler/shell has
// them. It can be killed between any two actions, stopped for a while (SIGSTOP) and started again. Pure.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/prng.h"
#include "scheduler/core/gate_looks.h"
#include "scheduler/core/logic.h"
#include "simulation/controller/direct.h"
#include "simulation/disk.h"
#include "simulation/network.h"
#include "simulation/registry.h"
#include "simulation/task.h"

namespace skep::simulation {

struct World;

class SchedulerProcess {
 public:
  SchedulerProcess(World& world, int number, scheduler::SchedulerConfig config, Prng random);

  void start();  // stands by first where there is a lock
  /// As kill -9. Started again by its service manager after `down`.
  void kill(Duration down);
  void stall(Duration length);
  /// As its machine: its own clock stands still meanwhile, so that it does not notice.
  /// Something changed at the controller: a question that waits there may have its answer.
  void look_at_companion();
  void suspend(Duration length);
  bool is_up() const { return is_up_; }
  bool is_leading() const { return logic != nullptr; }
  bool is_stalled() const { return is_stalled_; }
  void handle(const scheduler::Event& event);
  void reload(scheduler::SchedulerConfig config);
  /// What an operator who forgets this host is told; nullopt: the command is refused.
  std::optional<std::vector<ExecutorId>> given_up_with(const HostId& host) const;
  int number() const { return number_; }
  /// What a cache on the way had kept does not outlive the controller's session.
  void forget_stale_lists() {
    stale_queue_.reset();
    stale_nodes_.reset();
  }

  std::unique_ptr<scheduler::SchedulerLogic> logic;
  Disk<scheduler::ExecutorRecord> records;
  Disk<std::string> drains, meta;
  Disk<scheduler::ImageVersions> images;
  scheduler::SchedulerConfig config;
  Epoch epoch = 0;
  Link controller_link;
  Link registry_link;
  Duration wall_offset{};
  int crash_after = -1;  // actions until kill -9; -1: none is planned
  int stall_after = -1;
  bool is_next_suspended = false;
  int exhausted = 0;           // of a thousand calls: no descriptor or memory for it, and it is not sent
  bool is_next_older = false;  // from its next term on
  Duration next_down = seconds(5), next_stall = seconds(30);

 private:
  struct HostLine {
    int number = 0;  // a new one each time it is opened
    std::uint64_t index = 0;
    Duration pause = milliseconds(250);
    bool is_doubtful = false, is_listed = true;
  };
  using Event = scheduler::Event;
  using Action = scheduler::Action;
  static constexpr Duration patience = seconds(10);  // of its HTTP clients

  void lead();
  void keep_lock();
  bool has_lost_lock() const;
  void run();
  bool run_records();
  void run_action(const Action& action);
  bool stops_now();
  scheduler::ExecutorRecord known(scheduler::ExecutorRecord record) const;
  void set_timer();
  void resume();
  /// Runs `what` unless this life is over; later, when the process is stopped now.
  template <typename What>
  void in_life(int life, What what) {
    if (life != life_) return;
    if (is_stalled_) {
      held_back_.push_back(
          [this, life, what = std::move(what)]() mutable { in_life(life, std::move(what)); });
    } else {
      what();
    }
  }
  void post(int life, Event event);

  // --- the controller: scheduler_at_controller.cpp
  using Calls = controller_sim::DirectCalls;
  /// One call of the adapter. `make` turns its result, and when it was sent, into an event.
  template <typename T, typename What, typename Then>
  void ask_controller(What what, Then then);
  template <typename T, typename What, typename Make>
  void order_controller(What what, Make make);
  bool run_controller_action(const Action& action);
  bool run_node_action(const Action& action);
  template <typename Read, typename List>
  void handle_list(Read read, Result<List> Read::*list);
  void read_queue(const scheduler::ReadQueue& order);
  void read_nodes(const scheduler::ReadNodes& order);
  void poll_node(const scheduler::PollNode& order);
  void follow_companion();
  void ask_companion();
  void watch_gate(const scheduler::PollNode& order);
  struct Watch;
  void look_later(const std::shared_ptr<Watch>& watch);
  void look(const std::shared_ptr<Watch>& watch);
  void go_on(const std::shared_ptr<Watch>& watch, scheduler::GateLooks::Next next);

  // --- hosts: scheduler_at_hosts.cpp
  void run_host_action(const Action& action);
  void follow_registry();
  void on_view(const Registry::View& view);
  void open_line(const HostId& host, bool is_doubtful);
  void watch_host(const HostId& host, int line);
  void look_at_host(const HostId& host);
  void host_answered(const HostId& host, int line, Instant asked, Result<HostReport> report);
  void note_host(const HostId& host, Instant asked, Result<HostReport> report);
  template <typename T, typename Serve, typename Make>
  void call_host(const HostId& host, Serve serve, Make make);
  void part_with(const HostId& host);

  Instant own_time() const;

  World& world_;
  const int number_;
  Prng random_;
  std::shared_ptr<Calls> calls_;  // of this life
  bool is_up_ = false;
  bool is_older_ = false;
  bool is_stalled_ = false;
  int life_ = 0;  // counts this process's lives
  Instant lock_passed_{};
  Duration behind_{};           // what its machine was suspended for, in this life
  std::deque<Task> held_back_;  // what came while it was stopped
  std::deque<Action> actions_;  // of the event that is handled now
  std::optional<Instant> timer_;
  std::uint64_t timer_number_ = 0;
  std::map<HostId, HostLine> lines_;
  int next_line_ = 1;
  Registry::View seen_;
  struct CompanionWait {
    Instant started;  // on its own clock
    std::uint64_t number = 0;
  };
  std::optional<CompanionWait> companion_wait_;  // a question that the controller has not answered yet
  std::uint64_t companion_asked_ = 0;
  Duration companion_retry_{};
  std::optional<scheduler::QueueSnapshot> stale_queue_;
  std::optional<scheduler::NodesSnapshot> stale_nodes_;
};

}  // namespace skep::simulation
