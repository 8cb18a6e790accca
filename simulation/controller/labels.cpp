// Labels and their cache: Label.getNodes, Jenkins.trimLabels (JENKINS-68155 for previously assigned
// labels, 2.507).
#include <algorithm>

#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

std::string quoted(std::string_view name) {
  return "\xE2\x80\x98" + std::string(name) + "\xE2\x80\x99";
}

std::optional<std::string> label_expression_text(const std::string& label) {
  if (is_any_node_text(label)) return std::nullopt;
  if (LabelExpression::parse(label).has_value()) return label;
  return LabelExpression::from_job(label).expression();
}

void note_labels(Node& node) {
  node.labels = parse_label_set(node.label_text);
  std::vector<std::string> words(node.labels.begin(), node.labels.end());
  words.push_back(node.kind == NodeKind::built_in ? "built-in" : node.name);
  node.labels.insert(words.back());
  node.shown_labels = java_set_order(words);
}

CachedLabel& State::label(const std::string& text) {
  const auto found = labels.find(text);
  if (found != labels.end()) return found->second;
  return labels.emplace(text, CachedLabel{LabelExpression::from_job(text)}).first->second;
}

const std::vector<std::string>& State::label_nodes(CachedLabel& cached) {
  const bool is_kept = cached.nodes && !cached.is_trimmed;
  cached.is_trimmed = false;
  if (is_kept || (cached.nodes && cached.computed_at == label_changes)) return *cached.nodes;
  cached.computed_at = label_changes;
  cached.nodes.emplace();
  for (const auto& [name, node] : nodes) {
    if (cached.expression.matches(node.labels)) cached.nodes->push_back(name);
  }
  return *cached.nodes;
}

std::set<std::string, std::less<>> State::touched_labels(const Node& node) const {
  std::set<std::string, std::less<>> touched = node.labels;
  if (flag_in_node) touched.insert(node.previous_labels.begin(), node.previous_labels.end());
  return touched;
}

void State::trim_labels(const std::set<std::string, std::less<>>& touched) {
  for (auto& [text, cached] : labels) {
    if (cached.expression.matches(touched)) cached.is_trimmed = true;
  }
}

/// As trim_labels(), for a node that came just now or went: what would be computed without it is known.
void State::trim_labels_of(const Node& node, bool is_there) {
  const std::uint64_t before = label_changes++;
  if (!node.previous_labels.empty()) return trim_labels(touched_labels(node));
  for (auto& [text, cached] : labels) {
    const bool was_current = cached.nodes && cached.computed_at == before;
    if (was_current) cached.computed_at = label_changes;
    if (!cached.expression.matches(node.labels)) continue;
    cached.is_trimmed = true;
    if (!was_current) continue;
    const auto place = std::lower_bound(cached.nodes->begin(), cached.nodes->end(), node.name);
    const bool is_listed = place != cached.nodes->end() && *place == node.name;
    if (is_there && !is_listed) cached.nodes->insert(place, node.name);
    if (!is_there && is_listed) cached.nodes->erase(place);
  }
}

void State::trim_all_labels() {
  labels.clear();
}

bool State::label_offline(CachedLabel& cached) {
  const std::vector<std::string>& names = label_nodes(cached);
  return std::none_of(names.begin(), names.end(), [&](const std::string& name) {
    const auto found = computers.find(name);
    return found != computers.end() && !offline(found->second);
  });
}

int State::idle_executors_of(const std::vector<std::string>& names) const {
  int count = 0;
  for (const std::string& name : names) {
    const auto found = computers.find(name);
    if (found == computers.end() || offline(found->second) || !found->second.accepting) continue;
    for (const auto& slot : found->second.slots) count += slot ? 0 : 1;
  }
  return count;
}

}  // namespace skep::controller_sim
