// What can go wrong in a simulated farm. A run's faults are drawn from its seed before it begins, so that
// they can be printed, left out one by one, and played again. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"
#include "simulation/world.h"

namespace skep::sim {

enum class FaultKind {
  // schedulers
  scheduler_crash,    // kill -9 after `value` more actions
  scheduler_stall,    // SIGSTOP after `value` more actions, for `length`
  scheduler_suspend,  // its machine, after `value` more actions: its clock stands still
  scheduler_disk_full,
  scheduler_clock_jump,
  scheduler_state_lost,  // its executors' records, not its epoch
  controller_renamed,    // in the configuration: one controller leaves it, and another one comes
  config_reload,
  // operators
  drain,
  hold,
  retire,
  retire_busy,
  pause,
  // hosts
  agentd_crash,  // kill -9 after `value` more actions
  power_loss,
  host_lost,  // for longer than anybody waits for it; never the first one
  gray_host,
  agentd_disk_full,
  sandbox_disk_full,
  host_clock_jump,
  agentd_state_lost,
  driver_fails,
  driver_unknown,
  // executors
  never_boots,
  never_joins,
  joins_late,
  joins_twice,
  executor_dies,
  executor_hangs,
  killed_by_hand,
  removed_by_hand,
  foreign_sandbox,
  // network
  loss,
  late_requests,
  duplicates,
  reordering,
  requests_cut,
  leader_cut_off,  // what it orders of hosts comes late, and meanwhile another one leads
  replies_cut,
  // registry
  registry_away,
  registry_stale,
  session_ended,
  registry_cut,
  // controller
  controller_restart,
  controller_restart_empty,
  controller_refuses,
  controller_unusable,
  controller_slow,
  nodes_refused,
  stale_lists,
  quiet_down,
  node_deleted_by_hand,
  node_offline_by_hand,
  item_cancelled,
  // hosts that are taken for gone
  host_cut_off,    // what runs there goes on
  host_forgotten,  // by an operator, as soon as one is silent, whether or not it comes back
  // Below this line no weather of before draws anything, so that its seeds keep their meaning.
  // peers that cannot be understood, or do not take our token or certificate (`value` is odd: certificate)
  host_unusable,
  host_trust_lost,
  controller_trust_lost,
  // no descriptor, no memory, for so many of a thousand calls
  scheduler_exhausted,
  host_exhausted,
  // images
  image_missing,  // and the host says so
  image_broken,   // it is listed, and nothing starts from it
  // another version, from its next start on: fields that were appended later are not known to it
  agentd_older,
  scheduler_older,
  // a host's own operator
  host_drained,
  agentd_ended,  // in order; `value` chooses what happens to executors: keep, drain, remove
  // what happens to the scripts inside the controller
  companion_removed,
  companion_overflow,  // `value`: events that it still has
  companion_older,     // another version of ours is in its place
  // versions of images; `target` chooses the image, `value` the version and how it is rolled out
  image_rolled_out,
  image_rolled_back,
};
inline constexpr std::size_t fault_kind_count = 72;

std::string_view to_string(FaultKind kind);
std::optional<FaultKind> fault_kind_from(std::string_view text);

struct Fault {
  FaultKind kind = FaultKind::scheduler_crash;
  Instant at{};
  Duration length{};         // of windows
  std::uint64_t target = 0;  // chooses among what is there when it happens
  std::int64_t value = 0;
};
std::string to_string(const Fault& fault);

/// What operators have asked for, so that checkers know what is allowed.
struct Orders {
  struct Hold {
    Instant until;
    WallTime wall_until;                               // on the clock of `of`, as it was then
    const simulation::SchedulerProcess* of = nullptr;  // its records know of it, and nobody else's
    Duration length{};
  };
  std::map<ExecutorId, Hold> holds;
  Instant held_at_most_until{};  // a leader that starts with a clock that was set back begins a hold anew
  std::set<ExecutorId> retired, killed;  // `killed`: even if busy
  std::map<HostId, Instant> drains;      // since
  std::optional<Instant> pause;          // since
  std::optional<Instant> quiet;          // since
  Instant last_fault{};
  std::set<std::string> nodes_touched_by_hand;
  std::map<std::string, Instant> offline_by_hand;  // since
  std::map<std::string, Instant> lost_states;      // hosts whose agentd lost its records, and when
  std::map<HostId, Instant> removals;              // hosts whose agentd was told to remove all, and when
  std::string controller_name;                     // as it was last renamed
  std::map<HostId, Instant> lost;                  // hosts without power for long, since
  std::set<HostId> lost_for_good;
  std::set<ExecutorId> given_up;  // with their host
};

/// Those that a fault means.
simulation::Host& host_of(simulation::World& world, const Fault& fault);
simulation::SchedulerProcess& scheduler_of(simulation::World& world, const Fault& fault);

/// The one that leads; the first where none does.
simulation::SchedulerProcess& leader_of(simulation::World& world);

/// Lets it happen, and ends it again after its length.
void begin(simulation::World& world, Orders& orders, const Fault& fault);
/// The kinds from host_unusable on.
void begin_with_peers(simulation::World& world, Orders& orders, const Fault& fault);
/// Ends what they left on a host.
void heal_host_of_peers(simulation::Host& host);
/// An operator says that the host is gone for good, to a scheduler that leads. False: it refuses.
bool forget(Orders& orders, simulation::SchedulerProcess& leader, const HostId& host);
/// Everything works again, and everything that is down comes up: a lost host after its time, if ever.
void heal(simulation::World& world, Orders& orders);

}  // namespace skep::sim
