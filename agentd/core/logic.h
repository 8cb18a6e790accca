// AgentdLogic: all of agentd's decisions. Facts in, actions out; one thread; no clock, file, socket or throw.
//
// An executor's way here: RecordIntent(creating) -> Start -> RecordIntent(running) -> inspected when its
// driver reports a change and from time to time -> destroyed by order, by the end of its lease, or because
// nobody owns it: RecordIntent(destroying) -> Stop -> Destroy -> Inspect says absent -> RecordIntent(gone).
//
// States in reports: `idle` means that its agent was connected at least once; ExecutorReport::agent says what
// the agent does now (a sandbox outlives its agent: the same node may join again with a new ticket).
// `finished`: the sandbox ended by itself after it had been connected; before that it is `failed`. Gone
// executors leave the report.
//
// A lease is counted from the moment it was granted, and again in full from a start of agentd.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "agentd/core/actions.h"
#include "agentd/core/config.h"
#include "agentd/core/events.h"

namespace skep::agentd {

struct Counters {
  std::uint64_t orders_accepted = 0, orders_refused = 0, starts_failed = 0, destroyed = 0, leases_ended = 0,
                orphans_destroyed = 0, adopted = 0, driver_failures = 0, record_failures = 0,
                tickets_delivered = 0;
};

class AgentdLogic {
 public:
  explicit AgentdLogic(LogicConfig config);
  ~AgentdLogic();
  AgentdLogic(AgentdLogic&&) noexcept;
  AgentdLogic& operator=(AgentdLogic&&) noexcept;

  /// The only thing that changes state. Started comes first and once; `now` never decreases; `wall` is for
  /// records.
  std::vector<Action> handle(const Event& event, Instant now, WallTime wall);
  /// When handle(Tick) wants to be called, if nothing else happens before.
  std::optional<Instant> next_deadline() const;
  /// Its index changes whenever anything else in it does, and is larger after a restart (it starts at the
  /// wall clock's ms).
  const HostReport& report() const;
  const Counters& counters() const;
  /// After StopRequested: nothing is left to do before the process may end.
  bool is_ready_to_end() const;
  /// For tests: what is kept from event to event is what a walk over all executors gives. Costs such a walk.
  bool is_consistent() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace skep::agentd
