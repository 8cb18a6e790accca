#include "scheduler/core/demand.h"

#include <algorithm>
#include <set>

#include "core/check.h"

namespace skep::scheduler {
namespace {

using Ref = DemandClass::Ref;
constexpr std::size_t max_cached_texts = 20'000;

void insert_sorted(std::vector<Ref>& refs, Ref ref) {
  if (refs.empty() || refs.back() < ref) {
    refs.push_back(ref);
    return;
  }
  refs.insert(std::lower_bound(refs.begin(), refs.end(), ref), ref);
}

void erase_sorted(std::vector<Ref>& refs, Ref ref) {
  const auto found = std::lower_bound(refs.begin(), refs.end(), ref);
  SKEP_ASSERT(found != refs.end() && *found == ref);
  refs.erase(found);
}

Ref buildable_ref(const QueueItem& item) {
  return {item.in_queue_since.ms_since_epoch, item.id};
}
Ref waiting_ref(const QueueItem& item) {
  return {item.quiet_until->ms_since_epoch, item.id};
}

/// A controller lists its newest items first, so they mostly are in order already, read backwards.
std::vector<const QueueItem*> by_id(const QueueSnapshot& snapshot) {
  std::vector<const QueueItem*> sorted;
  sorted.reserve(snapshot.items.size());
  const auto is_before = [](const QueueItem* a, const QueueItem* b) { return a->id < b->id; };
  bool is_falling = true;
  for (const QueueItem& item : snapshot.items) {
    is_falling = is_falling && (sorted.empty() || item.id < sorted.back()->id);
    sorted.push_back(&item);
  }
  if (is_falling) {
    std::reverse(sorted.begin(), sorted.end());
  } else {
    std::stable_sort(sorted.begin(), sorted.end(), is_before);
  }
  return sorted;
}

bool is_label_known(const QueueItem& item) {
  return item.label_source != LabelSource::unresolved && item.label.has_value();
}

}  // namespace

void TemplateIndex::reset(const std::vector<std::shared_ptr<const Template>>& templates) {
  entries_.clear();
  order_.clear();
  for (const auto& value : templates) {
    LabelSet labels = value->labels;
    labels.insert("swarm");  // the plugin adds it to every node
    order_.push_back(entries_.size());
    entries_.push_back({std::move(labels), value});
  }
  std::sort(order_.begin(), order_.end(), [this](std::size_t a, std::size_t b) {
    const auto key = [this](std::size_t i) {
      return std::pair(entries_[i].labels.size(), entries_[i].value->name);
    };
    return key(a) < key(b);
  });
}

bool serves(const Template& value, const ControllerId& controller) {
  return value.controllers.empty() ||
         std::find(value.controllers.begin(), value.controllers.end(), controller) != value.controllers.end();
}

std::vector<std::size_t> TemplateIndex::matching(const LabelExpression* expression,
                                                 const ControllerId& controller) const {
  std::vector<std::size_t> found;
  for (std::size_t i : order_) {
    const Entry& entry = entries_[i];
    if (!serves(*entry.value, controller)) continue;
    const bool is_match =
        expression == nullptr ? entry.value->takes_unlabelled : expression->matches(entry.labels);
    if (is_match) found.push_back(i);
  }
  return found;
}

std::vector<std::size_t> TemplateIndex::named(const TemplateName& name,
                                              const ControllerId& controller) const {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].value->name == name && serves(*entries_[i].value, controller)) found.push_back(i);
  }
  return found;
}

void DemandBook::match(DemandClass& demand_class, const TemplateIndex& templates) const {
  demand_class.templates =
      demand_class.like
          ? templates.named(*demand_class.like, controller_)
          : templates.matching(demand_class.expression ? &*demand_class.expression : nullptr, controller_);
}

DemandClass& DemandBook::class_like(const TemplateName& name, const TemplateIndex& templates) {
  const std::string key = "\n" + name.text;  // no expression begins so
  const auto [place, is_new] = classes_.try_emplace(key);
  DemandClass& result = place->second;
  if (is_new) {
    result.key = key;
    result.name = "(hidden; what template " + name.text + " has satisfies it)";
    result.like = name;
    match(result, templates);
  }
  return result;
}

DemandClass& DemandBook::class_of(const std::string& label, const TemplateIndex& templates) {
  if (const auto known = names_.find(label); known != names_.end()) return *known->second;
  std::optional<LabelExpression> expression;
  if (!is_any_node_text(label)) expression = LabelExpression::from_job(label);
  // The key is the quoted form: an atom `a&&b` (in quotes) is not the expression a&&b.
  const std::string key = expression ? expression->expression() : std::string();
  if (names_.size() >= max_cached_texts) names_.clear();
  const auto [place, is_new] = classes_.try_emplace(key);
  DemandClass& result = place->second;
  names_[label] = &result;
  if (is_new) {
    result.key = key;
    result.name = expression ? expression->name() : std::string();
    result.expression = std::move(expression);
    match(result, templates);
  }
  return result;
}

void DemandBook::join(Entry& entry, const TemplateIndex& templates, Instant now) {
  const QueueItem& item = entry.item;
  entry.kind = Kind::none;
  entry.demand_class = is_label_known(item) ? &class_of(*item.label, templates)
                       : entry.like         ? &class_like(*entry.like, templates)
                                            : nullptr;
  if (item.stage == ItemStage::buildable && entry.buildable_seen == Instant{}) {
    entry.buildable_seen = now;
    forget_arrivals(now);
    arrivals_.emplace_back(now, item.id);
  }
  if (item.is_stopping || is_quieting_down_) return;
  const bool is_buildable = item.stage == ItemStage::buildable;
  const bool is_waiting = item.stage == ItemStage::waiting && item.quiet_until;
  if (!is_buildable && !is_waiting) return;
  if (entry.demand_class == nullptr) {
    entry.kind = Kind::unresolved;
    return;
  }
  entry.kind = Kind::classed;
  ++classed_items_;
  if (is_buildable) {
    insert_sorted(entry.demand_class->buildable, buildable_ref(item));
  } else {
    insert_sorted(entry.demand_class->waiting, waiting_ref(item));
  }
}

void DemandBook::leave(Entry& entry) {
  if (entry.kind != Kind::classed) return;
  --classed_items_;
  if (entry.item.stage == ItemStage::buildable) {
    erase_sorted(entry.demand_class->buildable, buildable_ref(entry.item));
  } else {
    erase_sorted(entry.demand_class->waiting, waiting_ref(entry.item));
  }
  entry.kind = Kind::none;
}

void DemandBook::forget_arrivals(Instant now) {
  while (!arrivals_.empty() && now - arrivals_.front().first >= recent_for) arrivals_.pop_front();
}

std::vector<const DemandBook::Entry*> DemandBook::recent(Instant now) {
  forget_arrivals(now);
  std::vector<const Entry*> found;
  for (const auto& [seen, id] : arrivals_) {
    const Entry* entry = find(id);
    const bool is_it = entry != nullptr && entry->buildable_seen == seen && entry->kind == Kind::classed &&
                       entry->item.stage == ItemStage::buildable;
    if (is_it) found.push_back(entry);
  }
  std::sort(found.begin(), found.end(), [](const Entry* a, const Entry* b) {
    if (a->demand_class != b->demand_class) return a->demand_class->key < b->demand_class->key;
    return buildable_ref(a->item) < buildable_ref(b->item);
  });
  return found;
}

void DemandBook::upsert(const QueueItem& item, const TemplateIndex& templates, Instant now) {
  const auto [place, is_new] = items_.try_emplace(item.id);
  Entry& entry = place->second;
  if (!is_new) leave(entry);
  entry.item = item;
  join(entry, templates, now);
}

void DemandBook::erase(std::int64_t id) {
  const auto found = items_.find(id);
  if (found == items_.end()) return;
  leave(found->second);
  items_.erase(found);
}

std::vector<const DemandBook::Entry*> DemandBook::hidden() const {
  std::vector<const Entry*> found;
  for (const auto& [id, entry] : items_) {
    if (entry.kind == Kind::unresolved && !entry.item.matching_node.empty()) found.push_back(&entry);
  }
  return found;
}

void DemandBook::resolve_like(std::int64_t id, const TemplateName& name, const TemplateIndex& templates,
                              Instant now) {
  const auto found = items_.find(id);
  if (found == items_.end()) return;
  leave(found->second);
  found->second.like = name;
  join(found->second, templates, now);
}

bool DemandBook::update(const QueueSnapshot& snapshot, const TemplateIndex& templates, Instant now) {
  bool is_changed = false;
  if (snapshot.is_quieting_down != is_quieting_down_) {
    for (auto& [id, entry] : items_) leave(entry);
    items_.clear();
    is_quieting_down_ = snapshot.is_quieting_down;
    is_changed = true;
  }
  auto known = items_.begin();
  for (const QueueItem* item : by_id(snapshot)) {
    while (known != items_.end() && known->first < item->id) {
      leave(known->second);
      known = items_.erase(known);
      is_changed = true;
    }
    if (known != items_.end() && known->first == item->id) {
      if (!(known->second.item == *item)) {
        leave(known->second);
        known->second.item = *item;
        join(known->second, templates, now);
        is_changed = true;
      }
      ++known;
      continue;
    }
    const auto added = items_.try_emplace(known, item->id);
    if (added->second.item.id == item->id) continue;  // the same id twice in one reply: the first one counts
    added->second.item = *item;
    join(added->second, templates, now);
    is_changed = true;
  }
  while (known != items_.end()) {
    leave(known->second);
    known = items_.erase(known);
    is_changed = true;
  }
  return is_changed;
}

void DemandBook::rematch(const TemplateIndex& templates) {
  for (auto& [key, demand_class] : classes_) match(demand_class, templates);
}

const DemandBook::Entry* DemandBook::find(std::int64_t id) const {
  const auto found = items_.find(id);
  return found == items_.end() ? nullptr : &found->second;
}

void DemandBook::drop_empty_classes() {
  std::set<const DemandClass*> used;
  for (const auto& [id, entry] : items_) {
    if (entry.demand_class != nullptr) used.insert(entry.demand_class);
  }
  std::erase_if(names_, [&used](const auto& pair) { return !used.contains(pair.second); });
  std::erase_if(classes_, [&used](const auto& pair) { return !used.contains(&pair.second); });
}

std::optional<std::int64_t> DemandBook::item_for_node(const std::string& name) const {
  const auto found = classes_.find(name);
  if (found == classes_.end()) return std::nullopt;
  if (!found->second.buildable.empty()) return found->second.buildable.front().id;
  if (!is_quieting_down_) return std::nullopt;
  // No demand now, and it waits all the same.
  for (const auto& [id, entry] : items_) {
    if (entry.demand_class == &found->second && entry.item.stage == ItemStage::buildable) return id;
  }
  return std::nullopt;
}

bool DemandBook::hidden_block_for(const std::string& node) const {
  return std::any_of(items_.begin(), items_.end(), [&node](const auto& pair) {
    return pair.second.item.matching_node == node && pair.second.item.is_pipeline_block;
  });
}

bool DemandBook::hidden_block_for(const std::string& node, const std::vector<std::string>& builds) const {
  return std::any_of(items_.begin(), items_.end(), [&](const auto& pair) {
    const QueueItem& item = pair.second.item;
    return item.matching_node == node && item.is_pipeline_block &&
           std::find(builds.begin(), builds.end(), item.path) != builds.end();
  });
}

}  // namespace skep::scheduler
