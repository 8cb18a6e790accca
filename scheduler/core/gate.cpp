// One build per executor by an offline gate. Facts: reference, section 7.4-B.
//
//   closed --open_gate--> opening --answer--> open --build | refused | left | limit | error--> closing
//   --answer--> closed
// After the acknowledged close nothing can be assigned any more, so one read that was sent later decides what
// happened: a build (used), idle and the item still waits (bounced, may be offered again), idle and the item
// left (used).
#include <algorithm>
#include <utility>

#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr Duration assignment_grace = seconds(1);       // idle:false before the build is known
constexpr Duration blind_limit = milliseconds(500);     // no answer for so long: an open gate is closed
constexpr Duration closely_watched = milliseconds(30);  // leaves room to the shortest build
constexpr Duration close_resend = seconds(10);
constexpr Duration clock_set_within = minutes(1);  // of a machine that goes on
constexpr Duration telling_limit = seconds(10);    // as a call to a host
const std::string reason_prefix = std::string(our_offline_prefix) + " ";

bool is_open_or_opening(const Executor& e) {
  return e.gate == Gate::opening || e.gate == Gate::open;
}

// "job/a/" is the job of build "job/a/7/"; a pipeline block names its build itself.
bool is_build_of(const std::string& build, const std::string& path, bool is_block) {
  if (path.empty()) return false;
  return is_block ? build == path : build.size() > path.size() && build.starts_with(path);
}

}  // namespace

bool LogicState::can_offer(const Executor& e) const {
  if (e.state() != ExecutorState::idle || e.offer || e.retiring || e.held_until || e.record.was_used ||
      e.is_obsolete)
    return false;
  if (e.record.was_opened && e.is_adopted) return false;
  if (now < e.offer_retry.next || !e.is_node_known || !e.node || is_foreign_offline(*e.node) ||
      !e.node->is_idle)
    return false;
  if (is_draining(e)) return false;
  if (e.is_told_idle && e.at->host == nullptr) return false;
  return e.gate == Gate::closed || !is_gated(e);
}

void LogicState::open_gate(Controller& c, Executor& e, const DemandBook::Entry& item) {
  if (!e.record.was_opened) {
    e.record.was_opened = true;
    record(e);
  }
  Offer offer;
  offer.item = item.item.id;
  offer.path = item.item.path;
  offer.is_pipeline_block = item.item.is_pipeline_block;
  offer.since = now;
  e.offer = offer;
  ++c.open_gates;
  if (e.is_told_idle) {
    e.gate = Gate::telling;
    e.told_in = 0;
    e.at->host->is_lease_due = is_any_lease_due_ = true;
    return touch(e);
  }
  send_opening(e);
}

void LogicState::send_opening(Executor& e) {
  e.offer->since = e.offer->last_answer = e.offer->last_read = now;
  e.opened_at = e.idle_read = now;
  e.shut_from = e.close_acked;
  e.shut_until = now;
  e.gate = Gate::opening;
  e.open = new_call();
  ++counters.gates_opened;
  emit(OpenGate{e.open.id, e.record.controller, e.id()});
  e.is_poll_pending = false;  // an older one would answer for the time before
  e.poll_retry.reset();
  e.quick_polls = 0;
  touch(e);
}

/// Its host knows now, or does not, that a build may run on it.
void LogicState::told_busy(Executor& e, bool is_acknowledged) {
  if (e.gate != Gate::telling) return;
  e.gate = Gate::closed;
  touch(e);
  if (!is_acknowledged) return end_offer(e, true);
  e.is_told_idle = false;
  const Controller* c = controller_of(e);
  const DemandBook::Entry* item = c == nullptr || !e.offer ? nullptr : c->demand.find(e.offer->item);
  const bool is_wanted =
      item != nullptr && item->item.stage == ItemStage::buildable && !item->item.is_stopping;
  if (!is_wanted || e.state() != ExecutorState::idle || e.retiring || !is_known(*c))
    return end_offer(e, false);
  send_opening(e);
}

void LogicState::on_gate_opened(const GateOpened& event) {
  Executor* e = find(event.node);
  if (e == nullptr || e->open.id != event.call) return;
  e->open = {};
  e->open_answered = now;
  touch(*e);
  // Lists that were older than they claimed to be kept silent about it, and about what ran there meanwhile.
  if (event.result && event.result->was_open) note_opened_by_others(*e);
  if (e->gate != Gate::opening) return;
  if (event.result) {
    e->gate = Gate::open;
    if (!event.result->has_kicked) emit(Kick{e->record.controller});
    return;
  }
  const Error& error = event.result.error();
  doubt_profile(*e, error);
  // Somebody else holds it offline, and our reason would overwrite theirs.
  const bool is_theirs = error.code == ErrorCode::conflict && error.outcome == Outcome::failed;
  say(Level::warning,
      "could not open the gate: " + error.message + "; it is " + (is_theirs ? "" : "closed and ") +
          "looked at before another try",
      {{"executor", e->id().text}}, "open " + e->record.controller.text);
  if (!is_theirs) return begin_close(*e, reason_prefix + "opening failed");
  e->gate = Gate::closed;
  e->close_acked = now;
}

void LogicState::on_kicked(const Kicked& event) {
  if (event.result) return;
  say(Level::warning,
      "could not kick the queue: " + event.result.error().message + "; it looks by itself within 5 s",
      {{"controller", event.controller.text}}, "kick " + event.controller.text);
}

void LogicState::begin_close(Executor& e, const std::string& why) {
  if (e.gate == Gate::closing) return;
  if (e.was_found_open && is_gated(e)) note_opened_by_others(e);
  e.gate = Gate::closing;
  e.close_reason = why;
  e.close_retry.reset();
  touch(e);
}

/// Nobody of ours watched it. On record before it is closed: afterwards nothing else tells a later leader.
void LogicState::note_opened_by_others(Executor& e) {
  e.was_reopened = true;
  if (std::exchange(e.record.was_opened, true)) return;
  record(e);
}

/// Between our last close and our opening. The opening's own answer need not tell: a close may have come
/// before it.
bool LogicState::was_open_before(const Executor& e, const NodeFact& node, Instant started) const {
  if (!is_gated(e) || node.is_temporarily_offline || (!node.is_connected && node.is_idle)) return false;
  const bool is_before_opening = started >= e.shut_from && started < e.shut_until;
  return is_before_opening || (e.gate == Gate::telling && started >= e.close_acked);
}

bool LogicState::ensure_closed(Executor& e) {
  if (e.gate == Gate::closed) return true;
  if (e.gate != Gate::closing) return false;
  if (e.close.is_pending() && now < e.close.sent + close_resend) {
    wake(e, e.close.sent + close_resend);
    return false;
  }
  if (now < e.close_retry.next) {
    wake(e, e.close_retry.next);
    return false;
  }
  e.close = new_call();
  emit(CloseGate{e.close.id, e.record.controller, e.id(), e.close_reason});
  wake(e, now + close_resend);
  return false;
}

void LogicState::on_gate_closed(const GateClosed& event) {
  Executor* e = find(event.node);
  if (e == nullptr || e->close.id != event.call) {
    on_sentinel_closed(event);
    return;
  }
  const Instant sent = e->close.sent;
  e->close = {};
  touch(*e);
  if (e->gate != Gate::closing) return;
  if (!event.result) {
    e->close_retry.note_failure(now, milliseconds(20), seconds(2));
    doubt_profile(*e, event.result.error());
    say(Level::warning,
        "could not close the gate: " + event.result.error().message +
            "; trying again until it is acknowledged",
        {{"executor", e->id().text}}, "close " + e->record.controller.text);
    return;
  }
  // While an opening is under way, its toggle may still come after our close.
  if (e->open.is_pending() && now >= e->open.sent + call_limit) e->open = {};
  if (e->open.is_pending()) {
    e->close_retry.next = now + milliseconds(5);
    return;
  }
  if (sent < e->open_answered) return;  // sent again at once
  become_closed(*e, now);
}

void LogicState::become_closed(Executor& e, Instant acked) {
  e.gate = Gate::closed;
  e.close_acked = acked;
  e.idle_reads = 0;
  e.is_poll_pending = false;
  e.quick_polls = 0;
  if (e.opened_at) {
    e.gate_open_ms += to_ms(acked - *e.opened_at);
    // A second build begins after the first one, so within less than its length there was one at most.
    e.gate_unwatched = std::max<Duration>(e.gate_unwatched, acked - e.idle_read);
    // Each open gate costs requests; where they become slow, fewer gates are open at once.
    Controller* c = controller_of(e);
    if (c != nullptr && e.gate_unwatched > closely_watched)
      c->gates_at_once = std::max(1, c->gates_at_once / 2);
    else if (c != nullptr)
      c->gates_at_once = std::min(c->config.max_open_gates, c->gates_at_once + 1);
  }
  e.opened_at.reset();
}

/// Goes on with a close; false: there is none, or none any more.
bool LogicState::keep_closing(Executor& e) {
  if (e.gate != Gate::closing) return false;
  const bool is_others = e.node && is_foreign_offline(*e.node) && !e.offer && !e.open.is_pending();
  if (!is_others) {
    ensure_closed(e);
    return true;
  }
  e.gate = Gate::closed;  // somebody else holds it offline; our reason would overwrite theirs
  e.close_acked = e.node_read;
  return false;
}

void LogicState::advance_idle(Executor& e) {
  const Controller* c = controller_of(e);
  if (c == nullptr && e.gate != Gate::closed && e.gate != Gate::telling) {
    // A build may have come, and nobody will tell.
    end_offer(e, false);
    mark_used(e);
    return become_busy(e);
  }
  if (c == nullptr) return finish(e, "unused: its controller is no longer configured");
  if (e.held_until && !e.offer) {
    set_state(e, ExecutorState::held);
    record(e);
    return;
  }
  if (!c->profile) return;  // after a restart: first see what it can do
  if (e.gate == Gate::telling && now < e.offer->since + telling_limit)
    return wake(e, e.offer->since + telling_limit);
  if (e.gate == Gate::telling) return told_busy(e, false);
  if (is_gated(e) && (e.gate == Gate::unknown || e.gate == Gate::none))
    begin_close(e, reason_prefix + "waiting for its build");
  // An un-gated node must not get a build between our look at it and its deletion.
  if (e.retiring && (e.gate == Gate::none || e.gate == Gate::unknown))
    begin_close(e, reason_prefix + "leaving");
  if (is_open_or_opening(e)) return advance_gate(e);
  if (keep_closing(e)) return;
  if (e.gate == Gate::closed && (e.offer || e.retiring)) {
    const bool is_looked = e.is_node_known && e.node_read >= e.close_acked;
    if (is_looked) look_gate(e);
    if (e.state() != ExecutorState::idle || e.gate != Gate::closed || (!e.offer && !e.retiring)) return;
    const bool waits_for_queue =
        e.offer && e.is_node_known && e.node && e.node_read >= e.close_acked && e.node->is_idle;
    if (waits_for_queue) return;  // touched by the next queue read
    look_soon(e, e.quick_polls == 0
                     ? Duration::zero()
                     : std::min<Duration>(milliseconds(200), c->config.gate_poll * e.quick_polls));
  }
}

void LogicState::advance_gate(Executor& e) {
  const Controller* c = controller_of(e);
  if (!e.offer) return begin_close(e, reason_prefix + "waiting for its build");
  Offer& offer = *e.offer;
  const Instant limit = offer.since + c->config.gate_open_limit;
  const Instant grace = offer.assigned_since ? *offer.assigned_since + assignment_grace : limit;
  const Instant blind = offer.last_answer + blind_limit;
  const Instant close_at = std::min(offer.assigned_since ? grace : limit, blind);
  if (now >= close_at)
    return begin_close(e, reason_prefix + (now >= blind ? "not watched" : "nothing was started"));
  if (!e.is_poll_pending) look_soon(e, e.quick_polls == 0 ? Duration::zero() : c->config.gate_poll);
  wake(e, close_at);
}

// How closely an open gate was watched, by the looks that were meant for it.
void LogicState::note_watch(Executor& e, const NodePolled& event) {
  if (!e.offer || !*event.fact || event.started < e.offer->since) return;
  Offer& offer = *e.offer;
  const NodeFact& node = **event.fact;
  GateWatch one_look;
  one_look.first_answer = now;
  if (node.is_idle) one_look.idle_started = event.started;
  const GateWatch& watch = event.watch ? *event.watch : one_look;
  const Duration before = watch.first_answer - offer.last_read;
  offer.longest_gap = std::max({offer.longest_gap, before, watch.longest_gap});
  offer.last_read = std::max(offer.last_read, event.started);
  offer.was_assigned = offer.was_assigned || watch.was_assigned;
  e.gate_longest_blind_ms = std::max(
      {e.gate_longest_blind_ms, to_ms(watch.first_answer - offer.last_answer), to_ms(watch.longest_gap)});
  offer.last_answer = now;
  if (watch.idle_started) {
    e.gate_unwatched =
        std::max<Duration>({e.gate_unwatched, watch.first_answer - e.idle_read, watch.longest_idle_gap});
    e.idle_read = std::max(e.idle_read, *watch.idle_started);
  }
  // A build was seen, so the opening had happened, and the close that followed is the last word.
  const bool is_ours_to_close = is_open_or_opening(e) || e.gate == Gate::closing;
  if (!watch.closed || !is_ours_to_close) return;
  e.close = {};
  become_closed(e, *watch.closed);
}

/// The clock of a machine that was suspended stood still meanwhile, and only the wall's tells, once it is set
/// right: nobody watched for so long. Where it was set back, it may have stood still as well: nobody can
/// tell.
void LogicState::note_suspension(Instant at, WallTime wall_at) {
  const Duration change = milliseconds(wall_at.ms_since_epoch - wall.ms_since_epoch) - (at - now);
  const Duration gained = change < Duration::zero() ? -change : change;
  if (gained <= shortest_build) return;
  if (gained > config.facts_stale_after) doubt_facts(at);
  for (auto& [id, e] : executors) {
    const bool was_just_open = e.record.was_opened && now - e.close_acked < clock_set_within;
    if (!e.opened_at && !was_just_open) continue;
    e.gate_unwatched = std::max(e.gate_unwatched, gained);
    if (e.offer) e.offer->longest_gap = std::max(e.offer->longest_gap, gained);
  }
}

// What a read of an idle executor's node means.
void LogicState::look_gate(Executor& e) {
  if (!e.node || e.state() != ExecutorState::idle) return;
  const NodeFact& node = *e.node;
  if (e.offer && e.node_read >= e.offer->since) {
    Offer& offer = *e.offer;
    if (!node.is_idle) {
      offer.was_assigned = true;
      if (!offer.assigned_since) offer.assigned_since = now;
    } else {
      offer.assigned_since.reset();
    }
  }
  if (is_open_or_opening(e)) {
    if (e.gate == Gate::open && is_foreign_offline(node) && e.node_read >= e.open_answered) {
      e.gate = Gate::closed;  // closed by somebody else, and it stays theirs
      e.close_acked = e.node_read;
    } else if (e.offer && node.is_idle) {
      const Controller* c = controller_of(e);
      const DemandBook::Entry* item = c->demand.find(e.offer->item);
      const bool is_left =
          item == nullptr || item->item.stage != ItemStage::buildable || item->item.is_stopping;
      if (is_left) return begin_close(e, reason_prefix + "its item left");
    }
  }
  if (e.gate != Gate::closed || e.node_read < e.close_acked) return;
  if (!node.is_temporarily_offline && node.is_connected) {
    say(Level::warning,
        "the gate of an executor was opened by somebody else; it is closed, and recycled unless a build runs",
        {{"executor", e.id().text}}, "reopened " + e.id().text);
    note_opened_by_others(e);
    if (!e.offer) e.retiring = "unused: its gate was opened by somebody else";
    return begin_close(e, reason_prefix + "waiting for its build");
  }
  if (e.offer) return resolve_offer(e);
  if (!node.is_idle) {
    // Not offered and yet assigned: an earlier leader's opening, or a hook's node that is leaving.
    if (now - e.close_acked >= assignment_grace) {
      mark_used(e);
      become_busy(e);
    }
    return;
  }
  // A list may be older than it claims to be: after an opening only a look at the node itself ends an
  // executor.
  if (e.retiring && e.record.was_opened && e.is_node_listed) return look_soon(e, Duration::zero());
  if (e.retiring) return finish(e, *e.retiring);
}

void LogicState::resolve_offer(Executor& e) {
  Controller* c = controller_of(e);
  const Offer offer = *e.offer;
  if (!e.node->is_idle) {
    if (now - e.close_acked < assignment_grace) return;
    mark_used(e);  // it runs something that this account may not see
    return become_busy(e);
  }
  if (e.is_node_listed) return look_soon(e, Duration::zero());
  if (offer.longest_gap > shortest_build) {
    // Jenkins may have given it any item that matches; one that is still in the queue proves nothing.
    return finish(e, "unused: it was open and not watched closely enough to rule a build out");
  }
  const bool is_queue_newer =
      c->queue_poll.is_ok && c->queue_poll.ok_started && *c->queue_poll.ok_started >= e.close_acked;
  if (!is_queue_newer) return read_soon(c->queue_poll);
  const DemandBook::Entry* item = c->demand.find(offer.item);
  if (item != nullptr && item->item.stage == ItemStage::pending) return read_soon(c->queue_poll);
  const bool is_still_there = item != nullptr;
  bool ran_elsewhere = false;
  for (const auto& [id, other] : executors) {
    if (is_still_there || ran_elsewhere) break;
    if (id == e.id() || !other.record.was_used || other.busy_since < offer.since) continue;
    for (const std::string& build : other.record.builds_seen)
      ran_elsewhere = ran_elsewhere || is_build_of(build, offer.path, offer.is_pipeline_block);
  }
  // Blocks of one pipeline run share a path: what ran elsewhere may be another block, so an executor that was
  // seen assigned is not believed to be unused because of it.
  if (is_still_there || (ran_elsewhere && !offer.was_assigned)) {
    if (offer.was_assigned) ++counters.gate_bounces;
    return end_offer(e, !offer.was_assigned && is_still_there);
  }
  // Idle, and the item left: a build shorter than our polls may have run here. Never offered again.
  mark_used(e);
  become_busy(e);
  build_over(e, "used: its build was shorter than the gate");
}

void LogicState::end_offer(Executor& e, bool was_fruitless) {
  if (!e.offer) return;
  Controller* c = controller_of(e);
  if (c != nullptr) --c->open_gates;
  e.offer.reset();
  if (was_fruitless) {
    e.offer_retry.note_failure(now, milliseconds(500), seconds(30));
    wake(e, e.offer_retry.next);
  } else {
    e.offer_retry.reset();
  }
  touch(e);
  replan();
}

}  // namespace skep::scheduler
