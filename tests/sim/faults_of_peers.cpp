// Peers that answer what cannot be understood, do not take our token, have no room for a request, lack an
// image, are of another version, or end in order; and operators who roll versions of images out.
#include <array>

#include "tests/sim/faults.h"

namespace skep::sim {
namespace {

using simulation::Host;
using simulation::SchedulerProcess;
using simulation::Trust;
using simulation::World;

constexpr Duration try_again_after = seconds(5);
constexpr Duration restart_takes = seconds(2);
constexpr Duration service_manager_waits = minutes(10);  // for one that waits for its builds

Trust lost_trust(const Fault& fault) {
  return fault.value % 2 == 0 ? Trust::token_refused : Trust::handshake_fails;
}

/// An operator tries again while agentd is away.
void undrain(World& world, Host& host) {
  if (host.set_drain(false)) return;
  world.later(try_again_after, [&world, &host] { undrain(world, host); });
}

void drain(World& world, const Fault& fault) {
  Host& host = host_of(world, fault);
  if (host.is_drained) return;
  static_cast<void>(host.set_drain(true));  // one that ends before it answers may have it on record
  world.later(fault.length, [&world, &host] { undrain(world, host); });
}

void change_version(World& world, const Fault& fault) {
  if (fault.kind == FaultKind::agentd_older) {
    Host& host = host_of(world, fault);
    const auto replace = [&host](bool is_older) {
      host.is_next_older = is_older;
      host.end_agentd(agentd::OnStop::keep, service_manager_waits, restart_takes);
    };
    replace(true);
    return world.later(fault.length, [replace] { replace(false); });
  }
  SchedulerProcess& process = scheduler_of(world, fault);
  const auto replace = [&process](bool is_older) {
    process.is_next_older = is_older;
    process.kill(restart_takes);
  };
  replace(true);
  world.later(fault.length, [replace] { replace(false); });
}

void end_agentd(World& world, Orders& orders, const Fault& fault) {
  using agentd::OnStop;
  constexpr std::array<OnStop, 3> all{OnStop::keep, OnStop::drain, OnStop::remove};
  Host& host = host_of(world, fault);
  const OnStop on_stop = all[static_cast<std::size_t>(fault.value) % all.size()];
  if (!host.is_agentd_up() || host.ends_by()) return;
  if (on_stop == OnStop::remove) orders.removals[host.id()] = world.now;
  host.end_agentd(on_stop, service_manager_waits, fault.length);
}

void lack_image(World& world, const Fault& fault) {
  Host& host = host_of(world, fault);
  const std::string image = host.plan.images[fault.target / world.hosts.size() % host.plan.images.size()];
  auto Host::*part = fault.kind == FaultKind::image_missing ? &Host::missing_images : &Host::broken_images;
  (host.*part).insert(image);
  world.later(fault.length, [&host, part, image] {
    const auto found = (host.*part).find(image);
    if (found != (host.*part).end()) (host.*part).erase(found);
  });
}

/// An operator says so to the leader, which may refuse it.
void roll_image(World& world, const Fault& fault) {
  SchedulerProcess& leader = leader_of(world);
  if (!leader.is_leading()) return;
  const auto& templates = leader.config.templates;
  const std::string& image = templates[fault.target % templates.size()].image;
  if (fault.kind == FaultKind::image_rolled_back) return leader.handle(scheduler::RollBackImage{image});
  scheduler::RolloutOrder order;
  order.image = image;
  order.version = std::to_string(2 + fault.value % 4);
  order.is_now = fault.value % 3 == 0;
  leader.handle(scheduler::RollOutImage{order});
}

}  // namespace

void begin_with_peers(World& world, Orders& orders, const Fault& fault) {
  const int often = static_cast<int>(fault.value);
  switch (fault.kind) {
    case FaultKind::host_unusable: {
      Host& host = host_of(world, fault);
      host.unusable = often;
      return world.later(fault.length, [&host] { host.unusable = 0; });
    }
    case FaultKind::host_trust_lost: {
      Host& host = host_of(world, fault);
      host.trust = lost_trust(fault);
      return world.later(fault.length, [&host] { host.trust = Trust::kept; });
    }
    case FaultKind::controller_trust_lost:
      world.controller_weather.trust = lost_trust(fault);
      return world.later(fault.length, [&world] { world.controller_weather.trust = Trust::kept; });
    case FaultKind::scheduler_exhausted: {
      SchedulerProcess& process = scheduler_of(world, fault);
      process.exhausted = often;
      return world.later(fault.length, [&process] { process.exhausted = 0; });
    }
    case FaultKind::host_exhausted: {
      Host& host = host_of(world, fault);
      host.exhausted = often;
      return world.later(fault.length, [&host] { host.exhausted = 0; });
    }
    case FaultKind::image_missing:
    case FaultKind::image_broken:
      return lack_image(world, fault);
    case FaultKind::image_rolled_out:
    case FaultKind::image_rolled_back:
      return roll_image(world, fault);
    case FaultKind::agentd_older:
    case FaultKind::scheduler_older:
      return change_version(world, fault);
    case FaultKind::host_drained:
      return drain(world, fault);
    default:
      return end_agentd(world, orders, fault);
  }
}

void heal_host_of_peers(Host& host) {
  host.unusable = host.exhausted = 0;
  host.trust = Trust::kept;
  host.missing_images.clear();
  host.broken_images.clear();
}

}  // namespace skep::sim
