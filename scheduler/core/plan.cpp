// One pass over demand: who is covered by what exists or comes, what is opened, what is launched. Oldest item
// first. Cost: the items that something can be done for, the classes, the executors without a build, and per
// template that is asked for the hosts that changed since.
#include <algorithm>
#include <queue>
#include <set>
#include <span>

#include "core/check.h"
#include "core/lifecycle/lifecycle.h"
#include "scheduler/core/logic_state.h"
#include "scheduler/core/placement_queue.h"
#include "scheduler/core/plan_parts.h"

namespace skep::scheduler {
namespace {

// Jenkins gives an item to an idle node within its 5 s tick.
constexpr Duration elsewhere_grace = DemandBook::recent_for;
constexpr Duration unseen_grace = seconds(10);  // then what comes on an unseen host no longer covers demand

}  // namespace

class PlanPass {
 public:
  PlanPass(LogicState& state, Controller& controller) : s_(state), c_(controller) {
    policy_.max_coming_per_host = state.config.max_coming_per_host;
  }
  void run();

 private:
  void gather();
  void gather_one(Executor& e);
  std::optional<std::size_t> index_of(const Template* spec) const;
  void find_free_foreign();
  void find_elsewhere();
  void cover_demand();
  bool cover_item(Cursor& cursor);
  void cover(std::int64_t item, Executor* by) { c_.cover.push_back({item, by}); }
  void keep_minimum();
  void make_room();
  using SpareByHost = std::map<HostId, std::vector<Executor*>>;
  std::vector<Executor*> in_the_way_of(std::size_t index, const SpareByHost& spare);
  void recycle();
  bool try_launch(const std::vector<std::size_t>& candidates);
  bool try_template(std::size_t index, bool is_spare = false);
  bool is_wanted(const HostView& view, std::size_t by_other_than);
  std::optional<Blocked> refuse_template(std::size_t index);
  /// Where, and made from what.
  struct Choice {
    std::size_t view;
    std::string image;
  };
  std::optional<Choice> choose_host(std::size_t index);
  std::optional<Choice> choose_version(std::size_t index);
  void replace_versions();
  bool can_follow(std::size_t index, const std::string& image, const Executor& e);
  void wake_plan(Instant when) {
    if (!s_.plan_wake_ || when < *s_.plan_wake_) s_.plan_wake_ = when;
  }

  LogicState& s_;
  Controller& c_;
  PlacementPolicy policy_;
  Gathered idle_, coming_;
  std::vector<Supply> supply_;  // per template
  std::vector<std::pair<const Template*, std::size_t>> index_of_;
  std::vector<int> existing_;               // per template, all controllers
  std::vector<int> coming_here_;            // per template, this controller
  std::set<std::size_t> waiting_for_room_;  // templates that jobs wait for and no host has room for
  std::set<std::int64_t> settled_;          // items that have an executor already: offered, or just used
};

std::optional<std::size_t> PlanPass::index_of(const Template* spec) const {
  const auto found = std::lower_bound(index_of_.begin(), index_of_.end(), std::pair(spec, std::size_t{0}));
  if (found == index_of_.end() || found->first != spec) return std::nullopt;
  return found->second;
}

void PlanPass::gather_one(Executor& e) {
  const std::optional<std::size_t> index = index_of(e.spec.get());
  const ExecutorState state = e.state();
  const bool is_here = e.of == &c_;
  // What was taken after the queue was read still stands in it: such an executor covers one item.
  const bool is_later =
      e.took_item_at && c_.queue_poll.ok_started && *e.took_item_at >= *c_.queue_poll.ok_started;
  if (is_later && is_here && index) coming_.add(*index, e);
  const bool is_over = state == ExecutorState::gone || state == ExecutorState::failed ||
                       state == ExecutorState::destroying || state == ExecutorState::busy;
  if (is_over) return;
  if (counts_for_maximum(e)) {
    for (std::size_t i = 0; i < s_.templates.size(); ++i) {
      const bool is_it = index ? i == *index : s_.templates[i]->name == e.record.template_name;
      if (!is_it) continue;
      ++existing_[i];
      break;
    }
  }
  if (!is_here) return;
  if (e.offer) {
    cover(e.offer->item, &e);
    settled_.insert(e.offer->item);
  }
  if (!index || e.is_obsolete || e.retiring || e.held_until || e.is_resuming) return;
  if (is_coming(state)) {
    const Host* host = e.at->host;
    const bool is_unseen = host == nullptr || (!host->is_known && s_.now - host->seen > unseen_grace);
    coming_here_[*index] += is_unseen ? 0 : 1;
    if (!is_unseen) coming_.add(*index, e);
  } else if (s_.can_offer(e)) {
    idle_.add(*index, e);
  } else if (state == ExecutorState::idle && !e.offer && !e.record.was_used && s_.is_gated(e) &&
             !s_.is_draining(e)) {
    // Between two openings, or just joined: ready in a while, so nothing is launched in its place.
    const bool is_foreign = e.node && is_foreign_offline(*e.node);
    if (!is_foreign) coming_.add(*index, e);
  }
}

void PlanPass::gather() {
  coming_here_.resize(s_.templates.size());
  for (std::size_t i = 0; i < s_.templates.size(); ++i) {
    index_of_.emplace_back(s_.templates[i].get(), i);
    const auto busy = s_.busy_of.find(s_.templates[i]->name);
    existing_.push_back(busy == s_.busy_of.end() ? 0 : busy->second);
  }
  std::sort(index_of_.begin(), index_of_.end());
  for (Executor* e : s_.in_play) gather_one(*e);
  for (const auto& [item, executor] : c_.consumed) {
    if (!settled_.insert(item).second) continue;
    if (Executor* e = s_.find(executor)) cover(item, e);
  }
  idle_.sort();
  coming_.sort();
  supply_.reserve(s_.templates.size());
  for (std::size_t i = 0; i < s_.templates.size(); ++i) supply_.push_back({idle_.of(i), coming_.of(i)});
}

void PlanPass::find_free_foreign() {
  if (c_.free_foreign_of == c_.nodes_poll.ok_started) return;
  c_.free_foreign_of = c_.nodes_poll.ok_started;
  c_.free_foreign.clear();
  for (const auto& [name, node] : c_.nodes) {
    const bool is_free = !node.is_offline && node.is_idle && node.executor_count > 0;
    if (!is_free) continue;
    ForeignNode foreign{ExecutorId(name), {}};
    if (s_.executors.contains(foreign.name)) continue;
    foreign.labels.insert(node.labels.begin(), node.labels.end());
    foreign.labels.insert(name);
    c_.free_foreign.push_back(std::move(foreign));
  }
}

// Each idle foreign node takes one item at most, and only an item that Jenkins did not have time to hand out
// yet.
void PlanPass::find_elsewhere() {
  find_free_foreign();
  std::vector<const LabelSet*> free_nodes;
  for (const ForeignNode& node : c_.free_foreign) {
    if (!s_.executors.contains(node.name)) free_nodes.push_back(&node.labels);
  }
  if (free_nodes.empty()) return;
  const DemandClass* hopeless = nullptr;  // none of those left takes it
  for (const DemandBook::Entry* entry : c_.demand.recent(s_.now)) {
    if (free_nodes.empty()) return;
    const DemandClass& demand_class = *entry->demand_class;
    // With `like` the controller named the only node that satisfies it: one of ours.
    if (&demand_class == hopeless || demand_class.like) continue;
    const auto taker = std::find_if(free_nodes.begin(), free_nodes.end(), [&](const LabelSet* labels) {
      // A node's mode is not shown: whether it takes unlabelled items is not known, so it is given the same
      // grace.
      return !demand_class.expression || demand_class.expression->matches(*labels);
    });
    if (taker == free_nodes.end()) {
      hopeless = &demand_class;
      continue;
    }
    free_nodes.erase(taker);
    c_.elsewhere.insert(entry->item.id);
    wake_plan(entry->buildable_seen + elsewhere_grace);
  }
}

// Why none is launched, whatever the hosts say.
std::optional<Blocked> PlanPass::refuse_template(std::size_t index) {
  const Template& value = *s_.templates[index];
  if (existing_[index] >= value.maximum) return Blocked{WaitReason::template_limit, index, {}, {}};
  const auto retry = c_.launch_retries.find(value.name);
  if (retry != c_.launch_retries.end() && retry->second.failures > 0) {
    const bool is_trial_running =
        retry->second.failures >= s_.config.launch_attempts && coming_here_[index] > 0;
    if (s_.now < retry->second.next || is_trial_running) {
      if (s_.now < retry->second.next) wake_plan(retry->second.next);
      return Blocked{WaitReason::backoff, index, std::max(retry->second.next, s_.now), {}};
    }
  }
  const Instant token = c_.creations.next_token(s_.now);
  if (token <= s_.now) return std::nullopt;
  wake_plan(token);
  return Blocked{WaitReason::executor_coming, index, token, {}};
}

/// The wanted version where it has room, else the one before it.
std::optional<PlanPass::Choice> PlanPass::choose_version(std::size_t index) {
  const Template& value = *s_.templates[index];
  if (s_.versions_of(value) == nullptr) {
    const auto best = s_.placements.queue(index, s_.templates[index], s_.views, policy_).best();
    return best ? std::optional<Choice>({*best, value.image}) : std::nullopt;
  }
  for (const std::string& reference : s_.references_for(value)) {
    const auto best = s_.placements.queue(index, s_.variant(index, reference), s_.views, policy_).best();
    if (best) return Choice{*best, reference};
  }
  return std::nullopt;
}

std::optional<PlanPass::Choice> PlanPass::choose_host(std::size_t index) {
  const Template& value = *s_.templates[index];
  std::vector<std::size_t> broken;  // views that say so for this template only
  for (const HostId& id : s_.broken_hosts) {
    const HostPlace& place = s_.place_of(id);
    if (place.host == nullptr || !place.view) continue;
    const auto breaker = place.host->breakers.find(value.name);
    if (breaker == place.host->breakers.end()) continue;
    int coming = 0;
    for (const auto& [there, e] : place.executors)
      coming += e->record.template_name == value.name && is_coming(e->state()) ? 1 : 0;
    if (!breaker->second.refuses(s_.now, coming)) continue;
    HostView& view = s_.views[*place.view];
    view.is_breaker_open = true;
    view.breaker_reason = breaker->second.reason;
    broken.push_back(*place.view);
    s_.placements.note(*place.view);
    if (s_.now < breaker->second.open_until) wake_plan(breaker->second.open_until);
  }
  auto best = choose_version(index);
  for (const std::size_t view : broken) {
    s_.views[view].is_breaker_open = false;
    s_.placements.note(view);
  }
  return best;
}

// Within a pass a template that is blocked stays so: what there is only becomes less.
bool PlanPass::try_template(std::size_t index, bool is_spare) {
  std::optional<Blocked>& blocked = c_.blocked[index];
  if (blocked) return false;
  blocked = refuse_template(index);
  if (blocked) return false;
  const auto best = choose_host(index);
  if (!best) {
    blocked = Blocked{WaitReason::no_room, index, {}, {}};
    return false;
  }
  if (is_spare && is_wanted(s_.views[best->view], index)) return false;
  const bool has_token = c_.creations.take(s_.now);
  SKEP_ASSERT(has_token);
  HostView& view = s_.views[best->view];
  s_.launch(c_, index, best->view, best->image);
  view.free -= s_.templates[index]->resources;
  ++view.executors;
  ++view.coming;
  ++existing_[index];  // the placement queues notice a fuller host themselves
  ++coming_here_[index];
  return true;
}

bool PlanPass::try_launch(const std::vector<std::size_t>& candidates) {
  return !s_.is_paused && std::any_of(candidates.begin(), candidates.end(),
                                      [this](std::size_t index) { return try_template(index); });
}

// False: nothing more can be done for this class in this pass.
bool PlanPass::cover_item(Cursor& cursor) {
  const DemandClass::Ref ref = cursor.ref;
  const bool is_buildable = cursor.next < cursor.demand_class->buildable.size();
  if (settled_.contains(ref.id) || c_.elsewhere.contains(ref.id)) return true;
  for (const std::size_t index : cursor.demand_class->templates) {
    Executor* e = supply_[index].idle.take();
    if (e == nullptr) continue;
    cover(ref.id, e);
    const bool opens = is_buildable && c_.open_gates < std::min(c_.config.max_open_gates, c_.gates_at_once) &&
                       s_.is_gated(*e);
    if (opens) s_.open_gate(c_, *e, *c_.demand.find(ref.id));
    return true;
  }
  for (const std::size_t index : cursor.demand_class->templates) {
    Executor* e = supply_[index].coming.take();
    if (e == nullptr) continue;
    cover(ref.id, e);
    return true;
  }
  if (!try_launch(cursor.demand_class->templates)) return false;
  cover(ref.id, s_.newest_);
  return true;
}

void PlanPass::cover_demand() {
  const std::int64_t look_until = s_.wall.ms_since_epoch + to_ms(s_.config.look_ahead);
  IndexSet hopeful(s_.templates.size());  // templates that are asked for, neither used up nor blocked yet
  std::vector<Cursor> cursors;
  cursors.reserve(c_.demand.classes().size());
  for (auto& [key, demand_class] : c_.demand.classes()) {
    if (demand_class.templates.empty()) continue;
    Cursor cursor;
    cursor.demand_class = &demand_class;
    cursor.count = demand_class.buildable.size();
    for (const DemandClass::Ref& ref : demand_class.waiting) {
      if (ref.order_ms > look_until) {
        wake_plan(s_.now + std::min<Duration>(milliseconds(ref.order_ms - look_until), hours(1)));
        break;
      }
      ++cursor.count;
    }
    if (cursor.count == 0) continue;
    cursor.look();
    cursors.push_back(cursor);
    for (const std::size_t index : demand_class.templates) hopeful.insert(index);
  }
  std::priority_queue<Cursor, std::vector<Cursor>, IsYounger> order(IsYounger{}, std::move(cursors));
  while (!order.empty() && !hopeful.empty()) {
    Cursor cursor = order.top();
    order.pop();
    if (!cover_item(cursor)) {
      for (const std::size_t index : cursor.demand_class->templates) hopeful.erase(index);
      continue;
    }
    if (++cursor.next >= cursor.count) continue;
    cursor.look();
    order.push(cursor);
  }
}

void PlanPass::keep_minimum() {
  if (s_.is_paused) return;
  for (std::size_t i = 0; i < s_.templates.size(); ++i) {
    const Template& value = *s_.templates[i];
    if (value.minimum_idle <= 0 || !serves(value, c_.config.name)) continue;
    for (int spare = supply_[i].spare(); spare < value.minimum_idle; ++spare) {
      if (!try_template(i, true)) break;
    }
  }
}

// Jobs that wait come before executors that wait: where no host has room, spare idle ones of other templates
// go.
void PlanPass::make_room() {
  std::erase_if(s_.making_room, [this](const ExecutorId& id) {
    const Executor* e = s_.find(id);
    return e == nullptr || e->state() == ExecutorState::gone;
  });
  for (std::size_t i = 0; i < s_.templates.size(); ++i) {
    if (c_.blocked[i] && c_.blocked[i]->reason == WaitReason::no_room) waiting_for_room_.insert(i);
  }
  if (s_.is_paused || !s_.making_room.empty() || waiting_for_room_.empty()) return;
  SpareByHost spare;
  for (const Supply& supply : supply_) {
    for (Executor* e : supply.idle.executors.subspan(supply.idle.next)) spare[e->record.host].push_back(e);
  }
  for (const std::size_t i : waiting_for_room_) {
    for (Executor* e : in_the_way_of(i, spare)) {
      e->retiring = "unused: jobs that wait need its room";
      s_.making_room.insert(e->id());
      s_.touch(*e);
    }
    if (!s_.making_room.empty()) return;
  }
}

// Jobs that wait could use this host if it had room: nothing is kept in reserve on it.
bool PlanPass::is_wanted(const HostView& view, std::size_t by_other_than) {
  HostView empty = view;
  empty.free = view.capacity;
  empty.executors = empty.coming = 0;
  for (std::size_t i = 0; i < s_.templates.size(); ++i) {
    const bool waits = i != by_other_than && waiting_for_room_.contains(i);
    if (waits && std::holds_alternative<Placed>(decide_placement(*s_.templates[i], {&empty, 1}, policy_)))
      return true;
  }
  return false;
}

// The fewest spare idle executors of one host without which an executor of this template has room there.
std::vector<Executor*> PlanPass::in_the_way_of(std::size_t index, const SpareByHost& spare) {
  std::vector<Executor*> fewest;
  for (const auto& [host, executors] : spare) {
    const HostPlace* place = executors.front()->at;
    if (!place->view) continue;
    HostView view = s_.views[*place->view];
    std::vector<Executor*> chosen;
    for (Executor* e : executors) {
      view.free += e->resources;
      --view.executors;
      chosen.push_back(e);
      const PlacementDecision decision = decide_placement(*s_.templates[index], {&view, 1}, policy_);
      if (!std::holds_alternative<Placed>(decision)) continue;
      if (fewest.empty() || chosen.size() < fewest.size()) fewest = chosen;
      break;
    }
  }
  return fewest;
}

void PlanPass::recycle() {
  for (std::size_t i = 0; i < supply_.size(); ++i) {
    Supply& supply = supply_[i];
    const Template& value = *s_.templates[i];
    while (supply.spare() > value.minimum_idle && supply.idle.left() > 0) {
      Executor& e = *supply.idle.executors[supply.idle.next];
      const Instant over = e.state_since + value.idle_limit;
      if (s_.now < over) {
        wake_plan(over);
        break;
      }
      supply.idle.take();
      e.retiring = "unused: idle for " + duration_to_text(value.idle_limit);
      s_.touch(e);
    }
  }
}

/// Whether one of this version has a place once this executor is gone.
bool PlanPass::can_follow(std::size_t index, const std::string& image, const Executor& e) {
  const auto retry = c_.launch_retries.find(s_.templates[index]->name);
  if (retry != c_.launch_retries.end() && s_.now < retry->second.next) return false;
  const auto wanted = s_.variant(index, image);
  if (s_.placements.queue(index, wanted, s_.views, policy_).best()) return true;
  const HostPlace& place = *e.at;
  if (!place.view) return false;
  HostView view = s_.views[*place.view];
  view.free += e.resources;
  --view.executors;
  return std::holds_alternative<Placed>(decide_placement(*wanted, {&view, 1}, policy_));
}

// Idle executors that no item needs, of a version that is not wanted: a few at a time, the next ones when
// their successors have joined.
void PlanPass::replace_versions() {
  if (s_.images.empty() || s_.is_paused) return;
  for (std::size_t i = 0; i < s_.templates.size(); ++i) {
    const Template& value = *s_.templates[i];
    const auto wanted = s_.replacing_reference_of(value);
    if (!wanted || coming_here_[i] > 0) continue;
    std::set<ExecutorId>& replaced = s_.image_watches[value.image].replaced;
    std::erase_if(replaced, [this](const ExecutorId& id) {
      const Executor* e = s_.find(id);
      return e == nullptr || e->state() == ExecutorState::gone;
    });
    if (!replaced.empty()) continue;
    const std::size_t at_once = static_cast<std::size_t>(std::max(1, value.minimum_idle / 4));
    const Stock& idle = supply_[i].idle;
    for (Executor* e : idle.executors.subspan(idle.next)) {
      if (e->retiring || s_.image_of(*e) == *wanted || !can_follow(i, *wanted, *e)) continue;
      e->retiring = "unused: " + *wanted + " takes the place of " + s_.image_of(*e);
      ++s_.counters.rollout_retired;
      replaced.insert(e->id());
      s_.touch(*e);
      if (replaced.size() >= at_once) break;
    }
  }
}

void PlanPass::run() {
  gather();
  find_elsewhere();
  c_.blocked.assign(s_.templates.size(), std::nullopt);
  cover_demand();
  std::sort(c_.cover.begin(), c_.cover.end(), [](const Cover& a, const Cover& b) {
    return a.item != b.item ? a.item < b.item : a.by->id() < b.by->id();
  });
  make_room();
  keep_minimum();
  recycle();
  replace_versions();
}

void LogicState::plan_controller(Controller& c) {
  c.cover.clear();
  c.blocked.clear();
  c.elsewhere.clear();
  for (Executor* each : in_play) {
    Executor& e = *each;
    if (e.state() != ExecutorState::idle || e.retiring || e.held_until || e.offer || e.of != &c) continue;
    if (e.node && is_foreign_offline(*e.node)) continue;  // somebody's decision: left alone
    if (e.is_obsolete) e.retiring = "unused: its template was changed or removed";
    if (is_draining(e)) e.retiring = "unused: its host drains";
    // Without a gate nobody would ever open it again.
    if (!is_gated(e) && e.node && e.node->is_temporarily_offline)
      e.retiring = "unused: an earlier leader had closed its node";
    if (e.record.was_opened && e.is_adopted) e.retiring = "unused: an earlier leader had opened its gate";
    if (e.retiring) touch(e);
  }
  const std::string frozen = freeze_reason(c);
  if (!frozen.empty()) {
    if (c.demand.classed_items() > 0) {
      ++counters.frozen_decisions;
      say(Level::warning, "nothing is launched or opened for this controller: " + frozen,
          {{"controller", c.config.name.text}}, "frozen " + c.config.name.text);
    }
    return;
  }
  // While nothing was under way the nodes were read rarely: look again before anything is decided. A
  // companion tells when there is something to look at.
  if (!c.is_told && c.demand.classed_items() > 0 && !is_fresh(c.nodes_poll, config.facts_stale_after))
    return read_soon(c.nodes_poll);
  PlanPass(*this, c).run();
}

void LogicState::plan() {
  refresh_views();
  // An executor that took an item covers it until the queue was read again.
  for (std::size_t i = in_play.size(); i-- > 0;) {
    Executor& e = *in_play[i];
    Controller* c = e.took_item_at ? controller_of(e) : nullptr;
    if (c == nullptr || !c->queue_poll.ok_started) continue;
    if (*e.took_item_at >= *c->queue_poll.ok_started) {
      // The next answer of a companion may be to a question from long before.
      if (c->is_told && c->queue_poll.sent <= *e.took_item_at) read_soon(c->queue_poll);
      continue;
    }
    e.took_item_at.reset();
    follow(e);
  }
  const auto first = static_cast<std::ptrdiff_t>(out_.size());
  for (auto& [id, c] : controllers) {
    c.creations.set_rate(config.max_creations_per_second);
    plan_controller(c);
  }
  // All intents of one pass become durable together, not one after the other between calls.
  std::stable_partition(out_.begin() + first, out_.end(), [](const Action& action) {
    if (std::holds_alternative<RecordImage>(action)) return true;
    return std::holds_alternative<RecordExecutor>(action);
  });
  refresh_views();
}

}  // namespace skep::scheduler
