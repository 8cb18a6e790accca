// What DirectCalls reads: the same facts that replies.cpp takes out of the JSON of read_api.cpp and
// read_computer.cpp.
#include <algorithm>

#include "core/bounds.h"
#include "simulation/controller/direct_memory.h"

namespace skep::controller_sim {

using namespace scheduler;

namespace {

ItemStage stage_of(ItemState state) {
  switch (state) {
    case ItemState::blocked:
      return ItemStage::blocked;
    case ItemState::buildable:
      return ItemStage::buildable;
    case ItemState::pending:
      return ItemStage::pending;
    case ItemState::waiting:
    case ItemState::left:
      break;
  }
  return ItemStage::waiting;
}

bool is_offered(const QueueItem& item) {
  return item.stage == ItemStage::buildable || item.stage == ItemStage::pending;
}

/// `fact` may hold what an earlier read said: texts are put where the old ones were.
void tell_item(const Item& item, bool is_quieting_down, QueueItem& fact) {
  fact.id = item.id;
  fact.name = item.shown_name;
  fact.path = item.shown_path;
  fact.is_pipeline_block = item.is_block;
  fact.is_flow = item.is_flow && !item.label_field;
  fact.stage = stage_of(item.state);
  fact.label_source = item.label_field ? LabelSource::label_expression
                      : item.is_flow   ? LabelSource::why
                                       : LabelSource::unresolved;
  if (item.label_field) {
    fact.label = item.label_field;
  } else if (item.is_flow) {
    fact.label = "built-in";
  } else {
    fact.label.reset();
  }
  fact.matching_node.clear();
  fact.is_stopping = is_quieting_down && is_offered(fact);
  fact.in_queue_since = WallTime{item.queued_ms};
  fact.buildable_since.reset();
  fact.quiet_until.reset();
  if (fact.stage == ItemStage::waiting) {
    fact.quiet_until = WallTime{item.due_ms};
  } else {
    fact.buildable_since = WallTime{item.buildable_ms};
  }
  if (fact.stage == ItemStage::blocked) {
    fact.why = item.block_reason;
  } else {
    fact.why.clear();
  }
}

}  // namespace

Result<QueueSnapshot> DirectCalls::read_queue(Instant now) {
  constexpr std::string_view what = "reading the queue";
  const LabelMemory::Before before = memory_->labels.before();
  if (auto refused = memory_->arrive(now, Asked::read, what)) return std::move(*refused);
  memory_->note_session();
  QueueSnapshot snapshot = std::exchange(memory_->old_queue, {});
  snapshot.is_quieting_down = false;
  memory_->queue_facts(snapshot.items);
  if (snapshot.items.size() > bounds::max_queue_items)
    return direct_error(ErrorCode::malformed_reply, Outcome::unknown, what, "too many items");
  const ScriptLabels scripted = memory_->labels_by_script(snapshot.items, now);
  memory_->add_reasons(snapshot.items, scripted);
  memory_->labels.settle(snapshot.items, scripted, before);
  snapshot.is_quieting_down = std::any_of(snapshot.items.begin(), snapshot.items.end(),
                                          [](const QueueItem& item) { return item.is_stopping; });
  if (memory_->config.companion) memory_->companion.note_read(snapshot);
  return snapshot;
}

void DirectCalls::Memory::queue_facts(std::vector<QueueItem>& facts) {
  if (!may("Job/Read")) return facts.clear();
  const std::vector<std::int64_t> ids = state().visible_items();
  facts.resize(ids.size());
  QueueItem* fact = facts.data();
  const std::string* last_label = nullptr;
  auto each = state().items.cend();
  for (const std::int64_t id : ids) {  // most of them are next to each other, from the newest one on
    if (each != state().items.cbegin()) --each;
    if (each == state().items.cend() || each->first != id) each = state().items.find(id);
    const Item& item = each->second;
    tell_item(item, state().quieting_down, *fact);
    const bool is_told = !is_offered(*fact++) || (last_label != nullptr && *last_label == item.label);
    if (is_told) continue;
    last_label = &item.label;
    touch_label_cache(item);
  }
}

/// Who looks at `stuck` and `why` makes the controller remember which nodes have the label: what it remembers
/// is what it goes by until the label is trimmed.
void DirectCalls::Memory::touch_label_cache(const Item& item) const {
  if (!state().any_node_item(item)) state().label_nodes(state().label(item.label));
}

ScriptLabels DirectCalls::Memory::labels_by_script(const std::vector<QueueItem>& items, Instant now) {
  if (!can_script) return {};
  const std::vector<std::int64_t> wanted = labels.wanting_script(items);
  if (wanted.empty() || !run_script(now)) return {};
  ScriptLabels told;
  for (const std::int64_t id : wanted) {
    const Item& item = state().items.at(id);
    std::optional<std::string>& label = told[id];
    if (!state().any_node_item(item)) label = state().label(item.label).expression.expression();
  }
  return told;
}

/// `why` for items whose label nothing else tells. Items of one label that were refused alike have the same.
void DirectCalls::Memory::add_reasons(std::vector<QueueItem>& items, const ScriptLabels& scripted) const {
  std::map<std::pair<const void*, const void*>, std::string> known;
  for (QueueItem& fact : items) {
    const bool is_told = fact.label_source != LabelSource::unresolved || scripted.contains(fact.id) ||
                         !labels.wants_script(fact);
    if (is_told || !is_offered(fact)) continue;
    const Item& item = state().items.at(fact.id);
    const void* label = state().any_node_item(item) ? nullptr : &state().label(item.label);
    const auto [entry, is_new] = known.try_emplace({label, item.told ? item.told->refusals.get() : nullptr});
    if (is_new) entry->second = state().why(item);
    fact.why = entry->second;
  }
}

/// `fact` may hold what an earlier read said: texts are put where the old ones were.
void DirectCalls::Memory::tell_node(const Computer& computer, const Node* node, bool may_connect,
                                    bool may_read, NodeFact& fact) const {
  const bool is_built_in = computer.name == built_in_name;
  const OfflineFlag* flag = state().flag_of(computer, node);
  if (is_built_in) {
    fact.name = state().display_name(computer.name);
  } else {
    fact.name = computer.name;
  }
  fact.is_offline = state().offline(computer, node);
  fact.is_temporarily_offline = flag != nullptr;
  if (flag != nullptr) {
    fact.offline_reason = flag->message;
  } else if (!computer.offline_class.empty()) {
    fact.offline_reason = computer.offline_reason;
  } else {
    fact.offline_reason.clear();
  }
  const bool has_path = !is_built_in && computer.channel == Channel::online && may_connect &&
                        node != nullptr && !node->remote_fs.empty();
  fact.is_connected = has_path || !fact.is_offline;
  fact.is_idle = computer.one_off.empty();
  fact.executor_count = computer.doomed ? 0 : static_cast<int>(computer.slots.size());
  std::size_t builds = 0;
  for (const auto& slot : computer.slots) {
    if (!slot) continue;
    fact.is_idle = false;
    const Occupation& occupation = state().occupations.at(*slot);
    if (!may_read || !occupation.running) continue;
    if (builds == fact.builds.size()) fact.builds.emplace_back();
    fact.builds[builds++] = occupation.build_path;
  }
  fact.builds.resize(builds);
}

Result<NodesSnapshot> DirectCalls::read_nodes(Instant now) {
  const std::uint64_t created_before = memory_->labels.creations();
  if (auto refused = memory_->arrive(now, Asked::read, "reading the nodes")) return std::move(*refused);
  memory_->note_session();
  const State& state = memory_->state();
  const bool may_connect = memory_->may("Agent/Connect"), may_read = memory_->may("Job/Read");
  NodesSnapshot snapshot = std::exchange(memory_->old_nodes, {});
  snapshot.nodes.resize(state.computers.size());
  NodeFact* fact = snapshot.nodes.data();
  bool has_agents = false;
  auto node = state.nodes.begin();  // both are in the order of their names
  for (const auto& [name, computer] : state.computers) {
    const bool is_next = node != state.nodes.end() && node->first == name;  // mostly
    while (!is_next && node != state.nodes.end() && node->first < name) ++node;
    const bool has_node = is_next || (node != state.nodes.end() && node->first == name);
    memory_->tell_node(computer, has_node ? &node->second : nullptr, may_connect, may_read, *fact);
    if (!has_node) {
      fact->labels.clear();
    } else if (fact->labels != node->second.shown_labels) {
      fact->labels = node->second.shown_labels;
    }
    has_agents = has_agents || (name != built_in_name && fact->executor_count > 0);
    ++fact;
    if (has_node) ++node;
  }
  memory_->labels.note_nodes(memory_->names_of(snapshot), has_agents, created_before);
  return snapshot;
}

/// Mostly those of the list before.
NodeNames DirectCalls::Memory::names_of(const NodesSnapshot& snapshot) {
  const auto is_same = [](const NodeFact& node, const std::string& name) { return node.name == name; };
  const bool is_known = names && std::equal(snapshot.nodes.begin(), snapshot.nodes.end(), names->begin(),
                                            names->end(), is_same);
  if (is_known) return names;
  std::vector<std::string> all;
  all.reserve(snapshot.nodes.size());
  for (const NodeFact& node : snapshot.nodes) all.push_back(node.name);
  names = make_node_names(std::move(all));
  return names;
}

void DirectCalls::take_back(QueueSnapshot read) {
  memory_->old_queue = std::move(read);
}
void DirectCalls::take_back(NodesSnapshot read) {
  memory_->old_nodes = std::move(read);
}

Result<std::optional<NodeFact>> DirectCalls::poll_node(const std::string& node, Instant now) {
  if (auto refused = memory_->arrive(now, Asked::read, "looking at the node")) return std::move(*refused);
  memory_->note_session();
  const Computer* computer = memory_->find_computer(node);
  if (node.empty() || (computer != nullptr && computer->name != node))
    return direct_error(ErrorCode::malformed_reply, Outcome::unknown, "looking at node " + node,
                        "it speaks of another one");
  if (computer == nullptr) return std::optional<NodeFact>();
  const Node* its = memory_->state().node_of(*computer);
  std::optional<NodeFact> fact(std::in_place);
  memory_->tell_node(*computer, its, memory_->may("Agent/Connect"), memory_->may("Job/Read"), *fact);
  return fact;
}

}  // namespace skep::controller_sim
