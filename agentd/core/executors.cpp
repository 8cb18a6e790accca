// One executor: what a driver's word makes of it, and how it ends.
#include <algorithm>
#include <utility>

#include "agentd/core/state.h"

namespace skep::agentd {
namespace {

using S = ExecutorState;

std::string exit_text(const std::optional<int>& code) {
  return code ? " with exit code " + std::to_string(*code) : std::string{};
}

std::string with_reason(std::string text, const std::string& reason) {
  return reason.empty() ? text : text + ": " + reason;
}

std::string message_of(const Executor& executor) {
  const std::string& message = executor.record.message;
  if (executor.trouble.empty()) return message;
  return message + (message.empty() ? "" : "; ") + executor.trouble;
}

}  // namespace

void AgentdLogic::State::set_state(Executor& executor, ExecutorState state) {
  if (executor.state == state) return;
  SKEP_ASSERT(is_legal_step(executor.state, state));
  executor.state = state;
}

void AgentdLogic::State::fail(Executor& executor, const std::string& message) {
  if (executor.wants_gone || executor.state == S::failed) return;
  // A sandbox that had ended and is now seen otherwise: the table has no such step, and to those who ask it
  // is over.
  if (!is_legal_step(executor.state, S::failed)) return;
  set_state(executor, S::failed);
  executor.deadline.reset();
  executor.start_ticket.reset();
  executor.delivery_ticket.reset();
  executor.record.state = IntentState::failed;
  executor.record.message = message;
  executor.is_record_due = true;
  explain(Level::warning, "executor failed: " + message, executor.id());
}

void AgentdLogic::State::begin_destroy(Executor& executor, const std::string& reason) {
  if (executor.wants_gone) return;
  explain(Level::info, "destroying executor: " + reason, executor.id());
  set_state(executor, S::destroying);
  executor.deadline.reset();
  executor.wants_gone = true;
  executor.is_residue_due = false;
  executor.is_recover_due = false;
  executor.is_adopting = false;
  executor.delivery_ticket.reset();
  executor.start_ticket.reset();
  executor.is_stop_done = executor.seen != SandboxState::running && executor.call == 0;
  executor.is_destroy_done = false;
  executor.failures = 0;
  executor.retry_at = now;
  if (executor.record.message.empty()) executor.record.message = reason;
  executor.record.state = IntentState::destroying;
  executor.is_record_due = true;
}

void AgentdLogic::State::become_gone(const ExecutorId& id) {
  const auto found = executors.find(id);
  SKEP_ASSERT(found != executors.end());
  IntentRecord record;
  record.spec.id = id;
  record.epoch = found->second.record.epoch;
  record.created_at = found->second.record.created_at;
  record.state = IntentState::gone;
  record.gone_at = wall;
  set_state(found->second, S::gone);
  add_tombstone(id, wall, config.tombstone_keep);
  ++counters.destroyed;
  explain(Level::info, "executor is gone", id);
  forget(found->second);
  out.emplace_back(RecordIntent{record});
  trim_tombstones();
}

void AgentdLogic::State::add_tombstone(const ExecutorId& id, WallTime gone_at, Duration keep) {
  const Instant forget_at = now + std::clamp(keep, Duration::zero(), config.tombstone_keep);
  tombstones[id] = Tombstone{now, forget_at, false, gone_at};
  tombstone_ends.emplace(forget_at, id);
}

/// Forgets those whose time is over, and the oldest ones beyond the limit.
void AgentdLogic::State::trim_tombstones() {
  while (!tombstone_ends.empty() &&
         (tombstone_ends.begin()->first <= now || tombstones.size() > config.max_tombstones)) {
    const auto [when, id] = *tombstone_ends.begin();
    tombstone_ends.erase(tombstone_ends.begin());
    const auto found = tombstones.find(id);
    if (found == tombstones.end() || found->second.forget_at != when) continue;
    tombstones.erase(found);
    if (executors.count(id) == 0) out.emplace_back(ForgetIntent{id});
  }
}

/// Between two looks its agent may have come, taken a build and been cut off: by a controller that restarts,
/// and then that build waits for it.
bool AgentdLogic::State::was_out_of_sight(const Executor& executor) const {
  return executor.has_missed_looks || !executor.seen_at ||
         now - *executor.seen_at > 2 * config.slow_inspect_interval;
}

void AgentdLogic::State::see(Executor& executor, const Sandbox& sandbox) {
  executor.seen = sandbox.state;
  executor.is_adopting = false;
  if (!sandbox.handle.blob.empty() && !(sandbox.handle == executor.record.handle)) {
    executor.record.handle = sandbox.handle;
    executor.is_record_due = true;
  }
  switch (sandbox.state) {
    case SandboxState::absent:
      return see_absent(executor);
    case SandboxState::creating:
      executor.is_stop_done = true;
      if (executor.wants_gone) return;
      fail(executor, with_reason("its start was interrupted", sandbox.message));
      executor.is_residue_due = executor.state == S::failed;
      return;
    case SandboxState::exited:
      executor.is_stop_done = true;
      executor.agent = AgentPhase::ended;
      executor.exit_code = sandbox.exit_code;
      if (executor.wants_gone || executor.state == S::finished) return;
      if (!executor.record.was_connected) {
        return fail(executor, with_reason("its sandbox ended" + exit_text(sandbox.exit_code) +
                                              " before its agent connected",
                                          sandbox.message));
      }
      if (executor.state == S::failed) return;
      executor.deadline.reset();
      explain(Level::info, "sandbox ended" + exit_text(sandbox.exit_code), executor.id());
      return set_state(executor, S::finished);
    case SandboxState::running:
      return see_running(executor, sandbox);
  }
}

void AgentdLogic::State::see_absent(Executor& executor) {
  executor.is_stop_done = true;
  if (executor.wants_gone) return;  // destroyed once more and looked at again before it is believed
  executor.agent = AgentPhase::none;
  if (executor.state == S::creating || executor.record.state == IntentState::creating) {
    fail(executor, "its start had an unknown outcome, and nothing of it exists");
  } else {
    fail(executor, "its sandbox has vanished");
  }
}

void AgentdLogic::State::see_running(Executor& executor, const Sandbox& sandbox) {
  executor.agent = sandbox.agent;
  if (sandbox.agent != AgentPhase::ended) {
    executor.agent_ended_at.reset();
  } else if (!executor.agent_ended_at) {
    executor.agent_ended_at = now;
  }
  executor.agent_attempt =
      sandbox.ticket_attempt != 0 ? sandbox.ticket_attempt : executor.record.ticket_attempt;
  executor.exit_code = sandbox.exit_code;
  if (executor.wants_gone || executor.state == S::finished) return;
  // Also of one that failed by its deadline: its controller may give it a build all the same.
  const bool was_begun = executor.record.state == IntentState::running ||
                         (executor.record.state == IntentState::creating && executor.state == S::unknown);
  const bool may_have_connected = sandbox.agent == AgentPhase::ended && executor.record.is_busy &&
                                  was_begun && was_out_of_sight(executor);
  executor.seen_at = now;
  executor.has_missed_looks = false;
  if ((sandbox.agent == AgentPhase::connected || may_have_connected) && !executor.record.was_connected) {
    executor.record.was_connected = true;
    executor.is_record_due = true;
  }
  if (executor.state == S::failed) return;
  if (executor.record.state == IntentState::creating) {
    executor.record.state = IntentState::running;
    executor.is_record_due = true;
  }
  if (executor.record.was_connected) {
    executor.deadline.reset();
    return set_state(executor, S::idle);
  }
  if (sandbox.agent == AgentPhase::ended) {
    return fail(executor,
                with_reason("its agent ended" + exit_text(sandbox.exit_code) + " before it connected",
                            sandbox.message));
  }
  if (sandbox.agent == AgentPhase::started) {
    if (executor.state == S::joining) {
      if (executor.deadline && executor.deadline->is_over) fail_late(executor);
      return;
    }
    executor.deadline = Deadline{now + executor.record.spec.join_deadline};
    return set_state(executor, S::joining);
  }
  if (executor.state == S::booting && executor.deadline && executor.deadline->is_over)
    return fail_late(executor);
  if (executor.state == S::creating || executor.state == S::unknown) {
    if (!executor.deadline) executor.deadline = Deadline{now + executor.record.spec.boot_deadline};
    set_state(executor, S::booting);
  }
}

void AgentdLogic::State::note_failure(Executor& executor, const char* verb, const Error& error) {
  ++counters.driver_failures;
  ++executor.failures;
  executor.retry_at = now + backoff(executor.failures);
  executor.trouble = std::string(verb) + " failed: " + error.message;
  explain(Level::warning, executor.trouble + "; it is tried again", executor.id(),
          std::string(verb) + " " + executor.id().text);
  if (error.outcome == Outcome::unknown) executor.must_inspect = true;
  executor.has_missed_looks = true;
}

/// It could not be looked at several times in a row: it counts as existing, and no deadline runs against it.
void AgentdLogic::State::lose_sight(Executor& executor) {
  const bool can_be_lost = executor.state == S::creating || executor.state == S::booting ||
                           executor.state == S::joining || executor.state == S::idle;
  if (!can_be_lost || executor.failures < 3) return;
  executor.deadline.reset();
  set_state(executor, S::unknown);
}

Executor* AgentdLogic::State::answered(CallId call, const ExecutorId& id) {
  const auto found = executors.find(id);
  if (found == executors.end() || found->second.call != call || call == 0) return nullptr;
  found->second.call = 0;
  touch(found->second);
  return &found->second;
}

void AgentdLogic::State::touch(Executor& executor) {
  if (std::exchange(executor.is_touched, true)) return;
  touched.push_back(&executor);
}

Executor* AgentdLogic::State::touch(const ExecutorId& id) {
  const auto found = executors.find(id);
  if (found == executors.end()) return nullptr;
  touch(found->second);
  return &found->second;
}

void AgentdLogic::State::touch_all() {
  for (auto& [id, executor] : executors) touch(executor);
}

void AgentdLogic::State::forget(Executor& executor) {
  const ExecutorId id = executor.id();
  if (executor.is_touched) std::erase(touched, &executor);
  if (executor.indexed_due) by_due.erase(&executor);
  executors.erase(id);
  forgotten.push_back(id);
}

ExecutorReport AgentdLogic::State::report_of(const Executor& executor) const {
  ExecutorReport shown;
  shown.id = executor.id();
  shown.template_name = executor.record.spec.template_name;
  shown.state = executor.state;
  shown.agent = executor.agent;
  shown.ticket_attempt = executor.agent_attempt;
  shown.agent_exit_code = executor.exit_code;
  shown.epoch = executor.record.epoch;
  shown.message = message_of(executor);
  shown.created_at = executor.record.created_at;
  shown.is_lease_expired = executor.is_lease_expired;
  shown.resources = executor.record.spec.resources;
  return shown;
}

/// Whether report_of() would make the same, of the same id.
bool AgentdLogic::State::is_shown(const Executor& executor, const ExecutorReport& shown) const {
  const bool is_message_same = executor.trouble.empty() ? shown.message == executor.record.message
                                                        : shown.message == message_of(executor);
  return shown.state == executor.state && shown.agent == executor.agent &&
         shown.ticket_attempt == executor.agent_attempt && shown.agent_exit_code == executor.exit_code &&
         shown.epoch == executor.record.epoch && shown.is_lease_expired == executor.is_lease_expired &&
         shown.created_at == executor.record.created_at && is_message_same &&
         shown.template_name == executor.record.spec.template_name &&
         shown.resources == executor.record.spec.resources;
}

}  // namespace skep::agentd
