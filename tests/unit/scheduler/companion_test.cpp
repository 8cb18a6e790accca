// A controller with a companion: what it tells instead of being polled, and what happens when it does not.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace companion_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;
using Kind = NodeNews::Kind;

namespace {

/// Tells what changed since it told last, as the listeners inside a controller do.
struct Told : World {
  explicit Told(SchedulerConfig given = make_config()) : World(std::move(given), OneBuildMeans::hook) {
    add_host("h1");
    start();
    run_for(milliseconds(50));
    tell(true);
  }
  void tell(bool is_base = false) {
    CompanionTold told{ControllerId("main"), session, now, {}, {}, is_base};
    for (const auto& [id, job] : jobs) told.queue.items.push_back(job.item);
    for (const auto& [name, node] : nodes) {
      if (node.fact.is_connected && online.insert(name).second)
        told.nodes.push_back({Kind::online, name, ""});
    }
    for (const auto& [node, build] : builds) {
      if (!accepted.emplace(node, build).second) continue;
      if (online.insert(node).second) told.nodes.push_back({Kind::online, node, ""});
      told.nodes.push_back({Kind::accepted, node, build});
    }
    for (const auto& [node, build] : accepted) {
      if (nodes.contains(node) || !ended.insert(node).second) continue;
      told.nodes.push_back({Kind::completed, node, build});
      told.nodes.push_back({Kind::offline, node, ""});
    }
    send(told);
  }
  void tell_for(Duration length) {
    for (const Instant end = now + length; now < end;) {
      run_for(milliseconds(10));
      tell();
    }
  }
  bool tell_until(const std::function<bool()>& condition, Duration limit = minutes(2)) {
    for (const Instant end = now + limit; now < end && !condition();) {
      run_for(milliseconds(10));
      tell();
    }
    return condition();
  }
  std::set<std::string> online, ended;
  std::map<std::string, std::string> accepted;
};

}  // namespace

TEST_CASE("companion: a life is told from the item to the end, with no poll of a node", "[unit][scheduler]") {
  Told w;
  w.tell_for(seconds(1));
  const std::size_t queue_reads = w.count<ReadQueue>();
  w.add_job("linux", seconds(30));
  const Instant arrived = w.now;
  w.tell();
  REQUIRE(w.count<CreateNode>() == 1);  // at once
  REQUIRE(w.tell_until([&] { return w.builds.size() == 1; }));
  w.tell_for(milliseconds(20));
  CHECK(w.status().executors[0].state == ExecutorState::busy);
  CHECK(w.count<CreateNode>() == 1);
  REQUIRE(w.tell_until([&] { return w.count<Audit>() == 1; }));
  const Audit audit = w.all<Audit>().front();
  CHECK(audit.end == "used");
  CHECK(audit.record.builds_seen == std::vector<std::string>{w.builds[0].second});
  CHECK_FALSE(audit.may_hide_build);
  CHECK(w.count<PollNode>() == 0);
  CHECK(w.count<OpenGate>() + w.count<CloseGate>() == 0);
  CHECK(w.count<ReadQueue>() - queue_reads <= 1);
  CHECK(w.now - arrived < seconds(40));
  CHECK(w.status().counters.companion_differences == 0);
}

TEST_CASE("companion: a warm executor is replaced as soon as it accepted a build", "[unit][scheduler]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  Told w(config);
  REQUIRE(w.tell_until([&] { return w.online.size() == 1; }));
  w.tell_for(seconds(1));
  REQUIRE(w.count<CreateNode>() == 1);
  w.add_job("linux", minutes(1));
  w.maintain();
  w.tell();
  CHECK(w.builds.size() == 1);
  CHECK(w.count<CreateNode>() == 2);
}

TEST_CASE("companion: when it does not tell, the controller is polled at once", "[unit][scheduler]") {
  Told w;
  w.tell_for(seconds(70));
  CHECK(w.status().controllers[0].is_told);
  const std::size_t before = w.count<ReadQueue>();
  const bool is_said = GENERATE(true, false);
  if (is_said) {
    w.send(CompanionLost{ControllerId("main"), Error::failed(ErrorCode::permission_denied, "no scripts")});
    w.run_for(milliseconds(10));
  } else {
    w.run_for(seconds(51));
  }
  CHECK(w.count<ReadQueue>() > before);
  CHECK_FALSE(w.status().controllers[0].is_told);
  CHECK_FALSE(w.status().controllers[0].companion_problem.empty());
  w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }));
  w.tell(true);
  CHECK(w.status().controllers[0].is_told);
  CHECK(w.status().controllers[0].companion_problem.empty());
}

TEST_CASE("companion: a difference that lasts leads to a new base", "[unit][scheduler]") {
  Told w;
  w.tell_for(seconds(1));
  w.add_job("nobody has this", seconds(1));  // its event was lost
  const bool lasts = GENERATE(true, false);
  const auto tell_nothing = [&w] {
    w.send(CompanionTold{ControllerId("main"), w.session, w.now, {}, {}, false});
  };
  const std::size_t reads = w.count<ReadQueue>();
  for (int i = 0; i < 14 && w.count<ReadQueue>() == reads; ++i) {
    tell_nothing();
    w.run_for(seconds(5));
  }
  REQUIRE(w.count<ReadQueue>() > reads);
  CHECK(w.count<RebaseCompanion>() == 0);
  if (!lasts) w.tell();
  w.run_for(seconds(5));
  CHECK(w.count<RebaseCompanion>() == (lasts ? 1 : 0));
  CHECK(w.status().counters.companion_differences == (lasts ? 1 : 0));
}

TEST_CASE("companion: an item of which one read is ahead and the next one behind is no difference",
          "[unit][scheduler]") {
  Told w;
  w.tell_for(seconds(1));
  const auto read = [&w] {
    QueueSnapshot queue;
    for (const auto& [id, job] : w.jobs) queue.items.push_back(job.item);
    w.send(QueueRead{ControllerId("main"), w.session, w.now, queue});
  };
  const std::int64_t item = w.add_job("nobody has this");
  read();  // it came a moment ago
  w.tell();
  w.remove_item(item);
  w.run_for(milliseconds(1500));
  read();  // it left a moment ago
  CHECK(w.count<RebaseCompanion>() == 0);
  CHECK(w.status().counters.companion_differences == 0);
  read();
  CHECK(w.count<RebaseCompanion>() == 1);
  CHECK(w.status().counters.companion_differences == 1);
}

TEST_CASE("companion: what it told before this machine was suspended counts no more", "[unit][scheduler]") {
  Told w;
  w.tell_for(seconds(1));
  const Instant asked = w.now;
  w.run_for(seconds(1));
  w.suspended += minutes(2);
  QueueSnapshot old;
  w.add_job("linux");
  old.items.push_back(w.jobs.begin()->second.item);
  w.jobs.clear();
  w.send(Tick{});
  w.send(CompanionTold{ControllerId("main"), w.session, asked, old, {}, false});
  w.run_for(seconds(5));
  CHECK(w.count<CreateNode>() == 0);
}

TEST_CASE("companion: a process that was stopped launches nothing for what it was told before",
          "[unit][scheduler]") {
  const bool is_stopped = GENERATE(true, false);
  Told w;
  HostReport& host = w.hosts.at(HostId("h1")).report;
  host.max_executors = 1;
  w.report(HostId("h1"));
  w.add_job("linux", minutes(10));
  w.add_job("linux", minutes(10));
  w.tell_for(seconds(10));
  REQUIRE(w.count<CreateNode>() == 1);
  if (is_stopped) w.now += seconds(70);
  HostReport report = host;  // the first thing that it hears
  report.index += 10;
  report.max_executors = 2;
  w.send(HostReported{report});
  CHECK((w.count<CreateNode>() == 1) == is_stopped);
}

TEST_CASE("companion: news of a node that was made again in this session end its executor at once",
          "[unit][scheduler]") {
  Told w;
  w.add_job("linux", minutes(10));
  REQUIRE(w.tell_until([&] { return w.builds.size() == 1 && w.accepted.size() == 1; }));
  w.tell_for(seconds(5));
  // No structured binding: C++20 lets no lambda capture one by reference in Clang 14.
  const std::string name = w.builds[0].first;
  const std::string build = w.builds[0].second;
  w.restart_controller();
  w.online.clear();
  w.accepted.clear();
  w.ended.clear();
  w.builds.clear();
  w.tell(true);
  REQUIRE(w.tell_until([&] { return w.builds.size() == 1; }));
  CHECK(w.builds[0] == std::pair(name, build));
  REQUIRE(w.tell_until([&] { return !w.nodes.contains(name); }));
  w.tell_for(seconds(1));
  REQUIRE(w.count<Audit>() == 1);
  CHECK(w.all<Audit>().front().record.builds_seen == std::vector<std::string>{build});
  CHECK(w.count<PollNode>() == 0);
}

TEST_CASE("companion: a node that a list does not show is looked at when no news of it has come",
          "[unit][scheduler]") {
  Told w;
  w.add_job("linux", hours(1));
  REQUIRE(w.tell_until([&] { return w.accepted.size() == 1; }));
  w.tell_for(seconds(5));
  const Node node = w.nodes.begin()->second;
  w.nodes.clear();  // its news are lost
  w.accepted.clear();
  w.builds.clear();
  w.send(NodesRead{ControllerId("main"), w.session, w.now, NodesSnapshot{}});
  w.tell_for(milliseconds(1900));
  CHECK(w.count<PollNode>() == 0);
  const bool is_back = GENERATE(true, false);  // the list was an old one
  if (is_back) w.nodes[node.fact.name] = node;
  w.tell_for(seconds(1));
  CHECK((w.count<PollNode>() == 0) == is_back);
}

TEST_CASE("companion: a build that a list shows to be over is looked at when no news of it has come",
          "[unit][scheduler]") {
  Told w;
  w.add_job("linux", hours(1));
  REQUIRE(w.tell_until([&] { return w.accepted.size() == 1; }));
  w.tell_for(seconds(5));
  NodeFact& fact = w.nodes.begin()->second.fact;  // and its node is left, which the hook should have removed
  fact.is_idle = true;
  fact.builds.clear();
  for (int i = 0; i < 19; ++i) {
    w.send(NodesRead{ControllerId("main"), w.session, w.now, NodesSnapshot{{fact}}});
    w.tell_for(milliseconds(100));
  }
  CHECK(w.count<PollNode>() == 0);
  w.tell_for(seconds(1));
  CHECK(w.count<PollNode>() > 0);
  REQUIRE(w.tell_until([&] { return w.count<Audit>() == 1; }));
}

TEST_CASE("companion: an answer that waited while the scheduler was stopped tells nothing of now",
          "[unit][scheduler]") {
  Told w;
  w.tell_for(seconds(1));
  const Instant asked = w.now;
  const Duration length = GENERATE(Duration(seconds(49)), Duration(seconds(60)));
  w.now += length;
  w.add_job("linux");
  QueueSnapshot old;
  old.items.push_back(w.jobs.begin()->second.item);
  w.jobs.clear();
  w.send(CompanionTold{ControllerId("main"), w.session, asked, old, {}, false});
  CHECK((w.count<CreateNode>() == 0) == (length > seconds(50)));
}

TEST_CASE("companion: news of others' nodes have the list read at once, and no more often than polls would",
          "[unit][scheduler]") {
  Told w;
  w.tell_for(seconds(10));
  const std::size_t before = w.count<ReadNodes>();
  const auto tell_of_other = [&w] {
    w.send(CompanionTold{ControllerId("main"),
                         w.session,
                         w.now,
                         {},
                         {{Kind::closed, "other", ""}, {Kind::opened, "other", ""}},
                         false,
                         3});
  };
  tell_of_other();
  CHECK(w.count<ReadNodes>() == before + 1);
  const Duration poll = make_config().controllers[0].poll_interval;
  for (const Instant end = w.now + 10 * poll; w.now < end; tell_of_other()) w.run_for(poll / 20);
  w.run_for(poll);
  CHECK(w.count<ReadNodes>() >= before + 9);  // also what was told while one was under way
  CHECK(w.count<ReadNodes>() <= before + 12);
  CHECK(w.status().counters.companion_events >= 3 * 200);
  const std::size_t quiet = w.count<ReadNodes>();
  w.tell_for(2 * poll);
  CHECK(w.count<ReadNodes>() == quiet);
}

TEST_CASE("companion: where many executors end, slow lists are no more often than polls",
          "[unit][scheduler]") {
  auto config = make_config();
  const Duration poll = config.controllers[0].poll_interval;
  Told w(config);
  const bool is_slow = GENERATE(true, false);
  w.round_trip = is_slow ? poll / 4 : milliseconds(1);
  for (int i = 0; i < 40; ++i) w.add_job("linux", milliseconds(300 * i));
  w.tell_for(seconds(5));
  const std::size_t before = w.count<ReadNodes>();
  const std::size_t gone = w.count<Audit>();
  w.tell_for(10 * poll);
  const std::size_t ends = w.count<Audit>() - gone;
  const std::size_t reads = w.count<ReadNodes>() - before;
  CAPTURE(reads, ends);
  CHECK(ends > 11);
  CHECK((reads <= 11) == is_slow);
}

TEST_CASE("companion: an executor whose build nobody told of holds up no later job until the next question",
          "[unit][scheduler]") {
  Told w;
  const std::int64_t other = w.add_job("linux");
  w.tell();
  REQUIRE(w.count<CreateNode>() == 1);
  w.remove_item(other);
  REQUIRE(w.tell_until([&] { return w.status().executors.at(0).state == ExecutorState::idle; }));
  const Instant asked = w.now;  // the question that is under way
  w.run_for(seconds(1));
  w.nodes.clear();  // it served a build, whose news are lost
  w.send(NodesRead{ControllerId("main"), w.session, w.now, NodesSnapshot{}});
  w.run_for(seconds(5));
  w.add_job("linux");
  QueueSnapshot queue;
  queue.items.push_back(w.jobs.begin()->second.item);
  w.send(CompanionTold{ControllerId("main"), w.session, asked, queue, {}, false, 1});
  w.run_for(seconds(3));
  CHECK(w.count<CreateNode>() == 2);
}

}  // namespace companion_test
