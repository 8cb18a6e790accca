// The inside of AgentdLogic: one table of executors, one of drivers, and the verbs on them. Not for other
// folders.
//
// Each event is handled in three steps: change facts and wishes, then advance() every executor and driver
// that has none of our calls under way by at most one call, then compare the report. Wishes are only cleared
// by answers, so a call that was never carried out is asked for again.
//
// "Every" costs only those that something can have happened to: who changes an executor touches it, and one
// that is not touched stays as it is until its due() has come. is_consistent() walks over all and compares.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agentd/core/logic.h"

namespace skep::agentd {

/// For the boot or the join. What passes it fails only when a look that came after shows that it has to.
struct Deadline {
  Instant at;
  bool is_over = false;
};

/// One executor that exists, or may exist, on this host.
struct Executor {
  IntentRecord record;
  ExecutorState state = ExecutorState::unknown;
  SandboxState seen = SandboxState::absent;  // as a driver last told
  AgentPhase agent = AgentPhase::none;
  std::uint32_t agent_attempt = 1;  // ticket that `agent` speaks of
  std::optional<int> exit_code;
  std::string trouble;  // what keeps a driver verb from succeeding, for people
  Instant lease_until;
  bool is_lease_expired = false;
  std::optional<Deadline> deadline;
  std::optional<Instant> agent_ended_at;  // seen so first; its sandbox runs on
  std::optional<Instant> seen_at;         // running, in this life of agentd
  bool has_missed_looks = false;          // since then a call of its driver failed

  // Wishes.
  bool is_record_due = false;  // `record` differs from what is durable
  bool must_inspect = false;   // an outcome was unknown: nothing else before it
  bool is_inspect_due = false;
  bool is_adopting = false;  // known from its record only; its driver was not listed yet
  bool is_recover_due = false;
  bool is_residue_due = false;  // remove what a broken start left; the state stays `failed`
  bool wants_gone = false;
  bool is_stop_done = false;              // asked nicely, or there is nothing to ask
  bool is_destroy_done = false;           // the driver said so; an inspection must confirm it
  std::optional<Ticket> start_ticket;     // start is due; the only copy of the secret
  std::optional<Ticket> delivery_ticket;  // delivery is due
  std::optional<Sandbox> listed;          // what list() said of it when it was adopted

  // Pace.
  CallId call = 0;               // under way
  std::uint64_t call_batch = 0;  // number of the event that asked for it
  int failures = 0;              // of driver calls in a row
  Instant retry_at;
  Instant record_retry_at;
  Instant next_inspect;
  std::uint32_t delivering_attempt = 0;
  std::uint64_t records = 0;       // asked for so far
  std::uint64_t record_batch = 0;  // of the last one
  RequestId reply_to = 0;          // answered in batch reply_batch
  std::uint64_t reply_batch = 0;

  bool is_touched = false;             // in State::touched
  std::optional<Instant> indexed_due;  // in State::by_due; as due() said after the last touch

  const ExecutorId& id() const { return record.spec.id; }
};

struct IsDueSooner {
  bool operator()(const Executor* a, const Executor* b) const {
    return *a->indexed_due != *b->indexed_due ? *a->indexed_due < *b->indexed_due : a->id() < b->id();
  }
};

struct DriverRow {
  DriverFact fact;
  std::optional<DriverUse> use;
  CallId probe_call = 0;
  CallId list_call = 0;
  Instant list_started;
  Instant next_probe;
  bool is_probe_stale = false;  // images changed while one was under way
  Instant next_list;
  int list_failures = 0;
  bool is_listed = false;  // at least once
};

struct Tombstone {
  Instant gone;
  Instant forget_at;
  bool is_record_due = false;
  WallTime gone_at;
};

struct AgentdLogic::State {
  explicit State(LogicConfig c);

  LogicConfig config;
  HostReport report;
  Counters counters;
  std::map<ExecutorId, Executor> executors;
  std::set<Executor*, IsDueSooner> by_due;  // those that have an indexed_due
  std::map<ExecutorId, Tombstone> tombstones;
  std::multimap<Instant, ExecutorId> tombstone_ends;
  std::map<std::string, DriverRow> drivers;
  Epoch epoch_seen = 0;
  std::pair<Epoch, std::uint64_t> last_renewal{};  // its leader's epoch, and its number
  bool is_draining = false;
  std::string drain_reason;
  std::optional<OnStop> on_stop;
  bool is_use_changed = false;  // of a driver, since the report was made
  bool is_epoch_due = false;    // not durable yet
  bool is_drain_due = false;
  std::optional<RequestId> drain_request;  // answered by the last event, as if its drain were on record
  Instant state_retry_at;
  bool has_unrecorded_tombstone = false;
  Instant born;  // of Started
  CallId last_call = 0;
  std::uint64_t batch = 0;

  // Of the event that is being handled.
  Instant now;
  WallTime wall;
  std::vector<Action> out;
  std::vector<Executor*> touched;     // in the order of ids once advance_all() sorted them
  std::vector<ExecutorId> forgotten;  // erased

  // One per kind of event: requests in orders.cpp, answers in answers.cpp, failed records in pace.cpp.
  void on(const Started& event);
  void on(const OrderArrived& event);
  void on(const DestroyArrived& event);
  void on(const LeasesArrived& event);
  void on(const DrainSet& event);
  void on(const DriverProbed& event);
  void on(const DriverListed& event);
  void on(const DriverStarted& event);
  void on(const DriverInspected& event);
  void on(const DriverRecovered& event);
  void on(const DriverStopped& event);
  void on(const DriverDestroyed& event);
  void on(const TicketDelivered& event);
  void on(const InstanceChanged& event);
  void on(const ImagesChanged& event);
  void on(const IntentNotRecorded& event);
  void on(const StateNotRecorded& event);
  void on(const Tick& event);
  void on(const StopRequested& event);

  // orders.cpp
  std::optional<Error> refusal_of(const ExecutorOrder& order) const;
  std::optional<Error> shape_error(const ExecutorOrder& order) const;
  std::optional<Error> capacity_error(const ExecutorSpec& spec) const;
  void accept(const OrderArrived& event);
  void repeat(const OrderArrived& event, Executor& executor);
  void revive(Executor& executor);
  std::optional<Error> check_epoch(Epoch epoch) const;
  void see_epoch(Epoch epoch);
  void reply(RequestId request, int status, std::variant<ExecutorReport, HostReport, LeaseReply, Error> body,
             const ExecutorId& about = {});
  void refuse(RequestId request, const Error& error, const ExecutorId& about = {});
  void reply_with_report(RequestId request, int status, Executor& executor);

  // executors.cpp
  void set_state(Executor& executor, ExecutorState state);
  void fail(Executor& executor, const std::string& message);
  void begin_destroy(Executor& executor, const std::string& reason);
  void become_gone(const ExecutorId& id);
  void see(Executor& executor, const Sandbox& sandbox);
  bool was_out_of_sight(const Executor& executor) const;
  void see_running(Executor& executor, const Sandbox& sandbox);
  void see_absent(Executor& executor);
  void lose_sight(Executor& executor);
  void note_failure(Executor& executor, const char* verb, const Error& error);
  void add_tombstone(const ExecutorId& id, WallTime gone_at, Duration keep);
  void trim_tombstones();
  Executor* answered(CallId call, const ExecutorId& id);
  Executor* touch(const ExecutorId& id);  // null: there is none
  void touch(Executor& executor);
  void touch_all();
  void forget(Executor& executor);
  ExecutorReport report_of(const Executor& executor) const;
  bool is_shown(const Executor& executor, const ExecutorReport& shown) const;

  // answers.cpp
  void adopt_listed(const std::string& driver, const DriverRow& row, const Sandbox& sandbox);
  void adopt_unlisted(Executor& executor);

  // pace.cpp
  void advance_all();
  void advance(Executor& executor);
  void advance(const std::string& name, DriverRow& row);
  /// A verb without what it is given: asked more often than a verb is due.
  enum class Due { nothing, inspect, stop, destroy, recover, start, deliver_ticket };
  Due what_is_due(const Executor& executor) const;
  std::optional<Verb> due_verb(const Executor& executor) const;
  void check_deadlines(Executor& executor);
  void fail_late(Executor& executor);
  void check_lease(Executor& executor);
  void call(Executor& executor, Verb verb);
  Duration backoff(int failures) const;
  std::optional<Instant> due(const Executor& executor) const;
  void index(Executor& executor);
  void end_event();
  bool is_consistent() const;
  void refresh_report();
  bool report_drivers();
  bool report_executors();
  bool report_executor(const ExecutorId& id, const Executor* executor);
  void explain(Level level, std::string message, const ExecutorId& id, std::string key = {});
};

}  // namespace skep::agentd
