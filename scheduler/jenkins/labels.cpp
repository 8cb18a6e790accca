#include "scheduler/jenkins/labels.h"

#include <algorithm>

#include "scheduler/jenkins/texts.h"

namespace skep::scheduler {
namespace {

const std::string* exported_label(const QueueItem& item) {
  return item.label_source == LabelSource::label_expression && item.label ? &*item.label : nullptr;
}

bool is_equal(const std::optional<std::string>& known, const std::string* field) {
  return field == nullptr ? !known : known && *known == *field;
}

/// As map.find(id), after `last` was found. A controller lists its newest items first, and neighbours next to
/// each other.
template <typename Map, typename Iterator>
Iterator find_after(Map& map, Iterator last, std::int64_t id) {
  if (last != map.begin()) --last;
  return last != map.end() && last->first == id ? last : map.find(id);
}

}  // namespace

NodeNames make_node_names(std::vector<std::string> names) {
  if (!std::is_sorted(names.begin(), names.end())) std::sort(names.begin(), names.end());
  return std::make_shared<const std::vector<std::string>>(std::move(names));
}

bool AnyNodeOf::contains(const std::string& name) const {
  return (others_ != nullptr && others_->contains(name)) ||
         std::any_of(lists_.begin(), lists_.end(), [&](const NodeNames& list) {
           return list && std::binary_search(list->begin(), list->end(), name);
         });
}

bool settle_label(QueueItem& item, const ScriptLabels& from_script, bool has_agents, const AnyNodeOf& nodes) {
  using Kind = WhyFacts::Kind;
  const auto settle = [&item](LabelSource source, std::string label) {
    item.label_source = source;
    item.label = std::move(label);
  };
  if (const auto told = from_script.find(item.id); told != from_script.end()) {
    settle(LabelSource::script, told->second.value_or(""));
    return true;
  }
  if (item.label_source != LabelSource::unresolved) return true;
  const WhyFacts why = read_why(item.why);
  switch (why.kind) {
    case Kind::label:
      settle(LabelSource::why, why.text);
      return true;
    case Kind::no_label:
      settle(LabelSource::why, "");
      return true;
    case Kind::node:
      item.matching_node = why.text;
      return true;
    case Kind::label_or_node:
      if (nodes.contains(why.text)) {
        item.matching_node = why.text;
      } else {
        settle(LabelSource::why, why.text);
      }
      return false;
    case Kind::any_node:
      if (has_agents) settle(LabelSource::why, "");
      return false;
    case Kind::stopping:
    case Kind::nothing:
      return true;
  }
  return true;
}

void LabelMemory::forget() {
  known_.clear();
  has_agents_ = false;
  nodes_.reset();
}

void LabelMemory::note_creation(const std::string& node) {
  created_.emplace_back(++creations_, node);
  created_names_.insert(node);
}

void LabelMemory::note_nodes(NodeNames names, bool has_agents, std::uint64_t creations_before) {
  nodes_ = std::move(names);
  has_agents_ = has_agents;
  std::erase_if(created_, [&](const auto& entry) {
    if (entry.first > creations_before) return false;
    created_names_.erase(created_names_.find(entry.second));
    return true;
  });
}

bool LabelMemory::wants_script(const QueueItem& item) const {
  return wants_script(item, known_.find(item.id));
}

bool LabelMemory::wants_script(const QueueItem& item, Known::const_iterator known) const {
  return known == known_.end() || known->second.source != LabelSource::script ||
         !is_equal(known->second.label_field, exported_label(item));
}

std::vector<std::int64_t> LabelMemory::wanting_script(const std::vector<QueueItem>& items) const {
  std::vector<std::int64_t> wanted;
  Known::const_iterator known = known_.end();
  for (const QueueItem& item : items) {
    known = find_after(known_, known, item.id);
    if (wants_script(item, known)) wanted.push_back(item.id);
  }
  return wanted;
}

void LabelMemory::settle(std::vector<QueueItem>& items, const ScriptLabels& scripted, const Before& before) {
  ++settlings_;
  const AnyNodeOf nodes({before.nodes, nodes_}, &created_names_);
  Known::iterator known = known_.end();
  for (QueueItem& item : items) {
    known = settle_item(item, find_after(known_, known, item.id), scripted, before.has_agents && has_agents_,
                        nodes);
  }
  std::erase_if(known_, [&](const auto& entry) { return entry.second.settled_in != settlings_; });
}

/// `found`: what is known of it, or the end; what is known of it then.
LabelMemory::Known::iterator LabelMemory::settle_item(QueueItem& item, Known::iterator found,
                                                      const ScriptLabels& scripted, bool has_agents,
                                                      const AnyNodeOf& nodes) {
  const std::string* exported = exported_label(item);
  KnownLabel* known =
      found == known_.end() || !is_equal(found->second.label_field, exported) ? nullptr : &found->second;
  if (known != nullptr && !known->is_certain && nodes.contains(known->label.value_or(""))) known = nullptr;
  std::optional<std::string> label_field;
  if (exported != nullptr) label_field = *exported;
  bool is_certain = settle_label(item, scripted, has_agents, nodes);
  const bool is_weaker =
      item.label_source == LabelSource::unresolved ||
      (known != nullptr && known->source == LabelSource::script && item.label_source != LabelSource::script);
  if (known != nullptr && is_weaker) {
    item.label = known->label;
    item.label_source = known->source;
    item.matching_node.clear();
    known->settled_in = settlings_;
    return found;
  }
  // "Any node" is not kept when it rests on agents being there, and what the job exports comes with every
  // reply.
  const bool is_worth_keeping =
      item.label_source == LabelSource::script ||
      (item.label_source == LabelSource::why && (is_certain || !item.label.value_or("").empty()));
  if (!is_worth_keeping) return found;
  KnownLabel kept{item.label, item.label_source, std::move(label_field), is_certain, settlings_};
  return known_.insert_or_assign(item.id, std::move(kept)).first;
}

}  // namespace skep::scheduler
