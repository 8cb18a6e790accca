// Builds and node blocks on executors: t0 assigned, t1 executable exists, t3 completed; pipelines; lost
// agents.
#include <algorithm>

#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

std::size_t State::block_count(const Job& job) const {
  return std::max<std::size_t>(1, job.spec.blocks.size());
}

NodeBlock State::block_of(const Job& job, int block) const {
  const std::vector<NodeBlock>& all = job.spec.blocks;  // a job that was configured anew may have fewer
  if (!all.empty()) return all[std::min(static_cast<std::size_t>(block), all.size() - 1)];
  return {job.spec.label, "", job.spec.duration, job.spec.command, job.spec.empty_block};
}

Run* State::find_run(const std::string& job, int number) {
  const auto found = jobs.find(job);
  if (found == jobs.end()) return nullptr;
  std::deque<Run>& runs = found->second.runs;
  if (runs.empty() || number < runs.front().number || number > runs.back().number) return nullptr;
  return &runs[static_cast<std::size_t>(number - runs.front().number)];
}

void State::begin_run(Job& job, Run run) {
  run.number = job.next_number++;
  job.building.insert(run.number);
  if (job.open_items > 1) must_see_all = true;  // not only the one that begins
  job.runs.push_back(std::move(run));
}

/// As a job's "discard old builds" does.
void State::discard_old_runs(Job& job) {
  if (!options.runs_kept) return;
  const std::size_t kept = std::max<std::size_t>(1, *options.runs_kept);
  while (job.runs.size() > kept && !job.runs.front().building && job.runs.front().occupations == 0)
    job.runs.pop_front();
}

std::vector<Hook> State::hooks_for(const Computer& computer) const {
  std::vector<Hook> mine;
  const auto node = nodes.find(computer.name);
  if (node == nodes.end() || node->second.kind == NodeKind::built_in) return mine;
  const LabelSet& labels_now = node->second.labels;
  std::copy_if(hooks.begin(), hooks.end(), std::back_inserter(mine),
               [&](const Hook& hook) { return labels_now.count(hook.marker_label) != 0; });
  return mine;
}

void State::assign(Item& item, Computer& computer, std::size_t slot) {
  Occupation occupation;
  occupation.id = item.resumes ? record(*item.resumes).id : next_occupation++;
  occupation.item = item.id;
  occupation.computer = computer.name;
  occupation.job = item.job;
  occupation.run = item.run;
  occupation.block = item.block;
  occupation.pipeline = item.is_block;
  occupation.assigned_at = clock;
  computer.slots[slot] = occupation.id;
  remove_from_lists(item);
  item.state = ItemState::pending;
  item.told.reset();
  pending.push_back(item.id);
  claim(item, 1);
  const auto least = options.assignment_least.count();
  const auto most = std::max(least, options.assignment_most.count());
  at(clock + Duration(random.between(least, most)), {EventKind::start_executable, occupation.id});
  occupations.emplace(occupation.id, std::move(occupation));
}

/// The node went offline or away between t0 and t1: the item returns to the queue unharmed.
void State::bounce(Occupation& occupation) {
  Item& item = items.at(occupation.item);
  remove_from_lists(item);
  item.state = ItemState::buildable;
  buildable.insert(std::upper_bound(buildable.begin(), buildable.end(), item.id), item.id);
  unseen.push_back(item.id);
  claim(item, 1);
  const std::string computer_name = occupation.computer;
  const auto computer = computers.find(computer_name);
  if (computer != computers.end()) {
    for (auto& slot : computer->second.slots) {
      if (slot == occupation.id) slot.reset();
    }
    maybe_free.insert(computer_name);
  }
  occupations.erase(occupation.id);
  drop_if_done(computer_name);
  schedule_maintenance();
}

void State::start_executable(std::uint64_t id) {
  const auto found = occupations.find(id);
  if (found == occupations.end() || found->second.running) return;
  Occupation& occupation = found->second;
  const auto computer = computers.find(occupation.computer);
  if (computer == computers.end() || nodes.count(occupation.computer) == 0 || offline(computer->second)) {
    bounce(occupation);
    return;
  }
  Item& item = items.at(occupation.item);
  Job& job = jobs.at(occupation.job);
  const NodeBlock body = block_of(job, occupation.block);
  if (!occupation.pipeline) {
    Run run;
    run.job = occupation.job;
    run.queue_id = item.id;
    run.started_ms = wall_ms(clock);
    run.built_on = occupation.computer;
    begin_run(job, std::move(run));
    occupation.run = job.runs.back().number;
  } else if (Run* run = find_run(occupation.job, occupation.run)) {
    run->console.push_back("Running on " + display_name(occupation.computer) + " in " +
                           nodes.at(occupation.computer).remote_fs + "/workspace/" + occupation.job);
  }
  occupation.running = true;
  occupation.build_path = job_url(occupation.job) + std::to_string(occupation.run) + "/";
  if (Run* run = find_run(occupation.job, occupation.run)) run->occupations += 1;
  if (item.resumes) {
    occupation.record = *item.resumes;
    record(*item.resumes).resumed += 1;
  } else {
    BuildRecord fresh;
    fresh.id = occupation.id;
    fresh.job = occupation.job;
    fresh.number = occupation.run;
    fresh.block = occupation.block;
    fresh.queue_id = item.id;
    fresh.node = occupation.computer;
    fresh.queued_at = item.queued_at;
    fresh.buildable_at = item.buildable_at;
    fresh.assigned_at = occupation.assigned_at;
    fresh.started_at = clock;
    occupation.record = first_record + records.size();
    records.push_back(std::move(fresh));
  }
  changed_records.insert(*occupation.record);
  item.executable = {occupation.job, occupation.run};
  leave(item);
  for (const Hook& hook : hooks_for(computer->second)) {
    computer->second.accepting = false;
    if (hook.reports)
      report("accepted " + occupation.computer + (hook.tells_paths ? " " + item.shown_path : ""));
  }
  if (body.empty_block || computer->first == built_in_name) {
    const Duration length = body.empty_block ? milliseconds(random.between(50, 150)) : body.duration;
    end_later(occupation, "SUCCESS", length);
    return;
  }
  AgentCommand command;
  command.kind = item.resumes ? AgentCommandKind::resume_build : AgentCommandKind::run_build;
  command.agent = occupation.computer;
  command.connection = computer->second.connection;
  command.build = occupation.id;
  command.duration = body.duration;
  command.command = body.command;
  const auto node = nodes.find(occupation.computer);
  if (node != nodes.end()) command.remote_fs = node->second.remote_fs;
  command.survives_agent = occupation.pipeline;
  commands.push_back(std::move(command));
}

void State::end_later(Occupation& occupation, const std::string& result, Duration delay) {
  occupation.ending = true;
  at(clock + delay, {EventKind::finish_build, occupation.id, result});
}

void State::finish(std::uint64_t id, const std::string& result) {
  const auto found = occupations.find(id);
  if (found == occupations.end() || !found->second.running) return;
  const Occupation occupation = found->second;
  BuildRecord& over = record(*occupation.record);
  over.ended_at = clock;
  over.result = result;
  changed_records.insert(*occupation.record);
  const auto computer = computers.find(occupation.computer);
  if (computer != computers.end()) {
    for (const Hook& hook : hooks_for(computer->second)) {
      if (hook.reports)
        report("completed " + occupation.computer + (hook.tells_paths ? " " + occupation.build_path : ""));
      at(clock + milliseconds(2), {EventKind::remove_node, 0, occupation.computer});
    }
    for (auto& slot : computer->second.slots) {
      if (slot == id) slot.reset();
    }
    maybe_free.insert(occupation.computer);
  }
  occupations.erase(found);
  drop_if_done(occupation.computer);
  if (Run* run = find_run(occupation.job, occupation.run)) {
    run->occupations -= 1;
    if (occupation.pipeline) {
      block_over(*run, result);
    } else {
      run->result = result;
      finish_run(*run);
    }
  }
  at(clock + options.next_assignment, {EventKind::maintain});
}

void State::finish_run(Run& run) {
  run.building = false;
  run.duration_ms = wall_ms(clock) - run.started_ms;
  run.console.push_back("Finished: " + run.result);
  Job& job = jobs.at(run.job);
  job.building.erase(run.number);
  if (run.result == "SUCCESS") job.last_duration_ms = run.duration_ms;
  auto& flows = computers.at(built_in_name).one_off;
  flows.erase(std::remove(flows.begin(), flows.end(), std::make_pair(run.job, run.number)), flows.end());
  schedule_maintenance();
  discard_old_runs(job);
}

void State::block_over(Run& run, const std::string& result) {
  run.open_blocks -= 1;
  if (run.result.empty() || result == "ABORTED" || (result == "FAILURE" && run.result == "SUCCESS"))
    run.result = result;
  const std::size_t count = block_count(jobs.at(run.job));
  const bool more =
      static_cast<std::size_t>(run.next_block) < count && run.result == "SUCCESS" && !run.stopped;
  if (more && run.open_blocks == 0) {
    at(clock + milliseconds(5), {EventKind::start_flow, 0, run.job, run.number});
  } else if (run.open_blocks == 0) {
    finish_run(run);
  }
}

/// A flyweight task: taken at once by a one-off executor of the built-in node.
void State::start_flow(Item& item) {
  Job& job = jobs.at(item.job);
  Run run;
  run.job = item.job;
  run.queue_id = item.id;
  run.started_ms = wall_ms(clock);
  run.console = {"Started by user " + (item.user.empty() ? std::string("unknown") : item.user),
                 "[Pipeline] Start of Pipeline"};
  begin_run(job, std::move(run));
  const int number = job.runs.back().number;
  item.executable = {item.job, number};
  computers.at(built_in_name).one_off.emplace_back(item.job, number);
  at(clock + options.flow_start, {EventKind::start_flow, 0, item.job, number});
  leave(item);
}

void State::next_blocks(const std::string& job_path, int number) {
  Run* run = find_run(job_path, number);
  if (run == nullptr || !run->building || run->stopped) return;
  const Job& job = jobs.at(job_path);
  const auto count = static_cast<int>(block_count(job));
  if (run->next_block >= count) return;
  queue_block(*run, run->next_block++);
  // Branches come one after the other: the queue looks in between (recording 23).
  const bool has_another_branch = job.spec.parallel && run->next_block < count;
  if (has_another_branch) at(clock + options.branch_start, {EventKind::start_flow, 0, job_path, number});
}

void State::queue_block(Run& run, int block) {
  const NodeBlock body = block_of(jobs.at(run.job), block);
  Item item;
  item.job = run.job;
  item.is_block = true;
  item.run = run.number;
  item.block = block;
  item.label = body.label;
  item.due = clock;
  run.open_blocks += 1;
  enqueue(std::move(item));
}

void State::stop_run(const std::string& job, int number) {
  Run* run = find_run(job, number);
  if (run == nullptr || !run->building) return;
  run->stopped = true;
  for (const auto& list : {waiting, blocked, buildable}) {
    for (const std::int64_t id : list) {
      if (items.at(id).is_block && items.at(id).job == job && items.at(id).run == number) cancel(id);
    }
  }
  for (auto& [id, occupation] : occupations) {
    if (!occupation.running || occupation.job != job || occupation.run != number) continue;
    const auto computer = computers.find(occupation.computer);
    if (computer != computers.end() && computer->second.channel == Channel::online) {
      AgentCommand stop;
      stop.kind = AgentCommandKind::stop_build;
      stop.agent = occupation.computer;
      stop.connection = computer->second.connection;
      stop.build = id;
      commands.push_back(std::move(stop));
    }
    end_later(occupation, "ABORTED", milliseconds(100));
  }
  run = find_run(job, number);
  if (run != nullptr && run->building && run->open_blocks == 0) {
    run->result = "ABORTED";
    finish_run(*run);
  }
}

void State::lost_agent_timeout(std::uint64_t id) {
  const auto found = occupations.find(id);
  if (found == occupations.end() || !found->second.lost_at) return;
  Occupation& occupation = found->second;
  if (*occupation.lost_at + options.resume_timeout > clock) return;  // timer of an earlier loss
  const auto computer = computers.find(occupation.computer);
  const bool gone = computer == computers.end();
  const bool has_channel = !gone && computer->second.channel == Channel::online;
  // A deleted node must be back and open (RemovedNodeListener). A kept one must have its agent; before
  // workflow-durable-task-step 1442 nobody ever asked.
  const bool back = occupation.lost_node
                        ? !gone && !offline(computer->second) && nodes.count(occupation.computer) != 0
                        : has_channel || !flag_in_node;
  if (!back) {
    end_later(occupation, "ABORTED", Duration{});
  } else if (has_channel) {
    occupation.lost_at.reset();
  }
}

}  // namespace skep::controller_sim
