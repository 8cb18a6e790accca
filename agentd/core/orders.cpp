// What schedulers ask for: orders, destruction, leases, drain. Every request gets exactly one reply.
#include <algorithm>

#include "agentd/core/state.h"

namespace skep::agentd {
namespace {

constexpr Duration least_lease = seconds(1);
constexpr Duration most_lease = hours(24);
constexpr Duration most_deadline = hours(24);
constexpr Duration most_stop_grace = minutes(10);

int status_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::stale_epoch:
    case ErrorCode::conflict:
      return 409;
    case ErrorCode::out_of_resources:
      return 507;
    case ErrorCode::unavailable:
      return 503;
    case ErrorCode::unsupported:
      return 422;
    default:
      return 400;
  }
}

Error invalid(std::string message) {
  return Error::failed(ErrorCode::invalid_input, std::move(message));
}

std::optional<Error> lease_error(Duration lease) {
  if (lease >= least_lease && lease <= most_lease) return std::nullopt;
  return invalid("a lease is " + duration_to_text(least_lease) + " to " + duration_to_text(most_lease) +
                 ", not " + duration_to_text(lease));
}

bool is_negative(const Resources& resources) {
  return resources.cpu_millis < 0 || resources.memory_bytes < 0 || resources.disk_bytes < 0 ||
         std::any_of(resources.countable.begin(), resources.countable.end(),
                     [](const auto& entry) { return entry.second < 0; });
}

bool is_beyond_joining(const Executor& executor) {
  return executor.state == ExecutorState::finished ||
         (executor.state == ExecutorState::failed && executor.seen != SandboxState::running);
}

}  // namespace

void AgentdLogic::State::reply(RequestId request, int status,
                               std::variant<ExecutorReport, HostReport, LeaseReply, Error> body,
                               const ExecutorId& about) {
  out.emplace_back(Reply{request, status, std::move(body), epoch_seen, about});
}

void AgentdLogic::State::refuse(RequestId request, const Error& error, const ExecutorId& about) {
  reply(request, status_of(error), error, about);
}

void AgentdLogic::State::reply_with_report(RequestId request, int status, Executor& executor) {
  executor.reply_to = request;
  executor.reply_batch = batch;
  reply(request, status, report_of(executor), executor.id());
}

std::optional<Error> AgentdLogic::State::check_epoch(Epoch epoch) const {
  if (epoch == 0) return invalid("epoch 0 is no leader's epoch; epochs start at 1");
  if (epoch >= epoch_seen) return std::nullopt;
  return Error::failed(ErrorCode::stale_epoch,
                       "epoch " + std::to_string(epoch) + " is older than " + std::to_string(epoch_seen) +
                           ", the highest that this host has seen",
                       "another leader has taken over; stop giving orders");
}

void AgentdLogic::State::see_epoch(Epoch epoch) {
  if (epoch <= epoch_seen) return;
  epoch_seen = epoch;
  out.emplace_back(RecordEpoch{epoch});
}

std::optional<Error> AgentdLogic::State::shape_error(const ExecutorOrder& order) const {
  const ExecutorSpec& spec = order.spec;
  if (!is_valid_name(spec.id.text))
    return invalid("\"" + spec.id.text.substr(0, 80) + "\" is no executor id: [a-z0-9-], 1 to 60 characters");
  if (auto error = lease_error(order.lease)) return error;
  if (is_negative(spec.resources)) return invalid("resources of " + spec.id.text + " are negative");
  const bool are_deadlines_sane =
      spec.boot_deadline > Duration::zero() && spec.boot_deadline <= most_deadline &&
      spec.join_deadline > Duration::zero() && spec.join_deadline <= most_deadline;
  if (!are_deadlines_sane)
    return invalid("boot and join deadlines of " + spec.id.text + " must be over 0 and at most 24h");
  if (spec.stop_grace < Duration::zero() || spec.stop_grace > most_stop_grace) {
    return invalid("stop grace of " + spec.id.text + " must be 0 to " + duration_to_text(most_stop_grace));
  }
  if (order.ticket.attempt == 0)
    return invalid("ticket of " + spec.id.text + " has attempt 0; attempts start at 1");
  return std::nullopt;
}

std::optional<Error> AgentdLogic::State::capacity_error(const ExecutorSpec& spec) const {
  if (static_cast<std::int64_t>(executors.size()) >= config.max_executors) {
    return Error::try_again(ErrorCode::out_of_resources,
                            "host " + config.host.text + " has " + std::to_string(executors.size()) +
                                " executors, its limit; " + spec.id.text + " was not started");
  }
  Resources free = config.capacity;
  for (const auto& [id, executor] : executors) free -= executor.record.spec.resources;
  const auto shortage = spec.resources.shortage_in(free);
  if (!shortage) return std::nullopt;
  return Error::try_again(ErrorCode::out_of_resources, "host " + config.host.text + " has no room for " +
                                                           spec.id.text + ": " + to_string(*shortage));
}

/// Why a new executor is not made now.
std::optional<Error> AgentdLogic::State::refusal_of(const ExecutorOrder& order) const {
  const ExecutorSpec& spec = order.spec;
  if (tombstones.count(spec.id) != 0) {
    return Error::failed(ErrorCode::conflict,
                         "executor " + spec.id.text + " is gone; ids are never used again");
  }
  if (on_stop)
    return Error::try_again(ErrorCode::unavailable,
                            "host " + config.host.text + " is ending; " + spec.id.text + " was not started");
  if (is_draining) {
    return Error::try_again(ErrorCode::unavailable, "host " + config.host.text + " is draining (" +
                                                        drain_reason + "); " + spec.id.text +
                                                        " was not started");
  }
  const auto driver = drivers.find(spec.driver);
  if (driver == drivers.end()) {
    return Error::failed(ErrorCode::unsupported, "host " + config.host.text + " has no driver \"" +
                                                     spec.driver + "\"; " + spec.id.text +
                                                     " was not started");
  }
  if (!driver->second.is_listed || !driver->second.use) {
    return Error::try_again(ErrorCode::unavailable,
                            "host " + config.host.text + " is still finding out what runs on it");
  }
  if (!driver->second.use->is_usable) {
    return Error::try_again(ErrorCode::unavailable,
                            "driver " + spec.driver + " is not usable: " + driver->second.use->detail);
  }
  if (order.ticket.attempt > 1) {
    return Error::failed(ErrorCode::conflict,
                         "executor " + spec.id.text + " cannot join again: it is not here any more");
  }
  return capacity_error(spec);
}

void AgentdLogic::State::on(const OrderArrived& event) {
  const ExecutorId& id = event.order.spec.id;
  std::optional<Error> error = shape_error(event.order);
  if (!error) error = check_epoch(event.order.epoch);
  if (error) {
    ++counters.orders_refused;
    return refuse(event.request, *error, id);
  }
  see_epoch(event.order.epoch);
  if (Executor* known = touch(id)) return repeat(event, *known);
  if (auto refusal = refusal_of(event.order)) {
    ++counters.orders_refused;
    return refuse(event.request, *refusal, id);
  }
  accept(event);
}

void AgentdLogic::State::accept(const OrderArrived& event) {
  ++counters.orders_accepted;
  const ExecutorOrder& order = event.order;
  Executor& executor = executors[order.spec.id];
  touch(executor);
  executor.record.spec = order.spec;
  executor.record.epoch = order.epoch;
  executor.record.lease = order.lease;
  executor.record.is_busy = order.is_busy;
  executor.record.ticket_attempt = order.ticket.attempt;
  executor.record.created_at = wall;
  executor.agent_attempt = order.ticket.attempt;
  executor.state = ExecutorState::creating;
  executor.lease_until = now + order.lease;
  executor.deadline = Deadline{now + order.spec.boot_deadline};
  executor.start_ticket = order.ticket;
  executor.is_record_due = true;
  executor.retry_at = executor.record_retry_at = now;
  explain(Level::info, "executor ordered", order.spec.id);
  advance(executor);
  reply_with_report(event.request, 202, executor);
}

/// Whether an agent was ever there we may have missed: the scheduler, who wants it to join again, knows
/// better.
void AgentdLogic::State::revive(Executor& executor) {
  executor.record.state = IntentState::running;
  executor.record.was_connected = true;
  executor.record.message.clear();
  executor.deadline.reset();
  set_state(executor, ExecutorState::unknown);
  set_state(executor, ExecutorState::idle);
}

/// The same id again: nothing new happens, unless a newer ticket is to be handed over.
void AgentdLogic::State::repeat(const OrderArrived& event, Executor& executor) {
  const ExecutorOrder& order = event.order;
  const std::string& name = order.spec.id.text;
  std::optional<Error> error;
  const bool is_newer_ticket = order.ticket.attempt > executor.record.ticket_attempt;
  if (executor.wants_gone) {
    error = Error::failed(ErrorCode::conflict,
                          "executor " + name + " is being destroyed; ids are never used again");
  } else if (!is_newer_ticket && !(order.spec == executor.record.spec)) {
    // One that joins again stays what it was made of, whatever its template says by now.
    error = Error::failed(ErrorCode::conflict, "executor " + name + " exists with another specification",
                          "destroy it, and order a new one under a new id");
  } else if (is_newer_ticket && is_beyond_joining(executor)) {
    error = Error::failed(ErrorCode::conflict, "executor " + name + " cannot join again: it has " +
                                                   std::string(to_string(executor.state)));
  } else if (is_newer_ticket) {
    const auto driver = drivers.find(order.spec.driver);
    if (driver == drivers.end() || !driver->second.fact.can_redeliver_ticket) {
      error = Error::failed(ErrorCode::unsupported,
                            "driver " + order.spec.driver + " cannot hand a new ticket to " + name);
    }
  }
  if (error) {
    ++counters.orders_refused;
    return refuse(event.request, *error, order.spec.id);
  }
  executor.lease_until = now + order.lease;
  executor.is_lease_expired = false;
  if (order.epoch > executor.record.epoch || order.lease != executor.record.lease || is_newer_ticket) {
    executor.record.epoch = order.epoch;
    executor.record.lease = order.lease;
    executor.is_record_due = true;
  }
  if (is_newer_ticket) {
    executor.record.ticket_attempt = order.ticket.attempt;
    executor.delivery_ticket = order.ticket;
    if (executor.state == ExecutorState::failed) revive(executor);
    explain(Level::info, "a new ticket arrived, attempt " + std::to_string(order.ticket.attempt),
            order.spec.id);
  }
  advance(executor);
  reply_with_report(event.request, 202, executor);
}

void AgentdLogic::State::on(const DestroyArrived& event) {
  std::optional<Error> error;
  if (!is_valid_name(event.id.text))
    error = invalid("\"" + event.id.text.substr(0, 80) + "\" is no executor id");
  if (!error) error = check_epoch(event.epoch);
  if (error) return refuse(event.request, *error, event.id);
  see_epoch(event.epoch);
  if (Executor* executor = touch(event.id)) {
    begin_destroy(*executor, "ordered by epoch " + std::to_string(event.epoch));
    advance(*executor);
    return reply_with_report(event.request, 202, *executor);
  }
  const auto is_listed = [](const auto& entry) { return entry.second.is_listed; };
  if (tombstones.count(event.id) == 0 && !std::all_of(drivers.begin(), drivers.end(), is_listed)) {
    return refuse(event.request,
                  Error::try_again(ErrorCode::unavailable,
                                   "host " + config.host.text + " is still finding out what runs on it"),
                  event.id);
  }
  ExecutorReport gone;
  gone.id = event.id;
  gone.state = ExecutorState::gone;
  gone.epoch = event.epoch;
  if (tombstones.count(event.id) == 0) {  // so that a late order cannot bring it to life
    IntentRecord record;
    record.spec.id = event.id;
    record.epoch = event.epoch;
    record.state = IntentState::gone;
    record.created_at = record.gone_at = wall;
    add_tombstone(event.id, wall, config.tombstone_keep);
    out.emplace_back(RecordIntent{record});
    trim_tombstones();
  }
  out.emplace_back(Reply{event.request, 200, gone, epoch_seen, {}});
}

void AgentdLogic::State::on(const LeasesArrived& event) {
  std::optional<Error> error = lease_error(event.renewal.lease);
  if (!error) error = check_epoch(event.renewal.epoch);
  if (error) return refuse(event.request, *error);
  see_epoch(event.renewal.epoch);
  const std::pair renewal{event.renewal.epoch, event.renewal.number};
  if (renewal < last_renewal)
    return refuse(event.request,
                  Error::failed(ErrorCode::conflict, "a later renewal than this one was taken already",
                                "nothing needs to be done: the later one counts"));
  last_renewal = renewal;
  LeaseReply answer;
  for (const LeaseRenewal::Entry& entry : event.renewal.executors) {
    Executor* executor = touch(entry.id);
    if (executor == nullptr) {
      answer.not_here.push_back(entry.id);
      continue;
    }
    if (executor->wants_gone) {
      answer.leaving.push_back(entry.id);
      continue;
    }
    executor->lease_until = now + event.renewal.lease;
    executor->is_lease_expired = false;
    if (executor->record.is_busy == entry.is_busy) continue;
    executor->record.is_busy = entry.is_busy;
    executor->is_record_due = true;
  }
  advance_all();
  answer.epoch_seen = epoch_seen;
  reply(event.request, 200, answer);
}

void AgentdLogic::State::on(const DrainSet& event) {
  if (is_draining != event.is_draining || drain_reason != event.reason) {
    is_draining = event.is_draining;
    drain_reason = event.is_draining ? event.reason : std::string{};
    out.emplace_back(RecordDrain{is_draining, drain_reason});
    explain(Level::info, is_draining ? "draining: " + drain_reason : "no longer draining", {});
  }
  refresh_report();
  HostReport answer = report;
  answer.executors.clear();
  drain_request = event.request;
  out.emplace_back(Reply{event.request, 200, answer, epoch_seen, {}, true});
}

}  // namespace skep::agentd
