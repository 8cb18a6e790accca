// A new life of agentd on what the last one left.
#include <catch2/catch.hpp>

#include "tests/unit/agentd/support/world.h"

namespace recovery_test {

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

}  // namespace

TEST_CASE("recovery: what runs and has an intent is adopted through its handle", "[unit][agentd]") {
  World world = world_with("a1");
  world.set_agent("a1", AgentPhase::connected);
  world.crash();
  world.start();
  CHECK(world.state("a1") == ExecutorState::unknown);
  CHECK(world.order(make_order("a1"))->status == 202);
  world.settle();
  CHECK(world.state("a1") == ExecutorState::idle);
  CHECK(world.count_calls("recover") == 1);
  CHECK(world.starts["a1"] == 1);
  CHECK(world.logic->counters().adopted == 1);
}

TEST_CASE("recovery: an intent whose ticket was lost before the start is reported failed, nothing is started",
          "[unit][agentd]") {
  World world;
  world.start();
  world.settle();
  world.order(make_order("a1"));
  world.restart();
  REQUIRE(world.state("a1") == ExecutorState::failed);
  CHECK(world.seen("a1")->message.find("tickets are not kept") != std::string::npos);
  CHECK(world.boxes.empty());
  CHECK(world.count_calls("destroy") == 1);
  CHECK(world.order(make_order("a1"))->status == 202);  // the same order: idempotent, still failed
  world.settle();
  CHECK(world.boxes.empty());
  world.restart();
  CHECK(world.state("a1") == ExecutorState::failed);
  world.destroy("a1", 1);
  world.settle();
  CHECK_FALSE(world.seen("a1"));
}

TEST_CASE("recovery: a start that had finished is adopted although its intent says creating",
          "[unit][agentd]") {
  World world = world_with("a1");
  world.intents.at("a1").state = IntentState::creating;
  world.intents.at("a1").handle = {};
  world.restart();
  CHECK(world.state("a1") == ExecutorState::booting);
  CHECK(world.intents.at("a1").state == IntentState::running);
  CHECK(world.intents.at("a1").handle.blob == "a1");
}

TEST_CASE("recovery: a half-made sandbox is removed and its executor reported failed", "[unit][agentd]") {
  World world = world_with("a1");
  world.intents.at("a1").state = IntentState::creating;
  world.boxes.at("a1").state = SandboxState::creating;
  world.restart();
  CHECK(world.state("a1") == ExecutorState::failed);
  CHECK(world.boxes.empty());
}

TEST_CASE("recovery: a destruction goes on", "[unit][agentd]") {
  World world = world_with("a1");
  world.destroy("a1", 1);
  world.restart();
  CHECK_FALSE(world.seen("a1"));
  CHECK(world.boxes.empty());
  CHECK(world.intents.at("a1").state == IntentState::gone);
}

TEST_CASE("recovery: what carries our tag without an intent is destroyed", "[unit][agentd]") {
  World world = world_with("a1");
  world.crash();
  world.intents.clear();
  world.start();
  world.run_one_call();
  world.run_one_call();
  CHECK(world.state("a1") == ExecutorState::destroying);
  CHECK(world.order(make_order("a1"))->status == 409);
  world.settle();
  CHECK(world.boxes.empty());
}

TEST_CASE("recovery: what was gone and is there again is destroyed", "[unit][agentd]") {
  World world = world_with("a1");
  world.destroy("a1", 1);
  world.settle();
  world.crash();
  world.boxes["a1"] = Box{};
  world.start();
  world.settle();
  CHECK(world.boxes.empty());
}

TEST_CASE("recovery: an executor that vanished while agentd was away is reported failed", "[unit][agentd]") {
  World world = world_with("a1");
  world.crash();
  world.boxes.clear();
  world.start();
  world.settle();
  CHECK(world.state("a1") == ExecutorState::failed);
}

TEST_CASE("recovery: a driver that cannot list leaves everything unknown, and nothing is destroyed",
          "[unit][agentd]") {
  World world = world_with("a1");
  world.boxes["stray"] = Box{};
  for (int i = 0; i < 5; ++i)
    world.errors["list"].push_back(Error::try_again(ErrorCode::unavailable, "starting"));
  world.restart();
  CHECK(world.state("a1") == ExecutorState::unknown);
  CHECK(world.order(make_order("a2"))->status == 503);
  CHECK(world.boxes.size() == 2);
  world.advance(seconds(20));
  CHECK(world.state("a1") == ExecutorState::booting);
  CHECK(world.boxes.size() == 1);
}

TEST_CASE("recovery: a recover that cannot answer is repeated; one that fails leaves the listing",
          "[unit][agentd]") {
  World world = world_with("a1");
  const bool is_final = GENERATE(true, false);
  world.errors["recover"].push_back(is_final ? Error::failed(ErrorCode::generic, "old handle")
                                             : Error::unknown(ErrorCode::timed_out, "hung"));
  world.restart();
  CHECK(world.state("a1") == (is_final ? ExecutorState::booting : ExecutorState::unknown));
  world.advance(seconds(2));
  CHECK(world.state("a1") == ExecutorState::booting);
}

TEST_CASE("recovery: an executor of a driver that is no longer configured is unknown and says so",
          "[unit][agentd]") {
  World world = world_with("a1");
  world.drivers = {{"other", false, false}};
  world.restart();
  CHECK(world.state("a1") == ExecutorState::unknown);
  CHECK(world.seen("a1")->message.find("\"fake\" is not configured") != std::string::npos);
  CHECK(world.destroy("a1", 1)->status == 202);
  world.advance(minutes(5));
  CHECK(world.state("a1") == ExecutorState::destroying);
  CHECK(world.boxes.size() == 1);
}

TEST_CASE("recovery: leases run again from the start, so a dead leader leaks nothing", "[unit][agentd]") {
  World world = world_with("a1");
  world.restart();
  world.advance(seconds(59));
  CHECK(world.seen("a1"));
  world.advance(seconds(2));
  CHECK(world.boxes.empty());
}

}  // namespace recovery_test
