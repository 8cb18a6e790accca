#include <catch2/catch.hpp>

#include "tests/unit/agentd/support/world.h"

namespace lease_test {

using namespace skep;
using namespace skep::agentd;

namespace {

World world_with_busy_order() {
  World world;
  world.start();
  world.settle();
  ExecutorOrder order = make_order("a1");
  order.is_busy = true;
  world.order(order);
  world.settle();
  return world;
}

World world_with_connected(const std::string& id) {
  World world;
  world.start();
  world.settle();
  world.order(make_order(id));
  world.settle();
  world.set_agent(id, AgentPhase::connected);
  return world;
}

}  // namespace

TEST_CASE("leases: without a leader an unused executor is destroyed when its lease ends", "[unit][agentd]") {
  World world = world_with_connected("a1");
  world.advance(seconds(59));
  CHECK(world.state("a1") == ExecutorState::idle);
  world.advance(seconds(1));
  CHECK_FALSE(world.seen("a1"));
  CHECK(world.boxes.empty());
  CHECK(world.logic->counters().leases_ended == 1);
}

TEST_CASE("leases: renewed ones live on, the reply names those that are not here", "[unit][agentd]") {
  World world = world_with_connected("a1");
  for (int i = 0; i < 10; ++i) {
    world.advance(seconds(20));
    const auto reply = world.renew({{ExecutorId("a1"), false}, {ExecutorId("zz"), false}});
    REQUIRE(reply->status == 200);
    const auto& leases = std::get<LeaseReply>(reply->body);
    CHECK(leases.not_here == std::vector<ExecutorId>{ExecutorId("zz")});
    CHECK(leases.epoch_seen == 1);
  }
  CHECK(world.state("a1") == ExecutorState::idle);
}

TEST_CASE("leases: one that is on its way out takes no build, and the reply says so", "[unit][agentd]") {
  World world = world_with_connected("a1");
  for (int i = 0; i < 10; ++i)
    world.errors["destroy"].push_back(Error::try_again(ErrorCode::unavailable, "device busy"));
  world.advance(seconds(61));
  REQUIRE(world.state("a1") == ExecutorState::destroying);
  const auto reply = world.renew({{ExecutorId("a1"), true}});
  REQUIRE(reply->status == 200);
  const auto& leases = std::get<LeaseReply>(reply->body);
  CHECK(leases.leaving == std::vector<ExecutorId>{ExecutorId("a1")});
  CHECK(leases.not_here.empty());
}

TEST_CASE("leases: one that a renewal does not name is not renewed", "[unit][agentd]") {
  World world = world_with_connected("a1");
  world.advance(seconds(30));
  world.renew({});
  world.advance(seconds(30));
  CHECK_FALSE(world.seen("a1"));
}

TEST_CASE(
    "leases: a sandbox outlives its agent for a while: its build may go on after a restart of the controller",
    "[unit][agentd]") {
  World world = world_with_connected("a1");
  world.renew({{ExecutorId("a1"), true}});
  world.advance(hours(3));
  world.set_agent("a1", AgentPhase::ended, 0);
  world.advance(minutes(5) + seconds(50));
  REQUIRE(world.seen("a1"));
  world.advance(seconds(20));
  CHECK_FALSE(world.seen("a1"));
  CHECK(world.boxes.empty());
}

TEST_CASE("leases: an order that says busy counts once the agent is there, or may be any moment",
          "[unit][agentd]") {
  World world = world_with_busy_order();
  SECTION("it has not started: nothing can run") {
    world.advance(seconds(61));
    CHECK_FALSE(world.seen("a1"));
  }
  SECTION("connected: a build may run") {
    world.set_agent("a1", AgentPhase::connected);
    world.advance(hours(2));
    CHECK(world.state("a1") == ExecutorState::idle);
  }
}

TEST_CASE("leases: one that its driver fails to look at may run a build by now", "[unit][agentd]") {
  World world = world_with_busy_order();
  REQUIRE(world.state("a1") == ExecutorState::booting);
  world.boxes.at("a1").agent = AgentPhase::connected;
  for (int i = 0; i < 8; ++i)
    world.errors["inspect"].push_back(Error::try_again(ErrorCode::unavailable, "no"));
  world.send(InstanceChanged{ExecutorId("a1")});
  world.advance(seconds(65));
  CHECK(world.count_calls("stop") == 0);
  world.errors.clear();
  world.advance(minutes(5));
  CHECK(world.state("a1") == ExecutorState::idle);
}

TEST_CASE("leases: one that its driver could not look at yet may run a build by now", "[unit][agentd]") {
  const bool has_come = GENERATE(true, false);
  World world = world_with_busy_order();
  REQUIRE(world.state("a1") == ExecutorState::booting);
  world.advance(seconds(59));
  world.send(InstanceChanged{ExecutorId("a1")});  // the driver is asked, and does not answer in time
  REQUIRE(world.has_call("a1", "inspect"));
  if (has_come) world.boxes.at("a1").agent = AgentPhase::connected;
  world.now += seconds(30);
  world.send(Tick{});
  CHECK(world.count_calls("stop") == 0);
  CHECK(world.state("a1") == ExecutorState::booting);
  world.settle();
  CHECK(world.seen("a1").has_value() == has_come);
}

TEST_CASE("leases: an agent that came and was cut off while nobody could look may have left a build",
          "[unit][agentd]") {
  World world = world_with_busy_order();
  REQUIRE(world.state("a1") == ExecutorState::booting);
  const bool could_look = GENERATE(true, false);
  for (int i = 0; i < 12 && !could_look; ++i)
    world.errors["inspect"].push_back(Error::try_again(ErrorCode::unavailable, "no"));
  world.send(InstanceChanged{ExecutorId("a1")});
  world.advance(seconds(20));
  world.set_agent("a1", AgentPhase::ended, 0);
  world.advance(seconds(30));
  world.errors.clear();
  world.advance(seconds(30));
  CHECK((world.count_calls("stop") == 0) == !could_look);
  world.advance(minutes(10));  // no block came back for it
  CHECK_FALSE(world.seen("a1"));
}

TEST_CASE("leases: an agent that came and was cut off while agentd was down may have left a build",
          "[unit][agentd]") {
  World world = world_with_busy_order();
  // Killed while the driver was at its start.
  const bool was_started = GENERATE(true, false);
  world.crash();
  if (!was_started) world.intents.at("a1").state = IntentState::creating;
  world.set_agent("a1", AgentPhase::ended, 1);
  world.restart();
  world.settle();
  world.advance(minutes(2));
  CHECK(world.count_calls("stop") == 0);
  world.advance(minutes(10));  // no block came back for it
  CHECK_FALSE(world.seen("a1"));
}

TEST_CASE("leases: one whose start agentd was killed in is kept while its driver cannot list it",
          "[unit][agentd]") {
  World world = world_with_busy_order();
  const bool is_busy = GENERATE(true, false);
  world.crash();
  world.intents.at("a1").state = IntentState::creating;
  world.intents.at("a1").is_busy = is_busy;
  world.set_agent("a1", AgentPhase::connected);
  for (int i = 0; i < 30; ++i) world.errors["list"].push_back(Error::try_again(ErrorCode::unavailable, "no"));
  world.restart();
  world.advance(minutes(3));
  CHECK((world.count_calls("destroy") == 0) == is_busy);
  world.errors.clear();
  world.advance(minutes(1));
  CHECK(world.seen("a1").has_value() == is_busy);
}

TEST_CASE("leases: a busy executor outlives its lease until its agent has ended", "[unit][agentd]") {
  World world = world_with_connected("a1");
  world.renew({{ExecutorId("a1"), true}});
  world.advance(hours(3));
  REQUIRE(world.state("a1") == ExecutorState::idle);
  CHECK(world.seen("a1")->is_lease_expired);
  SECTION("sandbox ends") {
    world.end_sandbox("a1", 0);
  }
  SECTION("no longer busy") {
    world.renew({{ExecutorId("a1"), false}}, 1, seconds(1));
  }
  world.advance(seconds(10));
  CHECK_FALSE(world.seen("a1"));
  CHECK(world.boxes.empty());
}

TEST_CASE("leases: a busy executor is kept for forever_limit at most", "[unit][agentd]") {
  World world = world_with_connected("a1");
  world.renew({{ExecutorId("a1"), true}});
  world.advance(hours(24) + seconds(59));
  CHECK(world.seen("a1"));
  world.advance(seconds(2));
  CHECK_FALSE(world.seen("a1"));
}

TEST_CASE("leases: busy is durable: after a restart without a leader the build is not killed",
          "[unit][agentd]") {
  World world = world_with_connected("a1");
  world.renew({{ExecutorId("a1"), true}});
  CHECK(world.intents.at("a1").is_busy);
  world.restart();
  world.advance(hours(1));
  CHECK(world.state("a1") == ExecutorState::idle);
  CHECK(world.seen("a1")->is_lease_expired);
}

TEST_CASE("leases: a leader that comes back renews what was kept", "[unit][agentd]") {
  World world = world_with_connected("a1");
  world.renew({{ExecutorId("a1"), true}});
  world.advance(hours(1));
  CHECK(world.seen("a1")->is_lease_expired);
  world.renew({{ExecutorId("a1"), true}}, 2);
  CHECK_FALSE(world.seen("a1")->is_lease_expired);
}

TEST_CASE("leases: an executor that failed by its deadline is kept once its agent is there after all",
          "[unit][agentd]") {
  World world;
  world.start();
  world.settle();
  ExecutorOrder order = make_order("a1");
  order.is_busy = true;
  order.spec.boot_deadline = order.spec.join_deadline = seconds(10);
  world.order(order);
  world.settle();
  world.advance(seconds(40));
  REQUIRE(world.state("a1") == ExecutorState::failed);
  world.set_agent("a1", AgentPhase::connected);
  world.advance(hours(1));
  REQUIRE(world.seen("a1"));
  CHECK(world.seen("a1")->is_lease_expired);
  world.set_agent("a1", AgentPhase::ended);  // its build may resume
  world.advance(seconds(40));
  CHECK(world.seen("a1"));
  world.end_sandbox("a1", 0);
  world.advance(seconds(10));
  CHECK_FALSE(world.seen("a1"));
}

TEST_CASE("leases: a failed executor goes with its lease", "[unit][agentd]") {
  World world;
  world.start();
  world.settle();
  world.errors["start"].push_back(Error::failed(ErrorCode::generic, "no such image"));
  world.order(make_order("a1"));
  world.settle();
  CHECK(world.state("a1") == ExecutorState::failed);
  world.advance(seconds(61));
  CHECK_FALSE(world.seen("a1"));
}

TEST_CASE("leases: a renewal that a later one overtook changes nothing", "[unit][agentd]") {
  World world = world_with_connected("a1");
  const auto renew = [&](Epoch epoch, std::uint64_t number, bool is_busy) {
    return world.renew({{ExecutorId("a1"), is_busy}}, epoch, seconds(60), number);
  };
  CHECK(renew(1, 8, true)->status == 200);
  const auto late = renew(1, 7, false);
  CHECK(late->status == 409);
  CHECK(message_of(late).find("later renewal") != std::string::npos);
  world.advance(minutes(5));
  CHECK(world.state("a1") == ExecutorState::idle);
  CHECK(renew(2, 1, false)->status == 200);
  world.advance(minutes(5));
  CHECK(world.state("a1") == ExecutorState::gone);
}

TEST_CASE("leases: bad renewals are refused", "[unit][agentd]") {
  World world = world_with_connected("a1");
  CHECK(world.renew({}, 0)->status == 400);
  CHECK(world.renew({}, 1, Duration::zero())->status == 400);
}

}  // namespace lease_test
