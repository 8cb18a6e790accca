// The promises, checked from outside: against what the models of controller and hosts really did, never
// against our own records alone. The first broken promise ends a run. Pure.
//
// Numbers in brackets: docs/design/simulation.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "simulation/inspector.h"
#include "simulation/world.h"
#include "tests/sim/faults.h"
#include "tests/sim/weather.h"

namespace skep::sim {

struct Violation {
  std::string promise;  // short, the same for all cases of its kind
  std::string detail;
  Instant at{};
};

/// What a run was made of; a probe that no run reaches is a hole in the weather.
using Probes = std::map<std::string, std::uint64_t>;

/// Those that some seed of all weathers must reach.
std::vector<std::string> probe_names();

// A read is sent, answered and handled within these; older facts freeze decisions (facts_stale_after).
inline constexpr Duration fact_life = seconds(15) + seconds(11);

class Checkers final : public simulation::Inspector, public simulation::Witness {
 public:
  explicit Checkers(const Weather& weather);

  void on_scheduler_event(const simulation::World&, int scheduler, const scheduler::Event&) override;
  void on_scheduler_action(const simulation::World&, int scheduler, const scheduler::Action&) override;
  void on_agentd_event(const simulation::World&, const HostId&, const agentd::Event&) override;
  void on_agentd_action(const simulation::World&, const HostId&, const agentd::Action&) override;
  void before_driver_call(const simulation::World&, const HostId&, const agentd::CallDriver&) override;
  void before_delete_node(const simulation::World&, int scheduler, const std::string& node) override;
  void on_build_changed(const simulation::World&, const controller_sim::BuildRecord&) override;
  void on_note(const simulation::World&, const std::string& text) override;
  void after_event(const simulation::World&) override;
  void on_arrival(const simulation::Arrival&, std::int64_t) override;
  void on_executor_gone(const simulation::ExecutorLife&) override;

  /// All is calm: what is left that should not be? nullopt: nothing.
  std::optional<std::string> unfinished_business(const simulation::World&) const;
  /// At the end of a run whose business is finished.
  void check_end(const simulation::World&);
  void report(const simulation::World&, std::string promise, std::string detail);

  std::optional<Violation> violation;
  Probes probes;
  Orders orders;
  std::set<std::string> foreign_nodes;  // of the controller, made by others
  Instant last_progress{};
  std::uint64_t builds_ended = 0, launches = 0, unused = 0, second_builds = 0, stale_orders = 0;

 private:
  struct Seen {  // of one executor
    int builds = 0;
    std::set<std::uint64_t> build_ids;
    std::optional<std::uint64_t> running;
    Instant build_started{};
    bool is_pipeline = false;
    bool was_planned = false, was_created = false;
    std::pair<int, Instant> created_by{};
    bool is_audited_as_doubtful = false;
    bool is_audited = false;
    int made_by = -1;         // scheduler that was told that its node is there
    bool is_refused = false;  // by its host
    Instant planned{};
    std::optional<Instant> called_back, opened;
    std::optional<Instant> open_since;     // open in truth, and without a build
    std::optional<Instant> destroy_asked;  // of its host, which has not begun
    std::optional<Instant> end_begun;      // by its host
    bool was_left_alone = false;           // when its host decided on its end
    bool is_unreached = false;             // its controller left the configuration
    bool was_used = false;                 // as recorded
    HostId host;
    TemplateName template_name;
  };

  void probe(const char* name) { ++probes[name]; }
  void check_intent(const simulation::World&, int scheduler, const scheduler::Action&);
  void check_creation(const simulation::World&, int scheduler, const scheduler::CreateNode&);
  void check_gone(const simulation::World&);
  void check_round(const simulation::World&);
  void check_hold(const simulation::World&, const simulation::Host&, const ExecutorId&);
  void check_leaving(const simulation::World&);
  void check_covered(const simulation::World&);
  void check_open_nodes(const simulation::World&);
  void check_used(const simulation::World&, const scheduler::ExecutorRecord&);
  void check_failed(const simulation::World&, const scheduler::ExecutorRecord&);
  void check_launch_given_up(const simulation::World&, int scheduler, const scheduler::ExecutorRecord&);
  void check_forgotten(const simulation::World&, int scheduler, const HostId&);
  void check_met(const simulation::World&);
  void check_known(const simulation::World&, const simulation::Host&, const ExecutorReport&);
  void note_host_told(const simulation::World&, int scheduler, const HostReport&);
  void check_drain(const simulation::World&, const simulation::Host&);
  void check_opening(const simulation::World&, int scheduler, const scheduler::OpenGate&);
  void check_demand(const simulation::World&, int scheduler, const TemplateName&, const std::string& what);
  void check_host_round(const simulation::World&, simulation::Host&);
  void note_leaving(const simulation::World&, int scheduler, const scheduler::Action&);
  void note_refusal(const simulation::World&, const scheduler::NodeCreated&);
  bool is_controller_well(const simulation::World&) const;
  void note_agent(const simulation::World&, const HostId&, const agentd::Event&);
  void note_lease(const simulation::World&, const agentd::Event&, Epoch known);
  void note_controllers(const simulation::World&, int scheduler);
  void note_untold(const simulation::World&, const scheduler::LeaderStarted&);
  void note_gates(int scheduler, const scheduler::Event&);
  void note_queue(const simulation::World&, int scheduler, const scheduler::QueueSnapshot&);
  void note_newer_leader(const simulation::World&, int scheduler, Epoch seen);
  void check_plan(const simulation::World&, int scheduler, const scheduler::ExecutorRecord& record);
  void check_order(const simulation::World&, const scheduler::OrderExecutor& order);
  void check_version(const simulation::World&, int scheduler, const scheduler::ExecutorRecord& record);
  void note_rollout(const scheduler::ImageVersions& image);
  void note_version_started(const simulation::World&, const std::string& image, const ExecutorId&);
  std::optional<std::string> unfinished_rollout(const simulation::World&,
                                                const simulation::SchedulerProcess& leader) const;
  void check_audit(const simulation::World&, const scheduler::Audit& audit);
  void check_text(const simulation::World&, const std::string& text);
  void check_start(const simulation::World&, simulation::Host&, const agentd::CallDriver&,
                   const agentd::Start&);
  void check_kill(const simulation::World&, const simulation::Host&, const ExecutorId&, const char* how);
  void check_host(const simulation::World&, simulation::Host&);
  bool is_leaving_by_record(const simulation::World&, const ExecutorId&) const;
  bool is_left_alone(const simulation::World&, const ExecutorId&) const;
  bool may_be_killed(const simulation::World&, const ExecutorId&, const Seen&) const;
  const scheduler::Template* template_of(const TemplateName& name) const;

  const Weather& weather_;
  std::map<ExecutorId, Seen> seen_;
  std::set<std::string> secrets_;
  std::set<HostId> touched_hosts_;
  std::map<std::pair<int, HostId>, bool> is_host_seen_;
  struct Told {                          // by a host to a scheduler
    std::optional<Instant> since, last;  // it answers without a gap
    bool is_draining = false;
    std::vector<std::string> images;
  };
  std::map<std::pair<int, HostId>, Told> hosts_told_;
  std::map<ExecutorId, Instant> agents_online_;  // since
  std::optional<Instant> queue_read_, nodes_read_;
  std::optional<Instant> quiet_since_;  // as the last good read of the queue says
  std::set<agentd::RequestId> stale_requests_;
  std::map<HostId, Epoch> epochs_;
  std::deque<Instant> creations_;
  std::deque<Instant> plans_;
  std::vector<std::pair<int, scheduler::ExecutorRecord>> gone_;  // since the last event
  std::set<std::pair<int, Epoch>> fenced_;                       // leaders that know of a newer one
  std::map<int, std::map<ExecutorId, Instant>> open_gates_;      // since
  std::map<int, Instant> decided_;                               // when a scheduler was last asked
  struct Queue {                                                 // as a scheduler last read it
    Instant read{};
    std::size_t buildable = 0, buildable_before = 0;
  };
  std::map<int, Queue> queues_;
  struct Leaving {
    Instant since{};
    bool is_node_asked = false, is_host_asked = false;
    ControllerId controller;
    HostId host;
  };
  std::map<int, std::map<ExecutorId, Leaving>> leaving_;
  std::set<int> stopped_;  // schedulers
  struct Wanted {          // jobs of one label that nobody has begun
    std::size_t jobs = 0;
    Instant last{};  // one of them left
    std::set<TemplateName> templates;
  };
  std::map<std::string, Wanted> wanted_;
  std::set<std::string> begun_;  // jobs
  std::deque<Instant> refusals_;
  // A second build came through a gate that was opened by hand, and no true read of its node has been there
  // since.
  std::set<ExecutorId> beyond_sight_;
  std::map<ExecutorId, Instant> used_unseen_;  // recorded used, and no build in truth; opened then
  std::optional<Instant> item_left_, leader_since_, controller_sick_, restarted_, stale_lists_;
  std::map<ExecutorId, Instant> leases_, agents_ended_;  // as its host was told, or saw
  std::map<HostId, Instant> up_since_, last_sick_, last_driver_sick_;
  std::map<std::string, std::set<ExecutorId>> bad_starts_;  // by reference, since its last rollout began
  std::map<std::string, WallTime> rollouts_begun_;          // by image
  int schedulers_ended_ = 0;                                // since one of them began
  Instant next_round_{};
  std::optional<Instant> resumed_;  // a scheduler, after it had been stopped
  std::map<int, std::set<ExecutorId>> destroyed_by_;
  Epoch highest_leader_ = 0;
};

}  // namespace skep::sim
