// Time, and a restart of the controller: what is lost, what is kept, what is queued again.
#include <algorithm>

#include "core/check.h"
#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

State::State(Options chosen, Instant now, WallTime wall)
    : options(std::move(chosen)),
      flag_in_node(options.core_version != "2.479.3"),
      random(options.seed),
      clock(now),
      wall_base(now),
      wall_base_ms(wall.ms_since_epoch) {
  if (options.root_url.empty()) options.root_url = "http://localhost:8080" + options.path_prefix + "/";
  Node built_in;
  built_in.name = built_in_name;
  built_in.kind = NodeKind::built_in;
  built_in.executors = options.built_in_executors;
  note_labels(built_in);
  nodes.emplace(built_in_name, std::move(built_in));
  Computer computer;
  computer.name = built_in_name;
  computer.slots.resize(static_cast<std::size_t>(std::max(0, options.built_in_executors)));
  computers.emplace(built_in_name, std::move(computer));
  maybe_free.insert(built_in_name);
  session_id = digest64(options.seed, "session", "0").substr(0, 8);
  at(now + Duration(random.between(1, std::max<std::int64_t>(1, options.queue_tick.count()))),
     {EventKind::tick});
  at(now + options.trim_labels_every, {EventKind::trim_labels});
}

std::int64_t State::wall_ms(Instant when) const {
  return wall_base_ms + to_ms(when - wall_base);
}

void State::advance(Instant now) {
  while (!events.empty() && events.begin()->first <= now) {
    const auto first = events.begin();
    clock = std::max(clock, first->first);
    const Event event = std::move(first->second);
    events.erase(first);
    run_event(event);
  }
  clock = std::max(clock, now);
}

void State::run_event(const Event& event) {
  switch (event.kind) {
    case EventKind::maintain:
      maintain();
      break;
    case EventKind::tick:
      at(clock + options.queue_tick, {EventKind::tick});
      maintain();
      break;
    case EventKind::trim_labels:
      at(clock + options.trim_labels_every, {EventKind::trim_labels});
      trim_all_labels();
      SKEP_ASSERT(is_consistent());
      break;
    case EventKind::start_executable:
      start_executable(event.id);
      break;
    case EventKind::finish_build:
      finish(event.id, event.name);
      break;
    case EventKind::agent_online: {
      const auto found = computers.find(event.name);
      if (found == computers.end() || found->second.connection != event.id) break;
      Computer& computer = found->second;
      computer.channel = Channel::online;
      computer.offline_reason.clear();
      computer.offline_class.clear();
      report("online " + event.name);
      for (const auto& slot : computer.slots) {
        if (!slot || !occupations.at(*slot).running || !occupations.at(*slot).pipeline) continue;
        Occupation& occupation = occupations.at(*slot);
        if (!occupation.lost_node) occupation.lost_at.reset();
        AgentCommand command;
        command.kind = AgentCommandKind::resume_build;
        command.agent = event.name;
        command.connection = computer.connection;
        command.build = *slot;
        command.survives_agent = true;
        commands.push_back(std::move(command));
      }
      schedule_maintenance();
      break;
    }
    case EventKind::remove_node:
      event.id == 0 ? remove_node(event.name) : after_disconnect(event.name);
      break;
    case EventKind::start_flow:
      if (phase == Phase::up) {
        next_blocks(event.name, event.number);
      } else {
        at(clock + seconds(1), event);
      }
      break;
    case EventKind::lost_agent_timeout:
      lost_agent_timeout(event.id);
      break;
    case EventKind::resume_timeout: {
      const auto found = items.find(static_cast<std::int64_t>(event.id));
      if (found != items.end() && found->second.resumes) cancel(found->first);
      break;
    }
    case EventKind::restart_listening:
      phase = Phase::starting;
      break;
    case EventKind::restart_up:
      come_up();
      break;
    case EventKind::resume_blocks:
      resume_blocks();
      break;
    case EventKind::end_of_wait:
      end_of_wait(event.id);
      break;
  }
}

void State::begin_restart(bool keep_queue, Duration down, Duration starting) {
  if (phase != Phase::up) return;
  phase = Phase::down;
  restart_keeps_queue = keep_queue;
  for (auto& [name, computer] : computers) {
    if (computer.channel == Channel::none) continue;
    AgentCommand close;
    close.kind = AgentCommandKind::close_channel;
    close.agent = name;
    close.connection = computer.connection;
    commands.push_back(std::move(close));
    computer.channel = Channel::none;
    computer.connection = 0;
  }
  std::vector<std::uint64_t> running;
  for (const auto& [id, occupation] : occupations) running.push_back(id);
  for (const std::uint64_t id : running) {
    Occupation& occupation = occupations.at(id);
    if (!occupation.running) {
      bounce(occupation);
    } else if (occupation.pipeline && !occupation.ending) {
      to_resume.push_back(*occupation.record);
      if (Run* run = find_run(occupation.job, occupation.run)) run->occupations -= 1;
      for (auto& slot : computers.at(occupation.computer).slots) {
        if (slot == id) slot.reset();
      }
      maybe_free.insert(occupation.computer);
      occupations.erase(id);
    } else {
      finish(id, occupation.pipeline ? "SUCCESS" : "FAILURE");
    }
  }
  for (const ParkedReply& waiter : parked) {
    HttpReply lost;
    lost.delivery.drop_connection = true;
    finished_replies.emplace_back(waiter.id, std::move(lost));
  }
  parked.clear();
  at(clock + down, {EventKind::restart_listening});
  at(clock + down + starting, {EventKind::restart_up});
}

void State::come_up() {
  phase = Phase::up;
  ++starts;
  session_id = digest64(options.seed, "session", std::to_string(starts)).substr(0, 8);
  quieting_down = false;
  sessions.clear();
  hooks.clear();
  companion.reset();
  for (auto node = nodes.begin(); node != nodes.end();) {
    node = node->second.kind == NodeKind::swarm ? nodes.erase(node) : std::next(node);
  }
  for (auto computer = computers.begin(); computer != computers.end();) {
    if (nodes.count(computer->first) == 0) {
      computer = computers.erase(computer);
    } else {
      computer->second.doomed = false;
      computer->second.accepting = true;
      ++computer;
    }
  }
  labels.clear();
  ++label_changes;
  must_see_all = true;
  for (const std::int64_t id : left) forget_item(id);
  left.clear();
  if (!restart_keeps_queue) {
    // A crash loses what was not yet saved: the last minute. Their ids are used again.
    std::vector<std::int64_t> lost;
    for (const auto& [id, item] : items) {
      if (item.queued_at + minutes(1) > clock || item.is_block) lost.push_back(id);
    }
    for (const std::int64_t id : lost) {
      const Item item = items.at(id);
      remove_from_lists(item);
      if (item.resumes) resume_items.erase(item.label);
      forget_item(id);
      if (Run* run = item.is_block && !item.resumes ? find_run(item.job, item.run) : nullptr) {
        run->open_blocks -= 1;
        run->next_block = std::min(run->next_block, item.block);
        at(clock + seconds(1), {EventKind::start_flow, 0, item.job, item.run});
      } else if (item.resumes) {
        to_resume.push_back(*item.resumes);
      }
    }
    next_item = items.empty() ? 1 : items.rbegin()->first + 1;
  }
  at(clock + seconds(1), {EventKind::resume_blocks});
  schedule_maintenance();
}

/// A block that ran waits for the node of that name again (ExecutorPickle), at most five minutes.
void State::resume_blocks() {
  for (const std::size_t index : to_resume) {
    const BuildRecord& interrupted = record(index);
    const Run* run = find_run(interrupted.job, interrupted.number);
    if (run == nullptr || !run->building) continue;
    Item item;
    item.job = interrupted.job;
    item.is_block = true;
    item.run = interrupted.number;
    item.block = interrupted.block;
    item.label = interrupted.node;
    item.due = clock;
    item.resumes = index;
    const std::int64_t id = enqueue(std::move(item));
    resume_items[interrupted.node] = id;
    at(clock + options.resume_timeout, {EventKind::resume_timeout, static_cast<std::uint64_t>(id)});
  }
  to_resume.clear();
}

}  // namespace skep::controller_sim
