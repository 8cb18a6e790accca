// The scheduler's configuration as the logic uses it. Parsed and checked in common/config + scheduler/shell.
// Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/labels/label_expression.h"
#include "core/protocol/agentd_api.h"
#include "core/resources.h"
#include "core/time.h"

namespace skep::scheduler {

struct Template {
  TemplateName name;
  LabelSet labels;                // without "swarm" and the node's own name: those come by themselves
  std::string labels_text;        // as sent to createSlave: blank separated
  bool takes_unlabelled = false;  // node mode NORMAL: also serves items that ask for any node
  std::string driver;
  std::string image;
  std::string network;  // of a container or machine, as its host allows; empty: the host's default
  StartMode start = StartMode::cold;
  Resources resources;
  /// Root of the node, below which Jenkins keeps its workspaces. A relative one counts from the agent's
  /// current directory (SlaveComputer.setChannel), which skep-join makes the executor's own work directory.
  std::string remote_fs;
  std::vector<std::string> agent_command;
  std::map<std::string, std::string> environment;
  std::map<std::string, std::string> host_attributes;  // all must be equal on the host
  std::vector<ControllerId> controllers;               // empty: all
  int minimum_idle = 0;
  int maximum = 1000;
  Duration boot_deadline = seconds(60);  // order -> agent process started
  Duration join_deadline = seconds(60);  // agent process started -> connected
  Duration idle_limit = hours(1);        // beyond minimum_idle, unused executors older than this are recycled
  Duration build_limit = hours(0);       // 0: none; a stated deadline for one build
  Duration stop_grace = seconds(5);
};

struct ControllerConfig {
  ControllerId name;
  std::string url;                      // with trailing slash: what executors join
  Duration poll_interval = seconds(2);  // with demand or executors under way
  Duration idle_poll_interval = seconds(5);
  std::string sentinel_node;  // empty: none is kept
  enum class OneBuild { automatic, gate, hook } one_build = OneBuild::automatic;
  bool companion = false;  // scripts inside the controller tell of changes: needs the hook's means
  Duration gate_poll = milliseconds(8);  // 5..20 ms
  Duration gate_open_limit = seconds(6);
  int max_open_gates = 4;
};

/// How a new version of an image is tried (docs/design/rollouts.md). Rates are points of a hundred.
struct RolloutPolicy {
  int canary_share = 10;         // percent of launches; 0: no canary
  int canary_starts = 10;        // of the new version, before it is judged
  int worse_join_rate = 20;      // its share of starts that join is lower by more: it stops
  int worse_boot_percent = 200;  // its median of order to joined, of that of the version before
  int worse_build_rate = 20;     // its share of builds that are lost with their executor is higher by more
  Duration give_up_after = hours(2);  // for hosts to have it ready
  friend bool operator==(const RolloutPolicy&, const RolloutPolicy&) = default;
};

struct SchedulerConfig {
  std::string farm = "skep";  // prefix of every node name; marks what is ours
  std::vector<Template> templates;
  std::vector<ControllerConfig> controllers;
  int max_creations_per_second = 5;  // per controller
  int max_coming_per_host = 8;       // creating + booting + joining at once
  Duration lease = seconds(60);
  Duration look_ahead = seconds(10);         // quiet-period items that end within this count as demand
  Duration facts_stale_after = seconds(15);  // older queue, node or host facts freeze decisions
  int launch_attempts = 5;                   // per demand class before the breaker opens
  Duration backoff_first = seconds(5);       // doubles: 5, 10, 20, 40, 80 s
  Duration backoff_last = seconds(80);
  int breaker_failures = 3;  // consecutive, per template and host
  Duration breaker_open = minutes(2);
  Duration resume_window =
      minutes(6);                    // how long a busy executor outlives its lost node (Jenkins waits 5 min)
  Duration gone_keep = minutes(10);  // how long finished records stay visible
  RolloutPolicy rollouts;
};

}  // namespace skep::scheduler
