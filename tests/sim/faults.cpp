#include "tests/sim/faults.h"

#include <algorithm>

#include "core/resources.h"

namespace skep::sim {
namespace {

using simulation::Host;
using simulation::Link;
using simulation::SchedulerProcess;
using simulation::World;

enum class Part {
  scheduler,
  operators,
  meddlers,
  host,
  network,
  registry,
  controller,
  companion,
  gone,
  peers
};

struct Row {
  std::string_view name;
  Part part = Part::scheduler;  // of the world, whose function below lets it happen
};

constexpr std::array<Row, fault_kind_count> rows{{
    {"scheduler_crash", Part::scheduler},
    {"scheduler_stall", Part::scheduler},
    {"scheduler_suspend", Part::scheduler},
    {"scheduler_disk_full", Part::scheduler},
    {"scheduler_clock_jump", Part::scheduler},
    {"scheduler_state_lost", Part::scheduler},
    {"controller_renamed", Part::scheduler},
    {"config_reload", Part::scheduler},
    {"drain", Part::operators},
    {"hold", Part::operators},
    {"retire", Part::operators},
    {"retire_busy", Part::operators},
    {"pause", Part::operators},
    {"agentd_crash", Part::host},
    {"power_loss", Part::host},
    {"host_lost", Part::host},
    {"gray_host", Part::host},
    {"agentd_disk_full", Part::host},
    {"sandbox_disk_full", Part::host},
    {"host_clock_jump", Part::host},
    {"agentd_state_lost", Part::host},
    {"driver_fails", Part::host},
    {"driver_unknown", Part::host},
    {"never_boots", Part::host},
    {"never_joins", Part::host},
    {"joins_late", Part::host},
    {"joins_twice", Part::host},
    {"executor_dies", Part::host},
    {"executor_hangs", Part::host},
    {"killed_by_hand", Part::meddlers},
    {"removed_by_hand", Part::meddlers},
    {"foreign_sandbox", Part::host},
    {"loss", Part::network},
    {"late_requests", Part::network},
    {"duplicates", Part::network},
    {"reordering", Part::network},
    {"requests_cut", Part::network},
    {"leader_cut_off", Part::network},
    {"replies_cut", Part::network},
    {"registry_away", Part::registry},
    {"registry_stale", Part::registry},
    {"session_ended", Part::registry},
    {"registry_cut", Part::registry},
    {"controller_restart", Part::controller},
    {"controller_restart_empty", Part::controller},
    {"controller_refuses", Part::controller},
    {"controller_unusable", Part::controller},
    {"controller_slow", Part::controller},
    {"nodes_refused", Part::controller},
    {"stale_lists", Part::controller},
    {"quiet_down", Part::controller},
    {"node_deleted_by_hand", Part::meddlers},
    {"node_offline_by_hand", Part::meddlers},
    {"item_cancelled", Part::controller},
    {"host_cut_off", Part::gone},
    {"host_forgotten", Part::gone},
    {"host_unusable", Part::peers},
    {"host_trust_lost", Part::peers},
    {"controller_trust_lost", Part::peers},
    {"scheduler_exhausted", Part::peers},
    {"host_exhausted", Part::peers},
    {"image_missing", Part::peers},
    {"image_broken", Part::peers},
    {"agentd_older", Part::peers},
    {"scheduler_older", Part::peers},
    {"host_drained", Part::peers},
    {"agentd_ended", Part::peers},
    {"companion_removed", Part::companion},
    {"companion_overflow", Part::companion},
    {"companion_older", Part::companion},
    {"image_rolled_out", Part::peers},
    {"image_rolled_back", Part::peers},
}};

const Row& row_of(FaultKind kind) {
  return rows[static_cast<std::size_t>(kind)];
}

constexpr const char* renamed = "-anew";
constexpr Duration for_ever = hours(1000), ask_again = seconds(10);
constexpr Duration restart_down = milliseconds(3500), restart_starting = milliseconds(2500);

Link& link_of(World& world, const Fault& fault) {
  const std::uint64_t ways = world.hosts.size() + world.schedulers.size() + 1;
  const std::uint64_t way = fault.target % ways;
  if (way < world.hosts.size()) return world.hosts[way]->link;
  if (way < world.hosts.size() + world.schedulers.size())
    return world.schedulers[way - world.hosts.size()]->controller_link;
  return world.agents_link;
}

Link& registry_link_of(World& world, const Fault& fault) {
  const std::uint64_t way = fault.target % (world.hosts.size() + world.schedulers.size());
  if (way < world.hosts.size()) return world.hosts[way]->registry_link;
  return world.schedulers[way - world.hosts.size()]->registry_link;
}

/// Some executor that is there now; nullopt: there is none.
std::optional<ExecutorId> executor_of(World& world, const Fault& fault) {
  if (world.lives.empty()) return std::nullopt;
  auto each = world.lives.begin();
  std::advance(each, static_cast<std::ptrdiff_t>(fault.target % world.lives.size()));
  return each->first;
}

/// A file that changes is read by a process that runs; by one that is stopped or down, when it goes on.
void rename_controller(World& world, Orders& orders, SchedulerProcess& process, const std::string& name) {
  if (orders.controller_name != name) return;  // renamed again meanwhile
  if (process.config.controllers.front().name.text == name) return;
  scheduler::SchedulerConfig next = process.config;
  next.controllers.front().name = ControllerId(name);
  if (!process.is_leading()) {
    process.config = std::move(next);
  } else {
    process.reload(std::move(next));
    world.later(seconds(1),
                [&world, &orders, &process, name] { rename_controller(world, orders, process, name); });
  }
}

void change_config(World& world, const Fault& fault) {
  SchedulerProcess& process = scheduler_of(world, fault);
  scheduler::SchedulerConfig next = process.config;
  for (scheduler::Template& each : next.templates) {
    if (fault.value % 4 == 0) each.minimum_idle = each.minimum_idle == 0 ? 1 : 0;
    if (fault.value % 4 == 1) each.idle_limit = each.idle_limit == seconds(60) ? seconds(30) : seconds(60);
    if (fault.value % 4 == 2) each.environment["RELOADED"] = std::to_string(fault.value);
    if (fault.value % 4 == 3) each.join_deadline += seconds(1);
  }
  process.reload(std::move(next));
}

/// The operator is told "held" when the order was carried out, and nothing by a leader that is stopped or
/// killed.
void hold(World& world, Orders& orders, const Fault& fault, SchedulerProcess& leader, const ExecutorId& id) {
  if (leader.is_stalled() || !leader.logic->may_hold(id)) return;
  const WallTime until{world.wall(leader.wall_offset).ms_since_epoch + to_ms(fault.length)};
  leader.handle(scheduler::HoldExecutor{id, until, fault.length, "simulated"});
  if (leader.is_leading() && !leader.is_stalled()) {
    orders.holds[id] = {world.now + fault.length, until, &leader, fault.length};
  } else if (const auto before = orders.holds.find(id); before != orders.holds.end()) {
    // A leader that is killed before it answers may have it on record, which is the later word.
    before->second.until = std::min<Instant>(before->second.until, world.now + fault.length);
  }
}

void operate(World& world, Orders& orders, const Fault& fault) {
  SchedulerProcess& leader = leader_of(world);
  if (!leader.is_leading()) return;
  const HostId host = host_of(world, fault).id();
  const auto executor = executor_of(world, fault);
  switch (fault.kind) {
    case FaultKind::drain:
      orders.drains.try_emplace(host, world.now);
      leader.handle(scheduler::DrainHost{host, "simulated"});
      world.later(fault.length, [&world, &orders, host] {
        orders.drains.erase(host);
        leader_of(world).handle(scheduler::UndrainHost{host});
      });
      return;
    case FaultKind::hold:
      if (!executor) return;
      return hold(world, orders, fault, leader, *executor);
    case FaultKind::retire:
    case FaultKind::retire_busy:
      if (!executor) return;
      orders.retired.insert(*executor);
      if (fault.kind == FaultKind::retire_busy) orders.killed.insert(*executor);
      leader.handle(scheduler::RetireExecutor{*executor, "simulated", fault.kind == FaultKind::retire_busy});
      return;
    default:
      if (!orders.pause) orders.pause = world.now;
      leader.handle(scheduler::PauseLaunching{"simulated"});
      world.later(fault.length, [&world, &orders] {
        orders.pause.reset();
        leader_of(world).handle(scheduler::ResumeLaunching{});
      });
  }
}

void begin_on_scheduler(World& world, Orders& orders, const Fault& fault) {
  SchedulerProcess& process = scheduler_of(world, fault);
  switch (fault.kind) {
    case FaultKind::scheduler_crash:
      process.crash_after = static_cast<int>(fault.value);
      process.next_down = fault.length;
      return;
    case FaultKind::scheduler_suspend:
    case FaultKind::scheduler_stall:
      process.is_next_suspended = fault.kind == FaultKind::scheduler_suspend;
      process.stall_after = static_cast<int>(fault.value);
      process.next_stall = fault.length;
      return;
    case FaultKind::scheduler_disk_full:
      process.records.is_full = process.drains.is_full = process.meta.is_full = process.images.is_full = true;
      world.later(fault.length, [&process] {
        process.records.is_full = process.drains.is_full = process.meta.is_full = process.images.is_full =
            false;
      });
      return;
    case FaultKind::scheduler_clock_jump:
      process.wall_offset += seconds(fault.value);
      return;
    case FaultKind::scheduler_state_lost:
      process.kill(fault.length);
      process.records = {};
      std::erase_if(orders.holds, [&](const auto& held) { return held.second.of == &process; });
      return;
    case FaultKind::controller_renamed: {
      const std::string name = process.config.controllers.front().name.text;
      if (name.ends_with(renamed)) return;
      const auto rename_to = [&world, &orders, &process](const std::string& next) {
        orders.controller_name = next;
        rename_controller(world, orders, process, next);
      };
      rename_to(name + renamed);
      world.later(fault.length, [rename_to, name] { rename_to(name); });
      return;
    }
    default:
      return change_config(world, fault);
  }
}

void lose(World& world, Orders& orders, Host& host, const Fault& fault) {
  if (!host.has_power()) return;
  const bool is_for_good = fault.value == 1;
  orders.lost[host.id()] = world.now;
  if (is_for_good) orders.lost_for_good.insert(host.id());
  host.lose_power(is_for_good ? for_ever : fault.length);
}

/// Again and again, until some host may be forgotten.
void forget_some(World& world, Orders& orders, const Fault& fault, Instant until) {
  if (world.now > until) return;
  SchedulerProcess& leader = leader_of(world);
  for (std::size_t i = 0; i < world.hosts.size(); ++i) {
    const HostId& host = world.hosts[(fault.target + i) % world.hosts.size()]->id();
    if (leader.is_leading() && forget(orders, leader, host)) return;
  }
  world.later(ask_again, [&world, &orders, &fault, until] { forget_some(world, orders, fault, until); });
}

void begin_on_host(World& world, Orders& orders, const Fault& fault) {
  Host& host = host_of(world, fault);
  const auto window = [&](auto Host::*part, auto change) {
    change(host.*part);
    world.later(fault.length, [&host, part] { host.*part = {}; });
  };
  using simulation::DriverWeather;
  using simulation::LifeWeather;
  const int often = static_cast<int>(fault.value);
  switch (fault.kind) {
    case FaultKind::agentd_crash:
      host.crash_after = often;
      host.next_down = fault.length;
      return;
    case FaultKind::power_loss:
      return host.lose_power(fault.length);
    case FaultKind::host_lost:
      if (world.hosts.size() > 1)
        lose(world, orders, *world.hosts[1 + fault.target % (world.hosts.size() - 1)], fault);
      return;
    case FaultKind::gray_host:
      return window(&Host::driver, [](DriverWeather& weather) {
        weather.slow = seconds(40);
        weather.hangs = 200;
      });
    case FaultKind::agentd_disk_full:
      host.intents.is_full = host.numbers.is_full = host.drain.is_full = true;
      world.later(fault.length,
                  [&host] { host.intents.is_full = host.numbers.is_full = host.drain.is_full = false; });
      return;
    case FaultKind::sandbox_disk_full:
      return window(&Host::driver, [](DriverWeather& weather) { weather.is_full = true; });
    case FaultKind::host_clock_jump:
      host.wall_offset += seconds(fault.value);
      return;
    case FaultKind::agentd_state_lost:
      host.kill_agentd(fault.length);
      host.intents = {};
      host.numbers = {};
      host.drain = {};
      host.highest_epoch = 0;
      host.is_drained = false;
      orders.lost_states[host.id().text] = world.now;
      return;
    case FaultKind::driver_fails:
      return window(&Host::driver, [often](DriverWeather& weather) {
        weather.fails = often / 2;
        weather.fails_for_now = often;
      });
    case FaultKind::driver_unknown:
      return window(&Host::driver, [often](DriverWeather& weather) {
        weather.unknown_and_done = weather.unknown_not_done = often;
      });
    case FaultKind::never_boots:
      return window(&Host::lives, [often](LifeWeather& lives) { lives.never_boots = often; });
    case FaultKind::never_joins:
      return window(&Host::lives, [often](LifeWeather& lives) { lives.never_joins = often; });
    case FaultKind::joins_late:
      return window(&Host::lives, [often](LifeWeather& lives) { lives.joins_late = often; });
    case FaultKind::joins_twice:
      return window(&Host::lives, [often](LifeWeather& lives) { lives.joins_twice = often; });
    case FaultKind::executor_dies:
      return window(&Host::lives, [often](LifeWeather& lives) { lives.dies = often; });
    case FaultKind::executor_hangs:
      return window(&Host::lives, [often](LifeWeather& lives) { lives.hangs = often; });
    default:
      host.model.add_foreign(ExecutorId("foreign-" + std::to_string(fault.target)), world.now);
  }
}

void meddle(World& world, Orders& orders, const Fault& fault) {
  const auto executor = executor_of(world, fault);
  if (!executor) return;
  Host* host = world.find_host(world.lives.at(*executor).host);
  const std::string node = executor->text;
  orders.nodes_touched_by_hand.insert(node);
  switch (fault.kind) {
    case FaultKind::killed_by_hand:
      host->model.kill_sandbox(*executor, world.now);
      return host->on_sandbox_changed(*executor);
    case FaultKind::removed_by_hand:
      host->model.remove_behind_our_back(*executor);
      return host->on_sandbox_changed(*executor);
    case FaultKind::node_deleted_by_hand:
      world.controller.delete_node_by_hand(node, world.now);
      return world.settle_controller();
    default:
      world.controller.set_offline_by_hand(node, "maintenance", world.now);
      orders.offline_by_hand.try_emplace(node, world.now);
      world.settle_controller();
      world.later(fault.length, [&world, &orders, node] {
        orders.offline_by_hand.erase(node);
        world.controller.set_offline_by_hand(node, std::nullopt, world.now);
        world.settle_controller();
      });
  }
}

void befall_companion(World& world, const Fault& fault) {
  using Kind = controller_sim::FaultKind;
  const Kind kind = fault.kind == FaultKind::companion_removed    ? Kind::companion_absent
                    : fault.kind == FaultKind::companion_overflow ? Kind::companion_overflow
                                                                  : Kind::companion_other_version;
  world.controller.befall_companion(kind, fault.value % 4, world.now);
  world.settle_controller();
}

void begin_on_network(World& world, const Fault& fault) {
  Link& link = link_of(world, fault);
  const int often = static_cast<int>(fault.value);
  switch (fault.kind) {
    case FaultKind::loss:
      link.lost_requests = link.lost_replies = often;
      world.later(fault.length, [&link] { link.lost_requests = link.lost_replies = 0; });
      return;
    case FaultKind::late_requests:
      link.late_requests = often;
      world.later(fault.length, [&link] { link.late_requests = 0; });
      return;
    case FaultKind::duplicates:
      link.duplicates = often;
      world.later(fault.length, [&link] { link.duplicates = 0; });
      return;
    case FaultKind::reordering:
      link.jitter = milliseconds(fault.value);
      world.later(fault.length, [&link] { link.jitter = Duration::zero(); });
      return;
    case FaultKind::leader_cut_off:
      for (const auto& host : world.hosts) host->link.late_requests = often;
      world.later(fault.length, [&world] {
        for (const auto& host : world.hosts) host->link.late_requests = 0;
        world.registry.end_session(world.now);
      });
      return;
    case FaultKind::requests_cut:
      link.is_request_cut = true;
      world.later(fault.length, [&link] { link.is_request_cut = false; });
      return;
    default:
      link.is_reply_cut = true;
      world.later(fault.length, [&link] { link.is_reply_cut = false; });
  }
}

void begin_on_registry(World& world, const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::registry_away:
      world.registry.is_away = true;
      world.later(fault.length, [&world] { world.registry.is_away = false; });
      return;
    case FaultKind::registry_stale:
      world.registry.is_stale = true;
      world.later(fault.length, [&world] { world.registry.is_stale = false; });
      return;
    case FaultKind::session_ended:
      return world.registry.end_session(world.now);
    default: {
      Link& link = registry_link_of(world, fault);
      link.is_request_cut = true;
      world.later(fault.length, [&link] { link.is_request_cut = false; });
    }
  }
}

void begin_on_controller(World& world, Orders& orders, const Fault& fault) {
  auto& weather = world.controller_weather;
  const int often = static_cast<int>(fault.value);
  switch (fault.kind) {
    case FaultKind::controller_restart:
    case FaultKind::controller_restart_empty:
      orders.quiet.reset();  // it starts without
      return world.restart_controller(fault.kind == FaultKind::controller_restart, restart_down,
                                      restart_starting);
    case FaultKind::controller_refuses:
      weather.refused = often;
      world.later(fault.length, [&weather] { weather.refused = 0; });
      return;
    case FaultKind::controller_unusable:
      weather.unusable = often;
      world.later(fault.length, [&weather] { weather.unusable = 0; });
      return;
    case FaultKind::controller_slow:
      weather.slow = milliseconds(fault.value);
      world.later(fault.length, [&weather] { weather.slow = Duration::zero(); });
      return;
    case FaultKind::nodes_refused:
      weather.nodes_refused = often;
      world.later(fault.length, [&weather] { weather.nodes_refused = 0; });
      return;
    case FaultKind::stale_lists:
      weather.lists_are_stale = true;
      world.later(fault.length, [&weather] { weather.lists_are_stale = false; });
      return;
    case FaultKind::quiet_down:
      if (!orders.quiet) orders.quiet = world.now;
      world.controller.set_quieting_down(true, world.now);
      world.later(fault.length, [&world, &orders] {
        orders.quiet.reset();
        world.controller.set_quieting_down(false, world.now);
        world.settle_controller();
      });
      return;
    default:
      world.controller.cancel_by_hand(fault.target, world.now);
      return world.settle_controller();
  }
}

void take_for_gone(World& world, Orders& orders, const Fault& fault) {
  if (fault.kind == FaultKind::host_forgotten)
    return forget_some(world, orders, fault, world.now + fault.length);
  Host& host = host_of(world, fault);
  host.cut_off();
  world.later(fault.length, [&host] { host.connect_again(); });
}

}  // namespace

SchedulerProcess& leader_of(World& world) {
  for (const auto& each : world.schedulers) {
    if (each->is_leading()) return *each;
  }
  return *world.schedulers.front();
}

Host& host_of(World& world, const Fault& fault) {
  return *world.hosts[fault.target % world.hosts.size()];
}

SchedulerProcess& scheduler_of(World& world, const Fault& fault) {
  return *world.schedulers[fault.target % world.schedulers.size()];
}

std::string_view to_string(FaultKind kind) {
  return row_of(kind).name;
}

std::optional<FaultKind> fault_kind_from(std::string_view text) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [text](const Row& row) { return row.name == text; });
  if (found == rows.end()) return std::nullopt;
  return static_cast<FaultKind>(found - rows.begin());
}

std::string to_string(const Fault& fault) {
  return std::string(to_string(fault.kind)) + " at " + duration_to_text(fault.at.time_since_epoch()) +
         ", length " + duration_to_text(fault.length) + ", target " + std::to_string(fault.target) +
         ", value " + std::to_string(fault.value);
}

void begin(World& world, Orders& orders, const Fault& fault) {
  world.note("fault: " + to_string(fault));
  orders.last_fault = std::max<Instant>(orders.last_fault, world.now + fault.length);
  switch (row_of(fault.kind).part) {
    case Part::scheduler:
      return begin_on_scheduler(world, orders, fault);
    case Part::operators:
      return operate(world, orders, fault);
    case Part::meddlers:
      return meddle(world, orders, fault);
    case Part::host:
      return begin_on_host(world, orders, fault);
    case Part::network:
      return begin_on_network(world, fault);
    case Part::registry:
      return begin_on_registry(world, fault);
    case Part::controller:
      return begin_on_controller(world, orders, fault);
    case Part::companion:
      return befall_companion(world, fault);
    case Part::gone:
      return take_for_gone(world, orders, fault);
    case Part::peers:
      return begin_with_peers(world, orders, fault);
  }
}

bool forget(Orders& orders, SchedulerProcess& leader, const HostId& host) {
  const auto given_up = leader.given_up_with(host);
  if (!given_up) return false;
  for (const ExecutorId& id : *given_up) {
    orders.given_up.insert(id);
    orders.retired.insert(id);
    orders.killed.insert(id);
  }
  leader.handle(scheduler::ForgetHost{host, "simulated"});
  return true;
}

void heal(World& world, Orders& orders) {
  world.note("the weather is calm from here on");
  world.controller_weather = {};
  world.registry.is_away = world.registry.is_stale = false;
  const auto mend = [](Link& link) {
    const auto usual = link.there_and_back;
    link = {};
    link.there_and_back = usual;
  };
  mend(world.agents_link);
  for (const auto& host : world.hosts) {
    heal_host_of_peers(*host);
    mend(host->link);
    mend(host->registry_link);
    host->driver = {};
    host->lives = {};
    host->release_hung();
    host->connect_again();
    host->crash_after = -1;
    host->intents.is_full = host->numbers.is_full = host->drain.is_full = false;
  }
  for (const auto& process : world.schedulers) {
    mend(process->controller_link);
    mend(process->registry_link);
    process->crash_after = process->stall_after = -1;
    process->exhausted = 0;
    process->records.is_full = process->drains.is_full = process->meta.is_full = false;
    process->images.is_full = false;
  }
  orders.quiet.reset();
  world.controller.set_quieting_down(false, world.now);
  world.settle_controller();
}

}  // namespace skep::sim
