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

QueueItem queue_fact(const Item& item, bool is_quieting_down) {
  QueueItem fact;
  fact.id = item.id;
  fact.name = item.shown_name;
  fact.path = item.shown_path;
  fact.is_pipeline_block = item.is_block;
  fact.stage = stage_of(item.state);
  if (item.label_field) {
    fact.label_source = LabelSource::label_expression;
    fact.label = item.label_field;
  } else if (item.is_flow) {
    fact.label_source = LabelSource::why;
    fact.label = "built-in";
    fact.is_flow = true;
  }
  fact.is_stopping = is_quieting_down && is_offered(fact);
  fact.in_queue_since = WallTime{item.queued_ms};
  if (fact.stage == ItemStage::waiting) {
    fact.quiet_until = WallTime{item.due_ms};
  } else {
    fact.buildable_since = WallTime{item.buildable_ms};
  }
  if (fact.stage == ItemStage::blocked) fact.why = item.block_reason;
  return fact;
}

}  // namespace

Result<QueueSnapshot> DirectCalls::read_queue(Instant now) {
  constexpr std::string_view what = "reading the queue";
  const LabelMemory::Before before = memory_->labels.before();
  if (auto refused = memory_->arrive(now, Asked::read, what)) return std::move(*refused);
  memory_->note_session();
  QueueSnapshot snapshot;
  if (memory_->may("Job/Read")) snapshot.items = memory_->queue_facts();
  if (snapshot.items.size() > bounds::max_queue_items)
    return direct_error(ErrorCode::malformed_reply, Outcome::unknown, what, "too many items");
  const ScriptLabels scripted = memory_->labels_by_script(snapshot.items, now);
  memory_->add_reasons(snapshot.items, scripted);
  memory_->labels.settle(snapshot.items, scripted, before);
  snapshot.is_quieting_down = std::any_of(snapshot.items.begin(), snapshot.items.end(),
                                          [](const QueueItem& item) { return item.is_stopping; });
  return snapshot;
}

std::vector<QueueItem> DirectCalls::Memory::queue_facts() const {
  const std::vector<std::int64_t> ids = state().visible_items();
  std::vector<QueueItem> facts;
  facts.reserve(ids.size());
  const std::string* last_label = nullptr;
  for (const std::int64_t id : ids) {
    const Item& item = state().items.at(id);
    facts.push_back(queue_fact(item, state().quieting_down));
    if (!is_offered(facts.back()) || (last_label != nullptr && *last_label == item.label)) continue;
    last_label = &item.label;
    touch_label_cache(item);
  }
  return facts;
}

/// Who looks at `stuck` and `why` makes the controller remember which nodes have the label: what it remembers
/// is what it goes by until the label is trimmed.
void DirectCalls::Memory::touch_label_cache(const Item& item) const {
  if (!state().any_node_item(item)) state().label_nodes(state().label(item.label));
}

ScriptLabels DirectCalls::Memory::labels_by_script(const std::vector<QueueItem>& items, Instant now) {
  if (!can_script) return {};
  std::vector<std::int64_t> wanted;
  for (const QueueItem& item : items) {
    if (labels.wants_script(item)) wanted.push_back(item.id);
  }
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
    const auto [entry, is_new] = known.try_emplace({label, item.refusals.get()});
    if (is_new) entry->second = state().why(item);
    fact.why = entry->second;
  }
}

NodeFact DirectCalls::Memory::node_fact(const Computer& computer, const Node* node, bool may_connect,
                                        bool may_read) const {
  const bool is_built_in = computer.name == built_in_name;
  const OfflineFlag* flag = state().flag_of(computer, node);
  NodeFact fact;
  fact.name = is_built_in ? state().display_name(computer.name) : computer.name;
  fact.is_offline = state().offline(computer, node);
  fact.is_temporarily_offline = flag != nullptr;
  if (flag != nullptr) {
    fact.offline_reason = flag->message;
  } else if (!computer.offline_class.empty()) {
    fact.offline_reason = computer.offline_reason;
  }
  const bool has_path = !is_built_in && computer.channel == Channel::online && may_connect &&
                        node != nullptr && !node->remote_fs.empty();
  fact.is_connected = has_path || !fact.is_offline;
  fact.is_idle = computer.one_off.empty();
  fact.executor_count = computer.doomed ? 0 : static_cast<int>(computer.slots.size());
  for (const auto& slot : computer.slots) {
    if (!slot) continue;
    fact.is_idle = false;
    const Occupation& occupation = state().occupations.at(*slot);
    if (may_read && occupation.running) fact.builds.push_back(occupation.build_path);
  }
  return fact;
}

Result<NodesSnapshot> DirectCalls::read_nodes(Instant now) {
  const std::uint64_t created_before = memory_->labels.creations();
  if (auto refused = memory_->arrive(now, Asked::read, "reading the nodes")) return std::move(*refused);
  memory_->note_session();
  const State& state = memory_->state();
  const bool may_connect = memory_->may("Agent/Connect"), may_read = memory_->may("Job/Read");
  NodesSnapshot snapshot;
  snapshot.nodes.reserve(state.computers.size());
  std::vector<std::string> names;
  names.reserve(state.computers.size());
  bool has_agents = false;
  auto node = state.nodes.begin();  // both are in the order of their names
  for (const auto& [name, computer] : state.computers) {
    while (node != state.nodes.end() && node->first < name) ++node;
    const bool has_node = node != state.nodes.end() && node->first == name;
    NodeFact& fact = snapshot.nodes.emplace_back(
        memory_->node_fact(computer, has_node ? &node->second : nullptr, may_connect, may_read));
    if (has_node) fact.labels = node->second.shown_labels;
    has_agents = has_agents || (name != built_in_name && fact.executor_count > 0);
    names.push_back(fact.name);
  }
  memory_->labels.note_nodes(std::move(names), has_agents, created_before);
  return snapshot;
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
  return std::optional<NodeFact>(
      memory_->node_fact(*computer, its, memory_->may("Agent/Connect"), memory_->may("Job/Read")));
}

}  // namespace skep::controller_sim
