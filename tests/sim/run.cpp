#include "tests/sim/run.h"

#include <algorithm>
#include <utility>

#include "core/resources.h"
#include "tests/sim/trace.h"

namespace skep::sim {
namespace {

using simulation::Arrival;
using simulation::SchedulerProcess;
using simulation::World;

constexpr Duration look_every = seconds(5);
constexpr Duration patience = minutes(30);  // without any progress: more than every deadline of ours
constexpr Duration most_calm = hours(24);
constexpr Duration quiet_end = minutes(3);
constexpr Duration hope = minutes(10);  // then an operator takes a lost host for gone
constexpr std::uint64_t most_quiet_events = 60'000;

class PlannedLoad final : public simulation::Load {
 public:
  explicit PlannedLoad(const std::vector<Arrival>& arrivals) : arrivals_(arrivals) {}
  std::optional<Arrival> next() override {
    if (next_ == arrivals_.size()) return std::nullopt;
    return arrivals_[next_++];
  }

 private:
  const std::vector<Arrival>& arrivals_;
  std::size_t next_ = 0;
};

struct Stage {
  Stage(const Weather& weather, const std::function<void(const std::string&)>& tell)
      : checkers(weather),
        trace(checkers, tell),
        load(weather.arrivals),
        world(weather.plan, load, checkers) {
    world.inspector = tell ? static_cast<simulation::Inspector*>(&trace) : &checkers;
    world.has_leader_lock = weather.has_leader_lock;
    const Prng root(weather.seed);
    for (const auto& host : world.hosts) host->start_agentd();
    for (int i = 0; i < weather.schedulers; ++i) {
      world.schedulers.push_back(std::make_unique<SchedulerProcess>(
          world, i, weather.plan.scheduler, root.fork("scheduler " + std::to_string(i))));
    }
    // Nodes of others: one of an administrator's, and one whose name begins as ours do.
    checkers.foreign_nodes = {"static", "fx-others"};
    for (const std::string& name : checkers.foreign_nodes)
      world.controller.create_permanent_node(name, "static", true, 1, world.now);
    for (const auto& process : world.schedulers) process->start();
    for (const Fault& fault : weather.faults)
      world.at(fault.at, [this, &fault] { begin(world, checkers.orders, fault); });
  }

  /// False: the run is over.
  bool run_until(Instant end) {
    while (world.now < end) {
      world.run_until(std::min<Instant>(end, world.now + milliseconds(200)));
      if (!world.problem.empty()) checkers.report(world, "time goes on", world.problem);
      if (checkers.violation) return false;
    }
    return true;
  }

  /// What operators did is undone, at whoever leads now.
  void undo_operators() {
    for (const auto& process : world.schedulers) {
      if (!process->is_leading()) continue;
      const auto drains = process->drains.records();
      for (const auto& [host, reason] : drains) process->handle(scheduler::UndrainHost{HostId(host)});
      if (process->meta.find("pause") != nullptr) process->handle(scheduler::ResumeLaunching{});
      retire_unseen(*process);
      forget_lost(*process);
    }
  }

  /// Also those that come back after all.
  void forget_lost(SchedulerProcess& leader) {
    for (const auto& [host, since] : checkers.orders.lost) {
      const bool is_gone = !world.find_host(host)->has_power() && world.now - since > hope;
      if (is_gone && leader.is_leading()) forget(checkers.orders, leader, host);
    }
  }

  /// A build is over, and its controller is not in the configuration any more: as long as its agent is
  /// connected only an operator can tell that nothing runs there.
  void retire_unseen(SchedulerProcess& leader) {
    std::vector<ExecutorId> over;
    for (const auto& [id, record] : leader.records.records()) {
      const bool is_seen = record.controller == leader.config.controllers.front().name;
      if (is_seen || record.state == ExecutorState::gone || !world.controller.agent_online(id)) continue;
      if (!world.controller.running_build_on(id)) over.push_back(record.id);
    }
    for (const ExecutorId& id : over) {
      checkers.orders.retired.insert(id);
      leader.handle(scheduler::RetireExecutor{id, "simulated", true});
    }
  }

  /// What the leader says of the first item that waits.
  std::string why_waiting() {
    for (const auto& process : world.schedulers) {
      if (!process->is_leading()) continue;
      const auto status = process->logic->status(world.now, world.wall(process->wall_offset));
      for (const scheduler::Explanation& each : status.queue) {
        return "; of " + std::to_string(each.item) + " the leader says: " + each.text;
      }
    }
    return "";
  }

  /// What the leader says of the executors that it knows.
  std::string what_is_known() {
    std::string text;
    for (const auto& process : world.schedulers) {
      if (!process->is_leading()) continue;
      const auto status = process->logic->status(world.now, world.wall(process->wall_offset));
      for (const scheduler::ExecutorStatus& each : status.executors) {
        if (each.state == ExecutorState::gone) continue;
        text += "; " + each.record.id.text + " " + std::string(to_string(each.state)) + " for " +
                duration_to_text(milliseconds(each.in_state_ms)) + ", gate " + each.gate + ", " + each.detail;
      }
    }
    return text;
  }

  void wait_for_calm() {
    heal(world, checkers.orders);
    const Instant start = world.now;
    checkers.last_progress = world.now;
    Instant whole = world.now;  // a lost host comes back long after the storm
    while (run_until(world.now + look_every)) {
      undo_operators();
      for (const auto& host : world.hosts) {
        const bool is_awaited = !checkers.orders.lost_for_good.contains(host->id());
        if (!host->has_power() && is_awaited) whole = world.now;
      }
      const auto business = checkers.unfinished_business(world);
      if (!business && world.now > checkers.orders.last_fault) return;
      if (!business) continue;
      const bool has_work = world.controller.queue_length() > 0 || !world.running_builds.empty();
      if (has_work && world.now - checkers.last_progress > patience)
        checkers.report(world, "every wanted job runs", *business + why_waiting());
      const Instant expected = std::max(whole, checkers.orders.held_at_most_until);
      if (!has_work && world.now - std::max(checkers.last_progress, expected) > patience)
        checkers.report(world, "nothing is left over", *business + what_is_known());
      if (world.now - start > most_calm) checkers.report(world, "the farm comes to rest", *business);
    }
  }

  /// With nothing to do, little happens, and nothing changes.
  void look_at_idle_farm() {
    const std::uint64_t before = world.events;
    if (!run_until(world.now + quiet_end)) return;
    if (world.events - before > most_quiet_events)
      checkers.report(world, "no storm", std::to_string(world.events - before) + " events in an idle farm");
    // Warm executors are recycled by age, so that one may be on its way: but not for long.
    for (int i = 0; i < 60 || world.now < checkers.orders.held_at_most_until + minutes(1); ++i) {
      const auto business = checkers.unfinished_business(world);
      if (!business) return;
      if (!run_until(world.now + look_every)) return;
    }
    checkers.report(world, "nothing is left over", *checkers.unfinished_business(world));
  }

  Checkers checkers;
  Trace trace;
  PlannedLoad load;
  World world;
};

}  // namespace

Outcome run(const Weather& weather, const std::function<void(const std::string&)>& tell) {
  Stage stage(weather, tell);
  if (stage.run_until(simulation::start_of_time + weather.storm)) {
    stage.wait_for_calm();
    if (!stage.checkers.violation) {
      const Instant rest = std::max(stage.checkers.orders.last_fault, stage.checkers.last_progress);
      const Duration calm = stage.world.now - rest;
      stage.look_at_idle_farm();
      if (!stage.checkers.violation) stage.checkers.check_end(stage.world);
      stage.checkers.orders.last_fault = simulation::start_of_time + calm;
    }
  }
  Outcome outcome;
  outcome.violation = stage.checkers.violation;
  outcome.digest = stage.world.digest.value();
  outcome.events = stage.world.events;
  outcome.simulated = stage.world.now - simulation::start_of_time;
  outcome.calm = stage.checkers.orders.last_fault - simulation::start_of_time;
  outcome.probes = stage.checkers.probes;
  outcome.builds = stage.checkers.builds_ended;
  outcome.launches = stage.checkers.launches;
  outcome.unused = stage.checkers.unused;
  outcome.second_builds = stage.checkers.second_builds;
  outcome.stale_orders = stage.checkers.stale_orders;
  return outcome;
}

Selection all_of(const Weather& weather) {
  Selection all;
  for (std::size_t i = 0; i < weather.faults.size(); ++i) all.faults.push_back(i);
  for (std::size_t i = 0; i < weather.arrivals.size(); ++i) all.jobs.push_back(i);
  all.hosts = weather.plan.hosts.size();
  return all;
}

Weather select(const Weather& weather, const Selection& selection) {
  Weather chosen = weather;
  chosen.faults.clear();
  chosen.arrivals.clear();
  for (const std::size_t i : selection.faults) {
    if (i < weather.faults.size()) chosen.faults.push_back(weather.faults[i]);
  }
  for (const std::size_t i : selection.jobs) {
    if (i < weather.arrivals.size()) chosen.arrivals.push_back(weather.arrivals[i]);
  }
  chosen.plan.hosts.resize(std::clamp<std::size_t>(selection.hosts, 1, weather.plan.hosts.size()));
  return chosen;
}

Selection shrink(const Weather& weather, Selection selection, const std::string& promise,
                 const std::function<void(const std::string&)>& progress) {
  const auto still_breaks = [&](const Selection& smaller) {
    const Outcome outcome = run(select(weather, smaller));
    return outcome.violation && outcome.violation->promise == promise;
  };
  // Halves first, then quarters, down to single ones.
  const auto thin_out = [&](std::vector<std::size_t> Selection::*part, const char* name) {
    for (std::size_t size = std::max<std::size_t>(1, (selection.*part).size() / 2); size > 0; size /= 2) {
      for (std::size_t from = 0; from < (selection.*part).size();) {
        Selection smaller = selection;
        auto& list = smaller.*part;
        const auto first = list.begin() + static_cast<std::ptrdiff_t>(from);
        list.erase(first, first + static_cast<std::ptrdiff_t>(std::min(size, list.size() - from)));
        if (still_breaks(smaller)) {
          selection = std::move(smaller);
          progress(std::string(name) + ": " + std::to_string((selection.*part).size()) + " left");
        } else {
          from += size;
        }
      }
    }
  };
  thin_out(&Selection::faults, "faults");
  thin_out(&Selection::jobs, "jobs");
  while (selection.hosts > 1) {
    Selection smaller = selection;
    --smaller.hosts;
    if (!still_breaks(smaller)) break;
    selection = std::move(smaller);
    progress("hosts: " + std::to_string(selection.hosts) + " left");
  }
  thin_out(&Selection::faults, "faults");
  return selection;
}

}  // namespace skep::sim
