// Executors on a host that no record knows: adopted, or destroyed once it is certain that nothing needs them.
#include <algorithm>

#include "scheduler/core/logic_state.h"

namespace skep::scheduler {
namespace {

constexpr Duration stray_again_after = seconds(30);

}  // namespace

/// A new list has come. A lease may end before the next report does, so what a build runs on is adopted now.
void LogicState::meet_strays() {
  for (auto& [id, host] : hosts) {
    if (host.strays_met.empty() || !host.is_known) continue;
    for (const ExecutorReport& entry : host.report.executors) {
      if (host.strays_met.contains(entry.id)) meet_stray(host, entry, false);
    }
  }
}

/// `is_new`: the report is. An older one is no reason to destroy anything.
void LogicState::meet_stray(Host& host, const ExecutorReport& report, bool is_new) {
  if (report.epoch > epoch) return fence(report.epoch, "host " + host.report.host.text);
  const Executor* elsewhere = find(report.id);
  if (elsewhere != nullptr) return;  // the same name on two hosts cannot be ours to decide
  Stray& stray = host.strays_met.try_emplace(report.id, Stray{now, {}, false}).first->second;
  if (is_new) stray.report = report;
  stray.had_agent = stray.had_agent || report.agent != AgentPhase::none;
  const Instant met = std::max(stray.met, facts_from);
  for (auto& [id, c] : controllers) {
    // Another leader may have made it meanwhile: a list from before tells nothing. Its host reports again.
    if (!c.nodes_poll.ok_started || *c.nodes_poll.ok_started < met) return read_soon(c.nodes_poll);
    const auto node = c.nodes.find(report.id.text);
    const bool is_busy = node != c.nodes.end() && (!node->second.is_idle || !node->second.builds.empty());
    // The host's word on the agent is a hint, the controller's decides.
    if (is_busy && report.agent != AgentPhase::ended) return adopt(host.report.host, report, id);
    if (!c.queue_poll.ok_started || *c.queue_poll.ok_started < met) return read_soon(c.queue_poll);
    if (c.demand.item_for_node(report.id.text)) return adopt(host.report.host, report, id);
    // Its name may stand for a hidden label, too; but a node that waits for its first agent is closed.
    const bool is_made_again = node != c.nodes.end() && is_open_without_agent(node->second);
    if (is_made_again && c.demand.hidden_block_for(report.id.text))
      return adopt(host.report.host, report, id);
    // Its node may stand open, by an earlier leader's doing or because it has no gate: closed and looked at
    // first.
    const bool is_there =
        node != c.nodes.end() && (node->second.is_connected || report.agent == AgentPhase::connected ||
                                  report.agent == AgentPhase::started);
    if (is_there) return adopt_idle(host.report.host, report, id);
  }
  // A block waits for its node so long, and it takes a while to ask for it by name.
  if (report.agent == AgentPhase::ended && now - met < config.resume_window) return;
  if (is_new) destroy_stray(host, report);
}

void LogicState::destroy_stray(Host& host, const ExecutorReport& report) {
  const auto asked = host.strays.find(report.id);
  if (report.state == ExecutorState::destroying ||
      (asked != host.strays.end() && now < asked->second + stray_again_after))
    return;
  host.strays[report.id] = now;
  emit(DestroyExecutor{next_call(), host.report.host, report.id, epoch});
  say(Level::warning, "an executor that no record knows is destroyed",
      {{"executor", report.id.text}, {"host", host.report.host.text}});
}

/// By the host's last report.
void LogicState::forget_absent_strays(Host& host) {
  std::erase_if(host.strays_met, [this, &host](const auto& pair) {
    const auto& there = host.report.executors;
    const bool is_there = std::any_of(there.begin(), there.end(), [&pair](const ExecutorReport& entry) {
      return entry.id == pair.first && entry.state != ExecutorState::gone;
    });
    if (is_there) return false;
    audit_stray(host.report.host, pair.second);
    return true;
  });
}

/// It is gone, and was not adopted. Its agent took what its node let through, and nobody who saw it can tell.
void LogicState::audit_stray(const HostId& host, const Stray& stray) {
  if (!stray.had_agent || find(stray.report.id) != nullptr) return;
  Audit audit;
  audit.record.id = stray.report.id;
  audit.record.template_name = stray.report.template_name;
  audit.record.host = host;
  audit.record.epoch = stray.report.epoch;
  audit.record.state = ExecutorState::gone;
  audit.record.node_created = true;
  audit.record.planned_at = stray.report.created_at;
  if (controllers.size() == 1) audit.record.controller = controllers.begin()->first;
  audit.end = "unknown: no record knew it";
  audit.may_hide_build = std::any_of(controllers.begin(), controllers.end(), [](const auto& pair) {
    return pair.second.means == OneBuildMeans::gate;
  });
  if (audit.may_hide_build) ++counters.unproven;
  emit(std::move(audit));
}

void LogicState::adopt_idle(const HostId& host, const ExecutorReport& report, const ControllerId& of) {
  Executor e = adopted(host, report, of);
  e.record.state = ExecutorState::idle;
  e.record.was_used = false;
  e.retiring = "unused: no record knew it";
  say(Level::warning,
      "an executor that no record knows is closed, looked at and destroyed unless a build runs",
      {{"executor", report.id.text}, {"host", host.text}});
  record(e);
  hosts.at(host).strays_met.erase(report.id);
  insert(std::move(e));
}

Executor LogicState::adopted(const HostId& host, const ExecutorReport& report, const ControllerId& of) {
  Executor e;
  e.record.id = report.id;
  e.record.template_name = report.template_name;
  e.record.controller = of;
  e.record.host = host;
  e.record.epoch = report.epoch;
  e.record.state = ExecutorState::busy;
  e.record.node_created = e.record.was_opened = e.record.was_used = true;
  e.record.planned_at = report.created_at;
  e.resources = report.resources;
  e.is_adopted = e.was_ordered = e.is_order_acked = e.was_seen_on_host = true;
  e.is_obsolete = true;
  for (const auto& each : templates) {
    if (each->name == report.template_name) e.spec = each;
  }
  e.creation = Executor::Creation::done;
  e.agent = report.agent;
  e.attempt = report.ticket_attempt;
  e.planned_at = e.state_since = e.busy_since = now;
  e.gate = Gate::unknown;
  hosts.at(host).is_lease_due = is_any_lease_due_ = true;
  return e;
}

void LogicState::adopt(const HostId& host, const ExecutorReport& report, const ControllerId& of) {
  Executor e = adopted(host, report, of);
  say(Level::warning, "a busy executor that no record knows is kept until its build is over",
      {{"executor", report.id.text}, {"host", host.text}});
  record(e);
  hosts.at(host).strays_met.erase(report.id);
  Executor& kept = insert(std::move(e));
  const Controller* c = controller(of);
  const auto node = c->nodes.find(report.id.text);
  if (node != c->nodes.end() && c->nodes_poll.ok_started) {
    const NodeFact fact = node->second;
    apply_node(kept, &fact, {*c->nodes_poll.ok_started, true});
  } else {
    lose_node(kept);  // its block waits for it
  }
}

}  // namespace skep::scheduler
