// Labels of queue items: which of three sources tells one, and what was told earlier. Pure, no lock: the
// owner keeps one around LabelMemory, and asks the controller in between.
//
// Sources, strongest first: the script console, the job's labelExpression, the text `why` (recordings 03, 04
// and 20). A label is never guessed: what no source tells stays `unresolved`.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "scheduler/core/facts.h"

namespace skep::scheduler {

/// Label by item id as the script console told it; nullopt for an item without label.
using ScriptLabels = std::map<std::int64_t, std::optional<std::string>>;

/// Names of nodes, sorted and shared: a snapshot costs nothing.
using NodeNames = std::shared_ptr<const std::vector<std::string>>;
NodeNames make_node_names(std::vector<std::string> names);

/// The names of several lists as one.
class AnyNodeOf {
 public:
  AnyNodeOf(std::vector<NodeNames> lists, const std::multiset<std::string>* others = nullptr)
      : lists_(std::move(lists)), others_(others) {}
  bool contains(const std::string& name) const;

 private:
  std::vector<NodeNames> lists_;
  const std::multiset<std::string>* others_;  // not owned
};

/// Settles an item's label by the strongest source there is. Returns false if the text that was used can also
/// be the name of a node that we do not know yet, so that it must not be relied upon for long. `has_agents`:
/// "Waiting for next available executor" means "no label" (with no agents at all it says nothing). `nodes`:
/// names of all nodes: if exactly one node matches, the text names it instead of the label.
bool settle_label(QueueItem& item, const ScriptLabels& from_script, bool has_agents, const AnyNodeOf& nodes);

/// What a controller told about labels and nodes, from one read of its queue to the next: a text that names
/// the node later does not take a label away.
class LabelMemory {
 public:
  /// What was known before a queue was asked for: agents that appear meanwhile would change what its texts
  /// mean.
  struct Before {
    NodeNames nodes;
    bool has_agents = false;
  };
  Before before() const { return {nodes_, has_agents_}; }

  /// Another session: ids may be used again, and ephemeral nodes, the sentinel too, ended with the former
  /// one.
  void forget();

  /// Before createSlave is sent: a text of the queue may name the node before the answer is there.
  void note_creation(const std::string& node);
  /// To be asked before a list of nodes is asked for, and given to note_nodes with it.
  std::uint64_t creations() const { return creations_; }
  void note_nodes(std::vector<std::string> names, bool has_agents, std::uint64_t creations_before) {
    note_nodes(make_node_names(std::move(names)), has_agents, creations_before);
  }
  void note_nodes(NodeNames names, bool has_agents, std::uint64_t creations_before);

  /// Whether no script told this item's label yet, or its job exports another one since.
  bool wants_script(const QueueItem& item) const;
  /// Those of a whole queue that do.
  std::vector<std::int64_t> wanting_script(const std::vector<QueueItem>& items) const;

  /// Settles the labels of a whole queue; what is known of items that are not in it any more is forgotten.
  void settle(std::vector<QueueItem>& items, const ScriptLabels& scripted, const Before& before);

 private:
  struct KnownLabel {
    std::optional<std::string> label;
    LabelSource source{};
    std::optional<std::string> label_field;  // as the job had it then: a change makes us ask again
    bool is_certain = true;                  // false: may be a node's name, see settle_label()
    std::uint64_t settled_in = 0;            // settling in which it was last worth keeping
  };
  using Known = std::map<std::int64_t, KnownLabel>;
  bool wants_script(const QueueItem& item, Known::const_iterator known) const;
  Known::iterator settle_item(QueueItem& item, Known::iterator found, const ScriptLabels& scripted,
                              bool has_agents, const AnyNodeOf& nodes);

  NodeNames nodes_;
  bool has_agents_ = false;
  std::uint64_t creations_ = 0;
  std::vector<std::pair<std::uint64_t, std::string>> created_;  // since the last list of nodes was asked for
  std::multiset<std::string> created_names_;                    // the same, for lookup
  Known known_;
  std::uint64_t settlings_ = 0;
};

}  // namespace skep::scheduler
