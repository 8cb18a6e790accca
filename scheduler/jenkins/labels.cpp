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
  const auto known = known_.find(item.id);
  return known == known_.end() || known->second.source != LabelSource::script ||
         !is_equal(known->second.label_field, exported_label(item));
}

void LabelMemory::settle(std::vector<QueueItem>& items, const ScriptLabels& scripted, const Before& before) {
  ++settlings_;
  const AnyNodeOf nodes({before.nodes, nodes_}, &created_names_);
  for (QueueItem& item : items) settle_item(item, scripted, before.has_agents && has_agents_, nodes);
  std::erase_if(known_, [&](const auto& entry) { return entry.second.settled_in != settlings_; });
}

void LabelMemory::settle_item(QueueItem& item, const ScriptLabels& scripted, bool has_agents,
                              const AnyNodeOf& nodes) {
  const std::string* exported = exported_label(item);
  const auto found = known_.find(item.id);
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
    return;
  }
  // "Any node" is not kept when it rests on agents being there, and what the job exports comes with every
  // reply.
  const bool is_worth_keeping =
      item.label_source == LabelSource::script ||
      (item.label_source == LabelSource::why && (is_certain || !item.label.value_or("").empty()));
  if (!is_worth_keeping) return;
  known_.insert_or_assign(
      item.id, KnownLabel{item.label, item.label_source, std::move(label_field), is_certain, settlings_});
}

}  // namespace skep::scheduler
