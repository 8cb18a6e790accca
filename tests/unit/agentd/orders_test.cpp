#include <catch2/catch.hpp>

#include "tests/unit/agentd/support/world.h"

namespace orders_test {

using namespace skep;
using namespace skep::agentd;

namespace {

World running_world() {
  World world;
  world.start();
  world.settle();
  return world;
}

int status(const std::optional<Reply>& reply) {
  return reply ? reply->status : 0;
}

}  // namespace

TEST_CASE("orders: the intent is durable before the driver is touched, and the reply comes last",
          "[unit][agentd]") {
  World world = running_world();
  world.trace.clear();
  const auto reply = world.order(make_order("a1"));
  REQUIRE(status(reply) == 202);
  CHECK(std::get<ExecutorReport>(reply->body).state == ExecutorState::creating);
  CHECK(world.has_call("a1", "start"));
  world.settle();
  REQUIRE(world.trace == std::vector<std::string>{"record epoch 1", "record creating a1", "reply 202",
                                                  "start a1", "record running a1"});
  CHECK(world.state("a1") == ExecutorState::booting);
}

TEST_CASE("orders: the ticket's secret reaches the driver and nothing else", "[unit][agentd]") {
  World world = running_world();
  world.order(make_order("a1"));
  int tickets = 0;
  for (const Action& action : world.actions) {
    if (const auto* call = std::get_if<CallDriver>(&action)) {
      if (const auto* start = std::get_if<Start>(&call->verb))
        tickets += start->ticket.secret == "the-secret" ? 1 : 0;
    }
    if (const auto* line = std::get_if<Explain>(&action))
      CHECK(line->message.find("the-secret") == std::string::npos);
  }
  CHECK(tickets == 1);
}

TEST_CASE("orders: the same order again changes nothing, with the same or a higher epoch", "[unit][agentd]") {
  World world = running_world();
  world.order(make_order("a1"));
  CHECK(status(world.order(make_order("a1"))) == 202);
  world.settle();
  CHECK(status(world.order(make_order("a1", 2))) == 202);
  world.settle();
  CHECK(world.starts["a1"] == 1);
  CHECK(world.count_calls("start") == 1);
  CHECK(world.epoch == 2);
  CHECK(world.intents.at("a1").epoch == 2);
  CHECK(world.seen("a1")->epoch == 2);
}

TEST_CASE("orders: an older epoch is refused, and both epochs are named", "[unit][agentd]") {
  World world = running_world();
  world.order(make_order("a1", 7));
  const auto reply = world.order(make_order("a2", 6));
  REQUIRE(status(reply) == 409);
  CHECK(error_of(reply)->code == ErrorCode::stale_epoch);
  CHECK(message_of(reply).find("epoch 6") != std::string::npos);
  CHECK(message_of(reply).find("7") != std::string::npos);
  CHECK(reply->epoch_seen == 7);
  CHECK(world.intents.count("a2") == 0);
  CHECK(status(world.destroy("a1", 6)) == 409);
  CHECK(status(world.renew({}, 6)) == 409);
  world.settle();
  CHECK(world.state("a1") == ExecutorState::booting);

  world.restart();
  CHECK(status(world.order(make_order("a2", 6))) == 409);
}

TEST_CASE("orders: another specification under the same id is a conflict", "[unit][agentd]") {
  World world = running_world();
  world.order(make_order("a1"));
  ExecutorOrder other = make_order("a1");
  other.spec.image = "windows";
  const auto reply = world.order(other);
  REQUIRE(status(reply) == 409);
  CHECK(error_of(reply)->code == ErrorCode::conflict);
}

TEST_CASE("orders: what does not fit is refused with the dimension that is short", "[unit][agentd]") {
  World world = running_world();
  ExecutorOrder big = make_order("a1");
  big.spec.resources.memory_bytes = 9LL << 30;
  const auto reply = world.order(big);
  REQUIRE(status(reply) == 507);
  CHECK(error_of(reply)->outcome == Outcome::try_again);
  CHECK(message_of(reply).find("memory") != std::string::npos);

  ExecutorOrder licensed = make_order("a2");
  licensed.spec.resources.countable["licence"] = 2;
  CHECK(status(world.order(licensed)) == 202);
  licensed.spec.id = ExecutorId("a3");
  licensed.spec.resources.countable["licence"] = 1;
  CHECK(status(world.order(licensed)) == 507);
}

TEST_CASE("orders: max_executors counts failed and destroying ones, and a gone one frees its room",
          "[unit][agentd]") {
  World world = running_world();
  for (const char* id : {"a1", "a2", "a3", "a4"}) CHECK(status(world.order(make_order(id))) == 202);
  CHECK(status(world.order(make_order("a5"))) == 507);
  world.settle();
  world.destroy("a1", 1);
  CHECK(status(world.order(make_order("a5"))) == 507);
  world.settle();
  CHECK(status(world.order(make_order("a5"))) == 202);
}

TEST_CASE("orders: what is not here any more cannot join again", "[unit][agentd]") {
  World world;
  world.start();
  world.settle();
  ExecutorOrder again = make_order("a1");
  again.ticket.attempt = 2;
  const auto reply = world.order(again);
  REQUIRE(status(reply) == 409);
  CHECK(std::get<Error>(reply->body).message == "executor a1 cannot join again: it is not here any more");
  CHECK(world.count_calls("start") == 0);
}

TEST_CASE("orders: a drain that cannot be recorded is answered so, holds, and is recorded later",
          "[unit][agentd]") {
  World world;
  world.start();
  world.settle();
  world.are_records_failing = true;
  const bool is_draining = GENERATE(true, false);
  const auto drained = world.drain(is_draining, is_draining ? "new disk" : "");
  REQUIRE(status(drained) == (is_draining ? 507 : 200));  // nothing is to be recorded of what is so already
  if (!is_draining) return;
  CHECK(std::get<Error>(drained->body).message ==
        "host h1 drains, but forgets it at a restart: it could not be recorded (disk full)");
  CHECK(world.logic->report().is_draining);
  CHECK_FALSE(world.is_draining);
  world.are_records_failing = false;
  world.advance(seconds(6));
  CHECK(world.is_draining);
}

TEST_CASE(
    "orders: a draining host refuses new ones with its reason, durably, and accepts again after undrain",
    "[unit][agentd]") {
  World world = running_world();
  world.order(make_order("a1"));
  world.settle();
  const auto drained = world.drain(true, "new disk");
  REQUIRE(status(drained) == 200);
  CHECK(std::get<HostReport>(drained->body).is_draining);
  world.restart();
  const auto reply = world.order(make_order("a2"));
  REQUIRE(status(reply) == 503);
  CHECK(error_of(reply)->outcome == Outcome::try_again);
  CHECK(message_of(reply).find("new disk") != std::string::npos);
  CHECK(status(world.order(make_order("a1"))) == 202);
  CHECK(world.logic->report().drain_reason == "new disk");
  world.drain(false, "");
  CHECK(status(world.order(make_order("a2"))) == 202);
  CHECK_FALSE(world.is_draining);
}

TEST_CASE("orders: unknown and unusable drivers are refused", "[unit][agentd]") {
  World world;
  world.is_usable = false;
  world.start();
  CHECK(status(world.order(make_order("a1"))) == 503);  // not listed yet
  world.settle();
  const auto reply = world.order(make_order("a1"));
  REQUIRE(status(reply) == 503);
  CHECK(message_of(reply).find("no socket") != std::string::npos);
  CHECK(world.logic->report().drivers.empty());
  ExecutorOrder other = make_order("a1");
  other.spec.driver = "hyperv";
  CHECK(status(world.order(other)) == 422);
  world.is_usable = true;
  world.advance(minutes(2));
  CHECK(world.logic->report().drivers == std::vector<std::string>{"fake"});
  CHECK(world.logic->report().images == std::vector<std::string>{"debian"});
  CHECK(status(world.order(make_order("a1"))) == 202);
}

TEST_CASE("orders: values out of range get one error each and change nothing", "[unit][agentd]") {
  World world = running_world();
  ExecutorOrder order = make_order("a1");
  SECTION("id") {
    order.spec.id = ExecutorId("../a1");
  }
  SECTION("epoch") {
    order.epoch = 0;
  }
  SECTION("lease") {
    order.lease = Duration::zero();
  }
  SECTION("long lease") {
    order.lease = hours(25);
  }
  SECTION("resources") {
    order.spec.resources.cpu_millis = -1;
  }
  SECTION("boot deadline") {
    order.spec.boot_deadline = Duration::zero();
  }
  SECTION("stop grace") {
    order.spec.stop_grace = hours(1);
  }
  SECTION("attempt") {
    order.ticket.attempt = 0;
  }
  const std::uint64_t index = world.logic->report().index;
  const auto reply = world.order(order);
  REQUIRE(status(reply) == 400);
  CHECK_FALSE(message_of(reply).empty());
  CHECK(world.intents.empty());
  CHECK(world.logic->report().index == index);
}

TEST_CASE("orders: with a full disk an order is refused cleanly and nothing is started", "[unit][agentd]") {
  World world = running_world();
  world.are_records_failing = true;
  const auto reply = world.order(make_order("a1"));
  REQUIRE(status(reply) == 507);
  CHECK(error_of(reply)->outcome == Outcome::try_again);
  CHECK(message_of(reply).find("disk full") != std::string::npos);
  world.settle();
  CHECK(world.count_calls("start") == 0);
  CHECK(world.boxes.empty());
  CHECK(world.logic->report().executors.empty());
  world.are_records_failing = false;
  CHECK(status(world.order(make_order("a1"))) == 202);
  world.advance(seconds(6));
  CHECK(world.epoch == 1);
  CHECK(world.starts["a1"] == 1);
}

TEST_CASE("orders: a newer ticket is handed to the running executor, once", "[unit][agentd]") {
  World world = running_world();
  world.order(make_order("a1"));
  world.settle();
  world.set_agent("a1", AgentPhase::connected);
  world.set_agent("a1", AgentPhase::ended, 0);
  CHECK(world.state("a1") == ExecutorState::idle);
  CHECK(world.seen("a1")->agent == AgentPhase::ended);
  ExecutorOrder again = make_order("a1");
  again.ticket.attempt = 2;
  CHECK(status(world.order(again)) == 202);
  CHECK(status(world.order(again)) == 202);
  world.settle();
  CHECK(world.count_calls("deliver_ticket") == 1);
  CHECK(world.seen("a1")->ticket_attempt == 2);
  CHECK(world.seen("a1")->agent == AgentPhase::started);
  CHECK(status(world.order(make_order("a1"))) == 202);  // a late duplicate of the first
  world.settle();
  CHECK(world.count_calls("deliver_ticket") == 1);
}

TEST_CASE("orders: a ticket with an unknown outcome is handed over after a look", "[unit][agentd]") {
  World world = running_world();
  world.order(make_order("a1"));
  world.settle();
  world.set_agent("a1", AgentPhase::connected);
  world.errors["deliver_ticket"].push_back(Error::unknown(ErrorCode::timed_out, "hung"));
  const bool has_happened = GENERATE(true, false);
  if (has_happened) world.effects_despite_error.insert("deliver_ticket");
  ExecutorOrder again = make_order("a1");
  again.ticket.attempt = 2;
  world.order(again);
  world.settle();
  world.effects_despite_error.clear();
  world.advance(seconds(5));
  CHECK(world.count_calls("deliver_ticket") == (has_happened ? 1 : 2));
  CHECK(world.seen("a1")->ticket_attempt == 2);
}

TEST_CASE("orders: a driver that cannot hand over tickets says so", "[unit][agentd]") {
  World world;
  world.drivers = {{"fake", false, true}};
  world.start();
  world.settle();
  world.order(make_order("a1"));
  world.settle();
  ExecutorOrder again = make_order("a1");
  again.ticket.attempt = 2;
  CHECK(status(world.order(again)) == 422);
}

}  // namespace orders_test
