// What is asked for next, and when: at most one driver call per executor, back-off, deadlines, leases.
#include <algorithm>
#include <utility>

#include "agentd/core/state.h"

namespace skep::agentd {
namespace {

using S = ExecutorState;
constexpr Duration record_retry = seconds(5);

bool is_over(const Executor& executor) {
  if (executor.is_adopting) return false;  // of an earlier life, and not looked at yet in this one
  return executor.seen == SandboxState::exited || executor.seen == SandboxState::absent ||
         executor.agent == AgentPhase::ended;
}

/// A look that is due, under way or failed may yet find that its agent came long ago: a driver can be ill for
/// longer than a lease.
bool may_have_come_on(const Executor& executor) {
  const bool is_look_open = executor.call != 0 || executor.failures > 0 || executor.must_inspect ||
                            executor.is_inspect_due || executor.is_adopting || executor.is_recover_due;
  return is_look_open &&
         (executor.state == S::creating || executor.state == S::booting || executor.state == S::unknown);
}

/// Its agent is, or may any moment be, connected: then the controller may have given it a build, whatever
/// the last leader still knew of it.
bool may_run_build(const Executor& executor) {
  const bool is_reached =
      executor.record.was_connected || executor.state == S::joining || may_have_come_on(executor);
  return executor.record.is_busy && is_reached;
}

/// After a restart of the controller a build goes on in the sandbox while its agent is away.
std::optional<Instant> may_resume_until(const Executor& executor, Duration window) {
  const bool is_alone = executor.agent == AgentPhase::ended && executor.seen == SandboxState::running;
  if (!is_alone || !may_run_build(executor) || !executor.agent_ended_at) return std::nullopt;
  return *executor.agent_ended_at + window;
}

/// Most hosts have one driver, and this is asked of an executor at each event that touches it.
bool has_driver(const std::map<std::string, DriverRow>& drivers, const Executor& executor) {
  const std::string& name = executor.record.spec.driver;
  return drivers.size() == 1 ? drivers.begin()->first == name : drivers.count(name) != 0;
}

bool is_worth_inspecting(const Executor& executor) {
  return executor.state != S::finished && executor.seen != SandboxState::absent;
}

}  // namespace

Duration AgentdLogic::State::backoff(int failures) const {
  Duration pause = config.retry_first;
  for (int i = 1; i < failures && pause < config.retry_last; ++i) pause *= 2;
  return std::min(pause, config.retry_last);
}

void AgentdLogic::State::check_deadlines(Executor& executor) {
  if (!executor.deadline || executor.deadline->is_over || now < executor.deadline->at || executor.wants_gone)
    return;
  if (executor.state == S::creating) return fail_late(executor);
  executor.deadline->is_over = executor.is_inspect_due = true;
}

void AgentdLogic::State::fail_late(Executor& executor) {
  const auto& spec = executor.record.spec;
  if (executor.state == S::joining) {
    fail(executor, "its agent did not connect within " + duration_to_text(spec.join_deadline));
  } else if (executor.state == S::creating || executor.state == S::booting) {
    fail(executor, "its agent process did not start within " + duration_to_text(spec.boot_deadline));
  }
}

void AgentdLogic::State::check_lease(Executor& executor) {
  if (executor.wants_gone) return;
  const auto resumes = may_resume_until(executor, config.resume_window);
  const bool is_left = is_over(executor) && executor.call == 0 && !(resumes && now < *resumes);
  const bool is_unneeded = !may_run_build(executor) || is_left;
  if (on_stop == OnStop::remove) return begin_destroy(executor, "this host removes its executors");
  if (on_stop == OnStop::drain && is_unneeded) return begin_destroy(executor, "this host leaves");
  if (now < executor.lease_until) return;
  const bool is_news = !executor.is_lease_expired;
  executor.is_lease_expired = true;
  if (is_news) ++counters.leases_ended;
  if (is_unneeded) {
    begin_destroy(executor, "its lease ended: no leader has renewed it");
  } else if (now >= executor.lease_until + config.forever_limit) {
    begin_destroy(executor, "its lease ended " + duration_to_text(config.forever_limit) + " ago");
  } else if (is_news) {
    explain(Level::warning,
            "lease ended, but a build may be running: the executor is kept until its agent ends",
            executor.id());
  }
}

AgentdLogic::State::Due AgentdLogic::State::what_is_due(const Executor& executor) const {
  if (on_stop == OnStop::keep || !has_driver(drivers, executor)) return Due::nothing;
  if (executor.must_inspect) return Due::inspect;
  if (executor.wants_gone) {
    if (!executor.is_stop_done) return Due::stop;
    return executor.is_destroy_done ? Due::inspect : Due::destroy;
  }
  if (executor.is_adopting) return Due::nothing;
  if (executor.is_recover_due) return Due::recover;
  if (executor.is_residue_due) return Due::destroy;
  if (executor.start_ticket) return Due::start;
  if (executor.delivery_ticket && executor.seen == SandboxState::running) return Due::deliver_ticket;
  const bool is_look_due =
      executor.is_inspect_due || (is_worth_inspecting(executor) && now >= executor.next_inspect);
  return is_look_due ? Due::inspect : Due::nothing;
}

std::optional<Verb> AgentdLogic::State::due_verb(const Executor& executor) const {
  switch (what_is_due(executor)) {
    case Due::nothing:
      return std::nullopt;
    case Due::inspect:
      return Inspect{};
    case Due::stop:
      return Stop{executor.record.spec.stop_grace};
    case Due::destroy:
      return Destroy{};
    case Due::recover:
      return Recover{executor.record.handle};
    case Due::start:
      return Start{executor.record.spec, *executor.start_ticket, executor.record.epoch};
    case Due::deliver_ticket:
      return DeliverTicket{*executor.delivery_ticket};
  }
  return std::nullopt;
}

void AgentdLogic::State::call(Executor& executor, Verb verb) {
  executor.call = ++last_call;
  executor.call_batch = batch;
  executor.is_inspect_due = false;
  if (const auto* delivery = std::get_if<DeliverTicket>(&verb))
    executor.delivering_attempt = delivery->ticket.attempt;
  out.emplace_back(CallDriver{executor.call, executor.record.spec.driver, executor.id(), std::move(verb)});
}

void AgentdLogic::State::advance(Executor& executor) {
  check_deadlines(executor);
  check_lease(executor);
  if (executor.is_record_due && now >= executor.record_retry_at) {
    executor.is_record_due = false;
    executor.record_batch = batch;
    ++executor.records;
    out.emplace_back(RecordIntent{executor.record});
  }
  if (executor.call != 0 || now < executor.retry_at || what_is_due(executor) == Due::nothing) return;
  if (auto verb = due_verb(executor)) call(executor, std::move(*verb));
}

void AgentdLogic::State::advance(const std::string& name, DriverRow& row) {
  if (on_stop == OnStop::keep) return;
  if (row.probe_call == 0 && now >= row.next_probe) {
    row.probe_call = ++last_call;
    out.emplace_back(CallDriver{row.probe_call, name, {}, Probe{}});
  }
  if (row.list_call == 0 && now >= row.next_list) {
    row.list_call = ++last_call;
    row.list_started = now;
    out.emplace_back(CallDriver{row.list_call, name, {}, List{}});
  }
}

void AgentdLogic::State::advance_all() {
  if ((is_epoch_due || is_drain_due) && now >= state_retry_at) {
    if (is_epoch_due) out.emplace_back(RecordEpoch{epoch_seen});
    if (is_drain_due) out.emplace_back(RecordDrain{is_draining, drain_reason});
    is_epoch_due = is_drain_due = false;
  }
  if (has_unrecorded_tombstone && now >= state_retry_at) {
    has_unrecorded_tombstone = false;
    for (auto& [id, stone] : tombstones) {
      if (!std::exchange(stone.is_record_due, false)) continue;
      IntentRecord record;
      record.spec.id = id;
      record.state = IntentState::gone;
      record.gone_at = stone.gone_at;
      out.emplace_back(RecordIntent{record});
    }
  }
  for (auto& [name, row] : drivers) advance(name, row);
  for (Executor* executor : by_due) {
    if (now < *executor->indexed_due) break;
    touch(*executor);
  }
  std::sort(touched.begin(), touched.end(),
            [](const Executor* a, const Executor* b) { return a->id() < b->id(); });
  for (Executor* executor : touched) advance(*executor);
  trim_tombstones();
}

std::optional<Instant> AgentdLogic::State::due(const Executor& executor) const {
  std::optional<Instant> earliest;
  const auto consider = [&earliest](Instant when) {
    if (!earliest || when < *earliest) earliest = when;
  };
  if (executor.is_record_due) consider(executor.record_retry_at);
  if (!executor.wants_gone) {
    if (executor.deadline && !executor.deadline->is_over) consider(executor.deadline->at);
    consider(executor.is_lease_expired ? executor.lease_until + config.forever_limit : executor.lease_until);
    const auto resumes = may_resume_until(executor, config.resume_window);
    const bool waits = executor.is_lease_expired || on_stop == OnStop::drain;  // see check_lease
    if (waits && resumes && now < *resumes) consider(*resumes);
  }
  if (executor.call != 0 || on_stop == OnStop::keep || !has_driver(drivers, executor)) return earliest;
  if (what_is_due(executor) != Due::nothing) {
    consider(std::max(executor.retry_at, now));
  } else if (!executor.is_adopting && is_worth_inspecting(executor)) {
    consider(std::max(executor.retry_at, executor.next_inspect));
  }
  return earliest;
}

void AgentdLogic::State::index(Executor& executor) {
  const std::optional<Instant> when = due(executor);
  if (executor.indexed_due == when) return;
  auto node = executor.indexed_due ? by_due.extract(&executor) : decltype(by_due)::node_type();
  executor.indexed_due = when;
  if (!when) return;
  if (node.empty()) {
    by_due.insert(&executor);
  } else {
    by_due.insert(std::move(node));
  }
}

void AgentdLogic::State::end_event() {
  for (Executor* executor : touched) {
    executor->is_touched = false;
    index(*executor);
  }
  touched.clear();
  forgotten.clear();
}

bool AgentdLogic::State::is_consistent() const {
  std::size_t indexed = 0;
  auto shown = report.executors.begin();
  for (const auto& [id, executor] : executors) {
    if (executor.is_touched || executor.indexed_due != due(executor)) return false;
    if (executor.indexed_due) ++indexed;
    if (shown == report.executors.end() || shown->id != id || !is_shown(executor, *shown++)) return false;
  }
  return shown == report.executors.end() && indexed == by_due.size() && touched.empty();
}

void AgentdLogic::State::on(const IntentNotRecorded& event) {
  ++counters.record_failures;
  Executor* found = touch(event.id);
  if (found == nullptr) {
    const auto stone = tombstones.find(event.id);
    if (stone != tombstones.end()) {
      stone->second.is_record_due = has_unrecorded_tombstone = true;
      state_retry_at = now + record_retry;
    }
    explain(Level::error, "an executor's end could not be recorded: " + event.error.message, event.id,
            "record failed");
    return;
  }
  Executor& executor = *found;
  const bool has_dropped_reply = executor.reply_to != 0 && executor.reply_batch == executor.record_batch;
  if (executor.call != 0 && executor.call_batch == executor.record_batch) executor.call = 0;
  if (executor.records == 1 && executor.start_ticket) {
    ++counters.orders_refused;
    explain(Level::error, "order refused, its intent could not be recorded: " + event.error.message,
            event.id);
    const RequestId request = executor.reply_to;
    forget(executor);
    return refuse(request,
                  Error::try_again(ErrorCode::out_of_resources,
                                   "executor " + event.id.text +
                                       " was not started: its intent could not be recorded (" +
                                       event.error.message + ")",
                                   "free space where agentd keeps its state, or place it on another host"),
                  event.id);
  }
  executor.is_record_due = true;
  executor.record_retry_at = now + record_retry;
  explain(Level::error,
          "an executor's intent could not be recorded: " + event.error.message + "; it is tried again",
          event.id, "record failed");
  if (has_dropped_reply) reply_with_report(executor.reply_to, 202, executor);
}

void AgentdLogic::State::on(const StateNotRecorded& event) {
  ++counters.record_failures;
  is_epoch_due = is_drain_due = true;
  state_retry_at = now + record_retry;
  if (drain_request) {
    refuse(*std::exchange(drain_request, std::nullopt),
           Error::try_again(ErrorCode::out_of_resources,
                            "host " + config.host.text + (is_draining ? " drains" : " takes work again") +
                                ", but forgets it at a restart: it could not be recorded (" +
                                event.error.message + ")",
                            "free space where agentd keeps its state; it is recorded then"),
           {});
  }
  explain(Level::error,
          "epoch or drain could not be recorded: " + event.error.message + "; it is tried again", {},
          "state record failed");
}

void AgentdLogic::State::explain(Level level, std::string message, const ExecutorId& id, std::string key) {
  Explain line{level, std::move(message), {}, std::move(key)};
  if (!id.empty()) line.fields.emplace_back("executor", id.text);
  out.emplace_back(std::move(line));
}

void AgentdLogic::State::refresh_report() {
  bool is_changed = report_drivers();
  const auto show = [&is_changed](auto& shown, const auto& value) {
    if (shown == value) return;
    shown = value;
    is_changed = true;
  };
  show(report.is_draining, is_draining || on_stop.has_value());
  if (on_stop) {
    show(report.drain_reason, std::string_view("agentd is ending"));
  } else {
    show(report.drain_reason, drain_reason);
  }
  show(report.epoch_seen, epoch_seen);
  if (report_executors() || is_changed) ++report.index;
}

/// True: what the report says of drivers and images became another.
bool AgentdLogic::State::report_drivers() {
  if (!std::exchange(is_use_changed, false)) return false;
  std::vector<std::string> names, images;
  for (const auto& [name, row] : drivers) {
    if (!row.use || !row.use->is_usable) continue;
    names.push_back(name);
    images.insert(images.end(), row.use->images.begin(), row.use->images.end());
  }
  std::sort(images.begin(), images.end());
  images.erase(std::unique(images.begin(), images.end()), images.end());
  if (names == report.drivers && images == report.images) return false;
  report.drivers = std::move(names);
  report.images = std::move(images);
  return true;
}

bool AgentdLogic::State::report_executors() {
  bool is_changed = false;
  for (const ExecutorId& id : forgotten) {
    if (executors.count(id) == 0) is_changed = report_executor(id, nullptr) || is_changed;
  }
  for (const Executor* executor : touched)
    is_changed = report_executor(executor->id(), executor) || is_changed;
  return is_changed;
}

/// True: what the report says of it became another. nullptr: it is not there any more.
bool AgentdLogic::State::report_executor(const ExecutorId& id, const Executor* executor) {
  std::vector<ExecutorReport>& all = report.executors;  // in the order of ids
  const auto place =
      std::lower_bound(all.begin(), all.end(), id,
                       [](const ExecutorReport& each, const ExecutorId& wanted) { return each.id < wanted; });
  const bool is_there = place != all.end() && place->id == id;
  if (executor == nullptr) {
    if (is_there) all.erase(place);
  } else if (!is_there) {
    all.insert(place, report_of(*executor));
  } else if (is_shown(*executor, *place)) {
    return false;
  } else {
    *place = report_of(*executor);
  }
  return executor != nullptr || is_there;
}

}  // namespace skep::agentd
