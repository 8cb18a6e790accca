// The queue: Queue.schedule2, Queue.maintain, the four lists, and what `why` and `stuck` say.
#include <algorithm>

#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

namespace {

void erase_id(std::vector<std::int64_t>& list, std::int64_t id) {
  list.erase(std::remove(list.begin(), list.end(), id), list.end());
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
  describe(item);
  const auto job = jobs.find(item.job);
  item.task = job == jobs.end() ? nullptr : &job->second;
  if (item.task != nullptr) item.task->open_items += 1;
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

/// Counts what block_reason() asks for.
void State::claim(const Item& item, int change) {
  const auto job = item.is_block ? jobs.end() : jobs.find(item.job);
  if (job != jobs.end()) job->second.claimed_items += change;
}

/// What a reader gets of its task. Again when the job is configured anew.
void State::describe(Item& item) const {
  item.shown_name = task_display_name(item);
  item.shown_path = job_url(item.job);
  item.label_field.reset();
  if (item.is_block) item.shown_path += std::to_string(item.run) + "/";
  const auto job = jobs.find(item.job);
  if (job == jobs.end() || item.is_block || job->second.spec.kind != JobKind::freestyle) return;
  item.label_field = label_expression_text(job->second.spec.label).value_or("");
}

/// An item that is in no list any more.
void State::forget_item(std::int64_t id) {
  const auto found = items.find(id);
  const Item& item = found->second;
  const auto job = jobs.find(item.job);
  if (job != jobs.end() && item.state != ItemState::left) job->second.open_items -= 1;
  const auto last = last_scheduled.find({item.job, item.parameters});
  if (last != last_scheduled.end() && last->second == id) last_scheduled.erase(last);
  items.erase(found);
}

void State::remove_from_lists(const Item& item) {
  if (item.state == ItemState::buildable || item.state == ItemState::pending) claim(item, -1);
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
  unseen.push_back(item.id);
  claim(item, 1);
  report_item("buildable", item);
}

void State::leave(Item& item) {
  remove_from_lists(item);
  if (item.resumes) resume_items.erase(item.label);
  if (const auto job = jobs.find(item.job); job != jobs.end()) job->second.open_items -= 1;
  item.state = ItemState::left;
  item.told.reset();
  item.task = nullptr;
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
      record(*item.resumes).result = "ABORTED";
      record(*item.resumes).ended_at = clock;
      changed_records.insert(*item.resumes);
    }
    if (Run* run = find_run(item.job, item.run)) block_over(*run, "ABORTED");
  }
  return true;
}

void State::expire_left_items() {
  while (!left.empty() && items.at(left.front()).left_at + options.left_item_life <= clock) {
    forget_item(left.front());
    left.pop_front();
  }
}

std::optional<std::string> State::block_reason(const Item& item) const {
  if (item.is_flow || item.is_block || item.task == nullptr) return std::nullopt;
  const Job& job = *item.task;
  if (job.blocked)
    return "Upstream project " + quoted("upstream-of-" + leaf_name(item.job)) + " is already building";
  if (job.spec.concurrent) return std::nullopt;
  if (!job.building.empty()) {
    const int number = *job.building.begin();
    const Run& run = job.runs[static_cast<std::size_t>(number - job.runs.front().number)];
    std::string eta = "N/A";
    const std::int64_t remaining = job.last_duration_ms - (wall_ms(clock) - run.started_ms);
    if (job.last_duration_ms >= 0 && remaining > 0) eta = time_span(remaining);
    return "Build #" + std::to_string(run.number) + " is already in progress (ETA: " + eta + ")";
  }
  if (item.state != ItemState::buildable && job.claimed_items > 0) return "A build is already in progress";
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
      item.buildable_ms = wall_ms(clock);
      block(item, *reason);
    } else {
      make_buildable(item);
    }
  }
  if (quieting_down) return;
  OffersByLabel offers;
  const bool is_done = maintain_unseen(offers) || (maintain_first(offers) && maintain_unseen(offers));
  if (!is_done) maintain_all_buildable(offers);
  unseen.clear();
}

/// What comes to the first items of the queue: nobody before them was told anything by this pass, so what is
/// left of the pass may again be one that only looks at the unseen. True: somebody left the queue.
bool State::maintain_first(OffersByLabel& offers) {
  bool has_left = false;
  while (!must_see_all && resume_items.empty() && !buildable.empty()) {
    const std::size_t before = buildable.size();
    maintain_buildable(items.at(buildable.front()), offers);
    if (buildable.size() == before) break;
    has_left = true;
  }
  return has_left;
}

/// In a long queue that waits for free executors most passes change nothing but what the items are told.
/// False: somebody may get an executor, or be told something of its own, and all must be looked at in their
/// order.
bool State::maintain_unseen(OffersByLabel& offers) {
  if (must_see_all || !resume_items.empty()) return false;
  const auto is_hopeless = [&](const Item& item) { return offers_for(item, offers).open.empty(); };
  for (const std::int64_t id : unseen) {
    const auto item = items.find(id);
    const bool asks = item != items.end() && item->second.state == ItemState::buildable;
    // What is blocked must not make the controller remember who has its label.
    if (asks && !block_reason(item->second) && !is_hopeless(item->second)) return false;
  }
  Item anyone;
  for (auto& [label, told] : told_by_label) {
    std::erase_if(told, [](const auto& each) { return each.use_count() == 1; });  // no item is left
    anyone.label = label;
    if (!told.empty() && !is_hopeless(anyone)) return false;
  }
  for (auto& [label, told] : told_by_label) {
    if (told.empty()) continue;
    Offers& offered = offers.find(label)->second;
    for (const auto& each : told) each->refusals = offered.told->refusals;
    offered.told = told.front();  // shared by the unseen, too: one list for each label, not one for each item
  }
  for (const std::int64_t id : unseen) {
    const auto item = items.find(id);
    if (item != items.end() && item->second.state == ItemState::buildable)
      maintain_buildable(item->second, offers);
  }
  return true;
}

void State::maintain_all_buildable(OffersByLabel& offers) {
  must_see_all = false;
  told_by_label.clear();
  for (auto& [label, offered] : offers) told_by_label[label].push_back(offered.told);
  auto each = items.end();
  std::shared_ptr<Told> told;  // the last item, which got nothing: neither will another one of its label
  const std::string* label = nullptr;
  for (const std::int64_t id : std::vector<std::int64_t>(buildable)) {
    if (each != items.end()) ++each;
    if (each == items.end() || each->first != id) each = items.find(id);
    Item& item = each->second;
    if (told && item.label == *label && resume_items.empty() && !block_reason(item)) {
      item.told = told;
      continue;
    }
    maintain_buildable(item, offers);
    told = item.state == ItemState::buildable ? item.told : nullptr;
    label = &item.label;
  }
}

void State::block(Item& item, std::string reason) {
  remove_from_lists(item);
  item.state = ItemState::blocked;
  item.block_reason = std::move(reason);
  if (item.told) item.told = std::make_shared<Told>(*item.told);  // passes tell it nothing more
  blocked.push_back(item.id);
  report_item("blocked", item);
}

/// Which computers with a free slot would take it, and what the others say.
Offers State::offers_to(const Item& item) {
  Offers offers;
  std::set<std::string> refusals;
  for (auto name = maybe_free.begin(); name != maybe_free.end();) {
    const auto found = computers.find(*name);
    const bool is_gone = found == computers.end();
    const auto free = is_gone
                          ? std::vector<std::optional<std::uint64_t>>::iterator()
                          : std::find(found->second.slots.begin(), found->second.slots.end(), std::nullopt);
    if (is_gone || free == found->second.slots.end()) {
      name = maybe_free.erase(name);
      continue;
    }
    ++name;
    Computer& computer = found->second;
    if (computer.doomed) continue;
    if (auto reason = refusal(item, computer, node_of(computer))) {
      refusals.insert(std::move(*reason));
    } else {
      offers.open.emplace_back(&computer, static_cast<std::size_t>(free - computer.slots.begin()));
    }
  }
  offers.told = std::make_shared<Told>(
      Told{std::make_shared<const std::vector<std::string>>(refusals.begin(), refusals.end())});
  return offers;
}

/// By a walk over all computers: that none was forgotten.
bool State::is_consistent() const {
  return std::all_of(computers.begin(), computers.end(), [this](const auto& each) {
    const auto& slots = each.second.slots;
    const bool has_free = std::find(slots.begin(), slots.end(), std::nullopt) != slots.end();
    return !has_free || maybe_free.contains(each.first);
  });
}

Offers& State::offers_for(const Item& item, OffersByLabel& offers) {
  const std::string_view asked = any_node_item(item) ? std::string_view() : item.label;
  const auto offered = offers.find(asked);
  // Where a block waits for its node again it is let past others: then each item is told something else.
  if (offered != offers.end() && resume_items.empty()) return offered->second;
  Offers& fresh = offers.insert_or_assign(std::string(asked), offers_to(item)).first->second;
  told_by_label[std::string(asked)].push_back(fresh.told);
  return fresh;
}

void State::maintain_buildable(Item& item, OffersByLabel& offers) {
  if (auto reason = block_reason(item)) return block(item, std::move(*reason));
  const Offers& offered = offers_for(item, offers);
  item.told = offered.told;
  Computer* best = nullptr;
  std::size_t best_slot = 0;
  std::string best_rank;
  for (const auto& [computer, slot] : offered.open) {
    // Jenkins spreads jobs by consistent hashing: the same job likes the same node.
    std::string rank = digest64(0, item.job, computer->name);
    if (best == nullptr || rank < best_rank) {
      best = computer;
      best_slot = slot;
      best_rank = std::move(rank);
    }
  }
  if (best == nullptr) return;
  offers.clear();
  assign(item, *best, best_slot);
}

/// JobOffer.getCauseOfBlockage and Node.canTake, in their order.
std::optional<std::string> State::refusal(const Item& item, const Computer& computer, const Node* node) {
  if (node == nullptr) return computer.name + " has been removed from configuration";
  const auto shown = [&] { return quoted(display_name(computer.name)); };
  if (!any_node_item(item)) {
    CachedLabel& cached = label(item.label);
    const std::vector<std::string>& names = label_nodes(cached);
    if (!std::binary_search(names.begin(), names.end(), computer.name)) {
      return shown() + " doesn\xE2\x80\x99t have label " + quoted(cached.expression.name());
    }
  } else if (node->exclusive) {
    return shown() + " is reserved for jobs with matching label expression";
  }
  if (!computer.accepting) return shown() + " is not accepting tasks";
  const auto resuming = resume_items.find(computer.name);
  if (resuming != resume_items.end() && resuming->second != item.id) {
    const Item& first = items.at(resuming->second);
    if (first.state == ItemState::buildable)
      return task_display_name(first) + " should be allowed to run first";
  }
  if (offline(computer, node)) return shown() + " is offline";
  return std::nullopt;
}

std::string State::cause_of_buildable(const Item& item) {
  if (quieting_down) return "Jenkins is about to shut down";
  const bool agents_exist = nodes.size() > 1;
  CachedLabel* cached = agents_exist && !any_node_item(item) ? &label(item.label) : nullptr;
  if (item.told && !item.told->refusals->empty()) {
    std::vector<std::string> names;
    if (cached != nullptr) {
      names = label_nodes(*cached);
    } else {
      for (const auto& [name, node] : nodes) names.push_back(name);
    }
    if (idle_executors_of(names) > 0) {
      std::string joined;
      for (const std::string& reason : *item.told->refusals) joined += (joined.empty() ? "" : "; ") + reason;
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
    const std::vector<NodeBlock>& all = job->second.spec.blocks;
    const auto index = static_cast<std::size_t>(item.block);
    if (index < all.size() && !all[index].enclosing_name.empty())
      return run + " (" + all[index].enclosing_name + ")";
  }
  return "part of " + run;
}

}  // namespace skep::controller_sim
