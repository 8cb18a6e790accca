// Drain, hold, retire, pause, and changes of the configuration.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace operators_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

SchedulerConfig warm_config(int idle) {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = idle;
  return config;
}

struct Farm : World {
  explicit Farm(SchedulerConfig given = make_config(), OneBuildMeans given_means = OneBuildMeans::gate)
      : World(std::move(given), given_means) {
    add_host("h1");
    start();
  }
  bool has_idle(std::size_t count) {
    return run_until(
        [this, count] {
          std::size_t idle = 0;
          for (const auto& e : status().executors)
            idle += e.state == ExecutorState::idle && e.gate != "closing" ? 1 : 0;
          return idle == count;
        },
        seconds(60));
  }
};

}  // namespace

TEST_CASE("drain: idle executors leave, busy ones stay, nothing new comes; undrain undoes it",
          "[unit][scheduler][operators]") {
  Farm w(warm_config(2));
  REQUIRE(w.has_idle(2));
  w.add_job("linux", minutes(2));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.send(DrainHost{HostId("h1"), "new disks"});
  REQUIRE(w.run_until([&] { return w.executors_on_hosts() == 1; }, minutes(1)));
  const std::size_t orders = w.count<OrderExecutor>();
  w.run_for(seconds(30));
  CHECK(w.count<OrderExecutor>() == orders);
  CHECK(w.executors_on_hosts() == 1);
  CHECK(w.status().hosts[0].is_draining);
  CHECK(w.status().hosts[0].drain_reason == "new disks");
  REQUIRE(w.all<RecordDrain>().size() == 1);
  w.send(UndrainHost{HostId("h1")});
  REQUIRE(w.run_until([&] { return w.executors_on_hosts() >= 3; }, minutes(1)));
  CHECK_FALSE(w.all<RecordDrain>().back().is_draining);
}

TEST_CASE("hold: neither recycled nor destroyed until its time, across a restart of the scheduler",
          "[unit][scheduler][operators]") {
  Farm w;
  w.add_job("linux", seconds(5));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  const ExecutorId id(w.builds[0].first);
  w.send(HoldExecutor{id, WallTime{w.wall().ms_since_epoch + 600'000}, minutes(10), "debugging"});
  w.run_for(minutes(2));
  CHECK(w.count<DestroyExecutor>() == 0);
  REQUIRE(w.status().executors.size() == 1);
  CHECK(w.status().executors[0].state == ExecutorState::held);
  w.restart_scheduler();
  w.run_for(minutes(5));
  CHECK(w.count<DestroyExecutor>() == 0);
  CHECK(w.executors_on_hosts() == 1);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(5)));
  CHECK(w.is_clean());
}

TEST_CASE("hold: an idle executor is never opened while held, and retire ends the hold",
          "[unit][scheduler][operators]") {
  Farm w(warm_config(1));
  REQUIRE(w.has_idle(1));
  const ExecutorId id = w.status().executors[0].record.id;
  w.send(HoldExecutor{id, WallTime{w.wall().ms_since_epoch + 3'600'000}, hours(1), "look"});
  w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(30)));
  CHECK(w.builds[0].first != id.text);
  w.send(RetireExecutor{id, "done", false});
  REQUIRE(w.run_until([&] { return !w.nodes.contains(id.text); }, seconds(30)));
}

TEST_CASE("hold: a gate that somebody else opens meanwhile is closed, and the record tells of it",
          "[unit][scheduler][operators]") {
  Farm w;
  w.add_job("linux", seconds(5));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  const ExecutorId id(w.builds[0].first);
  w.send(HoldExecutor{id, WallTime{w.wall().ms_since_epoch + 600'000}, minutes(10), "debugging"});
  REQUIRE(w.run_until([&] { return w.status().executors[0].state == ExecutorState::held; }, minutes(1)));
  NodeFact& node = w.nodes.at(id.text).fact;
  REQUIRE(node.is_temporarily_offline);
  const bool may_restart = GENERATE(false, true);
  if (may_restart) w.restart_scheduler();
  node.is_temporarily_offline = false;
  REQUIRE(w.run_until([&] { return node.is_temporarily_offline; }, minutes(1)));
  CHECK(w.status().executors[0].state == ExecutorState::held);
  CHECK(node.offline_reason == "skep: held");
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(12)));
  CHECK(w.all<Audit>()[0].may_hide_build);
}

TEST_CASE("hold: a build that comes to a gate that somebody else opened runs to its end",
          "[unit][scheduler][operators]") {
  Farm w;
  w.add_job("linux", seconds(5));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  const ExecutorId id(w.builds[0].first);
  w.send(HoldExecutor{id, WallTime{w.wall().ms_since_epoch + 60'000}, minutes(1), "debugging"});
  REQUIRE(w.run_until([&] { return w.status().executors[0].state == ExecutorState::held; }, minutes(1)));
  NodeFact& node = w.nodes.at(id.text).fact;
  node.is_temporarily_offline = false;
  node.is_idle = false;
  node.builds = {"job/other/1/"};
  w.run_for(minutes(3));
  CHECK(w.status().executors[0].state == ExecutorState::busy);
  CHECK(w.count<DestroyExecutor>() == 0);
  CHECK(node.is_temporarily_offline);
  node.is_idle = true;
  node.builds.clear();
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  CHECK(w.all<Audit>()[0].is_violation);
}

TEST_CASE("hold: read back on a clock that was set back it is not longer than it was meant to be",
          "[unit][scheduler][operators]") {
  Farm w(warm_config(1));
  REQUIRE(w.has_idle(1));
  const ExecutorId id = w.status().executors[0].record.id;
  w.send(HoldExecutor{id, WallTime{w.wall().ms_since_epoch + 600'000}, minutes(10), "debugging"});
  w.suspended -= hours(24 * 365 * 8);
  w.restart_scheduler();
  w.run_for(minutes(9));
  CHECK(w.nodes.contains(id.text));
  CHECK(w.run_until([&] { return !w.nodes.contains(id.text); }, minutes(3)));
}

TEST_CASE("hold: what is on its way out is not held, and the answer says what happens next",
          "[unit][scheduler][operators]") {
  Farm w(warm_config(1));
  REQUIRE(w.has_idle(1));
  const ExecutorId id = w.status().executors[0].record.id;
  CHECK(w.logic->may_hold(id));
  w.fault = [](const Action& action) -> std::optional<Fault> {
    if (!std::holds_alternative<DestroyExecutor>(action)) return std::nullopt;
    return Fault{Error::try_again(ErrorCode::unavailable, "busy")};
  };
  w.send(RetireExecutor{id, "done", false});
  const auto state_of = [&] {
    for (const ExecutorStatus& e : w.status().executors) {
      if (e.record.id == id) return e.state;
    }
    return ExecutorState::unknown;
  };
  REQUIRE(w.run_until([&] { return state_of() == ExecutorState::destroying; }, seconds(30)));
  const auto refused = w.logic->may_hold(id);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::conflict);
  CHECK(refused.error().message == "executor " + id.text +
                                       " is not held: it is being destroyed already, and its slot is free "
                                       "once it was seen gone");
  w.send(HoldExecutor{id, WallTime{w.wall().ms_since_epoch + 3'600'000}, hours(1), "look"});
  CHECK_FALSE(w.records.at(id).held_until);
  w.fault = [](const Action&) { return std::nullopt; };
  REQUIRE(w.run_until([&] { return state_of() == ExecutorState::gone; }, minutes(2)));
  CHECK(w.logic->may_hold(id).error().message == "executor " + id.text + " is not held: it is gone");
  CHECK(w.logic->may_hold(ExecutorId("nobody")).error().code == ErrorCode::not_found);
}

TEST_CASE("retire: idle now, busy at the end of its build, busy at once only when told so",
          "[unit][scheduler][operators]") {
  Farm w;
  w.add_job("linux", minutes(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.run_for(seconds(3));
  const ExecutorId id(w.builds[0].first);
  SECTION("at the end") {
    w.send(RetireExecutor{id, "old", false});
    w.run_for(seconds(30));
    CHECK(w.count<DestroyExecutor>() == 0);
    REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  }
  SECTION("at once") {
    w.send(RetireExecutor{id, "broken", true});
    w.run_for(seconds(3));
    CHECK(w.count<DestroyExecutor>() == 1);
    REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(1)));
    CHECK(w.all<Audit>()[0].end == "retired: broken");
  }
}

TEST_CASE("pause: nothing is launched, warm executors still serve, resume goes on",
          "[unit][scheduler][operators]") {
  Farm w(warm_config(1));
  REQUIRE(w.has_idle(1));
  w.send(PauseLaunching{"maintenance"});
  const std::size_t launches = w.count<CreateNode>();
  w.add_job("linux", seconds(1));
  const std::int64_t second = w.add_job("linux", seconds(1));
  w.run_for(seconds(30));
  CHECK(w.builds.size() == 1);
  CHECK(w.count<CreateNode>() == launches);
  CHECK(w.explain(second).reason == WaitReason::paused);
  CHECK(w.explain(second).text.find("maintenance") != std::string::npos);
  CHECK(w.status().is_paused);
  REQUIRE(w.all<RecordPause>().size() == 1);
  w.send(ResumeLaunching{});
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, seconds(30)));
}

TEST_CASE("configuration: a changed template recycles idle executors and lets busy ones finish",
          "[unit][scheduler][operators]") {
  Farm w(warm_config(2));
  REQUIRE(w.has_idle(2));
  w.add_job("linux", minutes(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  REQUIRE(w.has_idle(2));
  const std::string busy = w.builds[0].first;
  SchedulerConfig next = w.config;
  CHECK(w.logic->executors_retired_by(next) == 0);
  next.templates[0].image = "base2";
  w.hosts.at(HostId("h1")).report.images = {"base", "base2"};
  CHECK(w.logic->executors_retired_by(next) == 3);
  w.config = next;
  w.send(ConfigChanged{next});
  w.report(HostId("h1"));
  REQUIRE(w.run_until(
      [&] {
        std::size_t renewed = 0;
        for (const auto& order : w.all<OrderExecutor>()) renewed += order.order.spec.image == "base2" ? 1 : 0;
        return renewed == 2;
      },
      seconds(30)));
  CHECK(w.nodes.contains(busy));
  REQUIRE(w.has_idle(2));
  CHECK(w.executors_on_hosts() == 3);
  next.templates[0].minimum_idle = 0;
  next.templates[0].maximum = 1;
  CHECK(w.logic->executors_retired_by(next) == 0);
  next.templates.clear();
  CHECK(w.logic->executors_retired_by(next) == 2);
  w.config = next;
  w.send(ConfigChanged{next});
  REQUIRE(w.run_until([&] { return w.executors_on_hosts() <= 1; }, minutes(1)));
  REQUIRE(w.run_until([&] { return w.is_clean(); }, minutes(3)));
}

TEST_CASE("configuration: a build of a controller that left it ends with its agent",
          "[unit][scheduler][operators]") {
  Farm w;
  w.add_job("linux", hours(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  const ExecutorId busy(w.builds[0].first);
  SchedulerConfig next = w.config;
  next.controllers.front().name = ControllerId("other");
  w.config = next;
  w.send(ConfigChanged{next});
  w.run_for(minutes(20));
  CHECK(w.count<DestroyExecutor>() == 0);
  TestHost& host = w.hosts.at(HostId("h1"));
  host.executors.at(busy).report.agent = AgentPhase::ended;
  w.report(HostId("h1"));
  w.run_for(minutes(5));
  CHECK(w.count<DestroyExecutor>() == 0);  // a durable task may go on without it
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(3)));
  CHECK(w.executors_on_hosts() == 0);
  CHECK(w.all<Audit>()[0].end == "used: its controller is no longer configured");
  CHECK(w.all<Audit>()[0].may_hide_build);  // nobody watched its gate
}

TEST_CASE("configuration: what has no agent yet is left to its host when its controller leaves",
          "[unit][scheduler][operators]") {
  Farm w(make_config(), OneBuildMeans::hook);
  w.boot_time = minutes(10);
  const bool arrives = GENERATE(true, false);
  w.fault = [&](const Action& action) -> std::optional<Fault> {
    if (arrives || !std::holds_alternative<OrderExecutor>(action)) return std::nullopt;
    return Fault{Error::unknown(ErrorCode::timed_out, "no answer came in time"), false};
  };
  w.add_job("linux", hours(1));
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(20)));
  w.run_for(seconds(10));
  SchedulerConfig next = w.config;
  next.controllers.front().name = ControllerId("other");
  w.config = next;
  w.jobs.clear();
  const std::size_t renewals = w.count<RenewLeases>();
  w.send(ConfigChanged{next});
  w.run_for(minutes(1));
  CHECK(w.count<DestroyExecutor>() == 0);  // its agent may connect before that arrives, and take a build
  CHECK(w.count<RenewLeases>() == renewals);
  if (arrives) {
    w.hosts.at(HostId("h1")).executors.clear();  // the end of its lease
    w.report(HostId("h1"));
  }
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(5)));
  CHECK(w.all<Audit>()[0].end.starts_with("failed"));
}

TEST_CASE("configuration: no deadline counts before a controller that came back is profiled",
          "[unit][scheduler][operators]") {
  SchedulerConfig config = make_config();
  config.templates[0].boot_deadline = seconds(30);
  Farm w(config, OneBuildMeans::hook);
  w.boot_time = minutes(10);
  w.add_job("linux", minutes(1));
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(20)));
  const std::string name = w.nodes.begin()->first;
  w.run_for(seconds(10));
  const SchedulerConfig before = w.config;
  SchedulerConfig away = w.config;
  away.controllers.front().name = ControllerId("other");
  w.send(ConfigChanged{away});
  NodeFact& fact = w.nodes.at(name).fact;  // its agent came, and a build with it, which nobody told
  fact.is_connected = true;
  fact.is_offline = false;
  w.maintain();
  REQUIRE(w.builds.size() == 1);
  w.run_for(seconds(25));
  w.before_action = [&](const Action& action) {
    const bool ends =
        std::holds_alternative<DeleteNode>(action) || std::holds_alternative<DestroyExecutor>(action);
    if (ends) CHECK(w.running.empty());
    return true;
  };
  w.report(HostId("h1"));
  w.run_for(milliseconds(50));
  w.send(ConfigChanged{before});
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(5)));
  CHECK(w.all<Audit>()[0].record.builds_seen.size() == 1);
}

TEST_CASE("configuration: an agent that its host gave up takes no build of a controller that left it",
          "[unit][scheduler][operators]") {
  Farm w(make_config(), OneBuildMeans::hook);
  w.agents_connect = false;
  w.add_job("linux", hours(1));
  const auto is_joining = [&w] {
    const StatusSnapshot status = w.status();
    return !status.executors.empty() && status.executors[0].state == ExecutorState::joining;
  };
  REQUIRE(w.run_until(is_joining, seconds(20)));
  SchedulerConfig next = w.config;
  next.controllers.front().name = ControllerId("other");
  w.config = next;
  w.jobs.clear();
  w.send(ConfigChanged{next});
  w.run_for(minutes(20));
  CHECK(w.count<DestroyExecutor>() == 0);  // its agent may still connect
  TestHost& host = w.hosts.at(HostId("h1"));
  REQUIRE(host.executors.size() == 1);
  host.executors.begin()->second.report.state = ExecutorState::failed;
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(20)));
  CHECK(w.executors_on_hosts() == 0);
}

TEST_CASE("a build over its template's limit is ended, and said so", "[unit][scheduler][operators]") {
  SchedulerConfig config = make_config();
  config.templates[0].build_limit = minutes(1);
  Farm w(config);
  w.add_job("linux", hours(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.run_for(seconds(50));
  CHECK(w.count<DestroyExecutor>() == 0);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  CHECK(w.all<Audit>()[0].end.starts_with("retired: its build ran longer"));
}

}  // namespace operators_test
