// A whole farm in virtual time: the real SchedulerLogic and AgentdLogics, the stand-in controller's model,
// the model of a host, and between them a network, disks and a registry that do as they are told. One thread,
// no clock; the same plan gives the same run on every compiler.
//
// Used by tests/sim, which lets everything break and looks for broken promises, and by `skep simulate`, which
// asks what a policy would have done.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/resources.h"
#include "core/time.h"
#include "scheduler/core/config.h"
#include "simulation/controller/controller_model.h"

namespace skep::simulation {

/// Virtual time counts from here; wall time at it is Plan::wall_start.
inline constexpr Instant start_of_time{};

/// A job that somebody wants run once.
struct Arrival {
  Instant at{};
  std::string label;  // text of the label expression; empty: any node
  Duration length = minutes(10);
  bool is_pipeline = false;  // a node block of a pipeline: outlives a restart of the controller
  bool is_empty = false;     // an empty block: ends by itself after 50-150 ms, `length` counts for nothing
  Duration quiet_period = Duration::zero();
};

/// Arrivals in order of time, asked for one by one: a trace of a million jobs is never in memory.
class Load {
 public:
  virtual ~Load() = default;
  /// nullopt: there are no more. `at` never decreases.
  virtual std::optional<Arrival> next() = 0;
};

/// How long a sandbox takes; drawn evenly between the two bounds, each time.
struct Span {
  Duration least{}, most{};
};

struct SandboxTimes {
  Span create{milliseconds(500), seconds(2)};
  Span boot{seconds(5), seconds(15)};        // sandbox runs -> agent process started
  Span join{milliseconds(200), seconds(1)};  // agent process started -> first attempt to connect
  Span destroy{milliseconds(200), seconds(1)};
};

struct HostPlan {
  HostId host;
  Resources capacity;
  std::int64_t max_executors = 64;
  std::string os = "linux";
  std::map<std::string, std::string> attributes;
  std::string driver = "process";
  std::vector<std::string> images;  // empty: those that the templates name
  std::set<std::string> catalogue;  // what it can fetch besides, when it is asked to
  SandboxTimes takes;
};

struct Plan {
  std::uint64_t seed = 1;
  WallTime wall_start{1'790'000'000'000};
  scheduler::SchedulerConfig scheduler;  // its first controller is the one that is simulated
  std::vector<HostPlan> hosts;
  bool may_script =
      true;  // the account is an administrator's: exact labels, and the hook where it is asked for
  std::string core_version = "2.528.3";
  Span call_controller{milliseconds(2), milliseconds(10)};  // there and back
  Span call_host{milliseconds(1), milliseconds(4)};
  // Images by what is made from them: whose agents run and never connect, and whose machines boot for longer.
  std::set<std::string> unjoining_images;
  std::map<std::string, Duration> slow_images;
};

/// The course of one executor, told at its end. Absent: it did not come to that.
struct ExecutorLife {
  ExecutorId id;
  TemplateName template_name;
  HostId host;
  Instant ordered{};                 // the host was told to make it
  std::optional<Instant> connected;  // the controller had its agent
  std::optional<Instant> first_build, last_build_end;
  int builds = 0;
  Instant gone{};  // seen gone from the host
};

/// Is told the truth, as the models of controller and hosts have it.
class Witness {
 public:
  virtual ~Witness() = default;
  /// The queue took it. Times of a build are in its record: queued, buildable, started, ended.
  virtual void on_arrival(const Arrival&, std::int64_t /*queue_id*/) {}
  virtual void on_build_started(const controller_sim::BuildRecord&, const Arrival&) {}
  virtual void on_build_ended(const controller_sim::BuildRecord&, const Arrival&) {}
  virtual void on_executor_gone(const ExecutorLife&) {}
};

struct World;

class Farm {
 public:
  /// `load` and `witness` outlive it.
  Farm(Plan plan, Load& load, Witness& witness);
  ~Farm();
  Farm(const Farm&) = delete;
  Farm& operator=(const Farm&) = delete;

  Instant now() const;
  /// Up to and including `end`.
  void run_until(Instant end);
  /// Items in the queue and builds that run; arrivals that are still to come are not counted.
  std::size_t unfinished_jobs() const;
  bool has_arrivals_left() const;
  /// Things that happened: messages, timers, actions.
  std::uint64_t events() const;
  /// Of the whole run so far: two runs of a plan are the same if theirs are.
  std::uint64_t digest() const;
  /// Executors that exist now, in the order of their ids; `gone` is now.
  std::vector<ExecutorLife> living() const;
  /// Why it stands still for good; empty: it does not. Time passes no more after it.
  const std::string& problem() const;

 private:
  std::unique_ptr<World> world_;
};

}  // namespace skep::simulation
