// Hosts: their reports, the room they have, leases.
#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/lifecycle/lifecycle.h"
#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr Duration report_wait = seconds(30);  // a blocking query answers at the latest after this long

}  // namespace

bool LogicState::is_draining(const HostId& id) const {
  if (drains.contains(id)) return true;
  const auto found = hosts.find(id);
  return found != hosts.end() && found->second.report.is_draining;
}

bool LogicState::is_draining(const Executor& e) const {
  return (!drains.empty() && drains.contains(e.record.host)) ||
         (e.at->host != nullptr && e.at->host->report.is_draining);
}

void LogicState::on_host_reported(const HostReported& event) {
  const HostReport& report = event.report;
  Host& host = hosts[report.host];
  HostPlace& place = place_of(report.host);
  place.host = &host;
  const bool is_new_boot = host.report.boot_id != report.boot_id;
  // A newer one has overtaken it: it misses what was ordered meanwhile.
  if (!is_new_boot && report.index < host.report.index) return;
  if (!host.is_known) host.is_lease_due = is_any_lease_due_ = true;
  const bool is_other_kind = host.report.os != report.os || host.report.drivers != report.drivers ||
                             host.report.images != report.images ||
                             host.report.attributes != report.attributes;
  if (is_other_kind) ++place.revision;
  if (is_other_kind || is_new_boot || !host.is_known) look_at_images();
  host.report = report;
  host.is_known = true;
  host.unseen_reason.clear();
  host.seen = now;
  host.asked = std::min(now, event.started);
  if (is_new_boot) host.strays.clear();
  changed(place);
  if (report.epoch_seen > epoch) return fence(report.epoch_seen, "host " + report.host.text);

  ++reports_;
  auto next = place.executors.begin();  // a report is mostly in their order
  host.foreign_use = Resources{};
  host.foreign_count = 0;
  for (const ExecutorReport& entry : report.executors) {
    if (next == place.executors.end() || next->first != entry.id) next = place.executors.find(entry.id);
    if (next != place.executors.end()) {
      Executor& e = *next->second;
      ++next;
      e.reported_in = reports_;
      if (!e.record.given_up.empty()) meet_given_up(host, e, entry);
      apply_report(e, entry);
      continue;
    }
    if (entry.state == ExecutorState::gone) continue;
    meet_stray(host, entry, true);
    Executor* e = find(entry.id);
    if (e != nullptr && e->at == &place) e->reported_in = reports_;  // adopted
    if (e != nullptr) continue;
    host.foreign_use += entry.resources;
    ++host.foreign_count;
  }
  forget_absent_strays(host);
  for (const auto& [id, e] : place.executors) {
    if (e->is_gone_on_host || e->reported_in == reports_) continue;
    // An order may still be on its way; what was there once, or what an earlier leader ordered, is gone.
    if (event.started <= e->seen_on_host_at) continue;
    // As long as it has not heard of us, it takes an older leader's order that is still on its way.
    const bool is_orders_end = e->is_adopted && e->record.epoch < epoch && report.epoch_seen >= epoch;
    const bool is_decisive = e->was_seen_on_host || is_orders_end || e->destroy_acked;
    if (is_decisive) missing_on_host(*e, "its host no longer has it");
  }
  replan();
}

void LogicState::apply_report(Executor& e, const ExecutorReport& report) {
  if (e.is_gone_on_host) return;
  const bool is_of_earlier_ticket = report.ticket_attempt < e.attempt;
  if (!e.was_seen_on_host) {
    e.was_seen_on_host = true;
    e.was_ordered = true;
    changed(*e.at);
  }
  e.attempt = std::max(e.attempt, report.ticket_attempt);
  if (e.spec == nullptr) e.resources = report.resources;
  if (!is_of_earlier_ticket) {
    if (e.agent != report.agent || e.agent_exit_code != report.agent_exit_code) touch(e);
    e.agent = report.agent;
    e.agent_exit_code = report.agent_exit_code;
  }
  const auto detail = [&report] { return report.message.empty() ? std::string() : ": " + report.message; };
  switch (report.state) {
    case ExecutorState::creating:
    case ExecutorState::booting:
    case ExecutorState::joining:
    case ExecutorState::idle: {
      // The controller's word decides about connected; a host never moves it beyond joining.
      const ExecutorState to = std::min(report.state, ExecutorState::joining);
      const bool is_forward = e.state() >= ExecutorState::ordered && e.state() < to;
      if (!is_forward) return;
      e.is_order_acked = true;
      forget_secret(e);
      set_state(e, to);
      if (to == ExecutorState::joining) e.deadline_from = now;
      return;
    }
    case ExecutorState::finished:
      if (is_of_earlier_ticket || !is_coming(e.state()) || e.is_resuming) return;
      if (e.state() >= ExecutorState::ordered) fail(e, "its agent ended before it joined" + detail(), true);
      return;
    case ExecutorState::failed:
      if (is_of_earlier_ticket) return;
      if (!std::exchange(e.has_failed_on_host, true)) touch(e);
      if (e.is_resuming) return finish(e, "used: it could not resume" + detail());
      if (is_coming(e.state()) && e.state() >= ExecutorState::ordered)
        return fail(e, "its host says that it failed" + detail(), true);
      if (e.state() == ExecutorState::idle && is_unused(e))
        return finish(e, "unused: its sandbox failed" + detail());
      return;
    case ExecutorState::destroying:
      told_busy(e, false);
      if (e.state() == ExecutorState::idle && is_unused(e))
        return finish(e, "unused: its host removes it" + detail());
      if (is_coming(e.state()) && e.state() >= ExecutorState::ordered && !e.is_resuming)
        fail(e, "its host removes it" + detail(), true);
      return;
    case ExecutorState::gone:
      return missing_on_host(e, "its host removed it");
    default:
      return;
  }
}

void LogicState::missing_on_host(Executor& e, const std::string& why) {
  if (e.is_gone_on_host) return;
  e.is_gone_on_host = true;
  changed(*e.at);
  touch(e);
  replan();
  switch (e.state()) {
    case ExecutorState::planned:
      e.is_gone_on_host = false;
      return;  // not ordered yet
    case ExecutorState::ordered:
    case ExecutorState::creating:
    case ExecutorState::booting:
    case ExecutorState::joining:
      if (e.is_resuming) return finish(e, "used: " + why);
      return fail(e, why, true);
    case ExecutorState::idle:
      if (is_unused(e)) finish(e, "unused: " + why);
      return;
    case ExecutorState::held:
    case ExecutorState::failed:
    case ExecutorState::finished:
      e.held_until.reset();
      e.record.held_until.reset();
      return;
    default:
      return;  // busy: its node vanishes next, and says so
  }
}

void LogicState::on_host_unseen(const HostUnseen& event) {
  const auto found = hosts.find(event.host);
  if (found == hosts.end()) return;
  if (found->second.is_known) {
    say(Level::warning,
        "a host cannot be seen: " + event.error.message +
            "; nothing is launched there, and nothing follows for what runs there",
        {{"host", event.host.text}, {"hint", event.error.hint}}, "unseen " + event.host.text);
  }
  found->second.is_known = false;
  found->second.unseen_reason = event.error.message;
  changed(place_of(event.host));
  replan();
}

bool LogicState::may_depart(const HostId& host) const {
  if (is_host_known(host)) return false;
  const auto there = places.find(host);
  if (there == places.end()) return true;
  return std::all_of(there->second.executors.begin(), there->second.executors.end(),
                     [](const auto& pair) { return pair.second->is_gone_on_host; });
}

void LogicState::on_host_departed(const HostDeparted& event) {
  for (const auto& [id, e] : place_of(event.host).executors) missing_on_host(*e, "its host left the farm");
  drop_host(event.host);
}

void LogicState::drop_host(const HostId& id) {
  HostPlace& place = place_of(id);
  if (place.host != nullptr) {
    for (const auto& [stray, met] : place.host->strays_met) audit_stray(id, met);
  }
  place.host = nullptr;
  hosts.erase(id);
  broken_hosts.erase(id);
  changed(place);
  replan();
}

void LogicState::advance_hosts() {
  // A host that neither reports nor says that it cannot be asked is as good as unseen.
  const Instant round = lease_round_.value_or(now);
  const bool is_round = now >= round;
  const Duration stale_after = config.facts_stale_after + report_wait;
  if (is_round) lease_round_ = now + config.lease / 3;
  if (!is_round && !is_any_lease_due_) return wake_at(*lease_round_);
  is_any_lease_due_ = false;
  for (auto& [id, host] : hosts) {
    if (!is_round && !host.is_lease_due) continue;
    if (host.is_known && now - host.seen > stale_after) {
      host.is_known = false;
      host.unseen_reason = "it has not reported for " + duration_to_text(now - host.seen);
      changed(place_of(id));
      replan();
    }
    host.is_lease_due = false;
    const HostPlace& place = place_of(id);
    if (place.executors.empty()) continue;
    RenewLeases renew;
    renew.renewal.epoch = epoch;
    renew.renewal.lease = config.lease;
    const Call lease = new_call();
    renew.renewal.number = lease.id;
    for (const auto& [executor, e] : place.executors) {
      const bool is_over = !e->was_ordered || e->is_left_to_host || e->is_gone_on_host ||
                           e->state() >= ExecutorState::destroying;
      if (is_over && e->state() != ExecutorState::held) continue;
      // What waits behind a closed gate gets no build before its host was told; anything else may.
      const bool is_idle =
          e->state() == ExecutorState::idle && is_gated(*e) && e->gate == Gate::closed && !e->offer;
      e->is_told_idle = e->is_told_idle || is_idle;
      e->told_in = lease.id;
      renew.renewal.executors.push_back({executor, !is_idle});
    }
    if (renew.renewal.executors.empty()) continue;
    host.lease = lease;
    renew.call = host.lease.id;
    renew.host = id;
    emit(std::move(renew));
  }
  wake_at(*lease_round_);
}

void LogicState::on_leases_renewed(const LeasesRenewed& event) {
  const auto found = hosts.find(event.host);
  if (found == hosts.end() || found->second.lease.id != event.call) return;
  const Instant sent = found->second.lease.sent;
  found->second.lease = {};
  for (const auto& [id, e] : place_of(event.host).executors) {
    if (e->told_in != event.call) continue;
    const bool is_heard =
        event.result && std::find(event.result->leaving.begin(), event.result->leaving.end(), id) ==
                            event.result->leaving.end();
    told_busy(*e, is_heard);
  }
  if (!event.result) {
    if (event.result.error().code == ErrorCode::stale_epoch)
      return fence(epoch + 1, "host " + event.host.text);
    say(Level::warning,
        "could not renew leases: " + event.result.error().message +
            "; idle executors there end with their lease",
        {{"host", event.host.text}}, "lease " + event.host.text);
    return;
  }
  if (event.result->epoch_seen > epoch) return fence(event.result->epoch_seen, "host " + event.host.text);
  for (const ExecutorId& id : event.result->not_here) {
    Executor* e = find(id);
    if (e == nullptr || e->record.host != event.host || !e->was_seen_on_host) continue;
    // Asked before its order was answered, the host could not have it yet.
    if (e->state_since <= sent && e->seen_on_host_at < sent) missing_on_host(*e, "its host no longer has it");
  }
}

HostPlace& LogicState::place_of(const HostId& id) {
  const auto [found, is_new] = places.try_emplace(id);
  if (is_new) found->second.id = id;
  return found->second;
}

void LogicState::changed(HostPlace& place) {
  if (place.is_changed) return;
  place.is_changed = true;
  changed_places_.push_back(&place);
}

const HostView* LogicState::view_of(const HostId& id) const {
  const auto found = places.find(id);
  return found == places.end() || !found->second.view ? nullptr : &views[*found->second.view];
}

void LogicState::rebuild_view(HostPlace& place) {
  if (!place.view) {
    place.view = views.size();
    views.emplace_back();
    views.back().host = place.id;
    view_places_.push_back(&place);
    placements.reset();
  }
  placements.note(*place.view);
  HostView& view = views[*place.view];
  if (const Host* host = place.host) {
    const auto drained = drains.find(place.id);
    view.is_known = host->is_known;
    view.is_draining = host->report.is_draining || drained != drains.end();
    view.drain_reason = drained != drains.end() ? drained->second : host->report.drain_reason;
    if (view.revision != place.revision) {
      view.revision = place.revision;
      view.os = host->report.os;
      view.drivers = host->report.drivers;
      view.images = host->report.images;
      view.attributes = host->report.attributes;
    }
    view.capacity = host->report.capacity;
    view.max_executors = host->report.max_executors;
    view.free = view.capacity - host->foreign_use;
    view.executors = host->foreign_count;
  } else {
    view = HostView{};
    view.host = place.id;
    view.is_known = false;
    view.revision = ++place.revision;
  }
  view.coming = 0;
  for (const auto& [id, e] : place.executors) {
    if (e->is_gone_on_host || !occupies_slot(e->state())) continue;
    view.free -= e->resources;
    ++view.executors;
    if (is_coming(e->state())) ++view.coming;
  }
}

/// The last view takes its place.
void LogicState::drop_view(HostPlace& place) {
  if (!place.view) return;
  const std::size_t index = *place.view;
  place.view.reset();
  placements.reset();
  if (index + 1 != views.size()) {
    views[index] = std::move(views.back());
    view_places_[index] = view_places_.back();
    view_places_[index]->view = index;
  }
  views.pop_back();
  view_places_.pop_back();
}

void LogicState::refresh_views() {
  for (HostPlace* place : changed_places_) {
    place->is_changed = false;
    if (is_in_farm(*place)) {
      rebuild_view(*place);
      continue;
    }
    drop_view(*place);
    if (place->executors.empty()) places.erase(HostId(place->id));
  }
  changed_places_.clear();
}

}  // namespace skep::scheduler
