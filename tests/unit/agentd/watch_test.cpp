// Boot, join, change, end: what an inspection makes of an executor.
#include <catch2/catch.hpp>

#include "tests/unit/agentd/support/world.h"

namespace watch_test {

using namespace skep;
using namespace skep::agentd;

namespace {

World world_with(const std::string& id) {
  World world;
  world.start();
  world.settle();
  world.order(make_order(id));
  world.settle();
  return world;
}

void keep_leased(World& world, Duration by) {
  for (Duration done = Duration::zero(); done < by; done += seconds(10)) {
    world.renew({{ExecutorId("a1"), false}});
    world.advance(seconds(10));
  }
}

}  // namespace

TEST_CASE("watch: states follow the agent", "[unit][agentd]") {
  World world = world_with("a1");
  CHECK(world.state("a1") == ExecutorState::booting);
  world.set_agent("a1", AgentPhase::started);
  CHECK(world.state("a1") == ExecutorState::joining);
  world.set_agent("a1", AgentPhase::connected);
  CHECK(world.state("a1") == ExecutorState::idle);
  world.end_sandbox("a1", 0);
  CHECK(world.state("a1") == ExecutorState::finished);
  CHECK(world.seen("a1")->agent == AgentPhase::ended);
  CHECK(world.seen("a1")->agent_exit_code == 0);
}

TEST_CASE("watch: the index changes with every change of the report and never otherwise", "[unit][agentd]") {
  World world = world_with("a1");
  const std::uint64_t before = world.logic->report().index;
  world.send(InstanceChanged{ExecutorId("a1")});
  world.settle();
  world.send(Tick{});
  CHECK(world.logic->report().index == before);
  world.set_agent("a1", AgentPhase::started);
  CHECK(world.logic->report().index > before);
  const std::uint64_t last = world.logic->report().index;
  world.restart();
  CHECK(world.logic->report().index > last);
}

TEST_CASE("watch: when images changed, drivers are probed at once, and again when they were being probed",
          "[unit][agentd]") {
  World world = world_with("a1");
  const int before = world.count_calls("probe");
  world.send(ImagesChanged{});
  CHECK(world.has_call("", "probe"));
  world.send(ImagesChanged{});  // what the one under way saw may be of before
  world.settle();
  CHECK(world.count_calls("probe") == before + 2);
  world.send(Tick{});
  CHECK_FALSE(world.has_call("", "probe"));
}

TEST_CASE("watch: an agent that does not start in time, or does not connect in time, fails the executor",
          "[unit][agentd]") {
  World world = world_with("a1");
  const bool has_started = GENERATE(true, false);
  if (has_started) {
    keep_leased(world, seconds(50));
    world.set_agent("a1", AgentPhase::started);
    keep_leased(world, seconds(50));
    CHECK(world.state("a1") == ExecutorState::joining);
    keep_leased(world, seconds(10));
  } else {
    keep_leased(world, seconds(60));
  }
  REQUIRE(world.state("a1") == ExecutorState::failed);
  CHECK(world.seen("a1")->message.find(has_started ? "did not connect within 1m"
                                                   : "did not start within 1m") != std::string::npos);
  CHECK(world.boxes.size() == 1);
  keep_leased(world, minutes(10));
  CHECK(world.state("a1") == ExecutorState::failed);
  world.destroy("a1", 1);
  world.settle();
  CHECK(world.boxes.empty());
}

TEST_CASE("watch: a deadline fails nothing before a look that came after it", "[unit][agentd]") {
  World world = world_with("a1");
  const bool has_started = GENERATE(true, false);
  if (has_started) world.set_agent("a1", AgentPhase::started);
  keep_leased(world, seconds(50));
  world.advance(seconds(9));
  // Nobody told, and then nobody can be asked for a moment.
  world.boxes.at("a1").agent = AgentPhase::connected;
  world.errors["inspect"].push_back(Error::try_again(ErrorCode::unavailable, "daemon away"));
  world.advance(seconds(10));
  CHECK(world.state("a1") == ExecutorState::idle);
}

TEST_CASE("watch: an agent or sandbox that ends before it connected is a failure", "[unit][agentd]") {
  World world = world_with("a1");
  const bool is_sandbox = GENERATE(true, false);
  if (is_sandbox) {
    world.end_sandbox("a1", 3);
  } else {
    world.set_agent("a1", AgentPhase::ended, 3);
  }
  REQUIRE(world.state("a1") == ExecutorState::failed);
  CHECK(world.seen("a1")->message.find("exit code 3") != std::string::npos);
}

TEST_CASE("watch: a sandbox outlives its agent: a controller restart ends nothing", "[unit][agentd]") {
  World world = world_with("a1");
  world.set_agent("a1", AgentPhase::connected);
  world.set_agent("a1", AgentPhase::ended, 1);
  keep_leased(world, minutes(10));
  CHECK(world.state("a1") == ExecutorState::idle);
  CHECK(world.seen("a1")->agent == AgentPhase::ended);
  CHECK(world.boxes.size() == 1);
}

TEST_CASE("watch: a driver that reports no changes is asked every two seconds", "[unit][agentd]") {
  World world;
  world.drivers = {{"fake", true, false}};
  world.start();
  world.settle();
  world.order(make_order("a1"));
  world.settle();
  world.boxes.at("a1").agent = AgentPhase::connected;
  world.advance(seconds(2));
  CHECK(world.state("a1") == ExecutorState::idle);
}

TEST_CASE("watch: a start with an unknown outcome is looked at, never repeated", "[unit][agentd]") {
  World world;
  world.start();
  world.settle();
  const bool has_happened = GENERATE(true, false);
  if (has_happened) world.effects_despite_error.insert("start");
  world.errors["start"].push_back(Error::unknown(ErrorCode::timed_out, "no answer"));
  world.order(make_order("a1"));
  world.advance(seconds(1));
  CHECK(world.count_calls("start") == 1);
  CHECK(world.state("a1") == (has_happened ? ExecutorState::booting : ExecutorState::failed));
}

TEST_CASE("watch: what cannot be looked at is unknown, keeps its room, and fails no deadline",
          "[unit][agentd]") {
  World world = world_with("a1");
  for (int i = 0; i < 200; ++i)
    world.errors["inspect"].push_back(Error::try_again(ErrorCode::unavailable, "daemon away"));
  keep_leased(world, minutes(3));
  CHECK(world.state("a1") == ExecutorState::unknown);
  CHECK(world.seen("a1")->message.find("daemon away") != std::string::npos);
  world.errors["inspect"].clear();
  world.boxes.at("a1").agent = AgentPhase::connected;
  keep_leased(world, minutes(1));
  CHECK(world.state("a1") == ExecutorState::idle);
  CHECK(world.seen("a1")->message.empty());
}

TEST_CASE("watch: a sandbox that vanishes is a failure, not an empty host", "[unit][agentd]") {
  World world = world_with("a1");
  world.set_agent("a1", AgentPhase::connected);
  world.boxes.clear();
  keep_leased(world, minutes(1));
  REQUIRE(world.state("a1") == ExecutorState::failed);
  CHECK(world.seen("a1")->message.find("vanished") != std::string::npos);
}

TEST_CASE("watch: what carries our tag but has no intent is destroyed", "[unit][agentd]") {
  World world = world_with("a1");
  world.boxes["stray"] = Box{};
  keep_leased(world, minutes(2));
  CHECK(world.boxes.count("stray") == 0);
  CHECK(world.boxes.count("a1") == 1);
  CHECK(world.logic->counters().orphans_destroyed == 1);
}

TEST_CASE("watch: stop keeps executors and refuses orders", "[unit][agentd]") {
  World world = world_with("a1");
  world.send(StopRequested{OnStop::keep});
  CHECK(world.logic->is_ready_to_end());
  CHECK(world.order(make_order("a2"))->status == 503);
  world.advance(hours(1));
  CHECK(world.boxes.size() == 1);
}

TEST_CASE("watch: drain at stop destroys the unused and waits for the busy; remove destroys all",
          "[unit][agentd]") {
  World world = world_with("a1");
  world.order(make_order("a2"));
  world.settle();
  world.set_agent("a1", AgentPhase::connected);
  world.renew({{ExecutorId("a1"), true}, {ExecutorId("a2"), false}});
  const bool is_removing = GENERATE(true, false);
  world.send(StopRequested{is_removing ? OnStop::remove : OnStop::drain});
  world.settle();
  if (is_removing) {
    CHECK(world.boxes.empty());
  } else {
    CHECK(world.boxes.size() == 1);
    CHECK_FALSE(world.logic->is_ready_to_end());
    CHECK(world.logic->report().is_draining);
    world.renew({{ExecutorId("a1"), false}});
    world.settle();
  }
  CHECK(world.boxes.empty());
  CHECK(world.logic->is_ready_to_end());
}

}  // namespace watch_test
