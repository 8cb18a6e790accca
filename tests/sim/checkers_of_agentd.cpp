// What agentds do to sandboxes: intents first, epochs, capacity, and no build lost.
#include <algorithm>

#include "core/resources.h"
#include "tests/sim/checkers.h"

namespace skep::sim {
namespace {

using simulation::Host;
using simulation::World;

}  // namespace

void Checkers::on_agentd_event(const World& world, const HostId& id, const agentd::Event& event) {
  const Epoch known = world.host_by_id.at(id)->highest_epoch;
  const auto note_stale = [&](agentd::RequestId request, Epoch epoch) {
    if (epoch >= known) return;
    stale_requests_.insert(request);
    ++stale_orders;
    probe("an order of an older leader arrives");
  };
  stale_requests_.clear();
  note_lease(world, event, known);
  note_agent(world, id, event);
  if (const auto* order = std::get_if<agentd::OrderArrived>(&event)) {
    note_stale(order->request, order->order.epoch);
    const bool is_new = world.host_by_id.at(id)->intents.find(order->order.spec.id.text) == nullptr;
    if (is_new && order->order.epoch < known) probe("an older leader orders an executor");
    const Host& host = *world.host_by_id.at(id);
    if (is_new && (host.is_drained || host.ends_by())) probe("an order meets a host that drains");
  }
  if (const auto* destroy = std::get_if<agentd::DestroyArrived>(&event)) {
    note_stale(destroy->request, destroy->epoch);
    Seen& seen = seen_[destroy->id];
    // What a full disk does not take it knows all the same.
    const Epoch heard = std::max(known, world.host_by_id.at(id)->logic->report().epoch_seen);
    if (destroy->epoch >= heard && !seen.end_begun && !seen.destroy_asked) seen.destroy_asked = world.now;
  }
  if (const auto* leases = std::get_if<agentd::LeasesArrived>(&event))
    note_stale(leases->request, leases->renewal.epoch);
  if (const auto* started = std::get_if<agentd::Started>(&event)) {
    if (!started->intents.empty()) probe("agentd starts with executors");
    up_since_.erase(id);  // it may have been down between two rounds only
    // What could not be recorded is forgotten; what was recorded is not.
    epochs_[id] = started->epoch_seen;
    for (const agentd::IntentRecord& each : started->intents) epochs_[id] = std::max(epochs_[id], each.epoch);
    if (epochs_[id] < world.host_by_id.at(id)->highest_epoch && !orders.lost_states.contains(id.text))
      report(world, "epochs never decrease", "agentd on " + id.text + ", by its records");
    // What it was told and did not write down, it does not know any more.
    for (auto& [executor, seen] : seen_) {
      if (seen.host == id) seen.destroy_asked.reset();
    }
    for (const agentd::IntentRecord& each : started->intents) {
      if (each.state == agentd::IntentState::destroying) seen_[each.spec.id].destroy_asked = world.now;
    }
  }
  if (std::holds_alternative<agentd::IntentNotRecorded>(event)) probe("an intent cannot be recorded");
}

void Checkers::note_lease(const World& world, const agentd::Event& event, Epoch known) {
  if (const auto* order = std::get_if<agentd::OrderArrived>(&event))
    leases_[order->order.spec.id] = world.now;
  const auto* leases = std::get_if<agentd::LeasesArrived>(&event);
  if (leases == nullptr || leases->renewal.epoch < known) return;
  for (const auto& entry : leases->renewal.executors) leases_[entry.id] = world.now;
}

void Checkers::note_agent(const World& world, const HostId& id, const agentd::Event& event) {
  const auto note = [&](const agentd::Sandbox& sandbox) {
    if (sandbox.agent != AgentPhase::ended) agents_ended_.erase(sandbox.id);
    if (sandbox.agent == AgentPhase::ended) agents_ended_.try_emplace(sandbox.id, world.now);
  };
  if (const auto* inspected = std::get_if<agentd::DriverInspected>(&event)) {
    if (inspected->result) note(*inspected->result);
  } else if (const auto* listed = std::get_if<agentd::DriverListed>(&event)) {
    if (!listed->result) return;
    for (const agentd::Sandbox& each : *listed->result) note(each);
  } else if (std::holds_alternative<agentd::Started>(event)) {
    std::erase_if(agents_ended_, [&](const auto& entry) { return seen_[entry.first].host == id; });
  }
}

void Checkers::on_agentd_action(const World& world, const HostId& id, const agentd::Action& action) {
  if (const auto* reply = std::get_if<agentd::Reply>(&action)) {
    const bool is_refusal = std::holds_alternative<Error>(reply->body);
    if (!is_refusal && reply->epoch_seen > epochs_[id])
      report(world, "an epoch is on record before it is obeyed",
             "agentd on " + id.text + " obeys " + std::to_string(reply->epoch_seen));
    // Refused for that very reason: so its sender learns that it leads no more.
    const auto* refusal = std::get_if<Error>(&reply->body);
    const bool is_told = refusal != nullptr && refusal->code == ErrorCode::stale_epoch;
    if (stale_requests_.contains(reply->request) && !is_told)
      report(world, "orders of an older leader are refused",
             "agentd on " + id.text + (is_refusal ? " refused one for another reason" : " took one"));
  } else if (!stale_requests_.empty() && std::holds_alternative<agentd::RecordIntent>(action)) {
    report(world, "orders of an older leader are refused", "agentd on " + id.text + " acted on one");
  } else if (const auto* intent = std::get_if<agentd::RecordIntent>(&action)) {
    const Host& host = *world.host_by_id.at(id);
    const bool is_new = host.intents.find(intent->record.spec.id.text) == nullptr &&
                        intent->record.state == agentd::IntentState::creating;
    if (is_new && (host.is_drained || host.ends_by()))
      report(world, "a drained host gets no executor",
             intent->record.spec.id.text + " on " + id.text + ", which drains");
    // What agentd decided it goes on with, also when it was killed before it did anything.
    const ExecutorId& executor = intent->record.spec.id;
    if (intent->record.state == agentd::IntentState::destroying && is_left_alone(world, executor))
      seen_[executor].was_left_alone = true;
  } else if (const auto* epoch = std::get_if<agentd::RecordEpoch>(&action)) {
    if (epoch->epoch < epochs_[id]) report(world, "epochs never decrease", "agentd on " + id.text);
    epochs_[id] = epoch->epoch;
  } else if (const auto* line = std::get_if<agentd::Explain>(&action)) {
    check_text(world, line->message);
    for (const auto& [key, value] : line->fields) check_text(world, value);
  }
}

void Checkers::before_driver_call(const World& world, const HostId& id, const agentd::CallDriver& call) {
  Host& host = *world.host_by_id.at(id);
  if (const auto* start = std::get_if<agentd::Start>(&call.verb))
    return check_start(world, host, call, *start);
  if (std::holds_alternative<agentd::Stop>(call.verb)) {
    seen_[call.id].destroy_asked.reset();
    if (!seen_[call.id].end_begun) seen_[call.id].end_begun = world.now;
    check_kill(world, host, call.id, "stopped");
    check_hold(world, host, call.id);
  }
  if (std::holds_alternative<agentd::Destroy>(call.verb)) {
    seen_[call.id].destroy_asked.reset();
    if (!seen_[call.id].end_begun) seen_[call.id].end_begun = world.now;
    check_kill(world, host, call.id, "destroyed");
    check_hold(world, host, call.id);
    if (call.id.text.starts_with("foreign-"))
      report(world, "what is not ours is left alone", call.id.text + " is destroyed");
  }
}

void Checkers::check_start(const World& world, Host& host, const agentd::CallDriver& call,
                           const agentd::Start& start) {
  touched_hosts_.insert(host.id());
  note_version_started(world, start.spec.image, call.id);
  const agentd::IntentRecord* intent = host.intents.find(call.id.text);
  if (intent == nullptr) report(world, "an intent is recorded before the driver is touched", call.id.text);
  if (start.epoch < host.highest_epoch)
    report(world, "orders of an older leader are refused", call.id.text + " is started for an old epoch");
  for (const auto& other : world.hosts) {
    if (other.get() != &host && other->model.look_at(call.id, world.now))
      report(world, "an executor lives once",
             call.id.text + " is on " + other->id().text + " and " + host.id().text);
  }
  if (host.model.times_made(call.id) > 0 && !host.model.look_at(call.id, world.now) && intent != nullptr)
    report(world, "names are never used twice", call.id.text + " is made again on " + host.id().text);
}

/// By agentd's own last resort: no leader renews, and its agent is away for longer than a controller that
/// restarts once lets a block wait. That it restarted again meanwhile, nobody tells the host.
bool Checkers::is_left_alone(const World& world, const ExecutorId& id) const {
  const auto lease = leases_.find(id);
  const auto agent = agents_ended_.find(id);
  return lease != leases_.end() && world.now - lease->second >= weather_.plan.scheduler.lease &&
         agent != agents_ended_.end() && world.now - agent->second >= agentd::LogicConfig{}.resume_window;
}

bool Checkers::may_be_killed(const World& world, const ExecutorId& id, const Seen& seen) const {
  if (orders.killed.contains(id)) return true;
  const auto lost = orders.lost_states.find(seen.host.text);
  if (lost != orders.lost_states.end() && seen.planned <= lost->second) return true;
  const auto removal = orders.removals.find(seen.host);
  if (removal != orders.removals.end() && seen.planned <= removal->second) return true;
  // Somebody else ended it or its node: whatever follows is no decision of ours.
  if (orders.nodes_touched_by_hand.contains(id.text)) return true;
  const scheduler::Template* made_of = template_of(seen.template_name);
  if (made_of != nullptr && made_of->build_limit > Duration::zero() &&
      world.now - seen.build_started >= made_of->build_limit)
    return true;
  // One that was called back has as long as a new one has to boot and to join.
  if (made_of != nullptr && seen.called_back &&
      world.now - *seen.called_back >= made_of->boot_deadline + made_of->join_deadline)
    return true;
  if (seen.was_left_alone) return true;
  // Without an agent when its end began, on a node of a controller that left the configuration, which nobody
  // can close: what the agent got in the last moment is known to nobody.
  if (seen.is_unreached && seen.end_begun && *seen.end_begun < seen.build_started) return true;
  // Nobody calls back what belongs to a controller that left the configuration; it is waited for as for a
  // restart.
  const auto agent = agents_ended_.find(id);
  if (seen.is_unreached && agent != agents_ended_.end() &&
      world.now - agent->second >= weather_.plan.scheduler.resume_window)
    return true;
  // agentd's own last resort: busy, but no leader for a day after its lease.
  return world.now - seen.build_started > hours(24);
}

void Checkers::check_hold(const World& world, const Host& host, const ExecutorId& id) {
  // Its end is on record in whole milliseconds.
  const auto held = orders.holds.find(id);
  if (held == orders.holds.end() || world.now + milliseconds(2) >= held->second.until ||
      orders.retired.contains(id))
    return;
  // One that starts again reads the end as a time of its wall's clock, which may have been set forward.
  if (probes.contains("fault scheduler_clock_jump") &&
      world.wall(held->second.of->wall_offset).ms_since_epoch + 2 >= held->second.wall_until.ms_since_epoch)
    return;
  // Schedulers do not share their records (docs/how-to/consul.md): the next leader knows of no hold.
  // It leads already when the one before has not noticed yet that its lock is lost.
  if (!held->second.of->is_leading() || held->second.of->epoch < highest_leader_) return;
  const bool runs = host.model.look_at(id, world.now) &&
                    host.model.look_at(id, world.now)->state == drivers::InstanceState::running;
  if (orders.removals.contains(host.id())) return;
  if (!runs || orders.nodes_touched_by_hand.contains(id.text) || orders.lost_states.contains(host.id().text))
    return;
  // No leader keeps it: agentd's own end of a lease.
  const auto told = leases_.find(id);
  if (told == leases_.end() || world.now - told->second >= weather_.plan.scheduler.lease) return;
  report(world, "a held executor is kept", id.text + " goes before its time");
}

/// Nobody but an operator ends a build of ours.
void Checkers::check_kill(const World& world, const Host& host, const ExecutorId& id, const char* how) {
  const auto found = seen_.find(id);
  if (found == seen_.end() || !found->second.running) return;
  const Seen& seen = found->second;
  const auto sandbox = host.model.look_at(id, world.now);
  const bool is_there = sandbox && sandbox->state == drivers::InstanceState::running;
  const bool is_connected = world.controller.agent_online(id.text);
  if (!is_there || (!is_connected && !seen.is_pipeline) || may_be_killed(world, id, seen)) return;
  report(world, "no busy executor is ever killed",
         id.text + " is " + how + " while build " + std::to_string(*seen.running) + " runs on it");
}

void Checkers::before_delete_node(const World& world, int scheduler, const std::string& node) {
  if (foreign_nodes.contains(node))
    report(world, "what is not ours is left alone", "node " + node + " is deleted");
  const auto found = seen_.find(ExecutorId(node));
  if (found == seen_.end()) return;
  // A controller knows no epochs: what a leader that was suspended still sends to it cannot be refused.
  if (world.schedulers[static_cast<std::size_t>(scheduler)]->epoch < highest_leader_)
    return probe("an older leader deletes a node");
  const auto host = world.host_by_id.find(found->second.host);
  if (host == world.host_by_id.end()) return;
  if (world.controller.agent_online(node))
    check_kill(world, *host->second, ExecutorId(node), "removed from the controller");
}

bool Checkers::is_leaving_by_record(const World& world, const ExecutorId& id) const {
  for (const auto& process : world.schedulers) {
    const scheduler::ExecutorRecord* record = process->records.find(id.text);
    if (record == nullptr) continue;
    const ExecutorState state = record->state;
    if (state == ExecutorState::failed || state == ExecutorState::finished ||
        state == ExecutorState::destroying || state == ExecutorState::gone || state == ExecutorState::held)
      return true;
  }
  return false;
}

void Checkers::check_host(const World& world, Host& host) {
  const Resources used = host.model.resources_in_use(world.now);
  if (orders.lost_states.contains(host.id().text))
    return;  // what it finds and clears away takes room for a while
  if (const auto shortage = used.shortage_in(host.plan.capacity))
    report(world, "capacity is never exceeded", host.id().text + ": " + to_string(*shortage));
  std::int64_t ours = 0;
  std::map<TemplateName, int> by_template;
  for (const auto& [id, life] : world.lives) {
    if (life.host == host.id()) ++ours;
    // One that is leaving takes room on its host, but is none of its template any more.
    const agentd::IntentRecord* intent = world.host_by_id.at(life.host)->intents.find(id.text);
    const bool is_leaving = (intent != nullptr && intent->state == agentd::IntentState::destroying) ||
                            is_leaving_by_record(world, id) || orders.given_up.contains(id);
    if (!is_leaving) ++by_template[life.template_name];
  }
  if (ours > host.plan.max_executors)
    report(world, "capacity is never exceeded",
           host.id().text + " has " + std::to_string(ours) + " executors");
  if (weather_.has_leader_lock || probes.contains("fault scheduler_state_lost"))
    return;  // a new leader cannot know of executors on hosts that it cannot see
  for (const auto& [name, count] : by_template) {
    const scheduler::Template* made_of = template_of(name);
    if (made_of != nullptr && count > made_of->maximum)
      report(world, "a template's maximum is kept",
             name.text + " has " + std::to_string(count) + " executors");
  }
}

}  // namespace skep::sim
