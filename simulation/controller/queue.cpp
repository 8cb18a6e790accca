// The queue: Queue.schedule2, Queue.maintain, the four lists, and what `why` and `stuck` say.
#include <algorithm>

#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

namespace {

void erase_id(std::vector<std::int64_t>& list, std::int64_t id) {
  list.erase(std::remove(list.begin(), list.end(), id), list.end());
}

std::string leaf_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

}  // namespace

void State::schedule_maintenance() {
  if (maintenance_due) return;
  maintenance_due = clock + options.maintenance_delay;
  at(*maintenance_due, {EventKind::maintain});
}

std::int64_t State::enqueue(Item item) {
  item.id = next_item++;
  item.state = ItemState::waiting;
  item.queued_at = clock;
  item.queued_ms = wall_ms(clock);
  item.due_ms = wall_ms(item.due);
  if (item.due > clock) at(item.due, {EventKind::maintain});
  const std::int64_t id = item.id;
  const auto later = [&](Instant due, std::int64_t each) { return due < items.at(each).due; };
  waiting.insert(std::upper_bound(waiting.begin(), waiting.end(), item.due, later), id);
  const Item& stored = items.emplace(id, std::move(item)).first->second;
  report_item("waiting", stored);
  schedule_maintenance();
  return id;
}

std::optional<std::int64_t> State::schedule(const std::string& path, const Parameters& parameters,
                                            std::optional<Duration> quiet, const std::string& user) {
  const auto found = jobs.find(path);
  if (found == jobs.end()) return std::nullopt;
  const JobSpec& spec = found->second.spec;
  // Folding: an equal item that is not yet pending stands for this request too.
  const auto equal = last_scheduled.find({path, parameters});
  if (equal != last_scheduled.end()) {
    const auto open = items.find(equal->second);
    const bool folds = open != items.end() && open->second.job == path &&
                       open->second.parameters == parameters && open->second.state != ItemState::pending &&
                       open->second.state != ItemState::left;
    if (folds) return open->first;
  }
  Item item;
  item.job = path;
  item.is_flow = spec.kind == JobKind::pipeline;
  item.label = item.is_flow ? "built-in" : spec.label;
  item.parameters = parameters;
  item.user = user;
  const Duration fallback =
      spec.quiet_period.value_or(item.is_flow ? Duration{} : options.default_quiet_period);
  item.due = clock + quiet.value_or(fallback);
  const std::int64_t id = enqueue(std::move(item));
  last_scheduled[{path, parameters}] = id;
  return id;
}

void State::remove_from_lists(const Item& item) {
  switch (item.state) {
    case ItemState::waiting:
      return erase_id(waiting, item.id);
    case ItemState::blocked:
      return erase_id(blocked, item.id);
    case ItemState::buildable:
      return erase_id(buildable, item.id);
    case ItemState::pending:
      return erase_id(pending, item.id);
    case ItemState::left:
      return;
  }
}

void State::make_buildable(Item& item) {
  remove_from_lists(item);
  item.state = ItemState::buildable;
  item.block_reason.clear();
  if (!item.buildable_at) {
    item.buildable_at = clock;
    item.buildable_ms = wall_ms(clock);
  }
  buildable.push_back(item.id);
  report_item("buildable", item);
}

void State::leave(Item& item) {
  remove_from_lists(item);
  if (item.resumes) resume_items.erase(item.label);
  item.state = ItemState::left;
  item.left_at = clock;
  left.push_back(item.id);
  report_item(item.cancelled ? "cancelled" : "left", item);
}

bool State::cancel(std::int64_t id) {
  const auto found = items.find(id);
  if (found == items.end() || found->second.state == ItemState::left ||
      found->second.state == ItemState::pending)
    return false;
  Item& item = found->second;
  item.cancelled = true;
  leave(item);
  if (item.is_block) {
    if (item.resumes) {
      records[*item.resumes].result = "ABORTED";
      records[*item.resumes].ended_at = clock;
    }
    if (Run* run = find_run(item.job, item.run)) block_over(*run, "ABORTED");
  }
  return true;
}

void State::expire_left_items() {
  const auto expired = [&](std::int64_t id) {
    return items.at(id).left_at + options.left_item_life <= clock;
  };
  for (const std::int64_t id : left) {
    if (expired(id)) items.erase(id);
  }
  left.erase(std::remove_if(left.begin(), left.end(), [&](std::int64_t id) { return items.count(id) == 0; }),
             left.end());
}

std::optional<std::string> State::block_reason(const Item& item) const {
  if (item.is_flow || item.is_block) return std::nullopt;
  const auto found = jobs.find(item.job);
  if (found == jobs.end()) return std::nullopt;
  const Job& job = found->second;
  if (job.blocked)
    return "Upstream project " + quoted("upstream-of-" + leaf_name(item.job)) + " is already building";
  if (job.spec.concurrent) return std::nullopt;
  for (const Run& run : job.runs) {
    if (!run.building) continue;
    std::string eta = "N/A";
    const std::int64_t remaining = job.last_duration_ms - (wall_ms(clock) - run.started_ms);
    if (job.last_duration_ms >= 0 && remaining > 0) eta = time_span(remaining);
    return "Build #" + std::to_string(run.number) + " is already in progress (ETA: " + eta + ")";
  }
  if (item.state != ItemState::buildable) {
    const auto same_job = [&](std::int64_t id) {
      return id != item.id && !items.at(id).is_block && items.at(id).job == item.job;
    };
    if (std::any_of(buildable.begin(), buildable.end(), same_job) ||
        std::any_of(pending.begin(), pending.end(), same_job)) {
      return "A build is already in progress";
    }
  }
  return std::nullopt;
}

void State::maintain() {
  maintenance_due.reset();
  if (phase != Phase::up) return;
  expire_left_items();
  for (const std::int64_t id : std::vector<std::int64_t>(blocked)) {
    Item& item = items.at(id);
    if (const auto reason = block_reason(item)) {
      item.block_reason = *reason;
    } else {
      make_buildable(item);
    }
  }
  for (const std::int64_t id : std::vector<std::int64_t>(waiting)) {
    Item& item = items.at(id);
    if (item.due > clock) continue;
    if (item.is_flow) {
      start_flow(item);
    } else if (const auto reason = block_reason(item)) {
      remove_from_lists(item);
      item.state = ItemState::blocked;
      item.block_reason = *reason;
      item.buildable_ms = wall_ms(clock);
      blocked.push_back(id);
      report_item("blocked", item);
    } else {
      make_buildable(item);
    }
  }
  if (quieting_down) return;
  for (const std::int64_t id : std::vector<std::int64_t>(buildable)) maintain_buildable(id);
}

void State::maintain_buildable(std::int64_t id) {
  Item& item = items.at(id);
  if (const auto reason = block_reason(item)) {
    remove_from_lists(item);
    item.state = ItemState::blocked;
    item.block_reason = *reason;
    blocked.push_back(id);
    report_item("blocked", item);
    return;
  }
  std::set<std::string> refusals;
  Computer* best = nullptr;
  std::size_t best_slot = 0;
  std::string best_rank;
  for (auto& [name, computer] : computers) {
    const auto free = std::find(computer.slots.begin(), computer.slots.end(), std::nullopt);
    if (free == computer.slots.end() || computer.doomed) continue;
    if (const auto reason = refusal(item, computer)) {
      refusals.insert(*reason);
      continue;
    }
    // Jenkins spreads jobs by consistent hashing: the same job likes the same node.
    const std::string rank = digest64(0, item.job, name);
    if (best == nullptr || rank < best_rank) {
      best = &computer;
      best_slot = static_cast<std::size_t>(free - computer.slots.begin());
      best_rank = rank;
    }
  }
  item.refusals.assign(refusals.begin(), refusals.end());
  if (best != nullptr) assign(item, *best, best_slot);
}

/// JobOffer.getCauseOfBlockage and Node.canTake, in their order.
std::optional<std::string> State::refusal(const Item& item, const Computer& computer) {
  const auto node = nodes.find(computer.name);
  if (node == nodes.end()) return computer.name + " has been removed from configuration";
  const std::string shown = quoted(display_name(computer.name));
  if (!any_node_item(item)) {
    CachedLabel& cached = label(item.label);
    const std::vector<std::string>& names = label_nodes(cached);
    if (std::find(names.begin(), names.end(), computer.name) == names.end()) {
      return shown + " doesn\xE2\x80\x99t have label " + quoted(cached.expression.name());
    }
  } else if (node->second.exclusive) {
    return shown + " is reserved for jobs with matching label expression";
  }
  if (!computer.accepting) return shown + " is not accepting tasks";
  const auto resuming = resume_items.find(computer.name);
  if (resuming != resume_items.end() && resuming->second != item.id) {
    const Item& first = items.at(resuming->second);
    if (first.state == ItemState::buildable)
      return task_display_name(first) + " should be allowed to run first";
  }
  if (offline(computer)) return shown + " is offline";
  return std::nullopt;
}

std::string State::cause_of_buildable(const Item& item) {
  if (quieting_down) return "Jenkins is about to shut down";
  const bool agents_exist = nodes.size() > 1;
  CachedLabel* cached = agents_exist && !any_node_item(item) ? &label(item.label) : nullptr;
  if (!item.refusals.empty()) {
    std::vector<std::string> names;
    if (cached != nullptr) {
      names = label_nodes(*cached);
    } else {
      for (const auto& [name, node] : nodes) names.push_back(name);
    }
    if (idle_executors_of(names) > 0) {
      std::string joined;
      for (const std::string& reason : item.refusals) joined += (joined.empty() ? "" : "; ") + reason;
      return joined;
    }
  }
  if (cached == nullptr) return "Waiting for next available executor";
  const std::vector<std::string>& names = label_nodes(*cached);
  const std::string label_name = cached->expression.name();
  const bool single = names.size() == 1;
  if (label_offline(*cached)) {
    if (single) return quoted(display_name(names.front())) + " is offline";
    if (names.empty()) return "There are no nodes with the label " + quoted(label_name);
    return "All nodes of label " + quoted(label_name) + " are offline";
  }
  return "Waiting for next available executor on " +
         quoted(single ? display_name(names.front()) : label_name);
}

std::string State::why(const Item& item) {
  switch (item.state) {
    case ItemState::waiting: {
      const std::int64_t rest = item.due_ms - wall_ms(clock);
      return rest > 0 ? "In the quiet period. Expires in " + time_span(rest) : "Finished waiting";
    }
    case ItemState::blocked:
      return item.block_reason;
    case ItemState::buildable:
    case ItemState::pending:
      return cause_of_buildable(item);
    case ItemState::left:
      break;
  }
  return {};
}

bool State::stuck(const Item& item) {
  if (item.state != ItemState::buildable && item.state != ItemState::pending) return false;
  if (!any_node_item(item) && label_offline(label(item.label))) return true;
  const auto job = jobs.find(item.job);
  const std::int64_t estimate = job == jobs.end() ? -1 : job->second.last_duration_ms;
  const std::int64_t elapsed = wall_ms(clock) - item.buildable_ms;
  if (estimate >= 0) return elapsed > std::max<std::int64_t>(estimate, 60000) * 10;
  return elapsed / 3600000 > 24;
}

/// Folder names joined by " » "; a node block is "part of JOB #N" with the enclosing name in parentheses.
std::string State::task_display_name(const Item& item) const {
  std::string full;
  for (const std::string& part : split(item.job, '/')) full += (full.empty() ? "" : " \xC2\xBB ") + part;
  if (!item.is_block) return full;
  const std::string run = full + " #" + std::to_string(item.run);
  const auto job = jobs.find(item.job);
  if (job != jobs.end()) {
    const std::vector<NodeBlock> all = blocks_of(job->second);
    const auto index = static_cast<std::size_t>(item.block);
    if (index < all.size() && !all[index].enclosing_name.empty())
      return run + " (" + all[index].enclosing_name + ")";
  }
  return "part of " + run;
}

}  // namespace skep::controller_sim
