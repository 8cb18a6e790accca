// Replies of a controller's JSON API and of its script console as facts. Strict: a reply that is not wholly
// understood is refused (malformed_reply, outcome unknown), never half used and never taken for empty;
// unknown fields are ignored. Pure. Fields: Jenkins' Queue, ComputerSet and Computer exports as in
// tests/recordings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "scheduler/core/facts.h"
#include "scheduler/jenkins/labels.h"

namespace skep::scheduler {

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

}  // namespace skep::scheduler
