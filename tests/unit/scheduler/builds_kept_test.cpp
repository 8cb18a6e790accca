// What the simulator found: ways in which a build could have been lost, or a second one missed.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace builds_kept_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

bool is_told_busy(const RenewLeases& renew, const ExecutorId& id) {
  return std::any_of(renew.renewal.executors.begin(), renew.renewal.executors.end(),
                     [&](const auto& entry) { return entry.id == id && entry.is_busy; });
}

SchedulerConfig warm_config() {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  return config;
}

}  // namespace

TEST_CASE("leases: an order says that a build may come as soon as its agent is connected",
          "[unit][scheduler]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(20)));
  CHECK(w.all<OrderExecutor>()[0].order.is_busy);
}

TEST_CASE("leases: a warm executor's gate opens only after its host knows that a build may come",
          "[unit][scheduler]") {
  World w(warm_config());
  w.add_host("h1");
  w.start();
  w.run_for(minutes(1));  // a round of leases has called it unneeded
  const ExecutorId id = w.all<OrderExecutor>()[0].order.spec.id;
  REQUIRE_FALSE(is_told_busy(w.all<RenewLeases>().back(), id));
  w.add_job("linux", seconds(30));
  REQUIRE(w.run_until([&] { return w.count<OpenGate>() == 1; }, seconds(20)));
  const std::size_t told =
      w.first<RenewLeases>([&](const RenewLeases& each) { return is_told_busy(each, id); });
  CHECK(told < w.first<OpenGate>([](const OpenGate&) { return true; }));
}

TEST_CASE("leases: the gate of a warm executor stays closed while its host cannot be told",
          "[unit][scheduler]") {
  World w(warm_config());
  TestHost& host = w.add_host("h1");
  w.start();
  w.run_for(minutes(1));
  host.is_reachable = false;
  w.add_job("linux", seconds(30));
  w.run_for(seconds(8));
  CHECK(w.count<OpenGate>() == 0);
  host.is_reachable = true;
  CHECK(w.run_until([&] { return w.builds.size() == 1; }, minutes(2)));
}

TEST_CASE("leases: the gate of a warm executor stays closed where its host is removing it",
          "[unit][scheduler]") {
  World w(warm_config());
  TestHost& host = w.add_host("h1");
  w.start();
  w.run_for(minutes(1));
  const ExecutorId id = w.all<OrderExecutor>()[0].order.spec.id;
  const bool is_told_by_report = GENERATE(true, false);
  // It ended with its lease, and cannot be removed yet.
  host.leaving = {id};
  host.executors.at(id).report.state = ExecutorState::destroying;
  if (is_told_by_report) {
    w.before_action = [&](const Action& action) {
      const auto* renew = std::get_if<RenewLeases>(&action);
      if (renew != nullptr && is_told_busy(*renew, id)) w.report(HostId("h1"));
      return true;
    };
  }
  w.add_job("linux", seconds(30));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(5)));
  CHECK(w.builds[0].first != id.text);
  for (const OpenGate& open : w.all<OpenGate>()) CHECK(open.node != id);
}

TEST_CASE("room: jobs that wait come before spare executors of another template", "[unit][scheduler]") {
  SchedulerConfig config = make_config({make_template("small", "small"), make_template("big", "big")});
  config.templates[0].minimum_idle = 2;
  config.templates[1].resources.cpu_millis = 2000;
  World w(config);
  w.add_host("h1", 2000);
  w.start();
  REQUIRE(w.run_until([&] { return w.executors_on_hosts() == 2; }, seconds(30)));
  w.run_for(seconds(10));
  w.add_job("big", seconds(5));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(2)));
  // Afterwards the reserve comes back.
  CHECK(w.run_until([&] { return w.count<OrderExecutor>() == 5; }, minutes(2)));
}

TEST_CASE("without a gate: one that never started is closed and looked at before it is given up",
          "[unit][scheduler]") {
  World w(make_config(), OneBuildMeans::hook);
  w.add_host("h1");
  w.agents_connect = false;
  w.start();
  w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<DestroyExecutor>() == 1; }, minutes(5)));
  const ExecutorId id = w.all<DestroyExecutor>()[0].executor;
  const std::size_t closed = w.first<CloseGate>([&](const CloseGate& each) { return each.node == id; });
  CHECK(closed < w.first<DestroyExecutor>([](const DestroyExecutor&) { return true; }));
}

TEST_CASE("one build: a gate that somebody opened again is closed, and the audit rules nothing out",
          "[unit][scheduler]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  w.add_job("linux", seconds(20));
  REQUIRE(w.run_until([&] { return !w.running.empty(); }, seconds(20)));
  w.run_for(seconds(5));
  NodeFact& node = w.nodes.begin()->second.fact;
  REQUIRE(node.is_temporarily_offline);
  node.is_temporarily_offline = node.is_offline = false;
  node.offline_reason.clear();
  REQUIRE(w.run_until([&] { return w.nodes.begin()->second.fact.is_temporarily_offline; }, seconds(10)));
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  CHECK(w.all<Audit>()[0].may_hide_build);
}

namespace {

/// A build begins while the looks at its node are not answered.
struct Unseen {
  Unseen() : w(make_config()) {
    w.add_host("h1");
    w.start();
    w.add_job("linux", minutes(1));
    w.fault = [this](const Action& action) -> std::optional<Fault> {
      const bool is_look =
          std::holds_alternative<PollNode>(action) || std::holds_alternative<ReadNodes>(action);
      if (!is_look || w.running.empty() || is_over) return std::nullopt;
      return Fault{Error::unknown(ErrorCode::unavailable, "not understood")};
    };
    REQUIRE(w.run_until([&] { return !w.running.empty(); }, seconds(20)));
    w.run_for(milliseconds(100));
    node = w.nodes.at(w.running.begin()->first).fact;
    REQUIRE(node.is_temporarily_offline);  // its gate was closed, as it could not be watched
  }
  World w;
  NodeFact node;
  bool is_over = false;
};

}  // namespace

TEST_CASE("gate: a list that is older than it claims does not end what was opened", "[unit][scheduler]") {
  Unseen u;
  NodeFact old = u.node;
  old.builds.clear();
  old.is_idle = true;
  u.w.send(NodesRead{ControllerId("main"), u.w.session, u.w.now, NodesSnapshot{{old}}});
  u.w.run_for(seconds(1));
  CHECK(u.w.count<DestroyExecutor>() == 0);
  u.is_over = true;
  REQUIRE(u.w.run_until([&] { return u.w.count<Audit>() == 1; }, minutes(3)));
  CHECK(u.w.all<Audit>()[0].end == "used");
}

TEST_CASE("gate: a list that is older than it claims is no look later on either", "[unit][scheduler]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  w.add_job("linux", minutes(1));
  w.fault = [&w](const Action& action) -> std::optional<Fault> {
    const bool is_look =
        std::holds_alternative<PollNode>(action) || std::holds_alternative<ReadNodes>(action);
    if (!is_look || w.count<OpenGate>() == 0) return std::nullopt;
    return Fault{Error::unknown(ErrorCode::unavailable, "not understood")};
  };
  REQUIRE(w.run_until([&] { return w.count<CloseGate>() >= 2; }, seconds(20)));
  w.run_for(milliseconds(20));
  const NodeFact old = w.nodes.begin()->second.fact;  // from before a build began, for all we know
  w.send(NodesRead{ControllerId("main"), w.session, w.now, NodesSnapshot{{old}}});
  w.run_for(milliseconds(2));
  w.send(QueueRead{ControllerId("main"), w.session, w.now, QueueSnapshot{}});
  w.run_for(milliseconds(50));
  CHECK(w.status().executors[0].state == ExecutorState::idle);
  CHECK(w.count<DestroyExecutor>() == 0);
}

TEST_CASE("gate: a build that an older look saw has run all the same", "[unit][scheduler]") {
  Unseen u;
  const Instant before = u.w.now;
  NodeFact unclear = u.node;
  unclear.builds.clear();
  u.w.run_for(milliseconds(20));
  u.w.send(NodesRead{ControllerId("main"), u.w.session, u.w.now, NodesSnapshot{{unclear}}});
  u.w.send(
      NodePolled{ControllerId("main"), ExecutorId(u.node.name), before, std::optional<NodeFact>(u.node)});
  REQUIRE(u.w.status().executors.size() == 1);
  CHECK(u.w.status().executors[0].record.was_used);
  CHECK(u.w.status().executors[0].state == ExecutorState::busy);
}

TEST_CASE("audit: written before the record that ends an executor", "[unit][scheduler]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  const std::size_t gone = w.first<RecordExecutor>(
      [](const RecordExecutor& each) { return each.record.state == ExecutorState::gone; });
  CHECK(w.first<Audit>([](const Audit&) { return true; }) < gone);
}

TEST_CASE("hold: without a gate its end takes no build away that nobody can see", "[unit][scheduler]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  World w(config, OneBuildMeans::hook);
  w.add_host("h1");
  w.start();
  REQUIRE(w.run_until([&] { return w.count<CreateNode>() == 1 && w.executors_on_hosts() == 1; }, minutes(1)));
  w.run_for(seconds(10));
  const ExecutorId id = w.all<CreateNode>()[0].node;
  w.send(HoldExecutor{id, WallTime{w.wall().ms_since_epoch + 60'000}, minutes(1), "look"});
  w.config.controllers.front().name = ControllerId("other");
  w.send(ConfigChanged{w.config});
  w.run_for(minutes(5));
  CHECK(w.records.at(id).was_used);
  CHECK(w.count<DestroyExecutor>() == 0);
}

TEST_CASE("hold: one that is over at a start takes no build away before its host has told of its agent",
          "[unit][scheduler]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  World w(config, OneBuildMeans::hook);
  w.add_host("h1");
  w.start();
  REQUIRE(w.run_until([&] { return w.count<CreateNode>() == 1 && w.executors_on_hosts() == 1; }, minutes(1)));
  w.run_for(seconds(10));
  const ExecutorId id = w.all<CreateNode>()[0].node;
  w.send(HoldExecutor{id, WallTime{w.wall().ms_since_epoch + 60'000}, minutes(1), "look"});
  w.before_action = [](const Action&) { return false; };
  w.run_for(minutes(2));
  w.before_action = [](const Action&) { return true; };
  w.config.controllers.front().name = ControllerId("other");
  w.restart_scheduler();
  w.run_for(minutes(5));
  CHECK(w.records.at(id).was_used);
  for (const DestroyExecutor& each : w.all<DestroyExecutor>()) CHECK(each.executor != id);
}

TEST_CASE("an order of an older leader may come as long as its host has not heard of a newer one",
          "[unit][scheduler]") {
  World w(make_config());
  w.add_host("h1");
  ExecutorRecord record;
  record.id = ExecutorId("t-linux-1-1abc");
  record.template_name = TemplateName("linux");
  record.controller = ControllerId("main");
  record.host = HostId("h1");
  record.epoch = 1;
  record.state = ExecutorState::ordered;
  record.node_created = true;
  w.records[record.id] = record;
  w.nodes[record.id.text].fact.name = record.id.text;
  HostReport& report = w.hosts.at(HostId("h1")).report;
  report.epoch_seen = 1;
  w.start(2);
  w.run_for(seconds(5));
  CHECK(w.records.at(record.id).state == ExecutorState::ordered);
  report.epoch_seen = 2;
  w.report(HostId("h1"));
  w.run_for(milliseconds(100));
  CHECK(w.records.at(record.id).state >= ExecutorState::destroying);
}

TEST_CASE("a stranger on a host: a list that is older than it does not show its build", "[unit][scheduler]") {
  World w(make_config());
  w.add_host("h1");
  w.start(2);
  w.run_for(seconds(3));
  w.add_stranger("h1", true);
  w.report(HostId("h1"));
  w.run_for(seconds(2));
  // Adopted, and its lease renewed, long before its host reports again.
  const auto renewals = w.all<RenewLeases>();
  REQUIRE(renewals.size() == 1);
  CHECK(renewals[0].renewal.executors.front().is_busy);
  w.run_for(minutes(2));
  CHECK(w.executors_on_hosts() == 1);
}

}  // namespace builds_kept_test
