// SchedulerLogic: all of the scheduler's decisions. Facts in, actions out; one thread; no clock, file, socket
// or throw.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/prng.h"
#include "scheduler/core/actions.h"
#include "scheduler/core/config.h"
#include "scheduler/core/events.h"
#include "scheduler/core/explanation.h"

namespace skep::scheduler {

/// Read-only picture for API, CLI and metrics. Times are durations relative to `now` of the call that made
/// it.
struct ExecutorStatus {
  ExecutorRecord record;
  ExecutorState state{};
  std::int64_t in_state_ms = 0;
  std::string gate;    // "closed", "open", "closing", "none"
  std::string detail;  // what it waits for, or why it failed
};
struct HostStatus {
  HostReport report;
  bool is_known = false;
  std::string unseen_reason;
  std::int64_t seen_ms_ago = 0;
  Resources free;
  bool is_draining = false;  // by operator here or by the host itself
  std::string drain_reason;
  std::vector<std::string> open_breakers;  // template names with the reason
};
struct ControllerStatus {
  ControllerConfig config;
  std::optional<ControllerProfile> profile;
  bool is_known = false;  // queue and nodes are fresh
  std::string problem;    // why not
  std::int64_t queue_age_ms = -1, nodes_age_ms = -1;
  int items = 0;
  bool is_told = false;                      // by its companion
  std::string companion_problem;             // why it is polled all the same
  std::vector<std::string> foreign_offline;  // nodes of ours that somebody else set offline
};
/// One host that serves an image, and the version that it should have.
struct ImageAtHost {
  HostId host;
  bool is_ready = false;
  std::string problem;  // why not, as the host tells
};
struct ImageStatus {
  ImageVersions image;
  std::string text;  // one sentence
  std::vector<TemplateName> templates;
  std::string reference;              // what hosts should have
  std::vector<ImageAtHost> hosts;     // those that serve these templates
  std::map<std::string, int> living;  // reference -> executors that take room, held ones included
};
struct Counters {
  std::uint64_t launches = 0, launch_failures = 0, builds_seen = 0, executors_used = 0, executors_unused = 0,
                violations = 0, unproven = 0, gates_opened = 0, gate_bounces = 0, orphans_swept = 0,
                resumes = 0, frozen_decisions = 0, queue_reads = 0, queue_read_failures = 0,
                companion_answers = 0, companion_events = 0, companion_news = 0, companion_differences = 0,
                rollout_stops = 0, rollout_starts = 0, rollout_retired = 0;
};
struct StatusSnapshot {
  Epoch epoch = 0;
  std::string fenced_by;  // not empty: another leader has a higher epoch, and this one does nothing any more
  std::string farm;
  bool is_paused = false;
  std::string pause_reason;
  std::vector<ControllerStatus> controllers;
  std::vector<HostStatus> hosts;
  std::vector<ExecutorStatus> executors;
  std::vector<Explanation> queue;
  std::vector<Template> templates;
  std::vector<ImageStatus> images;  // with a version or a rollout on record
  Counters counters;
};

class SchedulerLogic {
 public:
  SchedulerLogic(SchedulerConfig config, Prng prng);
  ~SchedulerLogic();
  SchedulerLogic(SchedulerLogic&&) noexcept;
  SchedulerLogic& operator=(SchedulerLogic&&) noexcept;

  /// The only thing that changes state. Call with non-decreasing `now`; `wall` is for records that people
  /// read.
  std::vector<Action> handle(const Event& event, Instant now, WallTime wall);
  /// When handle(Tick) wants to be called, if nothing else happens before.
  std::optional<Instant> next_deadline() const;
  StatusSnapshot status(Instant now, WallTime wall) const;
  /// nullopt: no such item in the last queue that was read.
  std::optional<Explanation> explain(const ControllerId& controller, std::int64_t item, Instant now,
                                     WallTime wall) const;
  /// How many slots a change of configuration would retire (templates removed or changed): reload asks before
  /// it acts.
  int executors_retired_by(const SchedulerConfig& next) const;
  /// True: the host cannot be seen and nothing of ours can be there, so HostDeparted takes nothing away.
  bool may_depart(const HostId& host) const;
  /// Whether HoldExecutor would be carried out; or why not, and what happens instead: conflict, or not_found.
  Result<void> may_hold(const ExecutorId& executor) const;
  /// The executors that ForgetHost gives up, by id; or why it is refused, and what to do instead: conflict,
  /// or not_found.
  Result<std::vector<ExecutorId>> given_up_with(const HostId& host, Instant now) const;

  /// The image's record and its hosts as RollOutImage would make it; or why it is refused, and what to do
  /// instead: conflict, invalid_input, or not_found. The same of RollBackImage.
  Result<ImageStatus> rolled_out(const RolloutOrder& order, WallTime wall) const;
  Result<ImageStatus> rolled_back(const std::string& image, WallTime wall) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace skep::scheduler
