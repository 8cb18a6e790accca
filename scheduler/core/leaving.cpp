// The end of an executor: finished | failed -> (held) -> destroying -> gone. Gone means seen gone, on both
// sides.
#include <algorithm>

#include "core/check.h"
#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr Duration first_retry = seconds(1);
constexpr Duration last_retry = seconds(30);
constexpr Duration wait_for_list = seconds(5);
// Where many end, lists for their sake take a tenth of the time, and are no more often than polls.
constexpr int list_share = 10;

}  // namespace

void LogicState::advance_end(Executor& e) {
  if (!e.held_until) return start_destroying(e);
  set_state(e, ExecutorState::held);
  record(e);
}

// What a read of a held executor's node means.
void LogicState::look_held(Executor& e) {
  const NodeFact& node = *e.node;
  const bool is_shut = e.gate == Gate::unknown || (e.gate == Gate::closed && e.node_read >= e.close_acked);
  if (is_gated(e) && is_shut && node.is_connected && !node.is_temporarily_offline) {
    say(Level::warning, "the gate of a held executor was opened by somebody else; it is closed",
        {{"executor", e.id().text}}, "reopened " + e.id().text);
    note_opened_by_others(e);
    begin_close(e, std::string(our_offline_prefix) + " held");
  }
  if (node.is_idle || (is_gated(e) && !e.was_reopened)) return;
  mark_used(e);
  become_busy(e);  // held again when its build is over
}

void LogicState::advance_held(Executor& e) {
  const Controller* c = controller_of(e);
  if (c != nullptr && c->profile && is_gated(e)) keep_closing(e);
  if (e.held_until && now < *e.held_until) return wake(e, *e.held_until);
  if (c != nullptr && !c->profile)
    return wake(e, now + seconds(1));  // whether it has a gate is not known yet
  // After a start only its host tells whether it has an agent.
  const bool is_untold = e.is_adopted && !e.was_seen_on_host && !e.is_gone_on_host;
  if (c == nullptr && is_untold) return wake(e, now + seconds(1));
  e.held_until.reset();
  e.record.held_until.reset();
  if (e.end.empty()) e.end = "unused: held until its time was over";
  const bool is_seen_absent = e.is_node_known && !e.node;
  if (c == nullptr && e.gate != Gate::closed && !is_seen_absent && e.agent != AgentPhase::none) {
    mark_used(e);  // a build may have come, and nobody will tell
    return become_busy(e);
  }
  if (c != nullptr && (!is_gated(e) || e.gate == Gate::unknown) && !is_seen_absent) {
    set_state(e, ExecutorState::idle);  // its node may be open: closed and looked at first
    e.retiring = e.end;
    e.gate = Gate::unknown;
    return;
  }
  start_destroying(e);
}

void LogicState::start_destroying(Executor& e) {
  forget_secret(e);
  if (e.offer) end_offer(e, false);
  set_state(e, ExecutorState::destroying);
  record(e);
  e.delete_retry.reset();
  e.destroy_retry.reset();
  if (!e.record.node_created) e.is_node_gone = true;
  if (e.is_resuming) e.is_node_known = false;  // lists that do not show it yet were no reason for anything
  const bool is_host_free = !e.was_ordered && !e.is_adopted;
  if (is_host_free) e.is_gone_on_host = true;
  changed(*e.at);
}

void LogicState::advance_destroying(Executor& e) {
  Controller* c = controller_of(e);
  if (c == nullptr) e.is_node_gone = true;
  if (!e.is_node_gone) {
    // What the last list did not show needs no deletion.
    const bool is_absent = e.is_node_known && !e.node && !e.create.is_pending();
    if (is_absent) {
      e.is_node_gone = true;
    } else if (!e.is_node_known && !e.delete_acked && now < e.state_since + wait_for_list) {
      read_soon(c->nodes_poll);
      wake(e, e.state_since + wait_for_list);
    } else if (e.delete_acked) {
      // A list that was sent later decides: nodes.cpp.
      if (c->is_told && c->nodes_poll.ok_started < e.delete_acked)
        read_within(c->nodes_poll, std::min(c->config.poll_interval, list_share * c->nodes_poll.took));
    } else if (e.del.is_pending() && now < e.del.sent + call_limit) {
      wake(e, e.del.sent + call_limit);
    } else if (now < e.delete_retry.next) {
      wake(e, e.delete_retry.next);
    } else {
      e.del = new_call();
      emit(DeleteNode{e.del.id, c->config.name, e.id().text});
      wake(e, now + call_limit);
    }
  }
  if (!e.is_gone_on_host) {
    if (e.destroy_acked && now < *e.destroy_acked + seconds(30)) {
      wake(e, *e.destroy_acked + seconds(30));
    } else if (e.destroy.is_pending() && now < e.destroy.sent + call_limit) {
      wake(e, e.destroy.sent + call_limit);
    } else if (now < e.destroy_retry.next) {
      wake(e, e.destroy_retry.next);
    } else {
      e.destroy = new_call();
      emit(DestroyExecutor{e.destroy.id, e.record.host, e.id(), epoch});
      wake(e, now + call_limit);
    }
  }
  if (e.is_node_gone && e.is_gone_on_host) become_gone(e);
}

void LogicState::on_node_deleted(const NodeDeleted& event) {
  Executor* e = find(ExecutorId(event.node));
  if (e == nullptr || e->del.id != event.call) {
    Controller* c = controller(event.controller);
    if (c != nullptr) c->orphan_deletes.erase(event.node);
    return;
  }
  e->del = {};
  touch(*e);
  if (event.result || event.result.error().code == ErrorCode::not_found) {
    e->delete_acked = now;
    return;
  }
  e->delete_retry.note_failure(now, first_retry, last_retry);
  doubt_profile(*e, event.result.error());
  e->delete_retry.next += jitter(first_retry, prng);
  say(Level::warning, "could not delete a node: " + event.result.error().message + "; trying again",
      {{"node", event.node}, {"controller", event.controller.text}, {"hint", event.result.error().hint}},
      "delete " + event.controller.text);
}

void LogicState::on_executor_destroyed(const ExecutorDestroyed& event) {
  Executor* e = find(event.executor);
  if (e == nullptr || e->destroy.id != event.call) return;
  e->destroy = {};
  touch(*e);
  if (event.result) {
    e->destroy_acked = now;
    if (event.result->state == ExecutorState::gone) missing_on_host(*e, "destroyed");
    return;
  }
  const Error& error = event.result.error();
  if (error.code == ErrorCode::stale_epoch) return fence(epoch + 1, "host " + e->record.host.text);
  e->destroy_retry.note_failure(now, first_retry, last_retry);
  e->destroy_retry.next += jitter(first_retry, prng);
  say(Level::warning, "could not destroy an executor: " + error.message + "; trying again",
      {{"executor", e->id().text}, {"host", e->record.host.text}, {"hint", error.hint}},
      "destroy " + e->record.host.text);
}

void LogicState::become_gone(Executor& e) {
  set_state(e, ExecutorState::gone);
  e.gone_at = now;
  look_at_images();
  if (!e.record.was_used) ++counters.executors_unused;
  Audit audit;
  audit.record = e.record;
  audit.gate_open_ms = e.gate_open_ms;
  audit.gate_longest_blind_ms = e.gate_longest_blind_ms;
  if (e.connected_at) audit.coming_ms = to_ms(*e.connected_at - e.planned_at);
  audit.busy_ms = e.busy_ms;
  audit.end = e.end.empty() ? (e.record.was_used ? "used" : "unused") : e.end;
  audit.is_violation = e.record.builds_seen.size() > 1;
  audit.gate_unwatched_ms = to_ms(e.gate_unwatched);
  // What an earlier leader opened was not watched by us, and a node that vanished was never seen closed.
  const bool was_unwatched =
      e.gate_unwatched > shortest_build || e.opened_at || e.was_reopened || e.was_unreached ||
      (e.is_adopted && is_gated(e) && (e.record.was_opened || e.was_found_open || e.was_left_alone));
  audit.may_hide_build = !audit.is_violation && was_unwatched;
  if (audit.may_hide_build) ++counters.unproven;
  emit(std::move(audit));
  record(e);  // after it: killed in between, the audit is written twice, and not lost
}

}  // namespace skep::scheduler
