// Executors on a host that no record knows: an earlier leader's records are lost.
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace strays_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

TEST_CASE("a stranger that is called back is kept for its block, though its label is hidden",
          "[unit][scheduler]") {
  World w(make_config());
  w.hides_labels = true;
  w.add_host("h1");
  w.start();
  w.add_job("linux", minutes(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.run_for(seconds(5));
  w.boot_time = seconds(10);
  w.restart_controller();
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 2; }, seconds(30)));
  w.run_for(seconds(1));
  w.records.clear();
  w.restart_scheduler();
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(1)));
  CHECK(w.builds[1] == w.builds[0]);
  CHECK(w.count<DestroyExecutor>() == 0);
  REQUIRE(w.run_until([&] { return w.is_clean(); }, minutes(2)));
  CHECK(w.builds_per_node().size() == 1);
}

TEST_CASE(
    "a stranger that waits behind a closed gate is destroyed, though it is the one that matches a block",
    "[unit][scheduler]") {
  World w(make_config());
  w.hides_labels = true;
  w.add_host("h1");
  NodeFact& fact = w.add_stranger("h1", false);
  fact.is_connected = false;
  fact.is_temporarily_offline = true;
  fact.offline_reason = "skep: waiting for its build";
  const std::string name = fact.name;
  w.nodes.at(name).labels = parse_label_set("linux");
  w.add_job("linux", minutes(1));
  w.start(2);
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(2)));
  CHECK(w.builds[0].first != name);
  CHECK_FALSE(w.nodes.contains(name));
}

TEST_CASE("audit: what ends without a record cannot be ruled out", "[unit][scheduler]") {
  World w(make_config());
  w.add_host("h1");
  const std::string name = w.add_stranger("h1", false).name;
  const bool had_agent = GENERATE(true, false);
  ExecutorReport& there = w.hosts.at(HostId("h1")).executors.at(ExecutorId(name)).report;
  there.state = had_agent ? ExecutorState::idle : ExecutorState::booting;
  there.agent = had_agent ? AgentPhase::ended : AgentPhase::none;
  w.nodes.clear();
  w.start(2);
  w.run_for(seconds(5));
  CHECK(w.count<Audit>() == 0);
  if (had_agent) w.hosts.at(HostId("h1")).executors.clear();  // the end of its lease
  REQUIRE(w.run_until([&] { return w.executors_on_hosts() == 0; }, minutes(1)));
  w.run_for(minutes(1));
  REQUIRE(w.count<Audit>() == (had_agent ? 1 : 0));
  if (!had_agent) return;
  const Audit audit = w.all<Audit>().front();
  CHECK(audit.record.id.text == name);
  CHECK(audit.record.host.text == "h1");
  CHECK(audit.end == "unknown: no record knew it");
  CHECK(audit.may_hide_build);
}

TEST_CASE("a connected node that no record knows waits for its host's word", "[unit][scheduler]") {
  World w(make_config());
  TestHost& host = w.add_host("h1");
  const std::string name = w.add_stranger("h1", false).name;
  const bool is_late = GENERATE(true, false);
  host.is_reachable = false;
  w.start(2);
  w.run_for(is_late ? minutes(2) : Duration(seconds(20)));
  CHECK((w.count<DeleteNode>() == 1) == is_late);
  host.is_reachable = true;
  w.report(HostId("h1"));
  REQUIRE(w.run_until([&] { return w.is_clean(); }, minutes(15)));
  w.run_for(minutes(1));
  REQUIRE(w.count<Audit>() == 1);
  CHECK(w.all<Audit>().front().record.id.text == name);
  CHECK(w.all<Audit>().front().may_hide_build);
}

TEST_CASE("a stranger is not destroyed by what was known before this machine was suspended",
          "[unit][scheduler]") {
  World w(make_config());
  TestHost& host = w.add_host("h1");
  const ExecutorId id(w.add_stranger("h1", true).name);
  w.nodes.clear();
  host.executors.at(id).report.state = ExecutorState::booting;
  host.executors.at(id).report.agent = AgentPhase::none;
  HostReport met = host.report;
  met.executors = {host.executors.at(id).report};
  host.is_reachable = false;
  w.start(2);
  w.run_for(seconds(5));
  w.send(HostReported{met});
  w.run_for(seconds(10));  // the lists are newer now
  REQUIRE(w.count<DestroyExecutor>() == 0);
  const bool was_suspended = GENERATE(true, false);
  if (was_suspended) w.suspended += minutes(2);
  ++met.index;
  w.send(HostReported{met});
  CHECK((w.count<DestroyExecutor>() == 0) == was_suspended);
  w.run_for(milliseconds(100));
  ++met.index;
  w.send(HostReported{met});
  CHECK(w.count<DestroyExecutor>() == 1);
}

}  // namespace strays_test
