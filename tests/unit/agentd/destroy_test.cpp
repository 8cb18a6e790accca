#include <catch2/catch.hpp>

#include "tests/unit/agentd/support/world.h"

namespace destroy_test {

using namespace skep;
using namespace skep::agentd;

namespace {

World world_with(const std::string& id) {
  World world;
  world.start();
  world.settle();
  world.order(make_order(id));
  world.settle();
  world.trace.clear();
  return world;
}

}  // namespace

TEST_CASE("destroy: stop, destroy, look, and only then gone", "[unit][agentd]") {
  World world = world_with("a1");
  const auto reply = world.destroy("a1", 1);
  REQUIRE(reply->status == 202);
  CHECK(std::get<ExecutorReport>(reply->body).state == ExecutorState::destroying);
  world.settle();
  CHECK(world.trace == std::vector<std::string>{"record destroying a1", "reply 202", "stop a1", "destroy a1",
                                                "inspect a1", "record gone a1"});
  CHECK(world.boxes.empty());
  CHECK_FALSE(world.seen("a1"));
  const auto again = world.destroy("a1", 1);
  REQUIRE(again->status == 200);
  CHECK(std::get<ExecutorReport>(again->body).state == ExecutorState::gone);
}

TEST_CASE("destroy: is repeated with back-off until nothing is left", "[unit][agentd]") {
  World world = world_with("a1");
  for (int i = 0; i < 3; ++i)
    world.errors["destroy"].push_back(Error::try_again(ErrorCode::unavailable, "device busy"));
  world.destroy("a1", 1);
  world.settle();
  CHECK(world.state("a1") == ExecutorState::destroying);
  CHECK(world.seen("a1")->message.find("device busy") != std::string::npos);
  CHECK(world.count_calls("destroy") == 1);
  world.advance(milliseconds(499));
  CHECK(world.count_calls("destroy") == 1);
  world.advance(milliseconds(1));
  CHECK(world.count_calls("destroy") == 2);
  world.advance(seconds(3));
  CHECK(world.count_calls("destroy") == 4);
  CHECK_FALSE(world.seen("a1"));
}

TEST_CASE("destroy: a driver that says done although something is left is not believed", "[unit][agentd]") {
  World world = world_with("a1");
  world.destroy("a1", 1);
  world.run_one_call();  // stop
  world.run_one_call();  // destroy
  world.boxes["a1"] = Box{};
  world.run_one_call();  // inspect
  CHECK(world.state("a1") == ExecutorState::destroying);
  world.advance(seconds(2));
  CHECK_FALSE(world.seen("a1"));
  CHECK(world.boxes.empty());
}

TEST_CASE("destroy: an unknown outcome is looked at before it is repeated", "[unit][agentd]") {
  World world = world_with("a1");
  world.errors["destroy"].push_back(Error::unknown(ErrorCode::timed_out, "no answer"));
  world.destroy("a1", 1);
  world.advance(seconds(2));
  CHECK_FALSE(world.seen("a1"));
  CHECK(world.trace == std::vector<std::string>{"record destroying a1", "reply 202", "stop a1", "destroy a1",
                                                "inspect a1", "destroy a1", "inspect a1", "record gone a1"});
}

TEST_CASE("destroy: while it is being started, it waits for the start", "[unit][agentd]") {
  World world;
  world.start();
  world.settle();
  world.order(make_order("a1"));
  REQUIRE(world.destroy("a1", 1)->status == 202);
  CHECK(world.calls.size() == 1);
  world.settle();
  CHECK(world.boxes.empty());
  CHECK_FALSE(world.seen("a1"));
  CHECK(world.order(make_order("a1"))->status == 409);
}

TEST_CASE("destroy: an order for an executor that is going or gone is refused: ids are never used again",
          "[unit][agentd]") {
  World world = world_with("a1");
  world.destroy("a1", 1);
  CHECK(world.order(make_order("a1"))->status == 409);
  world.settle();
  const auto late = world.order(make_order("a1"));
  REQUIRE(late->status == 409);
  CHECK(message_of(late).find("never used again") != std::string::npos);
  world.restart();
  CHECK(world.order(make_order("a1"))->status == 409);
  world.advance(minutes(61));
  CHECK(world.intents.empty());
}

TEST_CASE("destroy: an id that was never seen is gone, and a late order for it is refused",
          "[unit][agentd]") {
  World world = world_with("a1");
  const auto reply = world.destroy("b7", 1);
  REQUIRE(reply->status == 200);
  CHECK(world.order(make_order("b7"))->status == 409);
}

TEST_CASE("destroy: before everything was listed, an unknown id is not said to be gone", "[unit][agentd]") {
  World world;
  world.start();
  CHECK(world.destroy("b7", 1)->status == 503);
}

TEST_CASE("destroy: the memory of gone ids is bounded, the oldest are forgotten first", "[unit][agentd]") {
  World world;
  world.config.max_tombstones = 3;
  world.start();
  world.settle();
  for (const char* id : {"a1", "a2", "a3", "a4"}) {
    world.destroy(id, 1);
    world.advance(seconds(1));
  }
  CHECK(world.intents.size() == 3);
  CHECK(world.intents.count("a1") == 0);
}

TEST_CASE("destroy: goes on with a full disk, and is recorded when there is room", "[unit][agentd]") {
  World world = world_with("a1");
  world.are_records_failing = true;
  REQUIRE(world.destroy("a1", 1)->status == 202);
  world.settle();
  CHECK(world.boxes.empty());
  CHECK_FALSE(world.seen("a1"));
  CHECK(world.intents.at("a1").state == IntentState::running);
  world.are_records_failing = false;
  world.advance(seconds(6));
  CHECK(world.intents.at("a1").state == IntentState::gone);
}

}  // namespace destroy_test
