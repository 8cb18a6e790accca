// What drivers answer, and how a life begins: adopt what has an intent, destroy what has none.
#include <set>
#include <utility>

#include "agentd/core/state.h"

namespace skep::agentd {
namespace {

constexpr const char* lost_ticket =
    "agentd ended between order and start, and tickets are not kept; it cannot be started";

bool is_absence(const Error& error) {
  return error.code == ErrorCode::not_found && error.outcome == Outcome::failed;
}

}  // namespace

void AgentdLogic::State::on(const Started& event) {
  report.boot_id = event.boot_id;
  report.index = static_cast<std::uint64_t>(wall.ms_since_epoch > 0 ? wall.ms_since_epoch : 1);
  epoch_seen = event.epoch_seen;
  is_draining = event.is_draining;
  drain_reason = event.drain_reason;
  for (const DriverFact& fact : event.drivers) {
    DriverRow& row = drivers[fact.name];
    row.fact = fact;
    row.next_probe = row.next_list = now;
  }
  for (const IntentRecord& record : event.intents) {
    if (record.epoch > epoch_seen) epoch_seen = record.epoch;
    if (record.state == IntentState::gone) {
      const std::int64_t age_ms = wall.ms_since_epoch - record.gone_at.ms_since_epoch;
      add_tombstone(record.spec.id, record.gone_at,
                    config.tombstone_keep - milliseconds(age_ms > 0 ? age_ms : 0));
      continue;
    }
    Executor& executor = executors[record.spec.id];
    executor.record = record;
    executor.agent_attempt = record.ticket_attempt;
    executor.lease_until = now + record.lease;
    executor.retry_at = executor.record_retry_at = now;
    executor.seen = record.state == IntentState::creating ? SandboxState::absent : SandboxState::running;
    executor.records = 1;
    if (record.state == IntentState::destroying) {
      executor.state = ExecutorState::destroying;
      executor.wants_gone = true;
      continue;
    }
    executor.state = record.state == IntentState::failed ? ExecutorState::failed : ExecutorState::unknown;
    executor.is_adopting = true;
    if (drivers.count(record.spec.driver) == 0) {
      executor.trouble =
          "driver \"" + record.spec.driver + "\" is not configured, so nothing can be said or done about it";
    }
  }
  touch_all();
}

void AgentdLogic::State::on(const DriverProbed& event) {
  const auto found = drivers.find(event.driver);
  if (found == drivers.end() || found->second.probe_call != event.call) return;
  DriverRow& row = found->second;
  row.probe_call = 0;
  row.next_probe = std::exchange(row.is_probe_stale, false) ? now : now + config.probe_interval;
  is_use_changed = true;
  if (event.result) {
    row.use = *event.result;
  } else {
    row.use = DriverUse{false, event.result.error().message, {}};
  }
  if (!row.use->is_usable) {
    row.next_probe = now + config.slow_inspect_interval;
    explain(Level::warning, "driver " + event.driver + " is not usable: " + row.use->detail, {},
            "probe " + event.driver);
  }
}

void AgentdLogic::State::on(const DriverListed& event) {
  const auto found = drivers.find(event.driver);
  if (found == drivers.end() || found->second.list_call != event.call) return;
  DriverRow& row = found->second;
  row.list_call = 0;
  if (!event.result) {
    ++counters.driver_failures;
    row.next_list = now + backoff(++row.list_failures);
    explain(Level::warning,
            "driver " + event.driver + " cannot say what runs: " + event.result.error().message +
                "; it is asked again",
            {}, "list " + event.driver);
    return;
  }
  row.list_failures = 0;
  row.is_listed = true;
  row.next_list = now + config.list_interval;
  std::set<ExecutorId> listed;
  for (const Sandbox& sandbox : *event.result) {
    if (sandbox.state == SandboxState::absent) continue;
    listed.insert(sandbox.id);
    adopt_listed(event.driver, row, sandbox);
  }
  for (auto& [id, executor] : executors) {
    const bool is_ours = executor.record.spec.driver == event.driver && executor.is_adopting;
    if (is_ours && listed.count(id) == 0) adopt_unlisted(executor);
  }
  touch_all();
}

void AgentdLogic::State::adopt_listed(const std::string& driver, const DriverRow& row,
                                      const Sandbox& sandbox) {
  const auto found = executors.find(sandbox.id);
  if (found == executors.end()) {
    const auto stone = tombstones.find(sandbox.id);
    const bool went_meanwhile =
        stone != tombstones.end() && row.list_started <= stone->second.gone && stone->second.gone != born;
    if (went_meanwhile) return;
    ++counters.orphans_destroyed;
    Executor& orphan = executors[sandbox.id];
    orphan.record.spec.id = sandbox.id;
    orphan.record.spec.driver = driver;
    orphan.record.epoch = sandbox.epoch;
    orphan.record.handle = sandbox.handle;
    orphan.record.created_at = wall;
    orphan.seen = sandbox.state;
    orphan.agent = sandbox.agent;
    orphan.retry_at = orphan.record_retry_at = now;
    return begin_destroy(orphan, "it carries our tag, but nobody ordered it here");
  }
  Executor& executor = found->second;
  if (!executor.is_adopting || executor.record.spec.driver != driver) return;
  executor.is_adopting = false;
  if (sandbox.state != SandboxState::running || executor.state == ExecutorState::failed)
    return see(executor, sandbox);
  executor.seen = sandbox.state;
  executor.listed = sandbox;
  if (!sandbox.handle.blob.empty()) executor.record.handle = sandbox.handle;
  executor.is_recover_due = true;
}

void AgentdLogic::State::adopt_unlisted(Executor& executor) {
  executor.is_adopting = false;
  if (executor.record.state == IntentState::creating) {
    executor.seen = SandboxState::absent;
    fail(executor, lost_ticket);
    executor.is_residue_due = true;
  } else if (executor.state != ExecutorState::failed && !executor.record.handle.blob.empty()) {
    executor.is_recover_due = true;
  } else {
    Sandbox absent;
    absent.id = executor.id();
    see(executor, absent);
  }
}

void AgentdLogic::State::on(const DriverStarted& event) {
  Executor* executor = answered(event.call, event.id);
  if (executor == nullptr) return;
  executor->start_ticket.reset();
  executor->next_inspect = now + config.inspect_interval;
  if (event.result) {
    executor->failures = 0;
    return see(*executor, *event.result);
  }
  const Error& error = event.result.error();
  ++counters.starts_failed;
  if (error.outcome == Outcome::unknown) {
    executor->seen = SandboxState::running;  // it may be: a stop is asked for before a destroy
    return note_failure(*executor, "start", error);
  }
  executor->is_stop_done = true;
  if (executor->wants_gone) return;
  executor->seen = SandboxState::absent;
  fail(*executor, "it could not be started: " + error.message);
  executor->is_residue_due = true;
}

void AgentdLogic::State::on(const DriverInspected& event) {
  Executor* executor = answered(event.call, event.id);
  if (executor == nullptr) return;
  Sandbox sandbox;
  sandbox.id = event.id;
  if (event.result) {
    sandbox = *event.result;
  } else if (!is_absence(event.result.error())) {
    note_failure(*executor, "inspect", event.result.error());
    return lose_sight(*executor);
  }
  executor->must_inspect = false;
  const auto driver = drivers.find(executor->record.spec.driver);
  const bool is_pushed = driver != drivers.end() && driver->second.fact.reports_changes;
  executor->next_inspect = now + (is_pushed ? config.slow_inspect_interval : config.inspect_interval);
  if (executor->wants_gone && executor->is_destroy_done) {
    if (sandbox.state == SandboxState::absent) return become_gone(event.id);
    executor->is_destroy_done = false;
    return note_failure(*executor, "destroy",
                        Error::try_again(ErrorCode::generic, "something of it is still there"));
  }
  if (!executor->wants_gone) {
    executor->failures = 0;
    executor->trouble.clear();
  }
  see(*executor, sandbox);
  if (executor->delivery_ticket && executor->agent_attempt >= executor->delivery_ticket->attempt &&
      sandbox.ticket_attempt != 0) {
    executor->delivery_ticket.reset();
  }
}

void AgentdLogic::State::on(const DriverRecovered& event) {
  Executor* executor = answered(event.call, event.id);
  if (executor == nullptr) return;
  if (executor->wants_gone) return;
  Sandbox sandbox;
  sandbox.id = event.id;
  if (event.result) {
    sandbox = *event.result;
    ++counters.adopted;
    explain(Level::info, "executor adopted", event.id);
  } else if (event.result.error().outcome != Outcome::failed) {
    note_failure(*executor, "recover", event.result.error());
    executor->must_inspect = false;  // recover is itself a look
    return;
  } else if (executor->listed) {
    sandbox = *executor->listed;
    explain(Level::warning, "recover failed, its listing is believed: " + event.result.error().message,
            event.id);
  }
  executor->is_recover_due = false;
  executor->listed.reset();
  executor->failures = 0;
  executor->trouble.clear();
  executor->next_inspect = now + config.inspect_interval;
  see(*executor, sandbox);
}

void AgentdLogic::State::on(const DriverStopped& event) {
  Executor* executor = answered(event.call, event.id);
  if (executor == nullptr) return;
  executor->is_stop_done = true;
  if (event.result) return;
  explain(Level::warning, "stop failed: " + event.result.error().message + "; it is destroyed hard",
          event.id);
  if (event.result.error().outcome == Outcome::unknown) executor->must_inspect = true;
}

void AgentdLogic::State::on(const DriverDestroyed& event) {
  Executor* executor = answered(event.call, event.id);
  if (executor == nullptr) return;
  if (!event.result) return note_failure(*executor, "destroy", event.result.error());
  executor->is_residue_due = false;
  if (executor->wants_gone) {
    executor->is_destroy_done = true;
    executor->must_inspect = false;
    return;
  }
  executor->seen = SandboxState::absent;
  executor->failures = 0;
  executor->trouble.clear();
}

void AgentdLogic::State::on(const TicketDelivered& event) {
  Executor* executor = answered(event.call, event.id);
  if (executor == nullptr || executor->wants_gone) return;
  executor->is_inspect_due = true;
  if (event.result) {
    ++counters.tickets_delivered;
    executor->failures = 0;
    executor->trouble.clear();
    if (executor->delivery_ticket && executor->delivery_ticket->attempt == executor->delivering_attempt) {
      executor->delivery_ticket.reset();
    }
    return;
  }
  note_failure(*executor, "handing over the ticket", event.result.error());
  if (event.result.error().outcome != Outcome::failed) return;
  executor->record.ticket_attempt = executor->agent_attempt;  // so that the same order may try again
  executor->is_record_due = true;
  executor->delivery_ticket.reset();
}

void AgentdLogic::State::on(const InstanceChanged& event) {
  Executor* executor = touch(event.id);
  if (executor != nullptr && !executor->wants_gone) executor->is_inspect_due = true;
}

void AgentdLogic::State::on(const ImagesChanged&) {
  for (auto& [name, row] : drivers) {
    row.next_probe = now;
    row.is_probe_stale = row.probe_call != 0;
  }
}

void AgentdLogic::State::on(const Tick&) {}

void AgentdLogic::State::on(const StopRequested& event) {
  on_stop = event.on_stop;
  touch_all();
  explain(Level::info,
          event.on_stop == OnStop::keep ? "ending; executors run on and are adopted at the next start"
                                        : "ending; executors are removed first",
          {});
}

}  // namespace skep::agentd
