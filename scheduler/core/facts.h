// What the scheduler's logic is told about the world, as plain values. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/labels/label_expression.h"
#include "core/protocol/agentd_api.h"
#include "core/result.h"
#include "core/time.h"

namespace skep::scheduler {

/// Every offline reason that we set starts so; a node that is offline for another reason is somebody else's
/// decision.
inline constexpr std::string_view our_offline_prefix = "skep:";
/// Why a gate is closed at the sight of a build.
inline constexpr std::string_view busy_reason = "skep: busy";
/// Label that marks a node for the in-controller one-build hook.
inline constexpr std::string_view one_build_marker_label = "skep-one-build";

enum class ItemStage { waiting, blocked, buildable, pending };
enum class LabelSource { script, label_expression, why, unresolved };
std::string_view to_string(ItemStage stage);
std::string_view to_string(LabelSource source);

/// One item of a controller's queue. `label` is text as the controller gave it; empty optional with source
/// `unresolved` means: could not be learned, never guessed.
struct QueueItem {
  std::int64_t id = 0;
  std::string name;  // task's full display name
  std::string path;  // from "job/" on; "" if unknown
  bool is_pipeline_block = false;
  bool is_flow = false;  // a pipeline itself, which runs on the controller; its path is that of all its runs
  ItemStage stage = ItemStage::buildable;
  LabelSource label_source = LabelSource::unresolved;
  std::optional<std::string> label;  // set and blank: any node
  /// The controller named the one node that matches instead of the label (its text is ambiguous then): the
  /// label stays unknown, but this node can serve the item.
  std::string matching_node;
  bool is_stopping = false;  // being cancelled, or the controller is about to shut down
  WallTime in_queue_since;
  std::optional<WallTime> buildable_since;
  std::optional<WallTime> quiet_until;
  std::string why;
  friend bool operator==(const QueueItem&, const QueueItem&) = default;
};

struct QueueSnapshot {
  std::vector<QueueItem> items;
  bool is_quieting_down = false;
};

/// The controller's view of one node.
struct NodeFact {
  std::string name;
  bool is_offline = true;
  bool is_temporarily_offline = false;
  std::string offline_reason;
  bool is_connected = false;        // the agent's channel is up (absoluteRemotePath is known)
  bool is_idle = true;              // false from assignment on, before the build is known
  int executor_count = 1;           // 0: a lingering Computer whose node is gone
  std::vector<std::string> builds;  // paths from "job/" on, of what runs now
  std::vector<std::string> labels;
  friend bool operator==(const NodeFact&, const NodeFact&) = default;
};

struct NodesSnapshot {
  std::vector<NodeFact> nodes;  // all of the controller, not only ours
};

/// What a controller's companion tells of a node, in the order in which it happened.
struct NodeNews {
  enum class Kind { online, offline, opened, closed, accepted, completed, continues } kind{};
  std::string node;
  std::string path;  // accepted: of the task; completed: of the build; from "job/" on, "" if unknown
  friend bool operator==(const NodeNews&, const NodeNews&) = default;
};

std::string_view to_string(NodeNews::Kind kind);

/// What became of an opening.
struct Opening {
  bool has_kicked = false;  // the queue looks at once, too
  bool was_open = false;    // before we came: by nobody's leave of ours
  friend bool operator==(const Opening&, const Opening&) = default;
};

/// How one build per executor is kept on a controller, strongest first.
enum class OneBuildMeans { hook, gate };
std::string_view to_string(OneBuildMeans means);

/// What a controller and our account on it can do; found out once per controller session.
struct ControllerProfile {
  std::string version;
  std::string session;  // X-Jenkins-Session: changes when the controller restarts
  OneBuildMeans one_build = OneBuildMeans::gate;
  std::string kick;  // for people: "cancelQuietDown", "config.xml", "createSlave"
  bool can_script = false;
  std::vector<std::string> missing_permissions;  // what makes us unable to work
  std::vector<std::string> extra_permissions;    // more than needed (least privilege)
  std::vector<std::string> warnings;             // for people; nothing is decided by them
  friend bool operator==(const ControllerProfile&, const ControllerProfile&) = default;
};

}  // namespace skep::scheduler
