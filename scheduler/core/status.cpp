// The read-only picture for API, CLI and metrics.
#include <algorithm>

#include "core/lifecycle/lifecycle.h"
#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

std::string gate_text(Gate gate) {
  switch (gate) {
    case Gate::none:
      return "none";
    case Gate::unknown:
    case Gate::closing:
      return "closing";
    case Gate::closed:
      return "closed";
    case Gate::telling:
    case Gate::opening:
    case Gate::open:
      return "open";
  }
  return "none";
}

std::string detail_of(const Executor& e) {
  if (e.record.held_until) return e.record.hold_reason.empty() ? "held" : "held: " + e.record.hold_reason;
  if (!e.end.empty()) return e.end;
  if (e.lost_since) return "its node is gone; kept in case its build resumes";
  if (e.is_resuming) return "joins again for its build";
  if (e.retiring) return *e.retiring;
  if (e.node && is_foreign_offline(*e.node)) return "set offline by somebody else: " + e.node->offline_reason;
  if (e.offer) return "offered to item " + std::to_string(e.offer->item);
  if (e.state() == ExecutorState::busy) return e.record.build;
  if (e.state() == ExecutorState::planned) return "its node is being created";
  return {};
}

}  // namespace

/// Also of one that has executors on record and that this leader never heard of.
HostStatus LogicState::host_status(const HostPlace& place, Instant at) const {
  HostStatus status;
  status.report.host = place.id;
  status.unseen_reason = "it has not announced itself since this scheduler leads";
  status.seen_ms_ago = std::max<std::int64_t>(0, to_ms(at - led_since));
  if (const Host* host = place.host) {
    status.report = host->report;
    status.is_known = host->is_known;
    status.unseen_reason = host->unseen_reason;
    status.seen_ms_ago = std::max<std::int64_t>(0, to_ms(at - host->seen));
    for (const auto& [name, breaker] : host->breakers) {
      if (breaker.is_open) status.open_breakers.push_back(name.text + ": " + breaker.reason);
    }
  }
  if (const HostView* view = view_of(place.id)) {
    status.free = view->free;
    status.is_draining = view->is_draining;
    status.drain_reason = view->drain_reason;
  }
  return status;
}

StatusSnapshot LogicState::status(Instant at, WallTime wall_at) const {
  StatusSnapshot out;
  out.epoch = epoch;
  out.fenced_by = fenced_by;
  out.farm = config.farm;
  out.is_paused = is_paused;
  out.pause_reason = pause_reason;
  out.templates = config.templates;
  for (const auto& [name, image] : images) out.images.push_back(image_status(image));
  out.counters = counters;
  const Moment moment{at, wall_at, find_unseen()};
  for (const auto& [id, c] : controllers) {
    ControllerStatus status;
    status.config = c.config;
    status.profile = c.profile;
    status.problem = freeze_reason(c);
    status.is_known = status.problem.empty();
    if (c.queue_poll.ok_started)
      status.queue_age_ms = std::max<std::int64_t>(0, to_ms(at - *c.queue_poll.ok_started));
    if (c.nodes_poll.ok_started)
      status.nodes_age_ms = std::max<std::int64_t>(0, to_ms(at - *c.nodes_poll.ok_started));
    status.is_told = c.is_told;
    status.companion_problem = c.companion_problem;
    status.items = static_cast<int>(c.demand.items().size());
    for (const auto& [name, e] : executors) {
      const bool is_here = e.record.controller == id && e.state() != ExecutorState::gone &&
                           e.state() != ExecutorState::destroying;
      if (is_here && e.node && is_foreign_offline(*e.node)) status.foreign_offline.push_back(name.text);
    }
    out.controllers.push_back(std::move(status));
    for (const auto& [item, entry] : c.demand.items()) out.queue.push_back(explain_item(c, entry, moment));
  }
  for (const auto& [id, place] : places) {
    if (is_in_farm(place)) out.hosts.push_back(host_status(place, at));
  }
  for (const auto& [id, e] : executors) {
    ExecutorStatus status;
    status.record = e.record;
    status.state = e.state();
    const bool depends_on_host =
        e.was_ordered && occupies_slot(e.state()) && e.state() != ExecutorState::planned;
    if (depends_on_host && !is_host_known(e.record.host) && !e.is_gone_on_host)
      status.state = ExecutorState::unknown;
    status.in_state_ms = std::max<std::int64_t>(0, to_ms(at - e.state_since));
    status.gate = gate_text(e.gate);
    status.detail = detail_of(e);
    out.executors.push_back(std::move(status));
  }
  return out;
}

}  // namespace skep::scheduler
