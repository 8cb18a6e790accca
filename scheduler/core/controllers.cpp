// Controllers: the two repeated reads, the profile, restarts, the sentinel node.
#include <algorithm>

#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr Duration longest_backoff = seconds(30);
constexpr Duration profile_again_after = seconds(20);
constexpr Duration host_silence = seconds(65);       // each question waits for 30 s when nothing changes
constexpr Duration full_read_interval = minutes(1);  // beside a companion that tells
constexpr Duration idle_nodes_interval =
    seconds(30);  // nobody is expected to change anything while nothing is under way
const std::string sentinel_reason = std::string(our_offline_prefix) + " sentinel, keeps label texts readable";

}  // namespace

Controller* LogicState::controller(const ControllerId& id) {
  const auto found = controllers.find(id);
  return found == controllers.end() ? nullptr : &found->second;
}

const Controller* LogicState::controller(const ControllerId& id) const {
  const auto found = controllers.find(id);
  return found == controllers.end() ? nullptr : &found->second;
}

bool LogicState::is_active(const Controller& c) const {
  return c.under_way > 0 || c.open_gates > 0 || !c.demand.items().empty();
}

Duration LogicState::poll_interval(const Controller& c, bool is_queue) const {
  if (c.is_told) {
    const auto& items = c.demand.items();
    const bool is_nameless = is_queue && std::any_of(items.begin(), items.end(), [](const auto& pair) {
                               return pair.second.item.path.empty();
                             });
    return is_nameless ? c.config.poll_interval : full_read_interval;  // it tells no names
  }
  if (is_active(c)) return c.config.poll_interval;
  return is_queue ? c.config.idle_poll_interval : std::max(c.config.idle_poll_interval, idle_nodes_interval);
}

void LogicState::advance_poll(Controller& c, Poll& poll, bool is_queue) {
  if (poll.is_pending) {
    const Instant overdue = poll.sent + call_limit;
    if (now < overdue) return wake_at(overdue);
    const Error error =
        Error::unknown(ErrorCode::timed_out,
                       std::string("the ") + (is_queue ? "queue" : "nodes") + " read was not answered");
    end_poll(c, poll, poll.sent, &error, is_queue);
  }
  const Instant due =
      poll.failures > 0 ? poll.retry_at : poll.sent + std::min(poll_interval(c, is_queue), poll.within);
  if (now < due) return wake_at(due);
  poll.is_pending = true;
  poll.within = Duration::max();
  poll.sent = now;
  wake_at(now + call_limit);
  if (is_queue) {
    emit(ReadQueue{c.config.name});
  } else {
    emit(ReadNodes{c.config.name});
  }
}

void LogicState::note_answered(Poll& poll, Instant started) {
  if (poll.failures > 0) replan();
  poll.failures = 0;
  poll.is_ok = true;
  poll.problem.clear();
  poll.ok_started = std::max(poll.ok_started.value_or(started), started);
}

void LogicState::end_poll(Controller& c, Poll& poll, Instant started, const Error* error, bool is_queue) {
  poll.is_pending = false;
  poll.took = now - poll.sent;
  if (error == nullptr) return note_answered(poll, started);
  ++poll.failures;
  poll.is_ok = false;
  poll.problem = error->message;
  const Duration wait = backoff_after(poll.failures, c.config.poll_interval, longest_backoff);
  poll.retry_at = now + std::min(longest_backoff, wait + jitter(wait, prng));
  const std::string what = is_queue ? "queue" : "nodes";
  say(Level::warning,
      "could not read the " + what + ": " + error->message +
          "; decisions for this controller wait until it can be read",
      {{"controller", c.config.name.text}, {"hint", error->hint}},
      "read " + what + " " + c.config.name.text + " " + std::string(to_string(error->code)));
  replan();
}

bool LogicState::is_fresh(const Poll& poll, Duration limit) const {
  return poll.is_ok && poll.ok_started && *poll.ok_started >= facts_from && now - *poll.ok_started <= limit;
}

/// Also what is under way: its answer was perhaps made before.
void LogicState::doubt_facts(Instant from) {
  facts_from = from;
  for (auto& [id, c] : controllers) {
    lose_companion(c, "this machine was suspended");
    read_soon(c.queue_poll);
    read_soon(c.nodes_poll);
  }
}

bool LogicState::is_list_fresh(const Controller& c, bool is_queue) const {
  if (is_queue && is_silent(c)) return false;
  // While nothing is under way the reads are far apart on purpose.
  const Duration limit = std::max(config.facts_stale_after, 2 * poll_interval(c, is_queue));
  return is_fresh(is_queue ? c.queue_poll : c.nodes_poll, limit);
}

bool LogicState::is_known(const Controller& c) const {
  return c.profile && is_list_fresh(c, true) && is_list_fresh(c, false);
}

std::string LogicState::freeze_reason(const Controller& c) const {
  if (!fenced_by.empty()) return fenced_by;
  if (!c.queue_poll.problem.empty()) return "its queue cannot be read: " + c.queue_poll.problem;
  if (!c.nodes_poll.problem.empty()) return "its nodes cannot be read: " + c.nodes_poll.problem;
  if (!c.profile)
    return c.profile_problem.empty() ? "it is not profiled yet"
                                     : "it cannot be profiled: " + c.profile_problem;
  if (!c.profile->missing_permissions.empty())
    return "the account lacks the permission " + c.profile->missing_permissions.front();
  if (!c.queue_poll.ok_started) return "its queue was not read yet";
  if (!c.nodes_poll.ok_started) return "its nodes were not read yet";
  if (!is_list_fresh(c, true)) return "its queue was last read too long ago";
  if (!is_list_fresh(c, false)) return "its nodes were last read too long ago";
  return {};
}

// Once per session; again while a right is missing, and after an order was refused for want of one: somebody
// may have granted or withdrawn it.
void LogicState::advance_profile(Controller& c) {
  if (c.is_profile_pending && now >= c.profile_sent + call_limit) c.is_profile_pending = false;
  if (c.is_profile_pending) return wake_at(c.profile_sent + call_limit);
  if (c.profile && !c.is_profile_doubted) return;
  const Instant due =
      c.profile ? std::max(c.profile_retry.next, c.profile_sent + profile_again_after) : c.profile_retry.next;
  if (now < due) return wake_at(due);
  c.is_profile_pending = true;
  c.profile_sent = now;
  wake_at(now + call_limit);
  emit(ProfileController{c.config.name});
}

void LogicState::doubt_profile(Executor& e, const Error& error) {
  Controller* c = controller_of(e);
  if (c != nullptr && error.code == ErrorCode::permission_denied) c->is_profile_doubted = true;
}

void LogicState::advance_controllers() {
  for (auto& [id, c] : controllers) {
    advance_profile(c);
    advance_companion(c);
    advance_poll(c, c.queue_poll, true);
    advance_poll(c, c.nodes_poll, false);
  }
}

void LogicState::on_profiled(const ControllerProfiled& event) {
  Controller* c = controller(event.controller);
  if (c == nullptr) return;
  c->is_profile_pending = false;
  replan();
  if (!event.profile) {
    c->profile_retry.note_failure(now, seconds(1), longest_backoff);
    c->profile_retry.next += jitter(seconds(1), prng);
    c->profile_problem = event.profile.error().message;
    say(Level::warning,
        "could not find out what the controller can do: " + c->profile_problem + "; trying again",
        {{"controller", event.controller.text}, {"hint", event.profile.error().hint}},
        "profile " + event.controller.text);
    return;
  }
  // A restart between the profile and a later read shows in that read's session.
  if (!note_session(*c, event.profile->session, c->profile_sent)) return;
  c->profile = *event.profile;
  c->is_profile_doubted = !c->profile->missing_permissions.empty();
  c->means = event.profile->one_build;
  c->profile_problem.clear();
  c->profile_retry.reset();
  for (const std::string& permission : c->profile->missing_permissions) {
    say(Level::error,
        "the account lacks the permission " + permission +
            "; no executor is launched for this controller until it is granted, which is looked for every " +
            duration_to_text(profile_again_after),
        {{"controller", event.controller.text}}, "permission " + event.controller.text + " " + permission);
  }
  for (auto& [id, e] : executors) {
    if (e.record.controller == event.controller) touch(e);
  }
}

bool LogicState::note_session(Controller& c, const std::string& session, Instant started) {
  if (session.empty() || session == c.session) return true;
  if (c.session.empty()) {
    c.session = session;
    c.session_seen = started;
    return true;
  }
  if (started <= c.session_seen) return false;  // sent before the restart was seen
  c.session = session;
  c.session_seen = started;
  restart_session(c);
  return true;
}

/// No build can have come: its gate was closed from before its agent was there, or there never was an agent.
/// Asked while the profile of before the restart is still known.
bool LogicState::was_never_open(const Executor& e) const {
  if (!is_unused(e)) return false;
  // Without a gate only its host tells that no agent came: a word of before a stop of ours, or of a host that
  // is silent, does not.
  const Host* host = e.at->host;
  const bool is_told =
      is_gated(e) || !e.was_ordered ||
      (host != nullptr && host->is_known && host->seen >= facts_from && now - host->asked <= host_silence);
  if (e.agent == AgentPhase::none && e.state() < ExecutorState::idle && is_told) return true;
  const bool is_shut = e.gate == Gate::closed || e.gate == Gate::telling;
  return is_gated(e) && is_shut && !e.is_adopted;
}

void LogicState::restart_session(Controller& c) {
  say(Level::warning,
      "the controller was restarted: its ephemeral nodes and their gates are gone; builds that can resume "
      "are waited for",
      {{"controller", c.config.name.text}, {"session", c.session}});
  c.consumed.clear();
  c.consumed_at.clear();
  c.orphan_sightings.clear();
  read_soon(c.nodes_poll);
  read_soon(c.queue_poll);
  for (auto& [id, e] : executors) {
    if (e.record.controller != c.config.name) continue;
    switch (e.state()) {
      case ExecutorState::planned:
      case ExecutorState::ordered:
      case ExecutorState::creating:
      case ExecutorState::booting:
      case ExecutorState::joining:
      case ExecutorState::idle:
        if (e.is_resuming) {
          abandon_resume(e);  // restarted again
        } else if (was_never_open(e)) {
          finish(e, "unused: the controller was restarted");
        } else {
          // It was open: a build may have started on it, and a pipeline block would ask for it again.
          mark_used(e);
          become_busy(e);
          lose_node(e);
        }
        break;
      case ExecutorState::busy:
        e.lost_since.reset();  // its block waits as long as after the first restart
        lose_node(e);
        break;
      default:
        break;
    }
    e.gate = Gate::none;
    e.is_node_known = false;
    touch(e);
  }
  c.profile.reset();
  c.profile_retry.reset();
  c.is_profile_pending = false;
  replan();
}

// With exactly one matching node a controller names that node instead of the label. If the node is an
// executor of ours, more of its template would serve the item, too; its own block that comes back wants it
// and no other.
void LogicState::resolve_hidden(Controller& c) {
  for (const DemandBook::Entry* entry : c.demand.hidden()) {
    const Executor* e = find(ExecutorId(entry->item.matching_node));
    if (e == nullptr || e->record.controller != c.config.name || e->is_resuming || e->lost_since) continue;
    if ((e->is_adopted && !e->is_node_known) || is_called_back(c, *e)) continue;
    c.demand.resolve_like(entry->item.id, e->record.template_name, template_index, now);
  }
}

void LogicState::on_queue_read(const QueueRead& event) {
  Controller* c = controller(event.controller);
  if (c == nullptr) return;
  ++counters.queue_reads;
  if (!event.queue) {
    ++counters.queue_read_failures;
    end_poll(*c, c->queue_poll, event.started, &event.queue.error(), true);
    return;
  }
  const bool is_current = note_session(*c, event.session, event.started);
  end_poll(*c, c->queue_poll, event.started, nullptr, true);
  if (!is_current) {
    read_soon(c->queue_poll);
    return;
  }
  for (auto& [id, e] : executors) {
    if (e.of != c || !e.lost_since || event.started < *e.lost_since) continue;
    ++e.queue_reads_lost;  // unless it waits, see take_queue
    touch(e);
  }
  if (c->is_told) {
    drop_consumed(*c, event.started);
    return compare_queue(*c, *event.queue);
  }
  take_queue(*c, *event.queue, event.started);
}

void LogicState::drop_consumed(Controller& c, Instant started) {
  std::erase_if(c.consumed, [&](const auto& pair) {
    const bool is_over = c.consumed_at[pair.first] < started;
    if (is_over) c.consumed_at.erase(pair.first);
    return is_over;
  });
}

void LogicState::take_queue(Controller& c, const QueueSnapshot& queue, Instant started) {
  c.demand.update(queue, template_index, now);
  resolve_hidden(c);
  if (c.demand.classes().size() > 2 * c.demand.items().size() + 1000) c.demand.drop_empty_classes();
  drop_consumed(c, started);
  for (auto& [id, e] : executors) {
    if (e.of != &c) continue;
    if (e.lost_since && c.demand.item_for_node(id.text)) {
      e.queue_reads_lost = 0;
      touch(e);
    }
    if (e.offer) touch(e);
  }
  meet_strays();
  replan();
}

void LogicState::advance_sentinel(Controller& c) {
  const std::string& name = c.config.sentinel_node;
  if (name.empty() || !c.profile || now < c.sentinel_retry.next) return;
  const auto found = c.nodes.find(name);
  const bool is_overdue = c.sentinel_create.is_pending() && now >= c.sentinel_create.sent + call_limit;
  if (is_overdue) c.sentinel_create = {};
  if (found == c.nodes.end()) {
    if (c.sentinel_create.is_pending() || c.nodes_poll.ok_started <= c.sentinel_create.sent) return;
    c.sentinel_create = new_call();
    CreateNode create;
    create.call = c.sentinel_create.id;
    create.controller = c.config.name;
    create.node = ExecutorId(name);
    create.remote_fs = "/nowhere";
    create.description = "keeps the texts of waiting items readable; never runs anything";
    emit(std::move(create));
    return;
  }
  if (found->second.is_temporarily_offline || c.sentinel_close.is_pending()) return;
  c.sentinel_close = new_call();
  emit(CloseGate{c.sentinel_close.id, c.config.name, ExecutorId(name), sentinel_reason});
}

bool LogicState::on_sentinel_created(const NodeCreated& event) {
  for (auto& [id, c] : controllers) {
    if (c.sentinel_create.id != event.call || event.call == 0) continue;
    c.sentinel_create.id = 0;  // its time stays: only a later list counts
    c.sentinel_create.sent = now;
    if (event.secret.has_value()) {
      c.sentinel_retry.reset();
      c.sentinel_close = new_call();
      emit(CloseGate{c.sentinel_close.id, id, event.node, sentinel_reason});
    } else {
      c.sentinel_retry.note_failure(now, seconds(5), minutes(1));
      say(Level::warning,
          "could not create the sentinel node: " + event.secret.error().message + "; trying again",
          {{"controller", id.text}, {"node", event.node.text}}, "sentinel " + id.text);
    }
    return true;
  }
  return false;
}

bool LogicState::on_sentinel_closed(const GateClosed& event) {
  for (auto& [id, c] : controllers) {
    if (c.sentinel_close.id != event.call || event.call == 0) continue;
    c.sentinel_close = {};
    if (!event.result) c.sentinel_retry.note_failure(now, seconds(5), minutes(1));
    return true;
  }
  return false;
}

}  // namespace skep::scheduler
