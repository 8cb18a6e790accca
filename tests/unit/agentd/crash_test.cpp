// agentd is cut off after every single step of its main courses: each action, and each effect of a driver
// call. Whatever the instant: no id is started twice, nothing runs that agentd does not report, a destroyed
// one stays destroyed, and without a leader everything is gone when the leases are over.
#include <catch2/catch.hpp>

#include <functional>

#include "tests/unit/agentd/support/world.h"

namespace crash_test {

using namespace skep;
using namespace skep::agentd;

namespace {

using Course = std::function<void(World&)>;

void check_promises(World& world, int crash_at) {
  INFO("cut off after step " << crash_at);
  for (const auto& [id, count] : world.starts) CHECK(count <= 1);
  for (const auto& [id, box] : world.boxes) {
    INFO("executor " << id);
    CHECK(world.seen(id));
  }
}

/// Number of crash points that were tried.
int try_all(const Course& course, const std::function<void(World&)>& check_more = {}) {
  World whole;
  whole.start();
  whole.settle();
  course(whole);
  const int steps = whole.steps;
  for (int crash_at = 0; crash_at <= steps; ++crash_at) {
    World world;
    world.crash_at = crash_at;
    world.start();
    world.settle();
    course(world);
    world.restart();
    check_promises(world, crash_at);
    if (check_more) check_more(world);
    check_promises(world, crash_at);
    world.advance(seconds(120));
    INFO("cut off after step " << crash_at);
    for (const auto& [id, box] : world.boxes) CHECK(world.intents.at(id).is_busy);
    world.advance(world.boxes.empty() ? Duration(minutes(90)) : Duration(hours(26)));
    CHECK(world.boxes.empty());
    CHECK(world.logic->report().executors.empty());
    CHECK(world.intents.empty());
  }
  return steps + 1;
}

}  // namespace

TEST_CASE("crash: an order, at every step", "[unit][agentd][crash]") {
  const int points = try_all(
      [](World& world) {
        world.order(make_order("a1"));
        world.settle();
      },
      [](World& world) {  // the scheduler repeats its order until it knows
        const auto reply = world.order(make_order("a1"));
        REQUIRE(reply);
        CHECK(reply->status == 202);
        world.settle();
        CHECK(world.starts["a1"] <= 1);
        const ExecutorState state = world.state("a1");
        CHECK((state == ExecutorState::booting || state == ExecutorState::failed));
        CHECK((state == ExecutorState::booting) == (world.boxes.count("a1") == 1));
      });
  CHECK(points >= 9);
}

TEST_CASE("crash: a whole life, at every step", "[unit][agentd][crash]") {
  const int points = try_all([](World& world) {
    world.order(make_order("a1"));
    world.settle();
    if (world.boxes.count("a1") != 0) world.set_agent("a1", AgentPhase::started);
    if (world.boxes.count("a1") != 0) world.set_agent("a1", AgentPhase::connected);
    world.renew({{ExecutorId("a1"), true}});
    world.renew({{ExecutorId("a1"), false}});
    world.destroy("a1", 1);
    world.settle();
  });
  CHECK(points >= 20);
}

TEST_CASE("crash: destruction, at every step: what was destroyed by order never comes back",
          "[unit][agentd][crash]") {
  try_all(
      [](World& world) {
        world.order(make_order("a1"));
        world.settle();
        world.destroy("a1", 2);
        world.settle();
      },
      [](World& world) {
        const auto reply = world.destroy("a1", 2);
        REQUIRE(reply);
        CHECK((reply->status == 200 || reply->status == 202));
        world.settle();
        CHECK(world.boxes.empty());
        CHECK(world.order(make_order("a1", 2))->status == 409);
        world.settle();
        CHECK(world.boxes.empty());
      });
}

TEST_CASE("crash: two executors, a new ticket and a new leader, at every step", "[unit][agentd][crash]") {
  try_all(
      [](World& world) {
        world.order(make_order("a1"));
        world.order(make_order("a2"));
        world.settle();
        if (world.boxes.count("a1") != 0) world.set_agent("a1", AgentPhase::connected);
        ExecutorOrder again = make_order("a1", 3);
        again.ticket.attempt = 2;
        world.order(again);
        world.settle();
        world.destroy("a2", 3);
        world.settle();
      },
      [](World& world) {
        if (world.epoch == 3) {
          CHECK(world.order(make_order("a3", 1))->status == 409);
        }
      });
}

TEST_CASE("crash: again and again in the course of recovery", "[unit][agentd][crash]") {
  for (int second = 0; second < 14; ++second) {
    for (int first = 0; first < 14; ++first) {
      World world;
      world.crash_at = first;
      world.start();
      world.settle();
      world.order(make_order("a1"));
      world.settle();
      world.crash();
      world.boxes["stray"] = Box{};
      world.steps = 0;
      world.crash_at = second;
      world.now += seconds(1);
      world.start();
      world.settle();
      world.restart();
      INFO("cut off after steps " << first << " and " << second);
      CHECK(world.boxes.count("stray") == 0);
      CHECK(world.starts["a1"] <= 1);
      check_promises(world, second);
      world.advance(seconds(120));
      CHECK(world.boxes.empty());
    }
  }
}

}  // namespace crash_test
