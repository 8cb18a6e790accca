// Unknown is never empty; lost answers are inspected before anything is repeated; failures back off.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace faults_test {

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
};

template <typename T>
auto fail_first(World& w, int& left, Error error, bool is_done) {
  w.fault = [&left, error, is_done](const Action& a) -> std::optional<Fault> {
    if (!std::holds_alternative<T>(a) || left == 0) return std::nullopt;
    --left;
    return Fault{error, is_done};
  };
}

const Error lost = Error::unknown(ErrorCode::timed_out, "the answer was lost");

}  // namespace

TEST_CASE("frozen: a queue that cannot be read launches nothing and loses nothing",
          "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 2;
  Farm w(config);
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 2; }, seconds(20)));
  w.run_for(seconds(10));
  w.add_job("linux", seconds(5));
  w.fault = [](const Action& a) -> std::optional<Fault> {
    if (std::holds_alternative<ReadQueue>(a))
      return Fault{Error::unknown(ErrorCode::malformed_reply, "a login page"), false};
    return std::nullopt;
  };
  const std::size_t launches = w.count<CreateNode>();
  w.run_for(minutes(10));
  CHECK(w.count<CreateNode>() == launches);
  CHECK(w.count<OpenGate>() == 0);
  CHECK(w.count<DeleteNode>() == 0);
  CHECK(w.count<DestroyExecutor>() == 0);
  CHECK_FALSE(w.status().controllers[0].is_known);
  CHECK(w.status().controllers[0].problem.find("a login page") != std::string::npos);
  std::size_t lines = 0;
  for (const Explain& line : w.all<Explain>())
    lines += line.message.find("could not read the queue") != std::string::npos ? 1 : 0;
  CHECK(lines >= 2);
  CHECK(lines <= 11);
  // Back-off: at most one try in 30 s once it has failed for long.
  CHECK(w.count<ReadQueue>() < 60);
  w.fault = [](const Action&) { return std::nullopt; };
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(1)));
}

TEST_CASE("frozen: what was read before this machine was suspended launches nothing",
          "[unit][scheduler][faults]") {
  const Duration length = GENERATE(Duration(seconds(1)), Duration(minutes(2)));
  Farm w;
  w.send(PauseLaunching{"look"});
  w.add_job("linux");
  w.run_for(seconds(10));
  w.jobs.clear();  // another node took it
  w.suspended += length;
  w.send(ResumeLaunching{});
  w.run_for(minutes(1));
  CHECK(w.count<CreateNode>() == (length > w.config.facts_stale_after ? 0 : 1));
}

TEST_CASE("frozen: nodes that cannot be read delete nothing", "[unit][scheduler][faults]") {
  Farm w;
  w.add_job("linux", minutes(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.fault = [](const Action& a) -> std::optional<Fault> {
    if (std::holds_alternative<ReadNodes>(a))
      return Fault{Error::try_again(ErrorCode::unavailable, "503"), false};
    return std::nullopt;
  };
  w.add_job("linux", minutes(1));
  w.run_for(minutes(10));
  CHECK(w.count<CreateNode>() <= 2);
  CHECK(w.count<DeleteNode>() == 0);
  CHECK(w.count<DestroyExecutor>() == 0);
  const auto frozen = w.explain(2);
  CHECK((frozen.reason == WaitReason::frozen || frozen.reason == WaitReason::executor_coming ||
         frozen.reason == WaitReason::gate_opening));
}

TEST_CASE("unknown outcome of createSlave: the list decides, and the name is given up",
          "[unit][scheduler][faults]") {
  const bool is_done = GENERATE(true, false);
  Farm w;
  int left = 1;
  fail_first<CreateNode>(w, left, lost, is_done);
  w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1 && w.is_clean(); }, minutes(3)));
  const auto creations = w.all<CreateNode>();
  REQUIRE(creations.size() == 2);
  CHECK(creations[0].node != creations[1].node);
  const std::size_t deleted =
      w.first<DeleteNode>([&](const DeleteNode& a) { return a.node == creations[0].node.text; });
  CHECK((deleted < w.log.size()) == is_done);
  for (const auto& order : w.all<OrderExecutor>()) CHECK(order.order.spec.id == creations[1].node);
}

TEST_CASE("unknown outcome of an order: sent again, made once", "[unit][scheduler][faults]") {
  const bool is_done = GENERATE(true, false);
  Farm w;
  int left = 2;
  fail_first<OrderExecutor>(w, left, lost, is_done);
  w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1 && w.is_clean(); }, minutes(3)));
  CHECK(w.count<CreateNode>() == 1);
  for (const auto& order : w.all<OrderExecutor>()) CHECK(order.order.ticket.attempt == 1);
}

TEST_CASE("a host that refuses our token after an order of unknown outcome may have made the executor",
          "[unit][scheduler][faults]") {
  Farm w(make_config(), OneBuildMeans::hook);
  std::size_t orders = 0;
  const bool was_unknown = GENERATE(true, false);
  w.fault = [&](const Action& action) -> std::optional<Fault> {
    if (!std::holds_alternative<OrderExecutor>(action) || ++orders > 2) return std::nullopt;
    if (orders == 1 && was_unknown) return Fault{lost, true};
    return Fault{Error::failed(ErrorCode::unauthenticated, "answered 401"), false};
  };
  w.add_job("linux", seconds(10));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(2)));
  if (was_unknown) CHECK(w.count<CreateNode>() == 1);
  if (!was_unknown) CHECK(w.count<CreateNode>() > 1);  // it was made elsewhere, or again
  REQUIRE(w.run_until([&] { return w.is_clean(); }, minutes(5)));
  CHECK(w.builds_per_node().size() == 1);
}

TEST_CASE("deletes and destroys are repeated until the executor is seen gone", "[unit][scheduler][faults]") {
  Farm w;
  int left = 6;
  SECTION("delete") {
    fail_first<DeleteNode>(w, left, lost, false);
  }
  SECTION("delete, done") {
    fail_first<DeleteNode>(w, left, lost, true);
  }
  SECTION("destroy") {
    fail_first<DestroyExecutor>(w, left, lost, false);
  }
  SECTION("destroy, done") {
    fail_first<DestroyExecutor>(w, left, lost, true);
  }
  w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(5)));
  CHECK(w.is_clean());
}

TEST_CASE("a node that an old list hid is deleted when it is seen again", "[unit][scheduler][faults]") {
  Farm w(make_config(), OneBuildMeans::hook);
  w.fault = [&](const Action& action) -> std::optional<Fault> {
    const bool is_lost = (std::holds_alternative<DeleteNode>(action) && w.count<DeleteNode>() == 1) ||
                         std::holds_alternative<DestroyExecutor>(action);
    if (!is_lost) return std::nullopt;
    return Fault{lost};
  };
  w.add_job("linux", minutes(10));
  const auto is_busy = [&w] {
    const StatusSnapshot status = w.status();
    return !status.executors.empty() && status.executors[0].state == ExecutorState::busy;
  };
  REQUIRE(w.run_until(is_busy, minutes(1)));
  w.send(RetireExecutor{w.records.begin()->first, "operator", true});
  REQUIRE(w.run_until([&] { return w.count<DeleteNode>() == 1; }, minutes(1)));
  w.run_for(milliseconds(10));
  w.send(NodesRead{ControllerId("main"), w.session, w.now, NodesSnapshot{}});
  REQUIRE(w.run_until([&] { return w.nodes.empty(); }, minutes(1)));
  CHECK(w.count<DeleteNode>() == 2);
}

TEST_CASE("an old list does not end a node that was made again in vain", "[unit][scheduler][faults]") {
  Farm w;
  w.add_job("linux", minutes(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(1)));
  w.run_for(seconds(5));
  w.restart_controller();
  const std::size_t orders = w.count<OrderExecutor>();
  w.fault = [&](const Action& action) -> std::optional<Fault> {
    if (std::holds_alternative<OrderExecutor>(action))
      return Fault{Error::failed(ErrorCode::conflict, "it has failed"), false};
    if (std::holds_alternative<ReadNodes>(action) && w.count<OrderExecutor>() > orders) return Fault{lost};
    return std::nullopt;
  };
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() > orders; }, minutes(1)));
  const std::string name = w.all<OrderExecutor>().back().order.spec.id.text;
  const Duration later =
      GENERATE(Duration::zero(), Duration(milliseconds(3)));  // before the refusal, after it
  w.run_for(later);
  REQUIRE(w.nodes.contains(name));
  w.send(NodesRead{ControllerId("main"), w.session, w.now, NodesSnapshot{}});
  w.fault = [](const Action&) { return std::nullopt; };
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(5)));
  CHECK_FALSE(w.nodes.contains(name));
}

TEST_CASE("a boot or join deadline fails the executor, backs off, and opens the host's breaker",
          "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].boot_deadline = seconds(10);
  config.templates[0].join_deadline = seconds(10);
  Farm w(config);
  w.agents_connect = false;
  const std::int64_t item = w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.status().counters.launch_failures == 1; }, minutes(1)));
  CHECK(w.explain(item).reason == WaitReason::backoff);
  CHECK(w.explain(item).starts_in.has_value());
  REQUIRE(w.run_until([&] { return w.status().counters.launch_failures == 3; }, minutes(5)));
  w.run_for(seconds(25));
  REQUIRE(w.status().hosts[0].open_breakers.size() == 1);
  CHECK(w.explain(item).reason == WaitReason::no_room);
  CHECK(w.explain(item).refusals.at("breaker") == 1);
  const std::size_t before = w.count<CreateNode>();
  w.run_for(seconds(60));
  CHECK(w.count<CreateNode>() == before);
  w.agents_connect = true;
  REQUIRE(w.run_until([&] { return w.builds.size() == 1 && w.is_clean(); }, minutes(10)));
  CHECK(w.status().hosts[0].open_breakers.empty());
}

TEST_CASE("a boot deadline is held against no host that was silent when it passed",
          "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].boot_deadline = seconds(40);
  Farm w(config);
  w.boot_time = seconds(80);
  w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(20)));
  w.run_for(seconds(10));
  TestHost& host = w.hosts.at(HostId("h1"));
  host.is_reachable = false;
  w.run_for(seconds(32));
  CHECK(w.status().counters.launch_failures == 0);
  host.is_reachable = true;
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(2)));
  CHECK(w.status().counters.launch_failures == 0);
}

TEST_CASE("failed launches back off 5, 10, 20, 40, 80 seconds", "[unit][scheduler][faults]") {
  Farm w;
  w.fault = [](const Action& a) -> std::optional<Fault> {
    if (std::holds_alternative<CreateNode>(a))
      return Fault{Error::failed(ErrorCode::permission_denied, "lacks Agent/Create"), false};
    return std::nullopt;
  };
  w.add_job("linux", seconds(1));
  std::vector<std::int64_t> times;
  std::size_t seen = 0;
  for (int i = 0; i < 3000 && times.size() < 7; ++i) {
    w.run_for(milliseconds(100));
    if (w.count<CreateNode>() > seen) {
      seen = w.count<CreateNode>();
      times.push_back(to_ms(w.now.time_since_epoch()));
    }
  }
  REQUIRE(times.size() == 7);
  const std::vector<std::int64_t> wanted{5, 10, 20, 40, 80, 80};
  for (std::size_t i = 0; i < wanted.size(); ++i)
    CHECK(std::abs((times[i + 1] - times[i]) - wanted[i] * 1000) < 600);
  CHECK(w.count<DestroyExecutor>() == 0);
}

TEST_CASE("an executor whose host refuses it is replaced elsewhere", "[unit][scheduler][faults]") {
  Farm w;
  w.add_host("h2");
  w.report(HostId("h2"));
  std::string refused;
  w.fault = [&](const Action& a) -> std::optional<Fault> {
    const auto* order = std::get_if<OrderExecutor>(&a);
    if (order == nullptr || (!refused.empty() && order->host.text != refused)) return std::nullopt;
    refused = order->host.text;
    return Fault{Error::failed(ErrorCode::out_of_resources, "disk full"), false};
  };
  w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1 && w.is_clean(); }, minutes(5)));
}

TEST_CASE("an unseen host: its executors count as existing, nothing new goes there, nothing follows",
          "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 2;
  config.templates[0].maximum = 2;
  Farm w(config);
  REQUIRE(w.run_until(
      [&] {
        const auto all = w.status().executors;
        return all.size() == 2 && all[0].state == ExecutorState::idle && all[1].state == ExecutorState::idle;
      },
      seconds(20)));
  w.hosts.at(HostId("h1")).is_reachable = false;
  w.send(HostUnseen{HostId("h1"), Error::try_again(ErrorCode::unavailable, "connection refused")});
  const std::size_t launches = w.count<CreateNode>();
  w.run_for(minutes(30));
  CHECK(w.count<CreateNode>() == launches);
  CHECK(w.count<DestroyExecutor>() == 0);
  CHECK(w.count<DeleteNode>() == 0);
  for (const auto& e : w.status().executors) CHECK(e.state == ExecutorState::unknown);
  CHECK(w.status().hosts[0].unseen_reason == "connection refused");
  w.hosts.at(HostId("h1")).is_reachable = true;
  w.report(HostId("h1"));
  w.run_for(seconds(5));
  for (const auto& e : w.status().executors) CHECK(e.state == ExecutorState::idle);
}

TEST_CASE("a host that departs takes its executors with it", "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 2;
  Farm w(config);
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 2; }, seconds(20)));
  w.run_for(seconds(5));
  w.hosts.erase(HostId("h1"));
  for (auto it = w.nodes.begin(); it != w.nodes.end();) it = w.nodes.erase(it);
  w.send(HostDeparted{HostId("h1")});
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 2; }, minutes(1)));
  CHECK(w.status().hosts.empty());
}

TEST_CASE("a host may depart only when it is not seen and nothing of ours is there",
          "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  Farm w(config);
  const HostId host("h1");
  CHECK(w.logic->may_depart(HostId("h9")));  // never heard of
  REQUIRE(w.run_until(
      [&] {
        return w.status().executors.size() == 1 && w.status().executors[0].state == ExecutorState::idle;
      },
      seconds(20)));
  CHECK_FALSE(w.logic->may_depart(host));
  w.send(HostUnseen{host, Error::try_again(ErrorCode::unavailable, "connection refused")});
  CHECK_FALSE(w.logic->may_depart(host));  // its executor may run on
  w.send(HostDeparted{host});
  CHECK(w.logic->may_depart(host));
}

TEST_CASE("an executor that vanishes from its host is replaced within a report and a poll",
          "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  Farm w(config);
  REQUIRE(w.run_until(
      [&] {
        return w.status().executors.size() == 1 && w.status().executors[0].state == ExecutorState::idle;
      },
      seconds(20)));
  const ExecutorId id = w.status().executors[0].record.id;
  w.hosts.at(HostId("h1")).executors.erase(id);
  w.nodes.erase(id.text);
  w.report(HostId("h1"));
  REQUIRE(w.run_until(
      [&] {
        return w.executors_on_hosts() == 1 && w.nodes.size() == 1 &&
               w.nodes.begin()->second.fact.is_connected;
      },
      minutes(1)));
  CHECK_FALSE(w.nodes.contains(id.text));
}

TEST_CASE("a node deleted by hand before a build: the sandbox goes, another comes",
          "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  Farm w(config);
  REQUIRE(w.run_until(
      [&] {
        return w.status().executors.size() == 1 && w.status().executors[0].state == ExecutorState::idle;
      },
      seconds(20)));
  const std::string name = w.nodes.begin()->first;
  w.disconnect(name);
  REQUIRE(w.run_until(
      [&] {
        return w.nodes.size() == 1 && w.nodes.begin()->second.fact.is_connected &&
               w.executors_on_hosts() == 1;
      },
      minutes(2)));
  CHECK(w.nodes.begin()->first != name);
}

TEST_CASE(
    "a node that somebody else sets offline is shown, left alone and replaced, and used again when it is "
    "back",
    "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  config.templates[0].idle_limit = minutes(1);
  Farm w(config);
  REQUIRE(w.run_until(
      [&] {
        return w.status().executors.size() == 1 && w.status().executors[0].gate == "closed" &&
               w.status().executors[0].state == ExecutorState::idle;
      },
      seconds(20)));
  const std::string name = w.nodes.begin()->first;
  w.nodes.at(name).fact.offline_reason = "disk is slow, looking at it -- Kim";
  REQUIRE(
      w.run_until([&] { return w.status().controllers[0].foreign_offline == std::vector<std::string>{name}; },
                  minutes(2)));
  REQUIRE(w.run_until([&] { return w.nodes.size() == 2; }, minutes(2)));
  w.run_for(minutes(5));
  REQUIRE(w.nodes.contains(name));
  CHECK(w.nodes.at(name).fact.offline_reason == "disk is slow, looking at it -- Kim");
  for (const OpenGate& open : w.all<OpenGate>()) CHECK(open.node.text != name);
}

TEST_CASE("a node that somebody set offline a moment before its gate is opened keeps their reason",
          "[unit][scheduler][faults]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  Farm w(config);
  REQUIRE(w.run_until([&] { return w.has_warm_one(); }, minutes(1)));
  const std::string name = w.nodes.begin()->first;
  w.fault = [&](const Action& a) -> std::optional<Fault> {
    const auto* open = std::get_if<OpenGate>(&a);
    if (open == nullptr || open->node.text != name) return std::nullopt;
    w.nodes.at(name).fact.offline_reason = "maintenance";
    return Fault{Error::failed(ErrorCode::conflict, "somebody else set it offline"), false};
  };
  w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(2)));
  CHECK(w.builds[0].first != name);
  CHECK(w.nodes.at(name).fact.offline_reason == "maintenance");
}

TEST_CASE("orphans: a node of ours that no record knows is deleted after two sightings, others never",
          "[unit][scheduler][faults]") {
  World w(make_config());
  const auto plant = [&](const std::string& name, bool is_idle) {
    Node node;
    node.fact.name = name;
    node.fact.is_idle = is_idle;
    w.nodes[name] = node;
  };
  plant("t-linux-1-1abc", true);
  plant("t-linux-1-2abc", false);
  plant("t-other-1-1abc", true);
  plant("tt-linux-1-1abc", true);
  plant("t-linux", true);
  plant("t-linux-zz-1abc", true);  // of a later leader
  w.add_host("h1");
  w.start(3);
  w.run_for(minutes(3));
  CHECK_FALSE(w.nodes.contains("t-linux-1-1abc"));
  CHECK(w.nodes.size() == 5);
  CHECK(w.status().counters.orphans_swept == 1);
}

TEST_CASE("a stranger on a host: destroyed, unless it is busy", "[unit][scheduler][faults]") {
  const bool is_busy = GENERATE(false, true);
  World w(make_config());
  w.add_host("h1");
  NodeFact& node = w.add_stranger("h1", is_busy);
  w.start(2);
  w.run_for(minutes(2));
  CHECK(w.executors_on_hosts() == (is_busy ? 1 : 0));
  if (!is_busy) return;
  REQUIRE(w.status().executors.size() == 1);
  CHECK(w.status().executors[0].state == ExecutorState::busy);
  node.is_idle = true;
  node.builds.clear();
  REQUIRE(w.run_until([&] { return w.is_clean(); }, minutes(2)));
}

TEST_CASE("another leader with a higher epoch: everything stops and it is said",
          "[unit][scheduler][faults]") {
  Farm w;
  w.run_for(seconds(1));
  SECTION("by a host's report") {
    HostReport report = w.hosts.at(HostId("h1")).report;
    report.epoch_seen = 9;
    w.send(HostReported{report});
  }
  SECTION("by a refused order") {
    w.fault = [](const Action& a) -> std::optional<Fault> {
      if (std::holds_alternative<OrderExecutor>(a))
        return Fault{Error::failed(ErrorCode::stale_epoch, "epoch 9 was seen"), false};
      return std::nullopt;
    };
    w.add_job("linux");
    w.run_for(seconds(30));
  }
  const std::size_t before = w.log.size();
  w.add_job("linux");
  w.run_for(minutes(5));
  CHECK(w.log.size() == before);
  CHECK_FALSE(w.status().fenced_by.empty());
  CHECK(w.status().controllers[0].problem.find("another leader") != std::string::npos);
}

TEST_CASE("a report that a newer one has overtaken says nothing, one of another start of agentd does",
          "[unit][scheduler][faults]") {
  const bool is_restarted = GENERATE(false, true);
  Farm w;
  w.boot_time = seconds(30);
  w.add_job("linux", minutes(10));
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(30)));
  w.run_for(seconds(1));
  REQUIRE(w.status().executors.at(0).state == ExecutorState::creating);
  HostReport old = w.hosts.at(HostId("h1")).report;
  REQUIRE(old.index > 0);
  old.index = 0;
  old.executors.clear();
  if (is_restarted) old.boot_id = "another";
  w.send(HostReported{old});
  const bool is_lost = w.status().executors.at(0).state != ExecutorState::creating;
  CHECK(is_lost == is_restarted);
}

TEST_CASE(
    "a report that was asked for at the instant at which an order was answered does not miss its executor",
    "[unit][scheduler][faults]") {
  const bool is_later = GENERATE(false, true);
  Farm w;
  w.boot_time = seconds(30);
  w.add_job("linux", minutes(10));
  HostReport old = w.hosts.at(HostId("h1")).report;
  old.index += 10;
  std::optional<Instant> ordered;
  w.before_action = [&](const Action& action) {
    if (std::holds_alternative<OrderExecutor>(action)) ordered = w.now;
    return true;
  };
  REQUIRE(w.run_until([&] { return ordered.has_value(); }, seconds(30)));
  w.run_for(milliseconds(500));
  REQUIRE(w.status().executors.at(0).state == ExecutorState::creating);
  // A suspended machine's clock stands still between the answer and the question.
  const Instant answered = *ordered + w.round_trip;
  w.send(HostReported{old, is_later ? answered + milliseconds(1) : answered});
  CHECK((w.status().executors.at(0).state == ExecutorState::creating) == !is_later);
}

TEST_CASE("a missing permission freezes and is named", "[unit][scheduler][faults]") {
  World w(make_config());
  w.missing_permissions = {"Agent/Create"};
  w.add_host("h1");
  w.start();
  const std::int64_t item = w.add_job("linux");
  w.run_for(seconds(20));
  CHECK(w.count<CreateNode>() == 0);
  CHECK(w.explain(item).reason == WaitReason::frozen);
  CHECK(w.explain(item).text.find("Agent/Create") != std::string::npos);
}

TEST_CASE("chaos: answers are lost at random, and in the end every build ran once and nothing is left",
          "[unit][scheduler][faults]") {
  const auto seed = static_cast<std::uint64_t>(GENERATE(range(1, 41)));
  INFO("seed " << seed << "; replay: scheduler_logic_test \"chaos*\"");
  Prng chance(seed);
  SchedulerConfig config = make_config();
  config.max_creations_per_second = 20;
  World w(config);
  w.add_host("h1", 16000, 16);
  w.add_host("h2", 16000, 16);
  w.fault = [&](const Action& a) -> std::optional<Fault> {
    const bool is_read = std::holds_alternative<ReadQueue>(a) || std::holds_alternative<ReadNodes>(a) ||
                         std::holds_alternative<PollNode>(a);
    const bool is_call = std::holds_alternative<CreateNode>(a) || std::holds_alternative<CloseGate>(a) ||
                         std::holds_alternative<OpenGate>(a) || std::holds_alternative<DeleteNode>(a) ||
                         std::holds_alternative<OrderExecutor>(a) ||
                         std::holds_alternative<DestroyExecutor>(a);
    if (!is_read && !is_call) return std::nullopt;
    if (!chance.chance(1, is_read ? 10 : 8)) return std::nullopt;
    return Fault{lost, chance.chance(1, 2)};
  };
  w.start();
  for (int i = 0; i < 20; ++i) w.add_job("linux", milliseconds(60 + static_cast<int>(chance.below(4000))));
  for (int i = 0; i < 6; ++i) {
    w.run_for(milliseconds(static_cast<int>(chance.below(6000))));
    if (chance.chance(1, 2)) w.restart_scheduler();
  }
  REQUIRE(w.run_until([&] { return w.builds.size() == 20; }, minutes(30)));
  w.fault = [](const Action&) { return std::nullopt; };
  // What was launched too much is idle now; it is retired by hand, as its hour would do.
  for (const auto& e : w.status().executors) w.send(RetireExecutor{e.record.id, "end of test", false});
  REQUIRE(w.run_until([&] { return w.is_clean(); }, minutes(30)));
  for (const auto& [node, count] : w.builds_per_node()) CHECK(count == 1);
  std::set<std::string> distinct;
  for (const auto& [node, build] : w.builds) distinct.insert(build);
  CHECK(distinct.size() == 20);
}

}  // namespace faults_test
