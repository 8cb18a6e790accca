// A build on an executor: seen, watched, over; its node lost; its block resumed after a restart of the
// controller.
#include <algorithm>

#include "core/check.h"
#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr Duration confirm_pace = milliseconds(100);

/// The item of a job that waits longest: Jenkins takes the queue in this order.
const DemandBook::Entry* oldest_of(const DemandBook& demand, const std::string& build) {
  for (const auto& [id, entry] : demand.items()) {
    if (!entry.item.path.empty() && build.starts_with(entry.item.path)) return &entry;
  }
  return nullptr;
}

std::optional<ServedItem> served_item(const QueueItem& item) {
  if (!item.label || item.is_flow) return std::nullopt;
  return ServedItem{item.buildable_since.value_or(item.in_queue_since), *item.label, item.is_pipeline_block};
}

}  // namespace

void LogicState::mark_used(Executor& e) {
  if (e.record.was_used) return;
  e.record.was_used = true;
  ++counters.executors_used;
  record(e);
}

void LogicState::note_build(Executor& e, const std::string& path) {
  const bool is_new =
      std::find(e.record.builds_seen.begin(), e.record.builds_seen.end(), path) == e.record.builds_seen.end();
  const bool is_open_here = e.gate != Gate::closed && e.gate != Gate::closing;
  if (is_gated(e) && !e.record.was_opened) note_opened_by_others(e);
  // First the gate: each millisecond counts. `was_opened` is on record already, so a crash here loses
  // nothing.
  if (is_gated(e) && is_open_here && e.state() <= ExecutorState::busy) {
    begin_close(e, std::string(busy_reason));
    ensure_closed(e);
  }
  if (is_new) {
    e.record.builds_seen.push_back(path);
    ++counters.builds_seen;
    const Controller* c = controller_of(e);
    const bool is_path_known = e.offer && !e.offer->path.empty() && path.starts_with(e.offer->path);
    const DemandBook::Entry* entry = nullptr;
    if (c != nullptr) entry = is_path_known ? c->demand.find(e.offer->item) : oldest_of(c->demand, path);
    if (is_path_known) {
      e.is_freestyle = !e.offer->is_pipeline_block;
    } else if (entry != nullptr) {
      e.is_freestyle = !entry->item.is_pipeline_block && !entry->item.is_flow;
    }
    if (entry != nullptr && e.record.builds_seen.size() == 1) e.record.served = served_item(entry->item);
    if (e.record.builds_seen.size() > 1) {
      e.is_freestyle.reset();
      if (e.record.builds_seen.size() == 2) ++counters.violations;
      say(Level::error, "a second build ran on one executor; it is on its audit record",
          {{"executor", e.id().text}, {"first", e.record.builds_seen.front()}, {"build", path}});
    }
  }
  e.record.build = path;
  if (!e.record.was_used) {
    mark_used(e);
  } else if (is_new) {
    record(e);
  }
  const bool can_run = e.state() > ExecutorState::planned && e.state() < ExecutorState::busy;
  if (can_run) become_busy(e);
}

void LogicState::become_busy(Executor& e) {
  if (e.state() == ExecutorState::busy) return;
  Controller* c = controller_of(e);
  if (e.offer && c != nullptr) {
    c->consumed[e.offer->item] = e.id();
    c->consumed_at[e.offer->item] = now;
    end_offer(e, false);
  } else if (!e.is_resuming && !e.is_adopted) {
    e.took_item_at = now;
  }
  if (!e.connected_at) e.connected_at = now;
  if (!e.is_resuming) e.busy_since = now;
  // Its node was made open, and after this build another one may come until it is closed.
  if (e.is_resuming && is_gated(e)) e.opened_at = e.idle_read = e.node_read;
  e.is_resuming = false;
  e.lost_since.reset();
  e.queue_reads_lost = 0;
  e.idle_reads = 0;
  if (e.retiring) {
    e.is_retired_at_end = true;
    e.retiring.reset();
  }
  set_state(e, ExecutorState::busy);
}

void LogicState::build_over(Executor& e, const std::string& end) {
  e.busy_ms += to_ms(now - e.busy_since);
  if (end.starts_with("used")) note_build_ended(e, e.lost_since.has_value());
  finish(e, end);
}

void LogicState::advance_busy(Executor& e) {
  const Controller* c = controller_of(e);
  if (c == nullptr) return advance_unseen_build(e);
  if (e.spec && e.spec->build_limit > Duration::zero() && !e.held_until) {
    const Instant limit = e.busy_since + e.spec->build_limit;
    if (now >= limit) {
      say(Level::warning, "a build is over its template's limit; its executor is removed",
          {{"executor", e.id().text}, {"build", e.record.build}});
      return build_over(e, "retired: its build ran longer than " + duration_to_text(e.spec->build_limit));
    }
    wake(e, limit);
  }
  if (e.lost_since) return advance_lost(e);
  if (is_called_back(*c, e)) return;  // closed when its build is seen
  if (is_gated(e) && c->profile && e.is_node_known && e.node && e.node->executor_count > 0) {
    if (e.gate == Gate::none || e.gate == Gate::unknown || e.gate == Gate::opening || e.gate == Gate::open)
      begin_close(e, std::string(busy_reason));
    if (!ensure_closed(e)) return;
  }
  if (e.idle_reads != 1) return;
  // A companion tells of the end in a moment, and the node goes with it.
  const Instant due = e.idle_since + news_within;
  if (c->is_told && now < due) return wake(e, due);
  look_soon(e, confirm_pace);
}

/// Its controller left the configuration: only its host tells anything. While its agent is connected a build
/// may run; without one a durable task may, but nobody will call it back.
void LogicState::advance_unseen_build(Executor& e) {
  const std::string end = "used: its controller is no longer configured";
  e.was_unreached = true;
  if (e.is_gone_on_host) return build_over(e, end);
  const bool is_alone = e.agent == AgentPhase::none || e.agent == AgentPhase::ended || e.has_failed_on_host;
  if (!e.was_seen_on_host || !is_alone) return e.lost_since.reset();
  if (!e.lost_since) e.lost_since = now;
  const Instant over = *e.lost_since + config.resume_window;
  if (now < over) return wake(e, over);
  build_over(e, end);
}

void LogicState::look_busy(Executor& e, Instant started) {
  const NodeFact& node = *e.node;
  const bool is_running = !node.is_idle || !node.builds.empty();
  if (e.lost_since) {
    if (!is_running) return;
    e.lost_since.reset();  // it is back by itself
    touch(e);
  }
  const bool is_reopened = is_gated(e) && e.gate == Gate::closed && started >= e.close_acked &&
                           node.is_connected && !node.is_temporarily_offline;
  if (is_reopened) {
    note_opened_by_others(e);
    say(Level::warning, "the gate of a used executor was opened by somebody else; it is closed",
        {{"executor", e.id().text}}, "reopened " + e.id().text);
    begin_close(e, std::string(busy_reason));
    return touch(e);
  }
  if (is_running) {
    e.idle_reads = 0;
    return;
  }
  const Controller* c = controller_of(e);
  if (c != nullptr && is_called_back(*c, e)) {
    e.idle_reads = 0;
    if (node.is_connected || e.agent != AgentPhase::ended || !c->queue_poll.ok_started) return;
    if (e.is_node_listed) return look_soon(e, confirm_pace);
    call_back(e);
    return;
  }
  if (is_gated(e) && node.executor_count > 0) {
    const bool is_decisive = e.gate == Gate::closed && started >= e.close_acked;
    if (!is_decisive) return touch(e);
  }
  // A list may be older than it claims to be: it is a reason to look, and only a look at the node decides.
  if (e.idle_reads == 0) e.idle_since = now;
  if (!e.is_node_listed || e.idle_reads == 0) ++e.idle_reads;
  e.quick_polls = 0;
  touch(e);
  if (e.idle_reads >= 2) build_over(e, e.record.builds_seen.size() > 1 ? "used: more than once" : "used");
}

void LogicState::lose_node(Executor& e) {
  if (e.lost_since) return;
  e.lost_since = now;
  e.queue_reads_lost = 0;
  e.idle_reads = 0;
  e.gate = Gate::none;
  Controller* c = controller_of(e);
  if (c != nullptr) read_soon(c->queue_poll);
  say(Level::warning, "the node of a busy executor is gone; the sandbox is kept in case its build resumes",
      {{"executor", e.id().text}, {"build", e.record.build}});
  touch(e);
  replan();
}

void LogicState::advance_lost(Executor& e) {
  const Controller* c = controller_of(e);
  const Instant end = *e.lost_since + config.resume_window;
  if (e.is_gone_on_host) return build_over(e, "used: its node and its sandbox are gone");
  const bool is_seen_absent = e.is_node_known && !e.node && e.node_read >= *e.lost_since;
  if (is_seen_absent && c->demand.item_for_node(e.id().text) && call_back(e)) return;
  if (is_seen_absent && e.is_freestyle.value_or(false) && e.queue_reads_lost >= 2)
    return build_over(e, "used: its build ended with its node");
  if (now < end) return wake(e, end);
  if (!is_known(*c)) return wake(e, now + seconds(1));
  build_over(e, "used: its node did not come back");
}

/// As long as the controller makes no node, its block waits as it does for one that is lost; then the agent
/// has as long as a new one has.
Instant LogicState::resume_deadline(const Executor& e) const {
  if (e.creation != Executor::Creation::done || !e.spec) return e.deadline_from + config.resume_window;
  return e.deadline_from + e.spec->boot_deadline + e.spec->join_deadline;
}

/// Its agent is back, and the block is not started yet: a controller that quiets down, or is slow. One that
/// cannot be read tells nothing.
bool LogicState::may_still_resume(const Controller& c, const Executor& e) const {
  if (e.creation != Executor::Creation::done) return false;
  return !is_known(c) || (e.node && e.node->is_connected && is_awaited(c, e));
}

/// It waits for its item as before.
void LogicState::abandon_resume(Executor& e) {
  e.is_resuming = false;
  e.create = {};  // that its node could not be made comes too late to fail it
  e.creation = Executor::Creation::done;
  forget_secret(e);
  set_state(e, ExecutorState::busy);
  lose_node(e);
}

/// Its node may be open to anything that matches: closed and looked at before anything is destroyed.
void LogicState::end_resume(Executor& e, const std::string& end) {
  e.is_resuming = false;
  e.create = {};  // an answer that has not come yet comes too late
  if (e.creation != Executor::Creation::done) return finish(e, end);  // no agent got a ticket for it
  e.was_reopened = true;
  set_state(e, ExecutorState::joining);
  set_state(e, ExecutorState::idle);
  e.retiring = end;
  e.gate = Gate::unknown;
}

/// Only a node that was made again for its block waits open for its agent: one that is new is closed first.
bool is_open_without_agent(const NodeFact& node) {
  return !node.is_connected && !node.is_temporarily_offline && node.is_idle && node.builds.empty();
}

/// Whether a block waits for this very node. Without scripts a controller names the one node that matches
/// instead of the label: then the block is known by its build, or, where no record tells which one ran, by
/// the node that was made again for it.
bool LogicState::is_awaited(const Controller& c, const Executor& e) const {
  if (c.demand.item_for_node(e.id().text)) return true;
  if (!e.is_adopted || !e.record.builds_seen.empty())
    return c.demand.hidden_block_for(e.id().text, e.record.builds_seen);
  const bool is_made_again = e.is_resuming || (e.node && is_open_without_agent(*e.node));
  return is_made_again && c.demand.hidden_block_for(e.id().text);
}

/// An earlier leader was killed while it called the executor back. Until the queue was read that is not
/// known, and a node without an agent takes nothing.
bool LogicState::is_called_back(const Controller& c, const Executor& e) const {
  const bool is_made_here = e.create_answered != Instant{};
  if (!e.is_adopted || is_made_here || !e.is_node_known || !e.node) return false;
  if (!e.node->is_idle || !e.node->builds.empty()) return false;
  if (c.demand.item_for_node(e.id().text)) return true;
  // With an agent the hidden one may be a later block of its build, which any executor serves.
  return !e.node->is_connected && (!c.queue_poll.ok_started || is_awaited(c, e));
}

/// Its block waits, and its agent is away. An earlier leader may have made its node again: it is made once
/// more.
bool LogicState::call_back(Executor& e) {
  const Controller* c = controller_of(e);
  if (c == nullptr || !c->profile || !is_known(*c) || !is_host_known(e.record.host) || !e.spec) return false;
  e.attempt += 1;
  ++counters.resumes;
  begin_resume(e);
  return true;
}

void LogicState::begin_resume(Executor& e) {
  const Controller* c = controller_of(e);
  SKEP_ASSERT(c != nullptr && e.spec != nullptr);
  if (e.state() == ExecutorState::busy) {
    e.deadline_from = now;
    set_state(e, ExecutorState::joining);
    record(e);
  }
  e.is_resuming = true;
  e.lost_since.reset();
  e.is_order_acked = false;
  e.order = {};
  // Refused again and again, it waits longer each time.
  if (e.creation != Executor::Creation::failed) e.order_retry.reset();
  e.connected_at.reset();
  e.agent = AgentPhase::none;
  e.has_failed_on_host = false;
  e.gate = Gate::none;  // re-created open; closed again when its build is seen
  e.is_node_known = false;
  e.quick_polls = 0;
  e.creation = Executor::Creation::pending;
  e.create = new_call();
  CreateNode create;
  create.call = e.create.id;
  create.controller = c->config.name;
  create.node = e.id();
  create.labels = labels_text(e);
  create.remote_fs = e.spec->remote_fs;
  create.description = config.farm + " " + e.record.template_name.text;
  create.takes_unlabelled = false;
  create.is_recreation = true;
  emit(std::move(create));
  say(Level::info, "a build waits for its executor: its node is created again",
      {{"executor", e.id().text}, {"build", e.record.build}});
  touch(e);
}

}  // namespace skep::scheduler
