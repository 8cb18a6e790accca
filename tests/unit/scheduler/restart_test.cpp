// Restarts of the controller (and resumed blocks), lost agents, and restarts of the scheduler itself.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace restart_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

struct Farm : World {
  explicit Farm(SchedulerConfig given = make_config(), OneBuildMeans given_means = OneBuildMeans::gate)
      : World(std::move(given), given_means) {
    add_host("h1");
    start();
  }
  bool runs_one(const std::string& label, Duration length, bool is_block = true) {
    add_job(label, length, is_block);
    return run_until([this] { return builds.size() == 1; }, seconds(20));
  }
};

/// The controller makes no node again as long as `is_refusing`.
auto refuses_call_backs(const bool& is_refusing) {
  return [&is_refusing](const Action& action) -> std::optional<Fault> {
    const auto* create = std::get_if<CreateNode>(&action);
    if (create == nullptr || !create->is_recreation || !is_refusing) return std::nullopt;
    return Fault{Error::failed(ErrorCode::unavailable, "an extension failed")};
  };
}

}  // namespace

TEST_CASE("controller restart: a pipeline block resumes on its own executor, once, and the gate closes again",
          "[unit][scheduler][restart]") {
  const OneBuildMeans means = GENERATE(OneBuildMeans::gate, OneBuildMeans::hook);
  Farm w(make_config(), means);
  REQUIRE(w.runs_one("linux", seconds(60)));
  const std::string name = w.builds[0].first;
  w.run_for(seconds(5));
  w.is_controller_up = false;
  w.run_for(seconds(8));
  w.is_controller_up = true;
  w.restart_controller();
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, seconds(60)));
  CHECK(w.builds[1] == std::pair(name, w.builds[0].second));
  const auto creations = w.all<CreateNode>();
  REQUIRE(creations.size() == 2);
  CHECK(creations[1].is_recreation);
  CHECK(creations[1].node.text == name);
  const auto orders = w.all<OrderExecutor>();
  REQUIRE(orders.size() == 2);
  CHECK(orders[1].order.ticket.attempt == 2);
  CHECK(orders[1].order.spec == orders[0].order.spec);
  CHECK(w.status().counters.resumes == 1);
  if (means == OneBuildMeans::gate) {
    REQUIRE(w.run_until(
        [&] { return w.nodes.contains(name) && w.nodes.at(name).fact.is_temporarily_offline; }, seconds(3)));
  }
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  CHECK(w.is_clean());
  CHECK_FALSE(w.all<Audit>()[0].is_violation);
  CHECK(w.all<Audit>()[0].end == "used");
}

TEST_CASE("controller restart: executors that were not used are replaced as demand asks",
          "[unit][scheduler][restart]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 2;
  Farm w(config);
  REQUIRE(w.run_until(
      [&] {
        const auto all = w.status().executors;
        return all.size() == 2 && all[0].state == ExecutorState::idle && all[1].state == ExecutorState::idle;
      },
      seconds(20)));
  const auto before = w.nodes;
  w.restart_controller();
  REQUIRE(w.run_until(
      [&] {
        return w.nodes.size() == 2 && w.executors_on_hosts() == 2 &&
               w.nodes.begin()->second.fact.is_connected;
      },
      minutes(2)));
  for (const auto& [name, node] : w.nodes) CHECK_FALSE(before.contains(name));
  for (const Audit& audit : w.all<Audit>()) CHECK(audit.end == "unused: the controller was restarted");
}

TEST_CASE(
    "controller restart: without an item for it, a busy executor is kept for the resume window and then "
    "destroyed",
    "[unit][scheduler][restart]") {
  Farm w;
  REQUIRE(w.runs_one("linux", minutes(60)));
  w.run_for(seconds(5));
  w.running.clear();  // nothing will ask for it again
  w.restart_controller();
  w.run_for(minutes(5));
  CHECK(w.count<DestroyExecutor>() == 0);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(3)));
  CHECK(w.is_clean());
  CHECK(w.all<Audit>()[0].end.find("did not come back") != std::string::npos);
}

TEST_CASE("a freestyle build dies with its node, so its executor goes at once",
          "[unit][scheduler][restart]") {
  Farm w;
  REQUIRE(w.runs_one("linux", minutes(60), false));
  w.run_for(seconds(5));
  w.running.clear();
  w.disconnect(w.builds[0].first);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, seconds(20)));
  CHECK(w.is_clean());
}

TEST_CASE("an item for an executor that is gone for good is no demand", "[unit][scheduler][restart]") {
  Farm w;
  const std::int64_t item = w.add_job("t-linux-1-1abc", seconds(1));
  w.run_for(seconds(20));
  CHECK(w.count<CreateNode>() == 0);
  CHECK(w.explain(item).reason == WaitReason::resume_lost);
}

TEST_CASE("a busy node that is back by itself stays busy", "[unit][scheduler][restart]") {
  Farm w;
  REQUIRE(w.runs_one("linux", minutes(2)));
  w.run_for(seconds(5));
  const std::string name = w.builds[0].first;
  const Node kept = w.nodes.at(name);
  w.nodes.erase(name);
  w.run_for(seconds(10));
  CHECK(w.count<DestroyExecutor>() == 0);
  w.nodes[name] = kept;
  w.nodes.at(name).fact.is_temporarily_offline = false;
  REQUIRE(w.run_until([&] { return w.nodes.at(name).fact.is_temporarily_offline; }, seconds(10)));
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(5)));
  CHECK(w.is_clean());
}

TEST_CASE("controller restart in the middle of a resume: it resumes again", "[unit][scheduler][restart]") {
  Farm w;
  REQUIRE(w.runs_one("linux", minutes(2)));
  w.run_for(seconds(5));
  w.boot_time = seconds(10);
  w.restart_controller();
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 2; }, seconds(30)));
  w.session = "s-again";
  w.nodes.clear();
  w.boot_time = milliseconds(300);
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(2)));
  CHECK(w.builds[1].first == w.builds[0].first);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(5)));
}

TEST_CASE(
    "a controller that makes no nodes for a while does not use up the time of the executor it called back",
    "[unit][scheduler][restart]") {
  const OneBuildMeans means = GENERATE(OneBuildMeans::gate, OneBuildMeans::hook);
  Farm w(make_config(), means);
  REQUIRE(w.runs_one("linux", seconds(60)));
  w.run_for(seconds(5));
  bool is_refusing = true;
  w.fault = refuses_call_backs(is_refusing);
  w.restart_controller();
  w.run_for(minutes(3));  // more than its template has to boot and to join
  CHECK(w.count<DestroyExecutor>() == 0);
  is_refusing = false;
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, seconds(30)));
  CHECK(w.builds[1].first == w.builds[0].first);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  CHECK(w.is_clean());
}

TEST_CASE("an executor whose node is never made again counts as one of its template, and goes in the end",
          "[unit][scheduler][restart]") {
  SchedulerConfig config = make_config();
  config.templates[0].maximum = 1;
  const OneBuildMeans means = GENERATE(OneBuildMeans::gate, OneBuildMeans::hook);
  Farm w(config, means);
  REQUIRE(w.runs_one("linux", seconds(60)));
  w.run_for(seconds(5));
  w.fault = [&](const Action& action) -> std::optional<Fault> {
    const auto* create = std::get_if<CreateNode>(&action);
    if (create == nullptr || !create->is_recreation) return std::nullopt;
    return Fault{Error::failed(ErrorCode::unavailable, "an extension failed")};
  };
  w.restart_controller();
  w.add_job("linux");
  std::size_t most = 0;
  REQUIRE(w.run_until(
      [&] {
        most = std::max(most, w.executors_on_hosts());
        return w.builds.size() == 2 && w.count<Audit>() == 2;
      },
      minutes(10)));
  CHECK(most == 1);
  CHECK(w.is_clean());
}

TEST_CASE("a block that is cancelled while its node cannot be made is not called back any more",
          "[unit][scheduler][restart]") {
  Farm w;
  REQUIRE(w.runs_one("linux", seconds(60)));
  w.run_for(seconds(5));
  bool is_refusing = true;
  w.fault = refuses_call_backs(is_refusing);
  w.restart_controller();
  w.run_for(seconds(60));
  w.jobs.clear();
  is_refusing = false;
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(10)));
  CHECK(w.builds.size() == 1);
  CHECK(w.is_clean());
}

TEST_CASE("a controller that quiets down keeps the executor that its block waits for",
          "[unit][scheduler][restart]") {
  Farm w;
  REQUIRE(w.runs_one("linux", seconds(60)));
  w.run_for(seconds(5));
  w.restart_controller();
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 2; }, seconds(30)));
  w.is_quieting_down = true;
  w.run_for(minutes(4));
  CHECK(w.count<DestroyExecutor>() == 0);
  w.is_quieting_down = false;
  w.maintain();
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, seconds(30)));
  CHECK(w.builds[1].first == w.builds[0].first);
}

TEST_CASE("scheduler killed while it calls an executor back: the next leader goes on with it",
          "[unit][scheduler][restart]") {
  const bool hides_labels = GENERATE(false, true);
  INFO("labels hidden: " << hides_labels);
  Farm w;
  w.hides_labels = hides_labels;
  REQUIRE(w.runs_one("linux", seconds(60)));
  w.run_for(seconds(5));
  bool is_killed = false;
  w.before_action = [&](const Action& action) {
    is_killed = is_killed || std::holds_alternative<OrderExecutor>(action);
    return !is_killed;
  };
  w.restart_controller();
  REQUIRE(w.run_until([&] { return is_killed; }, seconds(30)));
  w.before_action = [](const Action&) { return true; };
  w.restart_scheduler();
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(1)));
  CHECK(w.builds[1].first == w.builds[0].first);
  CHECK(w.count<DestroyExecutor>() == 0);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  CHECK(w.is_clean());
}

TEST_CASE("scheduler restart: what stood open while nobody led stays doubtful for every later leader",
          "[unit][scheduler][restart]") {
  Farm w;
  w.add_job("linux", seconds(30));
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(20)));
  bool is_killed = true;
  w.before_action = [&](const Action&) { return !is_killed; };
  REQUIRE(w.run_until([&] { return !w.nodes.empty() && w.nodes.begin()->second.fact.is_connected; },
                      seconds(20)));
  Node& node = w.nodes.begin()->second;
  node.fact.is_temporarily_offline = node.fact.is_offline = false;  // by hand
  node.fact.offline_reason.clear();
  w.maintain();
  REQUIRE(w.builds.size() == 1);
  is_killed = false;
  w.restart_scheduler();
  REQUIRE(w.run_until([&] { return w.nodes.begin()->second.fact.is_temporarily_offline; }, seconds(10)));
  w.restart_scheduler();
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(3)));
  CHECK(w.all<Audit>()[0].may_hide_build);
}

TEST_CASE("scheduler restart: a busy executor is adopted, its build ends, nothing is left",
          "[unit][scheduler][restart]") {
  Farm w;
  REQUIRE(w.runs_one("linux", seconds(30)));
  w.run_for(seconds(1));
  w.restart_scheduler();
  w.run_for(seconds(5));
  REQUIRE(w.status().executors.size() == 1);
  CHECK(w.status().executors[0].state == ExecutorState::busy);
  CHECK(w.count<DestroyExecutor>() == 0);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  CHECK(w.is_clean());
  CHECK(w.all<Audit>()[0].record.builds_seen.size() == 1);
}

TEST_CASE("scheduler restart: a closed idle executor is adopted and used", "[unit][scheduler][restart]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  Farm w(config);
  REQUIRE(w.run_until(
      [&] {
        return w.status().executors.size() == 1 && w.status().executors[0].state == ExecutorState::idle;
      },
      seconds(20)));
  const ExecutorId id = w.status().executors[0].record.id;
  w.restart_scheduler();
  w.add_job("linux", seconds(2));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  CHECK(w.builds[0].first == id.text);
}

TEST_CASE("scheduler killed at any action: every build runs once and nothing is left",
          "[unit][scheduler][restart]") {
  // The world stops carrying out actions after the n-th one: a crash between any two of them.
  const int crash_after = GENERATE(range(1, 45));
  INFO("crash after action " << crash_after);
  Farm w;
  w.add_job("linux", milliseconds(700));
  w.add_job("x86", milliseconds(700));
  int left = crash_after;
  bool is_crashed = false;
  w.before_action = [&](const Action&) {
    if (is_crashed) return true;
    if (--left > 0) return true;
    is_crashed = true;
    return false;
  };
  for (int i = 0; i < 20'000 && !is_crashed; ++i) w.run_for(milliseconds(1));
  REQUIRE(is_crashed);
  w.restart_scheduler();
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(5)));
  for (const auto& e : w.status().executors) w.send(RetireExecutor{e.record.id, "end of test", false});
  REQUIRE(w.run_until([&] { return w.is_clean(); }, minutes(5)));
  for (const auto& [node, count] : w.builds_per_node()) CHECK(count == 1);
  CHECK(w.builds.size() == 2);
}

TEST_CASE("scheduler restart: a node whose creation was on its way is not left behind",
          "[unit][scheduler][restart]") {
  World w(make_config());
  w.add_host("h1");
  ExecutorRecord record;
  record.id = ExecutorId("t-linux-1-1abc");
  record.template_name = TemplateName("linux");
  record.controller = ControllerId("main");
  record.host = HostId("h1");
  record.epoch = 1;
  record.state = ExecutorState::planned;
  record.node_created = true;
  w.records[record.id] = record;
  w.start(2);
  w.run_for(seconds(20));
  CHECK(w.records.at(record.id).state == ExecutorState::destroying);
  w.nodes[record.id.text].fact.name = record.id.text;
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(5)));
  CHECK(w.is_clean());
}

TEST_CASE("scheduler restart: what was leaving is looked at first when somebody else led meanwhile",
          "[unit][scheduler][restart]") {
  const Epoch terms = GENERATE(Epoch{1}, Epoch{2});
  Farm w;
  REQUIRE(w.runs_one("linux", minutes(5)));
  const ExecutorId id(w.builds[0].first);
  w.records.at(id).state = ExecutorState::destroying;  // before the other one opened it
  w.records.at(id).was_used = GENERATE(false, true);
  w.restart_scheduler(terms);
  w.run_for(minutes(2));
  CHECK(w.nodes.contains(id.text) == (terms == 2));
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(10)));
  if (terms == 2) CHECK(w.all<Audit>()[0].record.builds_seen.size() == 1);
  CHECK(w.is_clean());
}

TEST_CASE("scheduler restart: what was leaving and has no node any more goes at once",
          "[unit][scheduler][restart]") {
  Farm w;
  REQUIRE(w.runs_one("linux", minutes(5)));
  const ExecutorId id(w.builds[0].first);
  w.records.at(id).state = ExecutorState::destroying;
  w.nodes.erase(id.text);
  w.restart_scheduler(2);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, seconds(30)));
  CHECK(w.is_clean());
}

TEST_CASE("a controller that is renamed while an executor is called back costs no build",
          "[unit][scheduler][restart]") {
  const bool is_refusing = GENERATE(true, false);
  Farm w;
  REQUIRE(w.runs_one("linux", minutes(30)));
  w.run_for(seconds(5));
  w.fault = refuses_call_backs(is_refusing);
  w.restart_controller();
  REQUIRE(w.run_until([&] { return w.count<CreateNode>() == 2; }, seconds(60)));
  w.config.controllers.front().name = ControllerId("other");
  w.send(ConfigChanged{w.config});
  w.run_for(minutes(5));
  CHECK(w.count<DestroyExecutor>() == 0);
}

TEST_CASE("restart: a host that refuses our token for a while ends no build that is to go on",
          "[unit][scheduler]") {
  Farm w;
  REQUIRE(w.runs_one("linux", minutes(1)));
  w.run_for(seconds(5));
  const std::size_t before = w.count<OrderExecutor>();
  w.fault = [&](const Action& action) -> std::optional<Fault> {
    if (!std::holds_alternative<OrderExecutor>(action) || w.count<OrderExecutor>() > before + 3)
      return std::nullopt;
    return Fault{Error::failed(ErrorCode::unauthenticated, "answered 401"), false};
  };
  w.restart_controller();
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }));
  CHECK(w.builds.size() == 2);
  CHECK(w.builds[0] == w.builds[1]);
}

TEST_CASE("restart: with the hook, what an earlier leader had closed takes no build and goes",
          "[unit][scheduler]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  Farm w(config, OneBuildMeans::hook);
  REQUIRE(w.has_warm_one());
  Node& node = w.nodes.begin()->second;
  const std::string name = node.fact.name;
  node.fact.is_offline = node.fact.is_temporarily_offline = true;
  node.fact.offline_reason = "skep: leaving";
  w.restart_scheduler();
  w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }));
  CHECK(w.builds[0].first != name);
  REQUIRE(w.run_until([&] { return !w.nodes.contains(name); }));
}

TEST_CASE("restart: a node that is made again takes its own block and nothing else", "[unit][scheduler]") {
  const auto means = GENERATE(OneBuildMeans::hook, OneBuildMeans::gate);
  SchedulerConfig config = make_config();
  config.templates[0].takes_unlabelled = true;
  Farm w(config, means);
  REQUIRE(w.runs_one("linux", minutes(1)));
  w.run_for(seconds(5));
  w.restart_controller();
  const auto is_made_again = [&] {
    const auto made = w.all<CreateNode>();
    return !made.empty() && made.back().is_recreation;
  };
  REQUIRE(w.run_until(is_made_again, minutes(1)));
  w.jobs.clear();  // its block is aborted before its agent is back
  const std::string label = GENERATE("linux", "");
  w.add_job(label, seconds(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(5)));
  for (const auto& [node, count] : w.builds_per_node()) CHECK(count == 1);
}

TEST_CASE("restart: after a second restart a block waits as long as after the first", "[unit][scheduler]") {
  Farm w;
  TestHost& host = w.hosts.at(HostId("h1"));
  REQUIRE(w.runs_one("linux", minutes(30)));
  w.run_for(seconds(5));
  const std::string build = w.builds[0].second;
  host.is_reachable = false;  // so that it cannot be called back yet
  w.send(HostUnseen{HostId("h1"), Error::try_again(ErrorCode::unavailable, "cut off")});
  w.restart_controller();
  w.run_for(minutes(4));
  w.restart_controller();
  w.run_for(minutes(4));
  CHECK(w.count<Audit>() == 0);
  host.is_reachable = true;
  w.report(HostId("h1"));
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }));
  CHECK(w.builds[1].second == build);
}

TEST_CASE("restart: a look at one node is the first to tell of it", "[unit][scheduler]") {
  Farm w(make_config(), OneBuildMeans::hook);
  REQUIRE(w.runs_one("linux", minutes(1)));
  w.run_for(seconds(5));
  const std::string name = w.builds[0].first;
  w.restart_controller();
  w.send(NodePolled{ControllerId("main"), ExecutorId(name), w.now, std::optional<NodeFact>(), std::nullopt,
                    w.session});
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(5)));
  CHECK(w.builds[1] == std::pair(name, w.builds[0].second));
}

TEST_CASE("restart: a booting executor with the hook may have taken a build while its host was not heard",
          "[unit][scheduler]") {
  World w(make_config(), OneBuildMeans::hook);
  TestHost& host = w.add_host("h1");
  w.boot_time = seconds(30);
  w.start();
  w.add_job("linux", minutes(30));
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }));
  w.run_for(seconds(1));
  const bool is_heard = GENERATE(true, false);
  const Instant asked = w.now;
  w.run_for(seconds(1));
  host.is_reachable = false;
  if (!is_heard) w.run_for(seconds(66));
  // What it said before, and what waited for us all the while.
  HostReport old = host.report;
  old.index += 10;
  old.executors = {host.executors.begin()->second.report};
  old.executors[0].state = ExecutorState::booting;
  old.executors[0].agent = AgentPhase::none;
  w.send(HostReported{old, asked});
  w.jobs.clear();
  w.restart_controller();
  w.jobs.clear();
  w.run_for(seconds(10));
  CHECK((w.count<DestroyExecutor>() == 0) == !is_heard);
}

}  // namespace restart_test
