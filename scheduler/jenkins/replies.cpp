#include "scheduler/jenkins/replies.h"

#include <algorithm>
#include <charconv>

#include "core/bounds.h"
#include "scheduler/jenkins/json_reader.h"
#include "scheduler/jenkins/scripts.h"
#include "scheduler/jenkins/texts.h"

namespace skep::scheduler {
namespace {

Error refused(const std::string& what, const std::string& why) {
  return Error::unknown(ErrorCode::malformed_reply,
                        "the answer about " + what + " is not understood: " + why);
}

/// Text or null: Jenkins writes null for what is not set.
std::string text_or_null(JsonReader& in) {
  return in.take_null() ? std::string() : in.text();
}

struct Task {
  std::string kind, name, full_name, url;
  bool has_label = false;
  std::string label;
};

Task read_task(JsonReader& in) {
  Task task;
  std::string_view key;
  in.enter_object();
  while (in.next_key(key)) {
    if (key == "_class") {
      task.kind = text_or_null(in);
    } else if (key == "name") {
      task.name = text_or_null(in);
    } else if (key == "fullDisplayName") {
      task.full_name = text_or_null(in);
    } else if (key == "url") {
      task.url = text_or_null(in);
    } else if (key == "labelExpression") {
      task.has_label = true;
      task.label = text_or_null(in);
    } else {
      in.skip();
    }
  }
  return task;
}

void set_task(QueueItem& item, Task task) {
  item.name = std::move(task.full_name.empty() ? task.name : task.full_name);
  item.path = build_path(task.url);
  item.is_pipeline_block = task.kind.ends_with("$PlaceholderTask");
  if (task.has_label) {
    item.label_source = LabelSource::label_expression;
    item.label = std::move(task.label);
  }
  // A flow itself is a flyweight task: the controller's own node runs it.
  if (task.kind == "org.jenkinsci.plugins.workflow.job.WorkflowJob") {
    item.label_source = LabelSource::why;
    item.label = "built-in";
    item.is_flow = true;
  }
}

QueueItem read_item(JsonReader& in) {
  QueueItem item;
  std::string_view key;
  bool is_blocked = false, is_buildable = false, is_pending = false;
  int found = 0;  // of the five fields that every item has; no key comes twice
  std::optional<WallTime> timestamp;
  in.enter_object();
  while (in.next_key(key)) {
    if (key == "id") {
      item.id = in.number();
      ++found;
    } else if (key == "blocked") {
      is_blocked = in.flag();
      ++found;
    } else if (key == "buildable") {
      is_buildable = in.flag();
      ++found;
    } else if (key == "pending") {
      is_pending = in.flag();
    } else if (key == "inQueueSince") {
      item.in_queue_since = WallTime{in.number()};
      ++found;
    } else if (key == "buildableStartMilliseconds") {
      item.buildable_since = WallTime{in.number()};
    } else if (key == "timestamp") {
      timestamp = WallTime{in.number()};
    } else if (key == "why") {
      item.why = text_or_null(in);
    } else if (key == "task") {
      set_task(item, read_task(in));
      ++found;
    } else {
      in.skip();
    }
  }
  if (in.is_good() && found != 5) in.refuse("an item of the queue lacks a field");
  item.stage = is_pending     ? ItemStage::pending
               : is_blocked   ? ItemStage::blocked
               : is_buildable ? ItemStage::buildable
                              : ItemStage::waiting;
  if (item.stage == ItemStage::waiting) item.quiet_until = timestamp;
  item.is_stopping = read_why(item.why).kind == WhyFacts::Kind::stopping;
  return item;
}

/// Path of one "currentExecutable"; "unknown" if it has no address.
std::string read_build(JsonReader& in) {
  std::string path;
  std::string_view key;
  in.enter_object();
  while (in.next_key(key)) {
    if (key == "url") {
      path = build_path(text_or_null(in));
    } else {
      in.skip();
    }
  }
  return path.empty() ? "unknown" : path;
}

void read_executors(JsonReader& in, NodeFact& node) {
  in.enter_array();
  while (in.next_element()) {
    std::string_view key;
    in.enter_object();
    while (in.next_key(key)) {
      if (key == "idle") {
        if (!in.flag()) node.is_idle = false;
      } else if (key == "currentExecutable") {
        if (!in.take_null()) node.builds.push_back(read_build(in));
      } else {
        in.skip();
      }
    }
  }
}

void read_labels(JsonReader& in, NodeFact& node) {
  in.enter_array();
  while (in.next_element()) {
    std::string_view key;
    in.enter_object();
    while (in.next_key(key)) {
      if (key == "name") {
        node.labels.push_back(in.text());
      } else {
        in.skip();
      }
    }
  }
}

/// `is_built_in`: the controller's own node.
NodeFact read_node(JsonReader& in, bool& is_built_in) {
  NodeFact node;
  std::string_view key;
  bool is_idle = true, has_path = false;
  int found = 0;  // of the five fields that every node has; no key comes twice
  in.enter_object();
  while (in.next_key(key)) {
    if (key == "displayName") {
      node.name = in.text();
      ++found;
    } else if (key == "_class") {
      is_built_in = text_or_null(in).ends_with("MasterComputer");
    } else if (key == "offline") {
      node.is_offline = in.flag();
      ++found;
    } else if (key == "temporarilyOffline") {
      node.is_temporarily_offline = in.flag();
      ++found;
    } else if (key == "offlineCauseReason") {
      node.offline_reason = text_or_null(in);
    } else if (key == "absoluteRemotePath") {
      has_path = !text_or_null(in).empty();
    } else if (key == "idle") {
      is_idle = in.flag();
      ++found;
    } else if (key == "numExecutors") {
      node.executor_count = static_cast<int>(std::clamp<std::int64_t>(in.number(), 0, 1'000'000));
    } else if (key == "executors") {
      read_executors(in, node);
      ++found;
    } else if (key == "assignedLabels") {
      read_labels(in, node);
    } else {
      in.skip();
    }
  }
  if (in.is_good() && found != 5) in.refuse("a node lacks a field");
  // Idle in one place and busy in the other: read in the middle of an assignment. Busy is the safe side.
  node.is_idle = node.is_idle && is_idle;
  node.is_connected = has_path || !node.is_offline;
  return node;
}

/// Reads `key` of the reply's object by `read` and skips the rest; the key must be there.
template <typename Read>
Result<void> read_field(std::string_view body, const std::string& what, std::string_view wanted, Read read) {
  JsonReader in(body);
  std::string_view key;
  bool is_found = false;
  in.enter_object();
  while (in.next_key(key)) {
    if (key == wanted) {
      is_found = true;
      read(in);
    } else {
      in.skip();
    }
  }
  if (in.is_good() && !is_found) in.refuse("it has no \"" + std::string(wanted) + "\"");
  if (!in.finish()) return refused(what, in.problem());
  return {};
}

}  // namespace

Result<std::vector<QueueItem>> parse_queue_reply(std::string_view body) {
  constexpr std::size_t usual_item_bytes = 350;
  std::vector<QueueItem> items;
  items.reserve(std::min(body.size() / usual_item_bytes + 1, bounds::max_queue_items));
  const auto read = read_field(body, "the queue", "items", [&](JsonReader& in) {
    in.enter_array();
    while (in.next_element()) {
      items.push_back(read_item(in));
      if (items.size() > bounds::max_queue_items)
        in.refuse("more than " + std::to_string(bounds::max_queue_items) + " items");
    }
  });
  if (!read) return read.error();
  std::vector<std::int64_t> ids;
  ids.reserve(items.size());
  for (const QueueItem& item : items) ids.push_back(item.id);
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end())
    return refused("the queue", "two items have the same id");
  return items;
}

Result<NodeList> parse_nodes_reply(std::string_view body) {
  NodeList list;
  const auto read = read_field(body, "the nodes", "computer", [&](JsonReader& in) {
    in.enter_array();
    while (in.next_element()) {
      bool is_built_in = false;
      list.snapshot.nodes.push_back(read_node(in, is_built_in));
      // A Computer without executors only lingers: its node is gone.
      if (!is_built_in && list.snapshot.nodes.back().executor_count > 0) list.has_agents = true;
    }
  });
  if (!read) return read.error();
  if (list.snapshot.nodes.empty())
    return refused("the nodes", "the list is empty, not even the built-in node is in it");
  return list;
}

Result<NodeFact> parse_node_reply(std::string_view body, const std::string& name) {
  JsonReader in(body);
  bool is_built_in = false;
  NodeFact node = read_node(in, is_built_in);
  if (in.is_good() && node.name != name) in.refuse("it speaks of \"" + node.name.substr(0, 80) + "\"");
  if (!in.finish()) return refused("node " + name, in.problem());
  return node;
}

Result<bool> parse_is_anonymous(std::string_view body) {
  bool is_anonymous = false;
  const auto read =
      read_field(body, "the account", "anonymous", [&](JsonReader& in) { is_anonymous = in.flag(); });
  if (!read) return read.error();
  return is_anonymous;
}

Result<ScriptLabels> parse_label_listing(std::string_view body) {
  ScriptLabels out;
  bool has_marker = false;
  while (!body.empty()) {
    const std::size_t end = std::min(body.find('\n'), body.size());
    std::string_view line = body.substr(0, end);
    body.remove_prefix(std::min(body.size(), end + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line == label_listing_marker) {
      has_marker = true;
    } else if (line == label_listing_end) {
      if (has_marker) return out;
    } else if (has_marker && !line.empty()) {
      std::int64_t id = 0;
      const auto [after, failure] = std::from_chars(line.data(), line.data() + line.size(), id);
      if (failure != std::errc{} || after == line.data() + line.size() || *after != ' ') break;
      JsonReader in(line.substr(static_cast<std::size_t>(after - line.data()) + 1));
      const bool is_any = in.take_null();
      std::string label = is_any ? std::string() : in.text();
      if (!in.finish()) break;
      out[id] = is_any ? std::nullopt : std::optional<std::string>(std::move(label));
    }
  }
  return refused("the labels of all items", has_marker ? "the script's output is cut or holds an error"
                                                       : "the script's first line is not there");
}

}  // namespace skep::scheduler
