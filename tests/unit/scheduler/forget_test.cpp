// A host that is gone for good, on an operator's word.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace forget_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

const HostId h1("h1");

struct Farm : World {
  explicit Farm(SchedulerConfig given = make_config(), OneBuildMeans given_means = OneBuildMeans::gate)
      : World(std::move(given), given_means) {
    add_host("h1");
    start();
  }
  /// Without power: it is silent at once, its agents are missed later.
  void lose(const HostId& id) {
    hosts.at(id).is_reachable = false;
    send(HostUnseen{id, Error::try_again(ErrorCode::unavailable, "no route to host")});
  }
  void miss_agents() {
    for (auto& [name, node] : nodes) {
      node.fact.is_connected = false;
      node.fact.is_offline = true;
    }
  }
  void lose_for_long(const HostId& id) {
    lose(id);
    miss_agents();
    run_for(minutes(2));
  }
  void come_back(const HostId& id) {
    hosts.at(id).is_reachable = true;
    report(id);
  }
  bool runs(std::size_t count) {
    return run_until([this, count] { return running.size() == count; }, seconds(30));
  }
  Error refusal(const HostId& id) const {
    const auto given_up = logic->given_up_with(id, now);
    REQUIRE_FALSE(given_up.has_value());
    return given_up.error();
  }
  std::vector<std::string> ends() const {
    std::vector<std::string> texts;
    for (const Audit& audit : all<Audit>()) texts.push_back(audit.end);
    return texts;
  }
  std::size_t hosts_shown() const { return status().hosts.size(); }
};

SchedulerConfig at_most(int executors) {
  SchedulerConfig config = make_config();
  config.templates[0].maximum = executors;
  return config;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("forget: what a lost host kept from others is given up, and recorded so",
          "[unit][scheduler][forget]") {
  for (const OneBuildMeans means : {OneBuildMeans::gate, OneBuildMeans::hook}) {
    Farm w(at_most(2), means);
    w.add_job("linux", hours(8));
    REQUIRE(w.runs(1));
    w.agents_connect = false;
    w.add_job("linux");
    REQUIRE(w.run_until([&] { return w.executors_on_hosts() == 2; }, seconds(20)));
    w.lose_for_long(h1);
    w.agents_connect = true;
    w.add_host("h2");
    w.report(HostId("h2"));
    w.run_for(minutes(10));
    REQUIRE(w.running.size() == 1);  // nothing follows from silence

    const auto given_up = w.logic->given_up_with(h1, w.now);
    REQUIRE(given_up.has_value());
    CHECK(given_up->size() == 2);
    w.send(ForgetHost{h1, "burnt down"});
    REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(1)));
    REQUIRE(w.run_until([&] { return w.count<Audit>() >= 3; }, minutes(1)));
    const std::vector<std::string> ends = w.ends();
    CHECK(std::count(ends.begin(), ends.end(), "retired: its host was given up by an operator: burnt down") ==
          2);
    CHECK(w.nodes.empty());
    REQUIRE(w.hosts_shown() == 1);
    CHECK(w.status().hosts[0].report.host == HostId("h2"));
    CHECK(w.refusal(h1).code == ErrorCode::not_found);
    for (const auto& [node, builds] : w.builds_per_node()) CHECK(builds == 1);
  }
}

TEST_CASE("forget: a host that lives, or may, is not given up", "[unit][scheduler][forget]") {
  Farm w(at_most(1));
  w.add_job("linux", hours(8));
  REQUIRE(w.runs(1));
  w.run_for(seconds(1));
  const std::size_t records = w.count<RecordExecutor>();
  CHECK(holds(w.refusal(h1).message, "host h1 answers; nothing was given up"));
  CHECK(holds(w.refusal(h1).hint, "skep drain h1"));
  CHECK(w.refusal(HostId("h9")).code == ErrorCode::not_found);

  w.lose(h1);
  w.run_for(seconds(20));
  CHECK(holds(w.refusal(h1).message, "host h1 answered "));
  CHECK(holds(w.refusal(h1).hint, "try again in"));

  w.run_for(minutes(1));
  const Error lives = w.refusal(h1);
  CHECK(lives.code == ErrorCode::conflict);
  CHECK(holds(lives.message, "the agents of " + w.builds[0].first + " are connected"));
  CHECK(holds(lives.hint, "skep drain h1"));

  w.miss_agents();
  w.is_controller_up = false;
  w.run_for(seconds(30));
  CHECK(holds(w.refusal(h1).message, "controller main cannot tell whether the agent of "));

  for (const HostId& id : {h1, HostId("h9")}) w.send(ForgetHost{id, "by mistake"});
  w.run_for(minutes(1));
  CHECK(w.count<RecordExecutor>() == records);
  CHECK(w.running.size() == 1);
  CHECK(w.hosts_shown() == 1);
}

TEST_CASE("forget: one connected agent keeps all of its host", "[unit][scheduler][forget]") {
  Farm w;
  w.add_job("linux", hours(8));
  w.add_job("linux", hours(8));
  REQUIRE(w.runs(2));
  w.lose(h1);
  w.nodes.begin()->second.fact.is_connected = false;
  w.run_for(minutes(2));
  w.send(ForgetHost{h1, ""});
  w.run_for(minutes(1));
  CHECK(w.nodes.size() == 2);
  CHECK(w.count<Audit>() == 0);
  CHECK_FALSE(holds(w.refusal(h1).message, w.nodes.begin()->first));
}

TEST_CASE("forget: its drain goes with it, held executors too", "[unit][scheduler][forget]") {
  Farm w;
  w.add_job("linux", hours(8));
  REQUIRE(w.runs(1));
  w.send(HoldExecutor{ExecutorId(w.builds[0].first), WallTime{w.wall().ms_since_epoch + 36'000'000},
                      hours(10), "debugging"});
  w.send(DrainHost{h1, "smokes"});
  w.lose_for_long(h1);
  w.send(ForgetHost{h1, ""});
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(1)));
  CHECK(w.ends()[0] == "retired: its host was given up by an operator");
  CHECK_FALSE(w.all<RecordDrain>().back().is_draining);
  CHECK(w.hosts_shown() == 0);
}

TEST_CASE("forget: what comes back with its host is destroyed, and the host takes work again",
          "[unit][scheduler][forget]") {
  for (const Duration away : {Duration(seconds(0)), Duration(minutes(5)), Duration(minutes(30))}) {
    Farm w(at_most(1));
    w.add_job("linux", hours(8));
    REQUIRE(w.runs(1));
    w.lose_for_long(h1);
    w.send(ForgetHost{h1, ""});
    w.run_for(away);
    w.come_back(h1);
    REQUIRE(w.run_until([&] { return w.executors_on_hosts() == 0 && w.nodes.empty(); }, minutes(8)));
    w.add_job("linux");
    REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(1)));
    CHECK(w.builds[1].first != w.builds[0].first);
    REQUIRE(w.run_until([&] { return w.is_clean() && w.count<Audit>() == 2; }, minutes(2)));
  }
}

TEST_CASE("forget: room that a returned sandbox takes is not given away twice", "[unit][scheduler][forget]") {
  Farm w;
  w.hosts.at(h1).report.max_executors = 1;
  w.add_job("linux", hours(8));
  REQUIRE(w.runs(1));
  w.lose_for_long(h1);
  w.send(ForgetHost{h1, ""});
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(1)));
  w.fault = [](const Action& action) -> std::optional<Fault> {
    if (!std::holds_alternative<DestroyExecutor>(action)) return std::nullopt;
    return Fault{Error::try_again(ErrorCode::unavailable, "busy"), false};
  };
  w.come_back(h1);
  const std::size_t orders = w.count<OrderExecutor>();
  w.add_job("linux");
  w.run_for(minutes(1));
  CHECK(w.count<OrderExecutor>() == orders);
  w.fault = [](const Action&) { return std::nullopt; };
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(2)));
}

TEST_CASE("forget: a scheduler that is killed at any action goes on with it, or knows nothing of it",
          "[unit][scheduler][forget]") {
  for (int point = 0; point < 12; ++point) {
    CAPTURE(point);
    Farm w(at_most(2));
    w.add_job("linux", hours(8));
    w.add_job("linux", hours(8));
    REQUIRE(w.runs(2));
    w.lose_for_long(h1);
    int left = point;
    w.before_action = [&left](const Action&) { return left-- > 0; };
    w.send(ForgetHost{h1, "burnt down"});
    w.before_action = [](const Action&) { return true; };
    w.restart_scheduler();
    w.run_for(minutes(3));
    if (w.hosts_shown() == 1) {  // it was not on record as a whole, and is said again
      CHECK(point < 2);
      CHECK(w.status().hosts[0].unseen_reason == "it has not announced itself since this scheduler leads");
      w.send(ForgetHost{h1, "burnt down"});
    }
    REQUIRE(w.run_until([&] { return w.nodes.empty(); }, minutes(2)));
    w.run_for(seconds(30));
    CHECK(w.hosts_shown() == 0);
    for (const std::string& end : w.ends())
      CHECK(end == "retired: its host was given up by an operator: burnt down");
    w.run_for(minutes(15));
    CHECK(w.records.empty());
  }
}

TEST_CASE("forget: a leader that has just begun waits for hosts to announce themselves",
          "[unit][scheduler][forget]") {
  Farm w;
  w.add_job("linux", hours(8));
  REQUIRE(w.runs(1));
  w.hosts.at(h1).is_reachable = false;
  w.miss_agents();
  w.restart_scheduler();
  w.run_for(seconds(10));
  REQUIRE(w.hosts_shown() == 1);
  CHECK_FALSE(w.status().hosts[0].is_known);
  CHECK(holds(w.refusal(h1).message, "this scheduler leads for "));
  w.run_for(minutes(1));
  CHECK(w.logic->given_up_with(h1, w.now).has_value());
}

TEST_CASE("forget: only a leader is told, and one that hears of a newer one does nothing",
          "[unit][scheduler][forget]") {
  World fresh(make_config());
  CHECK(holds(fresh.logic->given_up_with(h1, fresh.now).error().message, "does not lead"));
  Farm w;
  w.add_job("linux", hours(8));
  REQUIRE(w.runs(1));
  w.lose_for_long(h1);
  w.add_host("h2").report.epoch_seen = 9;
  w.report(HostId("h2"));
  w.run_for(seconds(1));
  CHECK(holds(w.refusal(h1).message, "does not lead"));
  w.send(ForgetHost{h1, ""});
  w.run_for(minutes(1));
  CHECK(w.count<Audit>() == 0);
}

TEST_CASE("forget: a template at its maximum says which hosts do not answer", "[unit][scheduler][forget]") {
  Farm w(at_most(5));
  for (const char* more : {"h2", "h3", "h4", "h5"}) w.add_host(more);
  for (auto& [id, host] : w.hosts) {
    host.report.max_executors = 1;
    w.report(id);
  }
  for (int i = 0; i < 5; ++i) w.add_job("linux", hours(8));
  REQUIRE(w.runs(5));
  const std::int64_t item = w.add_job("linux");
  w.run_for(seconds(5));
  CHECK(w.explain(item).text == "template 'linux' has its maximum of 5 executors");
  w.lose(h1);
  w.run_for(seconds(5));
  CHECK(w.explain(item).reason == WaitReason::template_limit);
  CHECK(w.explain(item).text ==
        "template 'linux' has its maximum of 5 executors; 1 of them is on host h1, which does not answer");
  CHECK(w.explain(item).unblock ==
        "bring it back, or if it is gone for good, say so: skep forget h1; otherwise raise maximum of "
        "template 'linux', or wait until one of its executors ends");
  for (const auto& [id, host] : w.hosts) w.lose(id);
  w.run_for(seconds(5));
  CHECK(
      w.explain(item).text ==
      "template 'linux' has its maximum of 5 executors; 5 of them are on hosts h1, h2, h3 and 2 more, which "
      "do not answer");
  CHECK(holds(w.explain(item).unblock, "say so: skep forget h1 h2 h3; otherwise"));
}

}  // namespace forget_test
