// One pass over demand: who is covered by what exists or comes, what is opened, what is launched. Oldest item
// first. Cost: the items that something can be done for, the classes, and per template that launches one look
// at all hosts.
#include <algorithm>
#include <queue>

#include "core/check.h"
#include "core/lifecycle/lifecycle.h"
#include "scheduler/core/logic_state.h"
#include "scheduler/core/placement_queue.h"

namespace skep::scheduler {
namespace {

constexpr Duration elsewhere_grace = seconds(7);  // Jenkins gives an item to an idle node within its 5 s tick
constexpr Duration unseen_grace = seconds(10);    // then what comes on an unseen host no longer covers demand

struct Cursor {
  DemandClass* demand_class;
  const std::string* key;
  std::size_t next = 0;  // first buildable, then the waiting ones that are due
  std::size_t count = 0;
  DemandClass::Ref ref() const {
    const std::size_t buildable = demand_class->buildable.size();
    return next < buildable ? demand_class->buildable[next] : demand_class->waiting[next - buildable];
  }
};

struct IsYounger {
  bool operator()(const Cursor& a, const Cursor& b) const { return b.ref() < a.ref(); }
};

struct Supply {
  std::vector<Executor*> idle;  // can be offered now
  std::vector<Executor*> coming;
  std::size_t next_idle = 0;
  std::size_t next_coming = 0;
  int spare() const { return static_cast<int>(idle.size() - next_idle + coming.size() - next_coming); }
};

}  // namespace

class PlanPass {
 public:
  PlanPass(LogicState& state, Controller& controller) : s_(state), c_(controller) {
    policy_.max_coming_per_host = state.config.max_coming_per_host;
  }
  void run();

 private:
  void gather();
  void find_elsewhere();
  void cover_demand();
  bool cover_item(Cursor& cursor);
  void keep_minimum();
  void recycle();
  std::optional<Blocked> try_launch(const std::vector<std::size_t>& candidates);
  std::optional<Blocked> try_template(std::size_t index);
  void wake_plan(Instant when) {
    if (!s_.plan_wake_ || when < *s_.plan_wake_) s_.plan_wake_ = when;
  }

  LogicState& s_;
  Controller& c_;
  PlacementPolicy policy_;
  std::vector<Supply> supply_;
  std::map<TemplateName, int> existing_;     // of the template, all controllers
  std::map<TemplateName, int> coming_here_;  // of the template, this controller
  std::map<std::size_t, PlacementQueue> placements_;
};

void PlanPass::gather() {
  supply_.resize(s_.templates.size());
  std::map<const Template*, std::size_t> index_of;
  for (std::size_t i = 0; i < s_.templates.size(); ++i) index_of[s_.templates[i].get()] = i;
  for (auto& [id, e] : s_.executors) {
    // What was taken after the queue was read still stands in it: such an executor covers one item.
    const bool is_later =
        e.took_item_at && c_.queue_poll.ok_started && *e.took_item_at >= *c_.queue_poll.ok_started;
    if (is_later && e.record.controller == c_.config.name && index_of.contains(e.spec.get()))
      supply_[index_of[e.spec.get()]].coming.push_back(&e);
    if (e.state() == ExecutorState::gone) continue;
    if (!e.record.was_used && e.state() != ExecutorState::failed && e.state() != ExecutorState::destroying)
      ++existing_[e.record.template_name];
    if (e.record.was_used && e.state() == ExecutorState::busy) ++existing_[e.record.template_name];
    if (e.record.controller != c_.config.name) continue;
    if (e.offer) c_.cover[e.offer->item] = id;
    const auto index = index_of.find(e.spec.get());
    if (index == index_of.end() || e.is_obsolete || e.retiring || e.held_until || e.is_resuming) continue;
    if (is_coming(e.state())) {
      ++coming_here_[e.record.template_name];
      const auto host = s_.hosts.find(e.record.host);
      const bool is_unseen =
          host == s_.hosts.end() || (!host->second.is_known && s_.now - host->second.seen > unseen_grace);
      if (!is_unseen) supply_[index->second].coming.push_back(&e);
    } else if (s_.can_offer(e)) {
      supply_[index->second].idle.push_back(&e);
    } else if (e.state() == ExecutorState::idle && !e.offer && !e.record.was_used && s_.is_gated(e) &&
               !s_.is_draining(e.record.host)) {
      // Between two openings, or just joined: ready in a while, so nothing is launched in its place.
      const bool is_foreign = e.node && is_foreign_offline(*e.node);
      if (!is_foreign) supply_[index->second].coming.push_back(&e);
    }
  }
  for (const auto& [item, executor] : c_.consumed) c_.cover[item] = executor;
  const auto by_age = [](const Executor* a, const Executor* b) {
    return std::pair(a->planned_at, a->id()) < std::pair(b->planned_at, b->id());
  };
  for (Supply& supply : supply_) {
    std::sort(supply.idle.begin(), supply.idle.end(), by_age);
    std::sort(supply.coming.begin(), supply.coming.end(), by_age);
  }
}

// Each idle foreign node takes one item at most, and only an item that Jenkins did not have time to hand out
// yet.
void PlanPass::find_elsewhere() {
  std::vector<LabelSet> free_nodes;
  for (const auto& [name, node] : c_.nodes) {
    const bool is_free = !node.is_offline && node.is_idle && node.executor_count > 0;
    if (!is_free || s_.executors.contains(ExecutorId(name))) continue;
    LabelSet labels(node.labels.begin(), node.labels.end());
    labels.insert(name);
    free_nodes.push_back(std::move(labels));
  }
  if (free_nodes.empty()) return;
  for (const auto& pair : c_.demand.classes()) {
    const DemandClass& demand_class = pair.second;
    if (demand_class.like) continue;  // the controller named the only node that satisfies it: one of ours
    for (const DemandClass::Ref& ref : demand_class.buildable) {
      if (free_nodes.empty()) return;
      const DemandBook::Entry* entry = c_.demand.find(ref.id);
      if (s_.now - entry->buildable_seen >= elsewhere_grace) continue;
      const auto taker = std::find_if(free_nodes.begin(), free_nodes.end(), [&](const LabelSet& labels) {
        // A node's mode is not shown: whether it takes unlabelled items is not known, so it is given the same
        // grace.
        return !demand_class.expression || demand_class.expression->matches(labels);
      });
      if (taker == free_nodes.end()) break;
      free_nodes.erase(taker);
      c_.elsewhere.insert(ref.id);
      wake_plan(entry->buildable_seen + elsewhere_grace);
    }
  }
}

std::optional<Blocked> PlanPass::try_template(std::size_t index) {
  const Template& value = *s_.templates[index];
  Blocked blocked;
  blocked.template_index = index;
  if (existing_[value.name] >= value.maximum) {
    blocked.reason = WaitReason::template_limit;
    return blocked;
  }
  const auto retry = c_.launch_retries.find(value.name);
  if (retry != c_.launch_retries.end() && retry->second.failures > 0) {
    const bool is_trial_running =
        retry->second.failures >= s_.config.launch_attempts && coming_here_[value.name] > 0;
    if (s_.now < retry->second.next || is_trial_running) {
      blocked.reason = WaitReason::backoff;
      blocked.retry_at = std::max(retry->second.next, s_.now);
      if (s_.now < retry->second.next) wake_plan(retry->second.next);
      return blocked;
    }
  }
  const Instant token = c_.creations.next_token(s_.now);
  if (token > s_.now) {
    blocked.reason = WaitReason::executor_coming;
    blocked.retry_at = token;
    wake_plan(token);
    return blocked;
  }
  bool has_breaker = false;
  for (const HostId& id : s_.broken_hosts) {
    const auto host = s_.hosts.find(id);
    const auto view = s_.view_of.find(id);
    if (host == s_.hosts.end() || view == s_.view_of.end()) continue;
    HostView& v = s_.views[view->second];
    const auto breaker = host->second.breakers.find(value.name);
    v.is_breaker_open = false;
    if (breaker == host->second.breakers.end()) continue;
    int coming = 0;
    for (const ExecutorId& there : s_.on_host[id]) {
      const Executor* e = s_.find(there);
      if (e != nullptr && e->record.template_name == value.name && is_coming(e->state())) ++coming;
    }
    v.is_breaker_open = breaker->second.refuses(s_.now, coming);
    v.breaker_reason = breaker->second.reason;
    has_breaker = true;
    if (v.is_breaker_open && s_.now < breaker->second.open_until) wake_plan(breaker->second.open_until);
  }
  // A breaker's trial changes with each launch, so such a template asks anew each time.
  if (has_breaker) placements_.erase(index);
  const auto queue = placements_.try_emplace(index, value, s_.views, policy_).first;
  const auto best = queue->second.best();
  for (const HostId& id : s_.broken_hosts) {
    const auto view = s_.view_of.find(id);
    if (view != s_.view_of.end()) s_.views[view->second].is_breaker_open = false;
  }
  if (!best) {
    blocked.reason = WaitReason::no_room;
    return blocked;
  }
  const bool has_token = c_.creations.take(s_.now);
  SKEP_ASSERT(has_token);
  HostView& view = s_.views[*best];
  s_.launch(c_, index, *best);
  view.free -= value.resources;
  ++view.executors;
  ++view.coming;
  ++existing_[value.name];
  ++coming_here_[value.name];
  return std::nullopt;
}

std::optional<Blocked> PlanPass::try_launch(const std::vector<std::size_t>& candidates) {
  if (s_.is_paused) return Blocked{WaitReason::paused, candidates.empty() ? 0 : candidates.front(), {}, {}};
  std::optional<Blocked> worst;
  const auto weight = [](WaitReason reason) {
    return reason == WaitReason::executor_coming ? 3
           : reason == WaitReason::no_room       ? 2
           : reason == WaitReason::backoff       ? 1
                                                 : 0;
  };
  for (const std::size_t index : candidates) {
    auto blocked = try_template(index);
    if (!blocked) return std::nullopt;
    if (!worst || weight(blocked->reason) > weight(worst->reason)) worst = std::move(blocked);
  }
  return worst;
}

// False: nothing more can be done for this class in this pass.
bool PlanPass::cover_item(Cursor& cursor) {
  const DemandClass::Ref ref = cursor.ref();
  const bool is_buildable = cursor.next < cursor.demand_class->buildable.size();
  if (c_.cover.contains(ref.id) || c_.elsewhere.contains(ref.id)) return true;
  for (const std::size_t index : cursor.demand_class->templates) {
    Supply& supply = supply_[index];
    if (supply.next_idle >= supply.idle.size()) continue;
    Executor& e = *supply.idle[supply.next_idle++];
    c_.cover[ref.id] = e.id();
    const bool opens = is_buildable && s_.is_gated(e) && c_.open_gates < c_.config.max_open_gates;
    if (opens) s_.open_gate(c_, e, *c_.demand.find(ref.id));
    return true;
  }
  for (const std::size_t index : cursor.demand_class->templates) {
    Supply& supply = supply_[index];
    if (supply.next_coming >= supply.coming.size()) continue;
    c_.cover[ref.id] = supply.coming[supply.next_coming++]->id();
    return true;
  }
  auto blocked = try_launch(cursor.demand_class->templates);
  if (blocked) {
    c_.blocked[*cursor.key] = std::move(*blocked);
    return false;
  }
  c_.cover[ref.id] = s_.newest_;
  return true;
}

void PlanPass::cover_demand() {
  const std::int64_t look_until = s_.wall.ms_since_epoch + to_ms(s_.config.look_ahead);
  std::priority_queue<Cursor, std::vector<Cursor>, IsYounger> order;
  for (auto& [key, demand_class] : c_.demand.classes()) {
    if (demand_class.templates.empty()) continue;
    Cursor cursor{&demand_class, &key};
    cursor.count = demand_class.buildable.size();
    for (const DemandClass::Ref& ref : demand_class.waiting) {
      if (ref.order_ms > look_until) {
        wake_plan(s_.now + std::min<Duration>(milliseconds(ref.order_ms - look_until), hours(1)));
        break;
      }
      ++cursor.count;
    }
    if (cursor.count > 0) order.push(cursor);
  }
  while (!order.empty()) {
    Cursor cursor = order.top();
    order.pop();
    if (!cover_item(cursor)) continue;
    if (++cursor.next < cursor.count) order.push(cursor);
  }
}

void PlanPass::keep_minimum() {
  if (s_.is_paused) return;
  for (std::size_t i = 0; i < s_.templates.size(); ++i) {
    const Template& value = *s_.templates[i];
    if (value.minimum_idle <= 0 || !serves(value, c_.config.name)) continue;
    for (int spare = supply_[i].spare(); spare < value.minimum_idle; ++spare) {
      if (try_template(i)) break;
    }
  }
}

void PlanPass::recycle() {
  for (std::size_t i = 0; i < supply_.size(); ++i) {
    Supply& supply = supply_[i];
    const Template& value = *s_.templates[i];
    while (supply.spare() > value.minimum_idle && supply.next_idle < supply.idle.size()) {
      Executor& e = *supply.idle[supply.next_idle];
      const Instant over = e.state_since + value.idle_limit;
      if (s_.now < over) {
        wake_plan(over);
        break;
      }
      ++supply.next_idle;
      e.retiring = "unused: idle for " + duration_to_text(value.idle_limit);
      s_.touch(e);
    }
  }
}

void PlanPass::run() {
  gather();
  find_elsewhere();
  cover_demand();
  keep_minimum();
  recycle();
}

void LogicState::plan_controller(Controller& c) {
  c.cover.clear();
  c.blocked.clear();
  c.elsewhere.clear();
  for (auto& [id, e] : executors) {
    if (e.record.controller != c.config.name || e.state() != ExecutorState::idle || e.retiring ||
        e.held_until || e.offer)
      continue;
    if (e.node && is_foreign_offline(*e.node)) continue;  // somebody's decision: left alone
    if (e.is_obsolete) e.retiring = "unused: its template was changed or removed";
    if (is_draining(e.record.host)) e.retiring = "unused: its host drains";
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
  // While nothing was under way the nodes were read rarely: look again before anything is decided.
  if (c.demand.classed_items() > 0 && !is_fresh(c.nodes_poll, config.facts_stale_after))
    return read_soon(c.nodes_poll);
  PlanPass(*this, c).run();
}

void LogicState::plan() {
  refresh_views();
  for (auto& [id, c] : controllers) {
    c.creations.set_rate(config.max_creations_per_second);
    plan_controller(c);
  }
  refresh_views();
}

}  // namespace skep::scheduler
