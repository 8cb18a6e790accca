// What the looks at an open gate come to.
#include <catch2/catch.hpp>

#include "scheduler/core/gate_looks.h"

namespace skep::scheduler::gate_looks_test {
namespace {

using Next = GateLooks::Next;

constexpr Instant at(int ms) {
  return Instant{} + milliseconds(ms);
}

PollNode order() {
  PollNode made;
  made.controller = ControllerId("ci");
  made.node = ExecutorId("n1");
  made.is_gate_open = true;
  made.pace = milliseconds(8);
  made.watch_for = milliseconds(100);
  return made;
}

NodeFact node(bool is_open) {
  NodeFact fact;
  fact.name = "n1";
  fact.is_connected = true;
  fact.is_offline = fact.is_temporarily_offline = !is_open;
  return fact;
}

NodeFact busy(bool is_open) {
  NodeFact fact = node(is_open);
  fact.is_idle = false;
  fact.builds = {"job/a/1/"};
  return fact;
}

Next look(GateLooks& looks, int started, int answered, Result<std::optional<NodeFact>> fact,
          bool is_stopping = false) {
  return looks.answered(std::move(fact), at(started), at(answered), is_stopping);
}

Next look(GateLooks& looks, int started, int answered, NodeFact fact, bool is_stopping = false) {
  return look(looks, started, answered, std::optional<NodeFact>(std::move(fact)), is_stopping);
}

}  // namespace

TEST_CASE("an open gate without a build is looked at until the time is over") {
  GateLooks looks(order(), at(0));
  CHECK(look(looks, 8, 10, node(true)) == Next::look);
  CHECK(look(looks, 18, 24, node(true)) == Next::look);
  CHECK(look(looks, 98, 100, node(true)) == Next::end);
  const NodePolled told = looks.result();
  CHECK(told.controller == ControllerId("ci"));
  CHECK(told.node == ExecutorId("n1"));
  CHECK(told.started == at(98));
  CHECK(told.fact.value() == node(true));
  REQUIRE(told.watch);
  CHECK(told.watch->first_answer == at(10));
  CHECK(told.watch->longest_gap == milliseconds(82));
  CHECK(told.watch->longest_idle_gap == milliseconds(82));
  CHECK(told.watch->idle_started == at(98));
  CHECK_FALSE(told.watch->was_assigned);
  CHECK_FALSE(told.watch->closed);
}

TEST_CASE("the sight of a build closes the gate, and when that was acknowledged is told") {
  GateLooks looks(order(), at(0));
  NodeFact assigned = node(true);
  assigned.is_idle = false;
  CHECK(look(looks, 8, 10, node(true)) == Next::look);
  CHECK(look(looks, 18, 20, assigned) == Next::look);
  CHECK(look(looks, 28, 30, busy(true)) == Next::close_busy);
  CHECK(GateLooks::reason_of(Next::close_busy) == busy_reason);
  CHECK(looks.closed(true, at(33), false) == Next::end);
  const NodePolled told = looks.result();
  REQUIRE(told.watch);
  CHECK(told.watch->closed == at(33));
  CHECK(told.watch->was_assigned);
  CHECK(told.watch->longest_gap == milliseconds(12));
  CHECK(told.watch->longest_idle_gap == Duration::zero());
  CHECK(told.watch->idle_started == at(8));
}

TEST_CASE("a close without an answer counts for nothing") {
  GateLooks looks(order(), at(0));
  CHECK(look(looks, 8, 10, busy(true)) == Next::close_busy);
  CHECK(looks.closed(false, at(12), false) == Next::end);
  CHECK_FALSE(looks.result().watch->closed);
}

TEST_CASE("a build behind a gate that is shut already only ends the watch") {
  GateLooks looks(order(), at(0));
  CHECK(look(looks, 8, 10, busy(false)) == Next::end);
  CHECK(looks.result().watch->was_assigned);
}

TEST_CASE("shut before it was seen open is an opening under way, afterwards somebody else's close") {
  GateLooks looks(order(), at(0));
  CHECK(look(looks, 8, 10, node(false)) == Next::look);
  CHECK(look(looks, 18, 20, node(false)) == Next::look);
  CHECK(look(looks, 28, 30, node(true)) == Next::look);
  CHECK(look(looks, 38, 40, node(false)) == Next::end);
}

TEST_CASE("a node that is not there, or an answer that is none, ends the watch") {
  GateLooks absent(order(), at(0));
  CHECK(look(absent, 8, 10, std::optional<NodeFact>()) == Next::end);
  CHECK(absent.result().fact.value() == std::nullopt);
  GateLooks failed(order(), at(0));
  CHECK(look(failed, 8, 10, node(true)) == Next::look);
  CHECK(look(failed, 18, 20, Error::unknown(ErrorCode::timed_out, "late")) == Next::end);
  CHECK_FALSE(failed.result().fact);
  CHECK(failed.result().watch->longest_gap == milliseconds(12));
  CHECK_FALSE(failed.result().watch->was_assigned);
}

TEST_CASE("a scheduler that ends leaves no gate open") {
  GateLooks idle(order(), at(0));
  CHECK(look(idle, 8, 10, node(true), true) == Next::close_leaving);
  CHECK(GateLooks::reason_of(Next::close_leaving).starts_with(our_offline_prefix));
  CHECK(idle.closed(true, at(12), true) == Next::end);
  CHECK_FALSE(idle.result().watch->closed);  // that tells of a build

  GateLooks building(order(), at(0));
  CHECK(look(building, 8, 10, busy(true), true) == Next::close_busy);
  CHECK(building.closed(false, at(12), true) == Next::close_leaving);
  CHECK(building.closed(false, at(14), true) == Next::end);

  GateLooks shut(order(), at(0));
  CHECK(look(shut, 8, 10, node(false), true) == Next::end);
}

}  // namespace skep::scheduler::gate_looks_test
