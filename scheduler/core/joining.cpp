// From a decision to an idle node: planned -> ordered -> creating -> booting -> joining -> idle.
#include <algorithm>

#include "core/check.h"
#include "core/lifecycle/lifecycle.h"
#include "scheduler/core/logic_state.h"
#include "scheduler/core/node_names.h"

namespace skep::scheduler {
namespace {

constexpr Duration node_deadline = seconds(30);  // createSlave answered -> gate closed
constexpr Duration slowest_join_poll = milliseconds(50);
constexpr int max_quick_polls = 400;  // then the common list has to do
const std::string waiting_reason = std::string(our_offline_prefix) + " waiting for its build";

}  // namespace

std::string LogicState::labels_text(const Executor& e) const {
  // Made again, it is there for its own block alone, which asks for it by its name: anything else would be a
  // second build.
  std::string text = e.spec && !e.is_resuming ? e.spec->labels_text : std::string();
  if (is_gated(e)) return text;
  if (!text.empty()) text += ' ';
  return text + std::string(one_build_marker_label);
}

void LogicState::launch(Controller& c, std::size_t index, std::size_t view_index, const std::string& image) {
  const auto& value = templates[index];
  Executor e;
  do {
    e.record.id = make_node_name(config.farm, value->name, epoch, ++names_, prng);
  } while (executors.contains(e.record.id));
  e.record.template_name = value->name;
  e.record.controller = c.config.name;
  e.record.host = views[view_index].host;
  e.record.image = image;
  e.record.epoch = epoch;
  e.record.state = ExecutorState::planned;
  e.record.node_created = true;
  e.record.planned_at = wall;
  e.spec = value;
  e.resources = value->resources;
  e.planned_at = e.state_since = e.deadline_from = now;
  e.creation = Executor::Creation::pending;
  e.create = new_call();
  note_start(e);
  record(e);
  CreateNode create;
  create.call = e.create.id;
  create.controller = c.config.name;
  create.node = e.record.id;
  create.labels = labels_text(e);
  create.remote_fs = value->remote_fs;
  create.description = config.farm + " " + value->name.text;
  create.takes_unlabelled = value->takes_unlabelled;
  emit(std::move(create));
  ++counters.launches;
  newest_ = &insert(std::move(e));
}

void LogicState::on_node_created(const NodeCreated& event) {
  Executor* e = find(event.node);
  if (e == nullptr || e->create.id != event.call) {
    on_sentinel_created(event);
    return;
  }
  e->create = {};
  e->create_answered = now;
  e->is_node_known = false;
  touch(*e);
  if (event.secret) {
    e->creation = Executor::Creation::done;
    if (const Controller* c = controller_of(*e)) e->node_session = c->session;
    e->secret = *event.secret;
    if (e->is_resuming) e->deadline_from = now;  // what the controller refused so long was not its doing
    return;
  }
  const Error& error = event.secret.error();
  doubt_profile(*e, error);
  if (e->is_resuming) {
    e->creation = Executor::Creation::failed;
    e->order_retry.note_failure(now, seconds(1), seconds(8));
    return;
  }
  if (error.outcome == Outcome::unknown) {
    e->creation = Executor::Creation::unknown;
    return;
  }
  e->creation = Executor::Creation::failed;
  e->record.node_created = false;
  fail(*e, "its node could not be created: " + error.message, false);
}

void LogicState::advance_planned(Executor& e) {
  Controller* c = controller_of(e);
  if (c == nullptr) return fail(e, "its controller is no longer configured", false);
  if (e.creation == Executor::Creation::pending) {
    if (now < e.create.sent + call_limit) return wake(e, e.create.sent + call_limit);
    e.create = {};
    e.create_answered = now;
    e.creation = Executor::Creation::unknown;
  }
  if (e.creation == Executor::Creation::unknown)
    return read_soon(c->nodes_poll);  // the list decides: nodes.cpp
  if (e.creation != Executor::Creation::done) return;
  if (!is_gated(e)) return send_order(e);
  // Closed before the agent exists: a slow start then exposes nothing.
  if (e.gate == Gate::none) begin_close(e, waiting_reason);
  if (ensure_closed(e)) return send_order(e);
  if (now >= e.create_answered + node_deadline)
    return fail(e, "the gate of its new node could not be closed", false);
  wake(e, e.create_answered + node_deadline);
}

void LogicState::send_order(Executor& e) {
  SKEP_ASSERT(e.spec != nullptr);
  const Controller* c = controller_of(e);
  SKEP_ASSERT(c != nullptr);
  if (e.state() == ExecutorState::planned) {
    e.deadline_from = now;
    set_state(e, ExecutorState::ordered);
    e.was_ordered = true;
    e.ordered_at = now;
    record(e);
  }
  OrderExecutor order;
  e.order = new_call();
  order.call = e.order.id;
  order.host = e.record.host;
  order.order.epoch = epoch;
  order.order.lease = config.lease;
  order.order.is_busy = true;
  ExecutorSpec& spec = order.order.spec;
  spec.id = e.id();
  spec.template_name = e.record.template_name;
  spec.driver = e.spec->driver;
  spec.image = image_of(e);
  spec.network = e.spec->network;
  spec.start = e.spec->start;
  spec.resources = e.spec->resources;
  spec.agent_command = e.spec->agent_command;
  spec.environment = e.spec->environment;
  spec.boot_deadline = e.spec->boot_deadline;
  spec.join_deadline = e.spec->join_deadline;
  spec.stop_grace = e.spec->stop_grace;
  order.order.ticket = Ticket{c->config.url, e.id().text, e.secret, e.attempt};
  emit(std::move(order));
}

void LogicState::on_executor_ordered(const ExecutorOrdered& event) {
  Executor* e = find(event.executor);
  if (e == nullptr || e->order.id != event.call) return;
  e->order = {};
  touch(*e);
  if (event.result) {
    e->is_order_acked = true;
    e->order_retry.reset();
    forget_secret(*e);
    apply_report(*e, *event.result);
    e->seen_on_host_at = now;
    return;
  }
  const Error& error = event.result.error();
  if (error.code == ErrorCode::stale_epoch) return fence(epoch + 1, "host " + e->record.host.text);
  const bool is_word_of_host = error.outcome == Outcome::failed && error.code != ErrorCode::unauthenticated &&
                               error.code != ErrorCode::generic;  // else something before it answered
  // An earlier attempt, of which nothing was heard, may have made it.
  const bool may_be_there = e->is_resuming || e->order_retry.failures > 0;
  if (error.outcome != Outcome::failed || (may_be_there && !is_word_of_host)) {
    // The order is idempotent by id: it is sent again until the host's report or a deadline decides.
    e->order_retry.note_failure(now, milliseconds(500), seconds(5));
    return;
  }
  if (e->is_resuming) return finish(*e, "used: it could not resume: " + error.message);
  fail(*e, "the host refused it: " + error.message, true);
}

void LogicState::look_soon(Executor& e, Duration pace) {
  if (e.is_poll_pending) {
    const Instant overdue = e.poll_sent + seconds(10);
    if (now < overdue) return wake(e, overdue);
    e.is_poll_pending = false;
  }
  if (now < e.poll_retry.next) return wake(e, e.poll_retry.next);
  e.is_poll_pending = true;
  e.poll_sent = now;
  ++e.quick_polls;
  wake(e, now + seconds(10));
  const bool is_gate_open = e.gate == Gate::opening || e.gate == Gate::open;
  PollNode poll{e.record.controller, e.id(), is_gate_open, pace};
  const Controller* c = controller_of(e);
  if (is_gate_open && c != nullptr) {
    poll.pace = c->config.gate_poll;
    poll.watch_for = gate_watch;
  }
  emit(std::move(poll));
}

/// Its agent may connect while our order to destroy it is on its way, and take a build that nobody tells of.
/// Its host knows at once: not renewed, what has no agent goes with its lease. False: it was never there.
bool LogicState::leave_to_host(Executor& e) {
  if (!e.was_ordered) return false;
  e.is_left_to_host = true;
  const Instant over = e.state_since + call_limit + config.lease;
  const bool is_there = e.was_seen_on_host || !is_host_known(e.record.host) || e.at->host->seen < over;
  if (!is_there && now >= over) return false;
  if (!e.was_seen_on_host) wake(e, std::max(over, now + seconds(1)));
  return true;
}

void LogicState::advance_coming(Executor& e) {
  const Controller* c = controller_of(e);
  e.is_left_to_host = false;
  if (c == nullptr && e.is_resuming) return abandon_resume(e);  // its block waits there all the same
  if (c == nullptr && e.gate != Gate::closed) {
    if (e.is_adopted && e.was_ordered && !e.was_seen_on_host)
      return;  // whether it has an agent its host tells
    if (e.agent != AgentPhase::none) {
      mark_used(e);  // a build may come with its agent, and nobody will tell
      return become_busy(e);
    }
    if (leave_to_host(e)) return;
  }
  if (c == nullptr) return fail(e, "its controller is no longer configured", false);
  if (e.gate == Gate::closing) ensure_closed(e);
  if (e.is_resuming && e.creation == Executor::Creation::failed) {
    if (now < e.order_retry.next) {
      wake(e, e.order_retry.next);
    } else if (!c->profile || !is_known(*c)) {
      wake(e, now + seconds(1));  // it may have been restarted once more, and then it has no hook yet
    } else if (is_awaited(*c, e)) {
      begin_resume(e);
    } else {
      return abandon_resume(e);
    }
  } else if (!e.is_order_acked && e.creation == Executor::Creation::done && !e.secret.empty()) {
    if (e.order.is_pending() && now >= e.order.sent + call_limit) e.order = {};
    if (e.order.is_pending()) {
      wake(e, e.order.sent + call_limit);
    } else if (now >= e.order_retry.next) {
      send_order(e);
    } else {
      wake(e, e.order_retry.next);
    }
  }

  const bool is_started = e.state() == ExecutorState::joining && !e.is_resuming;
  const Duration boot = e.spec ? e.spec->boot_deadline : Duration(seconds(60));
  const Duration join = e.spec ? e.spec->join_deadline : Duration(seconds(60));
  const Instant deadline = e.is_resuming ? resume_deadline(e) : e.deadline_from + (is_started ? join : boot);
  if (now < deadline) {
    wake(e, deadline);
  } else if (e.is_resuming && may_still_resume(*c, e)) {
    wake(e, now + seconds(1));
  } else if (e.is_resuming) {
    return end_resume(e, "used: its build did not come back");
  } else if (!c->profile || !is_host_known(e.record.host) ||
             (is_started ? !is_known(*c) : e.at->host->seen < deadline)) {
    wake(e,
         now + seconds(1));  // nothing follows from what cannot be seen, or was seen before it could be over
  } else {
    return give_up(e,
                   is_started ? "its agent did not connect within " + duration_to_text(join)
                              : "it did not start within " + duration_to_text(boot),
                   true);
  }
  // Without a gate nothing waits for us: the controller hands out the node itself, the common list tells.
  const bool is_worth_asking =
      is_gated(e) && e.agent == AgentPhase::connected && e.quick_polls < max_quick_polls;
  // The agent says that it is connected before the controller does: a look at once would come too early.
  if (is_worth_asking)
    look_soon(e, std::min<Duration>(slowest_join_poll,
                                    c->config.gate_poll * (e.quick_polls == 0 ? 2 : 1 + e.quick_polls / 4)));
}

/// Without a gate the controller may have given it a build that we have not heard of: closed and looked at
/// first.
void LogicState::give_up(Executor& e, const std::string& why, bool is_hosts_fault) {
  if (is_gated(e)) return fail(e, why, is_hosts_fault);
  note_failure(e, why, is_hosts_fault);
  if (e.state() != ExecutorState::joining) set_state(e, ExecutorState::joining);
  set_state(e, ExecutorState::idle);
  e.retiring = "failed: " + why;
  e.gate = Gate::unknown;
}

void LogicState::look_joined(Executor& e) {
  Controller* c = controller_of(e);
  if (c == nullptr || !e.node) return;
  const NodeFact& node = *e.node;
  if (e.is_resuming) {
    // Its block went on and ended between two looks: the node stands open to anything that matches.
    const bool is_over = node.is_connected && node.is_idle && c->queue_poll.is_ok &&
                         c->queue_poll.ok_started && e.was_seen_on_host &&
                         *c->queue_poll.ok_started >= e.create_answered && !is_awaited(*c, e);
    if (is_over) end_resume(e, "used: its build went on and ended");
    return;
  }
  if (is_gated(e)) {
    if (!node.is_connected) return;
    // An older read cannot know of the closing.
    if (e.gate == Gate::closed && e.node_read < e.close_acked) return;
  } else if (node.is_offline && !(node.is_connected && is_foreign_offline(node))) {
    return;
  }
  e.connected_at = now;
  set_state(e, ExecutorState::idle);
  note_joined(e);
  e.quick_polls = 0;
  if (!is_on_trial(e)) c->launch_retries.erase(e.record.template_name);
  if (e.at->host != nullptr && e.at->host->breakers.erase(e.record.template_name) > 0) changed(*e.at);
  say(Level::info, "executor joined",
      {{"executor", e.id().text},
       {"host", e.record.host.text},
       {"ms", std::to_string(to_ms(now - e.planned_at))}});
  if (is_gated(e)) look_gate(e);
  if (!is_gated(e) && !node.is_idle && e.state() == ExecutorState::idle) {
    mark_used(e);
    become_busy(e);
  }
}

}  // namespace skep::scheduler
