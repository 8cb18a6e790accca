// What SchedulerLogic asks for. Imperative; executed in the order of the list. RecordExecutor returns only
// when it is durable, so the order of the list is the write-ahead rule. Calls run concurrently; their answers
// come back as events.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "scheduler/core/events.h"

namespace skep::scheduler {

struct RecordExecutor {
  ExecutorRecord record;
};
struct ForgetExecutor {
  ExecutorId executor;
};
struct RecordDrain {
  HostId host;
  std::string reason;
  bool is_draining = true;
};
struct RecordPause {
  bool is_paused = false;
  std::string reason;
};

/// Of an image name: which version it is at, and its rollout.
struct RecordImage {
  ImageVersions image;
};
/// -> ImagePulled. Idempotent.
struct PullImage {
  CallId call = 0;
  HostId host;
  std::string reference;  // name@version
};

struct ProfileController {
  ControllerId controller;
};  // -> ControllerProfiled (installs the hook where that is the means)
struct ReadQueue {
  ControllerId controller;
};  // -> QueueRead
/// The companion's next answer is a base again. Answered by nothing of its own.
struct RebaseCompanion {
  ControllerId controller;
};
struct ReadNodes {
  ControllerId controller;
};  // -> NodesRead
/// -> NodePolled. With an open gate it is urgent and one watch: look after look, `pace` apart, until a build
/// is seen, which closes the gate at once, or `watch_for` is over. Nothing else may come in between, since a
/// build that is over before the next look may be followed by a second one.
struct PollNode {
  ControllerId controller;
  ExecutorId node;
  bool is_gate_open = false;
  Duration not_before = Duration::zero();
  Duration pace = Duration::zero();
  Duration watch_for = Duration::zero();
};
struct CreateNode {  // -> NodeCreated
  CallId call = 0;
  ControllerId controller;
  ExecutorId node;
  std::string labels;
  std::string remote_fs;
  std::string description;
  bool takes_unlabelled = false;
  bool is_recreation = false;  // same name after a controller restart: deleteExistingClients
};
struct CloseGate {
  CallId call = 0;
  ControllerId controller;
  ExecutorId node;
  std::string reason;
};  // changeOfflineCause: idempotent
struct OpenGate {
  CallId call = 0;
  ControllerId controller;
  ExecutorId node;
};  // state is read first: never toggled twice
/// Makes the queue look at once. Its answer is awaited by nothing.
struct Kick {
  ControllerId controller;
};  // -> Kicked
struct DeleteNode {
  CallId call = 0;
  ControllerId controller;
  std::string node;
};

struct OrderExecutor {
  CallId call = 0;
  HostId host;
  ExecutorOrder order;
};
struct DestroyExecutor {
  CallId call = 0;
  HostId host;
  ExecutorId executor;
  Epoch epoch = 0;
};
struct RenewLeases {
  CallId call = 0;
  HostId host;
  LeaseRenewal renewal;
};

/// One per executor, at its end.
struct Audit {
  ExecutorRecord record;
  std::int64_t gate_open_ms = 0;           // sum over all openings
  std::int64_t gate_longest_blind_ms = 0;  // longest time between two answers while open
  std::int64_t coming_ms = 0;              // planned -> connected
  std::int64_t busy_ms = 0;
  std::string end;            // "used", "unused", "failed: ...", "retired: ...", "unknown: ..."
  bool is_violation = false;  // more than one build was seen
  /// Longest time with an open gate from a look that showed no build to the next such look, or to the
  /// acknowledged close: a whole build may hide in there when it is longer than the shortest one.
  std::int64_t gate_unwatched_ms = 0;
  bool may_hide_build = false;  // more than one build can be neither shown nor ruled out
};
enum class Level { debug, info, warning, error };
struct Explain {  // a log line
  Level level = Level::info;
  std::string message;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string once_per_minute_key;  // not empty: at most one line a minute for this cause
};

using Action =
    std::variant<RecordExecutor, ForgetExecutor, RecordDrain, RecordPause, ProfileController, ReadQueue,
                 ReadNodes, PollNode, CreateNode, CloseGate, OpenGate, Kick, DeleteNode, OrderExecutor,
                 DestroyExecutor, RenewLeases, Audit, Explain, RebaseCompanion, RecordImage, PullImage>;

}  // namespace skep::scheduler
