// One executor as the scheduler's logic follows it. Internal to scheduler/core.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/protocol/agentd_api.h"
#include "scheduler/core/config.h"
#include "scheduler/core/events.h"
#include "scheduler/core/facts.h"
#include "scheduler/core/pacing.h"

namespace skep::scheduler {

/// The one-build gate of a node, as far as we know. Only `closed` is a promise: acknowledged after the last
/// opening was.
enum class Gate {
  none,     // this node has no gate: hook means, or re-created for a resume
  unknown,  // an earlier leader's doing, or somebody else's
  closing,
  closed,
  telling,  // its host is told that a build may come: only then it is opened
  opening,
  open,
};

/// A call under way. An answer that does not come within call_limit counts as "outcome unknown".
struct Call {
  CallId id = 0;
  Instant sent{};
  bool is_pending() const { return id != 0; }
};
inline constexpr Duration call_limit = minutes(2);
inline constexpr Duration gate_watch =
    milliseconds(200);  // one watch: less than an open gate may be unheard of
inline constexpr Duration shortest_build = milliseconds(40);  // measured: an empty node block takes 50 ms

/// A concrete buildable item that an executor is offered to.
struct Offer {
  std::int64_t item = 0;
  std::string path;
  bool is_pipeline_block = false;
  Instant since{};  // OpenGate was sent
  Instant last_answer{};
  Instant last_read{};     // when the last good read was sent
  Duration longest_gap{};  // between such a read and the next one's answer: a shorter build is not seen
  std::optional<Instant> assigned_since;  // idle:false without a build
  bool was_assigned = false;
};

struct HostPlace;
struct Controller;

struct Executor {
  ExecutorRecord record;
  std::shared_ptr<const Template> spec;  // as it was when planned; nullptr: template unknown (adopted)
  bool is_obsolete = false;              // its template was removed or changed
  Instant planned_at{};
  Instant state_since{};
  std::string end;          // why it ends, for the audit
  bool is_adopted = false;  // read back from records, or found on a host

  // Joining
  enum class Creation { none, pending, done, failed, unknown } creation = Creation::none;
  Call create;
  Instant create_answered{};
  std::string secret;  // until the order is acknowledged
  Call order;
  bool was_ordered = false;
  std::optional<Instant> ordered_at;  // for the first time, by this leader
  bool is_order_acked = false;
  Retry order_retry;
  std::uint32_t attempt = 1;
  Instant deadline_from{};  // start of the boot or join deadline
  std::optional<Instant> connected_at;

  // Node
  bool is_node_known = false;
  std::string node_session;              // of the controller, when the node was there for certain
  std::optional<NodeFact> node;          // with is_node_known: nullopt = seen absent
  Instant node_read{};                   // when that read started
  std::optional<Instant> missing_since;  // in lists of its controller
  bool is_node_listed = false;           // by a list, which may be older than it claims to be
  bool is_poll_pending = false;
  Instant poll_sent{};
  Retry poll_retry;
  int quick_polls = 0;

  // Gate
  Gate gate = Gate::none;
  Call close;
  Retry close_retry;
  Instant close_acked{};
  std::string close_reason;
  Call open;
  Instant open_answered{};
  std::optional<Offer> offer;
  bool is_left_to_host = false;       // its lease is not renewed
  bool is_told_idle = false;          // its host would remove it at the end of its lease
  CallId told_in = 0;                 // renewal that says otherwise
  bool was_found_open = false;        // by a leader that had not opened it
  bool was_reopened = false;          // by somebody else, so that more than one build may have come
  bool was_left_alone = false;        // by an earlier leader, until its node is seen
  bool was_leaving = false;           // when we led before, until its node is seen
  bool was_unreached = false;         // while it could take builds: its controller left the configuration
  Retry offer_retry;                  // openings that brought nothing
  std::optional<Instant> opened_at;   // sent; until the close is acknowledged
  Instant shut_from{}, shut_until{};  // the last close that was acknowledged before an opening, and that
  std::int64_t gate_open_ms = 0;
  std::int64_t gate_longest_blind_ms = 0;
  Instant idle_read{};                         // start of the last look while open that showed no build
  Duration gate_unwatched = Duration::zero();  // longest time from such a look to the next, or to the close

  // Build
  Instant busy_since{};
  std::optional<bool> is_freestyle;
  std::optional<Instant> took_item_at;  // Jenkins gave it an item that we had not offered
  int idle_reads = 0;                   // successive, started after the close was acknowledged
  Instant idle_since{};                 // of the first of them
  std::optional<Instant> lost_since;    // busy, and its node is absent
  int queue_reads_lost = 0;             // queue reads since, without an item for it
  bool is_resuming = false;
  std::int64_t busy_ms = 0;

  // Host
  bool was_seen_on_host = false;
  // Absence counts only in reports that were asked for later; our clock may stand still between two events.
  Instant seen_on_host_at = Instant::min();
  bool is_gone_on_host = false;
  bool has_failed_on_host = false;
  AgentPhase agent = AgentPhase::none;
  std::optional<int> agent_exit_code;
  Resources resources;

  // Leaving
  std::optional<std::string> retiring;  // idle: close, look, finish
  bool is_retired_at_end = false;       // busy: an operator wants it away at its build's end
  std::optional<Instant> held_until;
  Call del;
  Retry delete_retry;
  std::optional<Instant> delete_acked;
  bool is_node_gone = false;
  Call destroy;
  Retry destroy_retry;
  std::optional<Instant> destroy_acked;
  std::optional<Instant> gone_at;

  std::optional<Instant> wake;

  // Kept by the table
  HostPlace* at = nullptr;        // of its host; set as long as it is in the table
  Controller* of = nullptr;       // nullptr: it is no longer configured
  bool is_dirty = false;          // to be advanced: in LogicState::dirty_
  std::uint64_t reported_in = 0;  // number of the last report that named it
  static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);
  std::size_t place_in_play = nowhere;  // in LogicState::in_play

  const ExecutorId& id() const { return record.id; }
  ExecutorState state() const { return record.state; }
};

bool is_foreign_offline(const NodeFact& node);
bool is_open_without_agent(const NodeFact& node);
/// Whether it is one of the `maximum` of its template.
bool counts_for_maximum(const Executor& e);

}  // namespace skep::scheduler
