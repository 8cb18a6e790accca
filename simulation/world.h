// Everything that a simulated farm is made of, open to inspectors and to the weather. Pure.
#pragma once

#include <algorithm>
#include <deque>
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
  int nodes_refused = 0;         // of a thousand: an extension of its own fails when a node is made
  Duration slow{};               // added to each answer
  Trust trust = Trust::kept;     // of schedulers; agents have secrets of their own
  bool lists_are_stale = false;  // reads of queue and nodes give what the first one gave
};

struct World {
  World(Plan chosen, Load& its_load, Witness& its_witness);

  // --- time
  void at(Instant when, Task what) { agenda.at(when, std::move(what)); }
  void later(Duration wait, Task what) { agenda.at(now + wait, std::move(what)); }
  void run_until(Instant end);
  WallTime wall(Duration offset = {}) const;

  // --- messages
  /// A request over `link`, served at the other end. What comes back, an answer or the error of a caller that
  /// has lost its patience, is told to `answered`, once.
  template <typename T, typename Serve, typename Answered>
  void call(const Link& link, Duration patience, Serve serve, Answered answered, bool may_come_twice = true);
  /// True: a process that is so exhausted, of a thousand, cannot send a request, and `answered` is told so.
  template <typename T, typename Answered>
  bool lacks_room(int exhausted, Answered answered);

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
  void sweep_old_lives();

  Host* find_host(const HostId& id);
  void note(const std::string& text);
  /// Drawn only where something may happen: what does not, shifts no other draw.
  bool draws(int of_a_thousand) {
    return of_a_thousand > 0 && network_random.chance(static_cast<std::uint64_t>(of_a_thousand), 1000);
  }
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
  std::deque<ExecutorLife> ended_lives;    // oldest first, until nothing late can name them any more
  std::set<std::uint64_t> running_builds;  // BuildRecord::id
  std::string problem;  // not empty: time stands still, because a daemon wakes up again and again
};

/// What World::call() keeps of a request until it is answered.
template <typename T, typename Answered>
class Request final : public Waiting<T>, public std::enable_shared_from_this<Request<T, Answered>> {
 public:
  Request(World& world, const Link& link, Instant deadline, bool is_reply_lost, Answered answered)
      : world_(world),
        link_(link),
        deadline_(deadline),
        is_reply_lost_(is_reply_lost),
        answered_(std::move(answered)) {}
  void reply(Result<T> result) override {
    const Instant arrival = world_.now + one_way(link_, world_.network_random);
    if (is_reply_lost_ || link_.is_reply_cut || arrival > deadline_) return drop();
    result_.emplace(std::move(result));
    world_.at(arrival, [self = this->shared_from_this()] { self->answered_(std::move(*self->result_)); });
  }
  void drop() override {
    result_.emplace(Error::unknown(ErrorCode::timed_out, "no answer came in time"));
    world_.at(std::max(world_.now, deadline_),
              [self = this->shared_from_this()] { self->answered_(std::move(*self->result_)); });
  }

 private:
  World& world_;
  const Link& link_;
  Instant deadline_;
  bool is_reply_lost_;
  Answered answered_;
  std::optional<Result<T>> result_;
};

template <typename T, typename Answered>
bool World::lacks_room(int exhausted, Answered answered) {
  if (!draws(exhausted)) return false;
  note("seen: a process has no room for a call");
  later(milliseconds(1), [answered = std::move(answered)]() mutable {
    answered(Result<T>(Error::try_again(ErrorCode::unavailable, "too many open files")));
  });
  return true;
}

template <typename T, typename Serve, typename Answered>
void World::call(const Link& link, Duration patience, Serve serve, Answered answered, bool may_come_twice) {
  const Instant deadline = now + patience;
  const bool is_lost = draws(link.lost_requests) || link.is_request_cut;
  const bool is_reply_lost = draws(link.lost_replies);
  const bool is_doubled = draws(link.duplicates) && !is_lost && may_come_twice;
  const bool is_late = draws(link.late_requests) && may_come_twice;
  const Duration there =
      is_late ? draw({seconds(5), seconds(90)}, network_random) : one_way(link, network_random);
  const Caller<T> caller(
      std::make_shared<Request<T, Answered>>(*this, link, deadline, is_reply_lost, std::move(answered)));
  if (is_lost) return caller.drop();
  if (!is_doubled) return later(there, [serve = std::move(serve), caller]() mutable { serve(caller); });
  later(there, [serve, caller]() mutable { serve(caller); });
  const Duration late = draw(
      {milliseconds(1), network_random.chance(1, 3) ? Duration(seconds(20)) : Duration(milliseconds(50))},
      network_random);
  later(there + late, [serve = std::move(serve)]() mutable { serve(Caller<T>()); });
}

}  // namespace skep::simulation
