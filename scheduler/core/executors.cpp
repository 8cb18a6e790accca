// The executors' table: look-up, legal steps, and the two ways to end.
#include <algorithm>

#include "core/check.h"
#include "core/lifecycle/lifecycle.h"
#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

bool is_under_way(ExecutorState state) {
  return state != ExecutorState::idle && state != ExecutorState::held && state != ExecutorState::gone;
}

/// Whether a pass over demand must look at it. May say so for too many, never for too few.
bool is_for_passes(const Executor& e) {
  if (e.took_item_at) return true;  // covers an item until the next read of the queue: plan.cpp lets it go
  switch (e.state()) {
    case ExecutorState::busy:
    case ExecutorState::failed:
    case ExecutorState::destroying:
    case ExecutorState::gone:
      return false;
    case ExecutorState::finished:
    case ExecutorState::held:
    case ExecutorState::unknown:
      return !e.record.was_used;
    default:
      return true;
  }
}

}  // namespace

bool is_foreign_offline(const NodeFact& node) {
  return node.is_temporarily_offline && !node.offline_reason.starts_with(our_offline_prefix);
}

bool counts_for_maximum(const Executor& e) {
  const ExecutorState state = e.state();
  if (state == ExecutorState::busy) return true;
  const bool is_leaving = state == ExecutorState::failed || state == ExecutorState::destroying;
  if (is_leaving || state == ExecutorState::gone) return false;
  // One that joins again after a restart of its controller, or did in vain, was used already, and is there
  // all the same.
  return !e.record.was_used || is_coming(state) || state == ExecutorState::idle;
}

Executor* LogicState::find(const ExecutorId& id) {
  const auto found = executors.find(id);
  return found == executors.end() ? nullptr : &found->second;
}

const Executor* LogicState::find(const ExecutorId& id) const {
  const auto found = executors.find(id);
  return found == executors.end() ? nullptr : &found->second;
}

Controller* LogicState::controller_of(const Executor& e) {
  return e.at != nullptr ? e.of : controller(e.record.controller);
}
const Controller* LogicState::controller_of(const Executor& e) const {
  return e.at != nullptr ? e.of : controller(e.record.controller);
}

bool LogicState::is_gated(const Executor& e) const {
  const Controller* c = controller_of(e);
  return c != nullptr && c->means == OneBuildMeans::gate;
}

bool LogicState::is_host_known(const HostId& id) const {
  const auto found = hosts.find(id);
  return found != hosts.end() && found->second.is_known;
}

void LogicState::follow(Executor& e) {
  if (!is_for_passes(e)) return unfollow(e);
  if (e.place_in_play != Executor::nowhere) return;
  e.place_in_play = in_play.size();
  in_play.push_back(&e);
}

void LogicState::unfollow(Executor& e) {
  if (e.place_in_play == Executor::nowhere) return;
  Executor* const last = in_play.back();
  in_play[e.place_in_play] = last;
  last->place_in_play = e.place_in_play;
  in_play.pop_back();
  e.place_in_play = Executor::nowhere;
}

Executor& LogicState::insert(Executor e) {
  const ExecutorId id = e.id();
  Controller* c = controller_of(e);
  if (c != nullptr && is_under_way(e.state())) ++c->under_way;
  const auto [place, is_new] = executors.insert_or_assign(id, std::move(e));
  SKEP_ASSERT(is_new);
  Executor& kept = place->second;
  kept.at = &place_of(kept.record.host);
  kept.of = c;
  kept.at->executors.emplace(id, &kept);
  changed(*kept.at);
  if (kept.state() == ExecutorState::busy) ++busy_of[kept.record.template_name];
  follow(kept);
  touch(kept);
  replan();
  return kept;
}

void LogicState::set_state(Executor& e, ExecutorState to) {
  const ExecutorState from = e.record.state;
  if (from == to) return;
  SKEP_ASSERT(is_legal_step(from, to));
  Controller* c = controller_of(e);
  if (c != nullptr) c->under_way += static_cast<int>(is_under_way(to)) - static_cast<int>(is_under_way(from));
  if (from == ExecutorState::busy) --busy_of[e.record.template_name];
  if (to == ExecutorState::busy) ++busy_of[e.record.template_name];
  e.record.state = to;
  e.state_since = now;
  follow(e);
  changed(*e.at);
  touch(e);
  replan();
}

void LogicState::wake(Executor& e, Instant when) {
  when = std::max(when, now + milliseconds(1));  // never again within the same instant
  if (e.wake && *e.wake <= when) return;
  if (e.wake) wakes_.erase(&e);
  e.wake = when;
  wakes_.insert(&e);
}

void LogicState::advance(Executor& e) {
  if (e.wake) wakes_.erase(&e);
  e.wake.reset();
  switch (e.state()) {
    case ExecutorState::planned:
      return advance_planned(e);
    case ExecutorState::ordered:
    case ExecutorState::creating:
    case ExecutorState::booting:
    case ExecutorState::joining:
      return advance_coming(e);
    case ExecutorState::idle:
      return advance_idle(e);
    case ExecutorState::busy:
      return advance_busy(e);
    case ExecutorState::finished:
    case ExecutorState::failed:
      return advance_end(e);
    case ExecutorState::held:
      return advance_held(e);
    case ExecutorState::destroying:
      return advance_destroying(e);
    case ExecutorState::gone: {
      const Instant forget_at = e.gone_at.value_or(now) + config.gone_keep;
      if (now < forget_at) return wake(e, forget_at);
      emit(ForgetExecutor{e.id()});
      e.at->executors.erase(e.id());
      changed(*e.at);
      unfollow(e);
      if (e.is_dirty) std::erase(dirty_, &e);
      for (auto& [id, c] : controllers)
        std::erase_if(c.cover, [&e](const Cover& cover) { return cover.by == &e; });
      executors.erase(e.id());
      return;
    }
    case ExecutorState::unknown:
      return;
  }
}

void LogicState::fail(Executor& e, const std::string& why, bool is_hosts_fault) {
  const ExecutorState from = e.state();
  if (!is_legal_step(from, ExecutorState::failed) || from == ExecutorState::destroying) return;
  e.end = "failed: " + why;
  note_failure(e, why, is_hosts_fault);
  set_state(e, ExecutorState::failed);
  record(e);
}

void LogicState::note_failure(Executor& e, const std::string& why, bool is_hosts_fault) {
  const ExecutorState from = e.state();
  forget_secret(e);
  ++counters.launch_failures;
  const bool is_trial = is_on_trial(e);
  note_start_failed(e, is_hosts_fault);
  Controller* c = controller_of(e);
  if (c != nullptr) {
    // A node that cannot be made is the controller's doing, whatever the image.
    if (!is_trial || !is_hosts_fault)
      c->launch_retries[e.record.template_name].note_failure(now, config.backoff_first, config.backoff_last);
    if (e.offer) end_offer(e, true);
  }
  if (Host* host = e.at->host; !is_trial && is_hosts_fault && host != nullptr) {
    host->breakers[e.record.template_name].note_failure(now, config.breaker_failures, config.breaker_open,
                                                        why);
    broken_hosts.insert(e.record.host);
    changed(*e.at);
  }
  say(Level::warning,
      "executor failed: " + why + "; it is removed and another one is launched if it is still needed",
      {{"executor", e.id().text},
       {"host", e.record.host.text},
       {"template", e.record.template_name.text},
       {"state", std::string(to_string(from))}},
      "executor failed " + e.record.template_name.text + " " + e.record.host.text);
}

void LogicState::finish(Executor& e, const std::string& end) {
  forget_secret(e);
  if (e.end.empty()) e.end = end;
  if (e.offer) end_offer(e, false);
  switch (e.state()) {
    case ExecutorState::planned:
    case ExecutorState::ordered:
    case ExecutorState::creating:
    case ExecutorState::booting:
    case ExecutorState::held:
      return start_destroying(e);
    case ExecutorState::joining:
    case ExecutorState::idle:
    case ExecutorState::busy:
      set_state(e, ExecutorState::finished);
      return;
    case ExecutorState::finished:
    case ExecutorState::failed:
    case ExecutorState::destroying:
    case ExecutorState::gone:
    case ExecutorState::unknown:
      return;
  }
}

}  // namespace skep::scheduler
