// What is given up: executors as used or failed, launches, and hosts that an operator forgets.
#include <algorithm>

#include "tests/sim/checkers.h"

namespace skep::sim {
namespace {

using simulation::World;

constexpr Duration least_silence = minutes(1);  // of a host that is forgotten
constexpr Duration met_within = seconds(20);    // what was given up, and is there
// No deadline of a launch is over so soon: boot and join deadlines are at least 30 s and 20 s, one after the
// other.
constexpr Duration no_deadline_before = seconds(20);

}  // namespace

/// An executor is used by a build; where none is seen, at least the item of its offer has left the queue.
void Checkers::check_used(const World& world, const scheduler::ExecutorRecord& record) {
  Seen& seen = seen_[record.id];
  if (seen.was_used || !record.was_used) return;
  seen.was_used = true;
  if (!record.builds_seen.empty() || seen.builds > 0 || !seen.opened || weather_.schedulers > 1) return;
  // A controller that left the configuration while the gate was open tells no more what came through it.
  if (seen.is_unreached) return;
  // Of a node that is gone while the answer to its opening is under way, nobody can say that it served
  // nothing.
  const auto nodes = world.controller.node_names();
  if (std::find(nodes.begin(), nodes.end(), record.id.text) == nodes.end()) return;
  const bool is_same_leader = leader_since_ && *leader_since_ < *seen.opened;
  const bool is_same_session = !restarted_ || *restarted_ + minutes(10) < *seen.opened;
  // What an older read of the queue says may have left before the gate was opened.
  const auto is_before = [&](const std::optional<Instant>& when) {
    return !when || *when + fact_life < *seen.opened;
  };
  if (is_same_leader && is_same_session && is_before(item_left_) && is_before(stale_lists_) &&
      !orders.nodes_touched_by_hand.contains(record.id.text))
    used_unseen_.emplace(record.id, *seen.opened);
}

/// With nothing known of the controller an agent that is connected to it is not given up for missing.
void Checkers::check_failed(const World& world, const scheduler::ExecutorRecord& record) {
  const auto is_old = [&](const std::optional<Instant>& read) {
    return read && world.now - *read > fact_life;
  };
  const bool decided_before_a_stop = resumed_ && world.now - *resumed_ < seconds(30);
  if (!is_old(queue_read_) || !is_old(nodes_read_) || decided_before_a_stop) return;
  const auto host = world.host_by_id.find(record.host);
  if (host == world.host_by_id.end() || !world.controller.agent_online(record.id.text)) return;
  const auto sandbox = host->second->model.look_at(record.id, world.now);
  const agentd::IntentRecord* intent = host->second->intents.find(record.id.text);
  const bool is_well = sandbox && sandbox->state == drivers::InstanceState::running && intent != nullptr &&
                       intent->state == agentd::IntentState::running;
  if (is_well && !seen_[record.id].is_unreached && !probes.contains("fault config_reload"))
    report(world, "unknown is never empty",
           record.id.text + " is given up although it is connected and its controller cannot be read");
}

/// A launch fails for a reason: a deadline, its host's word, or a node that is not there.
void Checkers::check_launch_given_up(const World& world, int scheduler,
                                     const scheduler::ExecutorRecord& record) {
  const Seen& seen = seen_[record.id];
  const auto& process = *world.schedulers[static_cast<std::size_t>(scheduler)];
  const bool is_of_this_leader = record.epoch == process.epoch && process.epoch >= highest_leader_;
  if (!is_of_this_leader || seen.made_by != scheduler || seen.is_refused || seen.called_back) return;
  if (world.now - seen.planned >= no_deadline_before || seen.is_unreached) return;
  if (orders.nodes_touched_by_hand.contains(record.id.text) || orders.lost_states.contains(record.host.text))
    return;
  const auto nodes = world.controller.node_names();
  if (std::find(nodes.begin(), nodes.end(), record.id.text) == nodes.end()) return;
  const auto host = world.host_by_id.find(record.host);
  if (host == world.host_by_id.end() || !host->second->is_agentd_up()) return;
  const auto sandbox = host->second->model.look_at(record.id, world.now);
  const bool was_made = host->second->model.times_made(record.id) > 0;
  if (was_made && (!sandbox || sandbox->state == drivers::InstanceState::exited)) return;
  const auto& reported = host->second->logic->report().executors;
  const auto entry = std::find_if(reported.begin(), reported.end(),
                                  [&](const ExecutorReport& each) { return each.id == record.id; });
  const bool is_there = entry != reported.end();
  if (!is_there && host->second->intents.find(record.id.text) != nullptr) return;  // it is gone already
  if (is_there && !is_coming(entry->state) && entry->state != ExecutorState::idle &&
      entry->state != ExecutorState::unknown)
    return;
  report(world, "a launch is given up for a reason",
         record.id.text + " failed " + duration_to_text(world.now - seen.planned) +
             " after it was planned, with its node there and nothing wrong on " + record.host.text);
}

void Checkers::note_host_told(const World& world, int scheduler, const HostReport& report) {
  Told& told = hosts_told_[{scheduler, report.host}];
  if (!told.since) told.since = world.now;
  told.last = world.now;
  told.is_draining = report.is_draining;
  told.images = report.images;
}

/// A host that lives is not forgotten: one that answers, and one whose agents are connected.
void Checkers::check_forgotten(const World& world, int scheduler, const HostId& host) {
  const auto told = hosts_told_.find({scheduler, host});
  const bool has_answered =
      told != hosts_told_.end() && told->second.last && world.now - *told->second.last < least_silence;
  if (has_answered) report(world, "a host that lives is not forgotten", host.text + " answered a moment ago");
  if (stale_lists_ && world.now - *stale_lists_ < minutes(1)) return;
  const auto& records = world.schedulers[static_cast<std::size_t>(scheduler)]->records;
  for (const auto& [id, since] : agents_online_) {
    const scheduler::ExecutorRecord* record = records.find(id.text);
    const bool is_on_record = record != nullptr && record->host == host &&
                              record->state != ExecutorState::gone && record->given_up.empty();
    if (!is_on_record || seen_[id].is_unreached || world.now - since < fact_life) continue;
    if (world.controller.agent_online(id.text))
      report(world, "a host that lives is not forgotten",
             host.text + " has " + id.text + ", and its agent is connected");
  }
}

/// What was given up and came back with its host is told to go.
void Checkers::check_met(const World& world) {
  for (const auto& process : world.schedulers) {
    if (!process->is_leading() || stopped_.contains(process->number())) continue;
    if (process->epoch < highest_leader_) continue;
    for (const ExecutorId& id : orders.given_up) {
      const scheduler::ExecutorRecord* record = process->records.find(id.text);
      if (record == nullptr || record->given_up.empty()) continue;
      const auto told = hosts_told_.find({process->number(), record->host});
      const bool is_host_seen =
          told != hosts_told_.end() && told->second.since && world.now - *told->second.since > met_within;
      const auto host = world.host_by_id.find(record->host);
      if (!is_host_seen || host == world.host_by_id.end() || !host->second->is_agentd_up()) continue;
      const auto& reported = host->second->logic->report().executors;
      const bool is_kept = std::any_of(reported.begin(), reported.end(), [&](const ExecutorReport& each) {
        return each.id == id && each.state != ExecutorState::destroying && each.state != ExecutorState::gone;
      });
      const auto up = up_since_.find(record->host);
      const bool is_up = up != up_since_.end() && world.now - up->second > met_within;
      if (is_kept && is_up && !destroyed_by_[process->number()].contains(id))
        report(world, "what was given up is destroyed when it comes back",
               id.text + " runs on " + record->host.text + ", which answers, and nobody told it to go");
    }
  }
}

}  // namespace skep::sim
