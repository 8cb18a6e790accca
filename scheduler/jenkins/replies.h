// Replies of a controller's JSON API and of its script console as facts. Strict: a reply that is not wholly
// understood is refused (malformed_reply, outcome unknown), never half used and never taken for empty;
// unknown fields are ignored. Pure. Fields: Jenkins' Queue, ComputerSet and Computer exports as in
// tests/recordings.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "scheduler/core/facts.h"

namespace skep::scheduler {

/// Label by item id as the script console told it; nullopt for an item without label.
using ScriptLabels = std::map<std::int64_t, std::optional<std::string>>;

/// Items as they stand in the reply. An item of a job that exports labelExpression has it as its label
/// already ("" for any node); the label of every other item is `unresolved`: settle_label() looks further.
Result<std::vector<QueueItem>> parse_queue_reply(std::string_view body);

struct NodeList {
  NodesSnapshot snapshot;
  bool has_agents = false;  // a node besides the built-in one, the sentinel included
};
Result<NodeList> parse_nodes_reply(std::string_view body);
Result<NodeFact> parse_node_reply(std::string_view body, const std::string& name);
/// The field "anonymous" of whoAmI.
Result<bool> parse_is_anonymous(std::string_view body);

/// Lines "ID JSON-TEXT" between the two marker lines. Errors of a script are answered with 200 and a stack
/// trace: only the markers say that it ran to its end.
Result<ScriptLabels> parse_label_listing(std::string_view body);

/// Settles an item's label by the strongest source there is: script, then labelExpression, then `why`.
/// Returns false if the text that was used can also be the name of a node that we do not know yet, so that it
/// must not be relied upon for long. `has_agents`: "Waiting for next available executor" means "no label"
/// (with no agents at all it says nothing). `nodes`: names of all nodes: if exactly one node matches, the
/// text names it instead of the label.
bool settle_label(QueueItem& item, const ScriptLabels& from_script, bool has_agents,
                  const std::set<std::string>& nodes);

}  // namespace skep::scheduler
