// Everything that a simulated farm is made of, open to inspectors and to the weather. Pure.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/prng.h"
#include "simulation/agenda.h"
#include "simulation/digest.h"
#include "simulation/farm.h"
#include "simulation/host.h"
#include "simulation/inspector.h"
#include "simulation/network.h"
#include "simulation/registry.h"
#include "simulation/scheduler_process.h"

namespace skep::simulation {

/// What the controller's own host does to answers, beyond the network.
struct ControllerWeather {
  int refused = 0;               // of a thousand: 5xx before anything was done
  int unusable = 0;              // of a thousand: done, but the answer is half, HTML or of wrong types
  Duration slow{};               // added to each answer
  bool lists_are_stale = false;  // reads of queue and nodes give what the first one gave
};

struct World {
  World(Plan chosen, Load& its_load, Witness& its_witness);

  // --- time
  void at(Instant when, std::function<void()> what) { agenda.at(when, std::move(what)); }
  void later(Duration wait, std::function<void()> what) { agenda.at(now + wait, std::move(what)); }
  void run_until(Instant end);
  WallTime wall(Duration offset = {}) const;

  // --- messages
  /// A request over `link`, served at the other end. What comes back, an answer or the error of a caller that
  /// has lost its patience, is told to `answered`, once.
  template <typename T>
  void call(const Link& link, Duration patience, std::function<void(const Caller<T>&)> serve,
            std::function<void(Result<T>)> answered, bool may_come_twice = true);

  // --- the controller
  /// After anything was done to the model: its orders to agents, its builds, its next deadline.
  void settle_controller();
  void wake_controller_at(std::optional<Instant> deadline);
  void restart_controller(bool keep_queue, Duration down, Duration starting);

  // --- load
  void plan_next_arrival();
  void arrive(const Arrival& arrival);
  void on_build_changed(std::size_t record);
  void sweep_finished_jobs();

  Host* find_host(const HostId& id);
  void note(const std::string& text);
  void begin_life(const ExecutorId& id, const HostId& host, const TemplateName& name);
  void end_life(const ExecutorId& id);

  Plan plan;
  Load& load;
  Witness& witness;
  Inspector nobody;
  Inspector* inspector = &nobody;

  Agenda agenda;
  Instant now = start_of_time;
  std::uint64_t events = 0;
  Digest digest;
  Prng network_random;

  controller_sim::ControllerModel controller;
  ControllerWeather controller_weather;
  Link agents_link;  // from executors to the controller
  std::optional<Instant> controller_wake;
  std::vector<std::unique_ptr<Host>> hosts;
  std::map<HostId, Host*> host_by_id;
  std::vector<std::unique_ptr<SchedulerProcess>> schedulers;
  Registry registry;
  bool has_leader_lock = false;  // else one scheduler leads, and hosts announce themselves to it

  std::map<std::string, Arrival> jobs;  // by path; waiting or running
  std::set<std::string> over;           // paths that ended since the last sweep
  std::optional<Arrival> next_arrival;
  std::uint64_t arrivals = 0;
  std::map<ExecutorId, ExecutorLife> lives;
  std::set<std::uint64_t> running_builds;  // BuildRecord::id
  std::string problem;  // not empty: time stands still, because a daemon wakes up again and again
};

template <typename T>
void World::call(const Link& link, Duration patience, std::function<void(const Caller<T>&)> serve,
                 std::function<void(Result<T>)> answered, bool may_come_twice) {
  const auto draws = [this](int of_a_thousand) {
    return of_a_thousand > 0 && network_random.chance(static_cast<std::uint64_t>(of_a_thousand), 1000);
  };
  const Instant deadline = now + patience;
  const bool is_lost = draws(link.lost_requests) || link.is_request_cut;
  const bool is_reply_lost = draws(link.lost_replies);
  const bool is_doubled = draws(link.duplicates) && !is_lost && may_come_twice;
  const bool is_late = draws(link.late_requests) && may_come_twice;
  const Duration there =
      is_late ? draw({seconds(5), seconds(90)}, network_random) : one_way(link, network_random);
  Caller<T> caller;
  caller.drop = [this, deadline, answered] {
    at(std::max(now, deadline),
       [answered] { answered(Error::unknown(ErrorCode::timed_out, "no answer came in time")); });
  };
  if (is_lost) return caller.drop();
  caller.reply = [this, &link, deadline, is_reply_lost, answered, drop = caller.drop](Result<T> result) {
    const Instant arrival = now + one_way(link, network_random);
    if (is_reply_lost || link.is_reply_cut || arrival > deadline) return drop();
    at(arrival, [answered, result = std::move(result)]() mutable { answered(std::move(result)); });
  };
  later(there, [serve, caller] { serve(caller); });
  if (!is_doubled) return;
  const Caller<T> nobody_waits{[](Result<T>) {}, [] {}};
  const Duration late = draw(
      {milliseconds(1), network_random.chance(1, 3) ? Duration(seconds(20)) : Duration(milliseconds(50))},
      network_random);
  later(there + late, [serve, nobody_waits] { serve(nobody_waits); });
}

}  // namespace skep::simulation
