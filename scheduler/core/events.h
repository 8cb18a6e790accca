// Everything that can move SchedulerLogic. Past tense; plain values. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/protocol/agentd_api.h"
#include "core/result.h"
#include "scheduler/core/config.h"
#include "scheduler/core/facts.h"
#include "scheduler/core/rollout.h"

namespace skep::scheduler {

/// Number of one outside call; the answer carries it back.
using CallId = std::uint64_t;

/// Durable record of one executor: what a restarted scheduler must know. Written before the world is touched.
/// The queue item that a build was made of, as far as the queue showed it.
struct ServedItem {
  WallTime arrival;   // when nothing but an executor was missing any more
  std::string label;  // blank: any node
  bool is_pipeline_block = false;
  friend bool operator==(const ServedItem&, const ServedItem&) = default;
};

struct ExecutorRecord {
  ExecutorId id;
  TemplateName template_name;
  ControllerId controller;
  HostId host;
  Epoch epoch = 0;
  ExecutorState state = ExecutorState::planned;
  bool node_created = false;             // createSlave was sent (maybe with unknown outcome)
  bool was_opened = false;               // its gate was open at least once
  bool was_used = false;                 // a build was seen on it: never opened again
  std::string build;                     // path from "job/" on, last seen
  std::vector<std::string> builds_seen;  // all distinct ones: more than one is a violation
  std::optional<ServedItem> served;      // of the first build; nothing when its item or label was not known
  std::optional<WallTime> held_until;
  Duration held_for{};  // as an operator said; zero: not known
  std::string hold_reason;
  std::string given_up;      // not empty: an operator gave up its host, for this reason
  std::string image;         // as it was ordered; empty: its template's, or not known
  bool was_counted = false;  // its start was, in the rollout of its image
  WallTime planned_at;
  friend bool operator==(const ExecutorRecord&, const ExecutorRecord&) = default;
};

struct HostDrain {
  HostId host;
  std::string reason;
};

/// First event of a life: durable state read back, and the number of this term.
struct LeaderStarted {
  Epoch epoch = 0;
  Epoch led_before =
      0;  // own last term, 0: none. Where `epoch` is not the next one, somebody else led since.
  std::vector<ExecutorRecord> executors;
  std::vector<HostDrain> drains;
  bool is_paused = false;
  std::string pause_reason;
  std::vector<ImageVersions> images;
};
struct ConfigChanged {
  SchedulerConfig config;
};

struct ControllerProfiled {
  ControllerId controller;
  Result<ControllerProfile> profile;
};
/// `started` is when the read was sent: it cannot know of anything that was acknowledged later.
struct QueueRead {
  ControllerId controller;
  std::string session;
  Instant started;
  Result<QueueSnapshot> queue;
};
struct NodesRead {
  ControllerId controller;
  std::string session;
  Instant started;
  Result<NodesSnapshot> nodes;
};
/// The companion told (docs/design/companion.md): the queue as it is now, and what happened to nodes since it
/// told last. `started` is when it was asked. `is_base`: what happened before is not known.
struct CompanionTold {
  ControllerId controller;
  std::string session;
  Instant started;
  QueueSnapshot queue;
  std::vector<NodeNews> nodes;
  bool is_base = false;
  std::uint64_t events = 0;  // that led here from what it told last, of items and of any node
};
/// It cannot be asked, and could not be put back.
struct CompanionLost {
  ControllerId controller;
  Error error;
};
/// What one watch of an open gate saw before its last look.
struct GateWatch {
  Instant first_answer{};
  Duration longest_gap{};               // from a look's start to the next one's answer
  Duration longest_idle_gap{};          // the same, between looks that showed no build
  std::optional<Instant> idle_started;  // of the last look that showed none
  bool was_assigned = false;            // idle:false was seen
  std::optional<Instant> closed;        // a build was seen: its close was acknowledged then
};
/// nullopt: seen absent (404). `started` and `fact` are of the last look.
struct NodePolled {
  ControllerId controller;
  ExecutorId node;
  Instant started;
  Result<std::optional<NodeFact>> fact;
  std::optional<GateWatch> watch = std::nullopt;
  std::string session = {};  // the page that says 404 tells it, too
};

struct NodeCreated {
  CallId call;
  ExecutorId node;
  Result<std::string> secret;
};
struct GateClosed {
  CallId call;
  ExecutorId node;
  Result<void> result;
};
struct GateOpened {
  CallId call;
  ExecutorId node;
  Result<Opening> result;
};
struct Kicked {
  ControllerId controller;
  Result<void> result;
};
struct NodeDeleted {
  CallId call;
  ControllerId controller;
  std::string node;
  Result<void> result;
};

/// `started`: when it was asked for; a report that was asked for before an order was acknowledged cannot miss
/// its executor.
struct HostReported {
  HostReport report;
  Instant started = Instant::max();
};
struct HostUnseen {
  HostId host;
  Error error;
};  // could not be asked; nothing follows for what runs there
struct HostDeparted {
  HostId host;
};  // left the registry on purpose, with nothing running
struct ExecutorOrdered {
  CallId call;
  ExecutorId executor;
  Result<ExecutorReport> result;
};
struct ExecutorDestroyed {
  CallId call;
  ExecutorId executor;
  Result<ExecutorReport> result;
};
struct LeasesRenewed {
  CallId call;
  HostId host;
  Result<LeaseReply> result;
};

struct DrainHost {
  HostId host;
  std::string reason;
};
struct UndrainHost {
  HostId host;
};
struct HoldExecutor {
  ExecutorId executor;
  WallTime until;
  Duration for_time;
  std::string reason;
};
struct RetireExecutor {
  ExecutorId executor;
  std::string reason;
  bool even_if_busy = false;
};
/// An operator says that a host is gone for good.
struct ForgetHost {
  HostId host;
  std::string reason;
};
/// An operator has a version of an image rolled out. Refused quietly when it may not be: may_roll_out says
/// why.
struct RollOutImage {
  RolloutOrder order;
};
/// Back to the version before: stops a rollout that is under way, or undoes the last one.
struct RollBackImage {
  std::string image;
};
/// What a host said to a PullImage: failed with not_found, its catalogue does not have it.
struct ImagePulled {
  CallId call;
  HostId host;
  std::string reference;
  Result<std::string> problem;  // of the host with it, as it tells; empty: none so far
};
struct PauseLaunching {
  std::string reason;
};
struct ResumeLaunching {};
struct Tick {};

using Event =
    std::variant<LeaderStarted, ConfigChanged, ControllerProfiled, QueueRead, NodesRead, NodePolled,
                 NodeCreated, GateClosed, GateOpened, Kicked, NodeDeleted, HostReported, HostUnseen,
                 HostDeparted, ExecutorOrdered, ExecutorDestroyed, LeasesRenewed, DrainHost, UndrainHost,
                 HoldExecutor, RetireExecutor, PauseLaunching, ResumeLaunching, Tick, ForgetHost,
                 CompanionTold, CompanionLost, RollOutImage, RollBackImage, ImagePulled>;

}  // namespace skep::scheduler
