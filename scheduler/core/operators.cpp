// What people decide: configuration, drain, hold, retire; and the start of a leader's term.
#include <algorithm>

#include "core/check.h"
#include "core/lifecycle/lifecycle.h"
#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr Duration longest_hold = hours(24 * 30);  // that an operator may ask for

// The parts of a template that an existing executor was made from.
bool makes_the_same(const Template& a, const Template& b) {
  return a.labels == b.labels && a.labels_text == b.labels_text && a.takes_unlabelled == b.takes_unlabelled &&
         a.driver == b.driver && a.image == b.image && a.network == b.network && a.start == b.start &&
         a.resources == b.resources && a.remote_fs == b.remote_fs && a.agent_command == b.agent_command &&
         a.environment == b.environment;
}

const Template* template_named(const SchedulerConfig& config, const TemplateName& name) {
  for (const Template& value : config.templates) {
    if (value.name == name) return &value;
  }
  return nullptr;
}

bool has_controller(const SchedulerConfig& config, const ControllerId& name) {
  return std::any_of(config.controllers.begin(), config.controllers.end(),
                     [&](const ControllerConfig& c) { return c.name == name; });
}

// An executor that the new configuration has no use for.
bool is_dropped(const Executor& e, const SchedulerConfig& next) {
  if (!has_controller(next, e.record.controller)) return true;
  const Template* value = template_named(next, e.record.template_name);
  return value == nullptr || (e.spec && !makes_the_same(*value, *e.spec)) ||
         !serves(*value, e.record.controller);
}

bool counts_as_slot(const Executor& e) {
  return !e.record.was_used && e.state() != ExecutorState::gone && e.state() != ExecutorState::destroying &&
         e.state() != ExecutorState::failed;
}

}  // namespace

void LogicState::load_config() {
  templates.clear();
  for (const Template& value : config.templates) templates.push_back(std::make_shared<const Template>(value));
  template_index.reset(templates);
  variants_.clear();
  look_at_images();
  for (const ControllerConfig& given : config.controllers) {
    const auto [place, is_new] = controllers.try_emplace(given.name, given);
    place->second.config = given;
    place->second.demand.rematch(template_index);
  }
  std::erase_if(controllers, [this](const auto& pair) { return !has_controller(config, pair.first); });
  for (auto& [id, e] : executors) {
    e.of = controller(e.record.controller);
    if (e.state() == ExecutorState::gone) continue;
    if (is_dropped(e, config)) {
      e.is_obsolete = true;
    } else {
      for (const auto& value : templates) {
        if (value->name == e.record.template_name) e.spec = value;
      }
    }
    touch(e);
  }
  replan();
}

int LogicState::retired_by(const SchedulerConfig& next) const {
  int count = 0;
  for (const auto& [id, e] : executors)
    count += counts_as_slot(e) && !e.is_obsolete && is_dropped(e, next) ? 1 : 0;
  return count;
}

void LogicState::on_config(const ConfigChanged& event) {
  config = event.config;
  load_config();
}

void LogicState::on_leader_started(const LeaderStarted& event) {
  SKEP_ASSERT(event.epoch > 0);
  epoch = event.epoch;
  led_since = now;
  const bool has_another_led = event.led_before + 1 != event.epoch;
  is_paused = event.is_paused;
  pause_reason = event.pause_reason;
  for (const HostDrain& drain : event.drains) {
    drains[drain.host] = drain.reason;
    changed(place_of(drain.host));
  }
  for (const ImageVersions& image : event.images) {
    images[image.name] = image;
    image_watches[image.name].since = now;
  }
  look_at_images();
  for (const ExecutorRecord& given : event.executors) {
    if (executors.contains(given.id)) continue;
    Executor e;
    e.record = given;
    e.is_adopted = true;
    e.is_told_idle = true;  // by whoever led before, perhaps
    e.was_left_alone = given.state >= ExecutorState::ordered && given.state <= ExecutorState::busy;
    e.planned_at = e.state_since = e.deadline_from = e.busy_since = now;
    e.creation = Executor::Creation::done;
    e.gate = Gate::unknown;
    e.was_ordered = given.state != ExecutorState::planned;
    e.is_order_acked = true;  // the ticket's secret is not kept: what did not arrive is not ordered again
    for (const auto& value : templates) {
      if (value->name == given.template_name) e.spec = value;
    }
    e.is_obsolete = e.spec == nullptr || !has_controller(config, given.controller);
    if (e.spec) e.resources = e.spec->resources;
    if (given.held_until) {
      // A clock that was set back meanwhile does not make it longer than it was meant to be.
      const Duration longest = given.held_for > Duration::zero() ? given.held_for : longest_hold;
      const std::int64_t left =
          std::clamp<std::int64_t>(given.held_until->ms_since_epoch - wall.ms_since_epoch, 0, to_ms(longest));
      e.held_until = now + milliseconds(left);
    }
    if (given.state == ExecutorState::gone) e.gone_at = now;
    // States that are not recorded are found out again; a used one is busy until it is seen idle.
    if (given.was_used && given.state >= ExecutorState::ordered && given.state <= ExecutorState::idle)
      e.record.state = ExecutorState::busy;
    if (given.state == ExecutorState::unknown)
      e.record.state = given.was_used ? ExecutorState::busy : ExecutorState::ordered;
    // What we were about to remove may have been kept and opened meanwhile: it is closed and looked at first.
    const bool is_leaving = given.state == ExecutorState::finished || given.state == ExecutorState::failed ||
                            given.state == ExecutorState::destroying;
    if (is_leaving && has_another_led) {
      e.was_left_alone = e.was_leaving = true;
      e.record.state = given.was_used ? ExecutorState::busy : ExecutorState::idle;
      if (!given.was_used) e.retiring = "unused: it was on its way out before another scheduler led";
    }
    Executor& kept = insert(std::move(e));
    if (!kept.record.given_up.empty()) give_up_sandbox(kept);
    if (kept.state() != ExecutorState::planned) continue;
    // The creation of its node may still be on its way: a list from before the end of that knows nothing.
    kept.create_answered = now + call_limit;
    finish(kept, "unused: the scheduler restarted before it was ordered");
  }
}

void LogicState::on_drain(const DrainHost& event) {
  drains[event.host] = event.reason;
  emit(RecordDrain{event.host, event.reason, true});
  changed(place_of(event.host));
  replan();
}

void LogicState::on_undrain(const UndrainHost& event) {
  drains.erase(event.host);
  emit(RecordDrain{event.host, {}, false});
  changed(place_of(event.host));
  replan();
}

Result<void> LogicState::may_hold(const ExecutorId& id) const {
  const Executor* e = find(id);
  const auto refused = [&id](const char* why) {
    return Error::failed(ErrorCode::conflict, "executor " + id.text + " is not held: " + why,
                         "skep executors shows what is left to hold");
  };
  if (e == nullptr)
    return Error::failed(ErrorCode::not_found, "no executor is called " + id.text, "see skep executors");
  if (e->state() == ExecutorState::gone) return refused("it is gone");
  if (e->state() == ExecutorState::destroying)
    return refused("it is being destroyed already, and its slot is free once it was seen gone");
  if (e->is_gone_on_host)
    return refused("its sandbox is gone already, and its node is removed from the controller next");
  return {};
}

void LogicState::on_hold(const HoldExecutor& event) {
  Executor* e = find(event.executor);
  if (e == nullptr || !may_hold(event.executor)) return;
  e->held_until = now + event.for_time;
  e->record.held_for = event.for_time;
  e->record.held_until = event.until;
  e->record.hold_reason = event.reason;
  record(*e);
  say(Level::info, "executor is held", {{"executor", e->id().text}, {"reason", event.reason}});
  touch(*e);
  replan();
}

void LogicState::on_retire(const RetireExecutor& event) {
  Executor* e = find(event.executor);
  if (e == nullptr) return;
  const std::string end = "retired: " + (event.reason.empty() ? std::string("by an operator") : event.reason);
  retire(*e, end, event.even_if_busy);
}

void LogicState::retire(Executor& e, const std::string& end, bool even_if_busy) {
  if (e.held_until) {
    e.held_until.reset();  // the later word counts
    e.record.held_until.reset();
    record(e);
  }
  touch(e);
  replan();
  switch (e.state()) {
    case ExecutorState::planned:
    case ExecutorState::ordered:
    case ExecutorState::creating:
    case ExecutorState::booting:
    case ExecutorState::joining:
      if (e.is_resuming && !even_if_busy) {
        e.is_retired_at_end = true;
        return;
      }
      if (is_gated(e) || e.state() < ExecutorState::joining || even_if_busy) return finish(e, end);
      e.is_retired_at_end = true;  // un-gated and about to connect: closed and looked at once it is there
      return;
    case ExecutorState::idle:
      if (even_if_busy) return finish(e, end);
      if (e.offer) {
        e.is_retired_at_end = true;
        begin_close(e, std::string(our_offline_prefix) + " retired");
      }
      e.retiring = end;
      return;
    case ExecutorState::busy:
      e.is_retired_at_end = true;
      if (even_if_busy) build_over(e, end);
      return;
    case ExecutorState::held:
      return finish(e, end);
    default:
      return;
  }
}

}  // namespace skep::scheduler
