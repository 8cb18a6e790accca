// One build per executor: the gate's and the hook's happy paths, bounces, second builds, audits, write-ahead
// order.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace one_build_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

World gated_world(SchedulerConfig config = make_config()) {
  World w(std::move(config));
  w.add_host("h1");
  w.start();
  return w;
}

std::vector<Audit> violations(const World& w) {
  std::vector<Audit> found;
  for (const Audit& audit : w.all<Audit>()) {
    if (audit.is_violation) found.push_back(audit);
  }
  return found;
}

}  // namespace

TEST_CASE("gate: one item becomes one executor, one build, and nothing is left", "[unit][scheduler][gate]") {
  World w = gated_world();
  w.add_job("linux && x86");
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(10)));
  REQUIRE(w.run_until([&] { return w.is_clean(); }, seconds(20)));
  w.run_for(seconds(5));
  CHECK(w.builds.size() == 1);
  CHECK(w.count<CreateNode>() == 1);
  CHECK(w.count<OrderExecutor>() == 1);
  const auto audits = w.all<Audit>();
  REQUIRE(audits.size() == 1);
  CHECK(audits[0].end == "used");
  CHECK_FALSE(audits[0].is_violation);
  CHECK(audits[0].record.builds_seen == std::vector<std::string>{"job/j1/1/"});
  CHECK(audits[0].gate_open_ms > 0);
  CHECK(audits[0].gate_open_ms < 100);
  CHECK(audits[0].busy_ms >= 900);
  REQUIRE(audits[0].record.served);
  CHECK(audits[0].record.served->label == "linux && x86");
  CHECK(audits[0].record.served->arrival <= audits[0].record.planned_at);
  CHECK(audits[0].record.served->is_pipeline_block);
  CHECK(w.status().counters.violations == 0);
  CHECK(w.status().counters.executors_used == 1);
}

TEST_CASE("gate: intent is recorded before the world is touched, and the gate is closed before the order",
          "[unit][scheduler][gate]") {
  World w = gated_world();
  w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, seconds(30)));
  const ExecutorId id = w.all<CreateNode>().front().node;
  const auto recorded = [&](ExecutorState state, bool opened, bool used) {
    return w.first<RecordExecutor>([&](const RecordExecutor& r) {
      return r.record.id == id && r.record.state == state && r.record.was_opened == opened &&
             r.record.was_used == used;
    });
  };
  const std::size_t planned = recorded(ExecutorState::planned, false, false);
  const std::size_t created = w.first<CreateNode>([&](const CreateNode& a) { return a.node == id; });
  const std::size_t closed = w.first<CloseGate>([&](const CloseGate& a) { return a.node == id; });
  const std::size_t ordered = recorded(ExecutorState::ordered, false, false);
  const std::size_t order =
      w.first<OrderExecutor>([&](const OrderExecutor& a) { return a.order.spec.id == id; });
  const std::size_t opened = recorded(ExecutorState::idle, true, false);
  const std::size_t open = w.first<OpenGate>([&](const OpenGate& a) { return a.node == id; });
  const std::size_t destroying = recorded(ExecutorState::destroying, true, true);
  const std::size_t deleted = w.first<DeleteNode>([&](const DeleteNode& a) { return a.node == id.text; });
  const std::size_t destroyed =
      w.first<DestroyExecutor>([&](const DestroyExecutor& a) { return a.executor == id; });
  CHECK(planned < created);
  CHECK(created < closed);
  CHECK(closed < ordered);
  CHECK(ordered < order);
  CHECK(order < opened);
  CHECK(opened < open);
  CHECK(open < destroying);
  CHECK(destroying < deleted);
  CHECK(destroying < destroyed);
  CHECK(destroyed < w.log.size());
  const auto orders = w.all<OrderExecutor>();
  CHECK(orders.front().order.ticket.url == "http://controller/");
  CHECK(orders.front().order.ticket.secret == "secret-of-" + id.text);
  CHECK(orders.front().order.epoch == 1);
  for (const CloseGate& close : w.all<CloseGate>()) CHECK(close.reason.starts_with(our_offline_prefix));
}

TEST_CASE("gate: the queue is kicked once the gate is open, unless opening it was a kick",
          "[unit][scheduler][gate]") {
  for (const bool opening_kicks : {false, true}) {
    World w = gated_world();
    w.opening_kicks = opening_kicks;
    w.add_job("linux");
    REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, seconds(30)));
    CHECK(w.count<Kick>() == (opening_kicks ? 0 : 1));
  }
}

TEST_CASE("gate: a kick that fails is told, and the item is offered again", "[unit][scheduler][gate]") {
  World w = gated_world();
  bool has_failed = false;
  w.fault = [&](const Action& a) -> std::optional<Fault> {
    if (!std::holds_alternative<Kick>(a) || has_failed) return std::nullopt;
    has_failed = true;
    return Fault{Error::failed(ErrorCode::permission_denied, "no permission"), false};
  };
  w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, seconds(60)));
  CHECK(w.count<Kick>() == 2);
  CHECK(violations(w).empty());
  CHECK(w.first<Explain>([](const Explain& a) { return a.message.starts_with("could not kick the queue"); }) <
        w.log.size());
}

TEST_CASE("gate: the order waits until the close is acknowledged", "[unit][scheduler][gate]") {
  World w = gated_world();
  int refusals = 3;
  w.fault = [&](const Action& a) -> std::optional<Fault> {
    if (!std::holds_alternative<CloseGate>(a) || refusals == 0) return std::nullopt;
    --refusals;
    CHECK(w.count<OrderExecutor>() == 0);
    return Fault{Error::unknown(ErrorCode::timed_out, "no answer"), false};
  };
  w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(10)));
  CHECK(refusals == 0);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, seconds(30)));
  CHECK(violations(w).empty());
}

TEST_CASE("gate: a crowd of very short blocks gets one executor each", "[unit][scheduler][gate]") {
  SchedulerConfig config = make_config();
  config.max_creations_per_second = 50;
  World w(std::move(config));
  w.watches = GENERATE(false, true);
  for (int i = 0; i < 4; ++i) w.add_host("h" + std::to_string(i), 16000, 16);
  w.start();
  for (int i = 0; i < 60; ++i) w.add_job("linux", milliseconds(50 + i));
  REQUIRE(w.run_until([&] { return w.builds.size() == 60 && w.is_clean(); }, minutes(5)));
  for (const auto& [node, count] : w.builds_per_node()) CHECK(count == 1);
  CHECK(w.builds_per_node().size() == 60);
  CHECK(violations(w).empty());
  CHECK(w.status().counters.violations == 0);
}

TEST_CASE("gate: a closed executor waits for its own kind of item and no more gates are open than allowed",
          "[unit][scheduler][gate]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 3;
  config.controllers[0].max_open_gates = 1;
  World w = gated_world(config);
  REQUIRE(w.run_until(
      [&] {
        const auto all = w.status().executors;
        return all.size() == 3 && std::all_of(all.begin(), all.end(), [](const auto& e) {
                 return e.state == ExecutorState::idle && e.gate == "closed";
               });
      },
      seconds(20)));
  CHECK(w.count<OpenGate>() == 0);
  w.add_job("linux", seconds(3));
  w.add_job("linux", seconds(3));
  w.add_job("linux", seconds(3));
  int most_open = 0;
  REQUIRE(w.run_until(
      [&] {
        int open = 0;
        for (const auto& [name, node] : w.nodes)
          open += node.fact.is_connected && !node.fact.is_temporarily_offline && node.fact.is_idle ? 1 : 0;
        most_open = std::max(most_open, open);
        return w.builds.size() == 3;
      },
      seconds(20)));
  CHECK(most_open <= 1);
  CHECK(w.count<CreateNode>() >= 3);
}

TEST_CASE("gate: a warm executor is given its item within one poll and 100 ms", "[unit][scheduler][gate]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  World w = gated_world(config);
  REQUIRE(w.run_until(
      [&] {
        return w.status().executors.size() == 1 && w.status().executors[0].gate == "closed" &&
               w.status().executors[0].state == ExecutorState::idle;
      },
      seconds(20)));
  w.run_for(seconds(60));
  w.add_job("linux", seconds(3));
  const Instant since = w.now;
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  CHECK(to_ms(w.now - since) <= to_ms(config.controllers[0].idle_poll_interval) + 100);
}

TEST_CASE("gate: an assignment that bounces is offered again, and the executor is not wasted",
          "[unit][scheduler][gate]") {
  World w = gated_world();
  w.add_job("linux", seconds(3));
  // The first opening only makes the node look assigned; the item stays in the queue.
  bool is_bounced = false;
  w.fault = [&](const Action& a) -> std::optional<Fault> {
    const auto* open = std::get_if<OpenGate>(&a);
    if (open == nullptr || is_bounced) return std::nullopt;
    is_bounced = true;
    w.nodes.at(open->node.text).fact.is_idle = false;
    return Fault{Error::unknown(ErrorCode::timed_out, "no answer"), false};
  };
  REQUIRE(w.run_until([&] { return w.count<CloseGate>() >= 2; }, seconds(20)));
  for (auto& [name, node] : w.nodes) node.fact.is_idle = true;
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(30)));
  CHECK(w.count<OpenGate>() == 2);
  CHECK(w.count<CreateNode>() == 1);
  REQUIRE(w.run_until([&] { return w.is_clean(); }, seconds(30)));
  CHECK(violations(w).empty());
}

TEST_CASE("gate: an open gate that cannot be watched is closed at once", "[unit][scheduler][gate]") {
  World w = gated_world();
  bool is_blind = false;
  std::int64_t item = w.add_job("linux", seconds(3));
  w.fault = [&](const Action& a) -> std::optional<Fault> {
    if (std::holds_alternative<OpenGate>(a) && !is_blind && w.count<OpenGate>() == 1) {
      is_blind = true;
      w.jobs.at(item).item.stage = ItemStage::blocked;  // so that nothing is assigned meanwhile
    }
    const auto* poll = std::get_if<PollNode>(&a);
    if (poll != nullptr && poll->is_gate_open && is_blind)
      return Fault{Error::unknown(ErrorCode::malformed_reply, "half a reply"), false};
    return std::nullopt;
  };
  REQUIRE(w.run_until([&] { return is_blind; }, seconds(20)));
  const Instant opened = w.now;
  REQUIRE(w.run_until([&] { return w.count<CloseGate>() >= 2; }, seconds(2)));
  CHECK(w.now - opened < milliseconds(100));
  is_blind = false;
  w.fault = [](const Action&) { return std::nullopt; };
  w.jobs.at(item).item.stage = ItemStage::buildable;
  REQUIRE(w.run_until([&] { return w.builds.size() == 1 && w.is_clean(); }, minutes(2)));
  CHECK(violations(w).empty());
}

TEST_CASE("gate: a close that was overtaken by the opening's toggle is sent again",
          "[unit][scheduler][gate]") {
  // The opening's answer comes late, after its toggle; a build is seen before. Whatever the order, the node
  // ends closed.
  World w = gated_world();
  w.add_job("linux", milliseconds(60));
  w.add_job("linux", milliseconds(60));
  w.add_job("linux", milliseconds(60));
  REQUIRE(w.run_until([&] { return w.builds.size() == 3 && w.is_clean(); }, minutes(2)));
  for (const auto& [node, count] : w.builds_per_node()) CHECK(count == 1);
}

TEST_CASE("gate: a second build is seen, counted once, and on the audit record", "[unit][scheduler][gate]") {
  World w = gated_world();
  w.add_job("linux", milliseconds(500));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.run_for(milliseconds(100));
  // Somebody opens the gate behind our back and a second build slips in.
  for (auto& [name, node] : w.nodes) {
    node.fact.is_temporarily_offline = false;
    node.fact.is_offline = false;
  }
  w.add_job("linux", seconds(5));
  w.run_for(seconds(3));
  REQUIRE(w.run_until([&] { return w.is_clean() && w.count<Audit>() >= 1; }, minutes(2)));
  REQUIRE(violations(w).size() == 1);
  CHECK(violations(w)[0].record.builds_seen.size() == 2);
  CHECK(violations(w)[0].end == "used: more than once");
  CHECK(w.status().counters.violations == 1);
}

TEST_CASE("gate: nobody takes the item, so the gate closes at its limit and the next opening waits longer",
          "[unit][scheduler][gate]") {
  World w = gated_world();
  w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(10)));
  w.is_quieting_down = false;
  w.fault = [&](const Action& a) -> std::optional<Fault> {
    const auto* open = std::get_if<OpenGate>(&a);
    if (open != nullptr)
      w.nodes.at(open->node.text).is_accepting = false;  // the controller refuses for reasons of its own
    return std::nullopt;
  };
  w.run_for(seconds(30));
  CHECK(w.builds.empty());
  CHECK(w.count<OpenGate>() >= 2);
  CHECK(w.count<OpenGate>() <= 5);
  CHECK(w.count<CreateNode>() == 1);
}

TEST_CASE("hook: Jenkins hands out the work, the node goes away by itself, nothing is gated",
          "[unit][scheduler][hook]") {
  World w(make_config(), OneBuildMeans::hook);
  w.add_host("h1");
  w.start();
  for (int i = 0; i < 6; ++i) w.add_job("linux", milliseconds(200));
  REQUIRE(w.run_until([&] { return w.builds.size() == 6 && w.is_clean(); }, minutes(2)));
  w.run_for(seconds(5));
  CHECK(w.count<OpenGate>() == 0);
  CHECK(w.count<CloseGate>() == 0);
  CHECK(w.builds_per_node().size() == 6);
  for (const CreateNode& create : w.all<CreateNode>()) CHECK(create.labels == "linux x86 skep-one-build");
  CHECK(w.count<Audit>() == 6);
  for (const Audit& audit : w.all<Audit>()) CHECK(audit.record.was_used);
  CHECK(w.count<PollNode>() == 0);  // the common list tells
}

TEST_CASE("hook: an unneeded executor is closed and looked at before it is recycled",
          "[unit][scheduler][hook]") {
  SchedulerConfig config = make_config();
  config.templates[0].idle_limit = seconds(30);
  World w(config, OneBuildMeans::hook);
  w.add_host("h1");
  w.start();
  const std::int64_t item = w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(10)));
  w.remove_item(item);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(3)));
  const std::size_t closed = w.first<CloseGate>([](const CloseGate&) { return true; });
  const std::size_t deleted = w.first<DeleteNode>([](const DeleteNode&) { return true; });
  CHECK(closed < deleted);
  CHECK(w.all<Audit>()[0].end.starts_with("unused: idle for"));
}

TEST_CASE("while a build runs only the common lists are read", "[unit][scheduler][gate]") {
  World w = gated_world();
  w.add_job("linux", minutes(10));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.run_for(seconds(5));
  const std::size_t polls = w.count<PollNode>();
  const std::size_t closes = w.count<CloseGate>();
  w.run_for(minutes(5));
  CHECK(w.count<PollNode>() == polls);
  CHECK(w.count<CloseGate>() == closes);
}

TEST_CASE("requests per executor stay few", "[unit][scheduler][gate]") {
  World w = gated_world();
  w.add_job("linux", seconds(20));
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  const std::size_t open_polls = [&] {
    std::size_t count = 0;
    for (const PollNode& poll : w.all<PollNode>()) count += poll.is_gate_open ? 1 : 0;
    return count;
  }();
  CHECK(open_polls <= 5);
  const PollNode first = w.all<PollNode>()[0];
  CHECK_FALSE(first.is_gate_open);
  CHECK(first.not_before ==
        2 * w.config.controllers[0].gate_poll);  // earlier the controller cannot know of it
  CHECK(w.count<CloseGate>() <= 3);
  CHECK(w.count<OpenGate>() == 1);
  CHECK(w.count<DeleteNode>() == 1);
}

TEST_CASE("at idle the controller is asked seldom, however many executors wait", "[unit][scheduler]") {
  const int warm = GENERATE(0, 1, 100);
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = warm;
  config.max_creations_per_second = 100;
  World w(config);
  for (int i = 0; i < 20; ++i) w.add_host("h" + std::to_string(i), 8000, 8);
  w.start();
  REQUIRE(w.run_until(
      [&] {
        const auto all = w.status().executors;
        return static_cast<int>(all.size()) == warm && std::all_of(all.begin(), all.end(), [](const auto& e) {
                 return e.state == ExecutorState::idle && e.gate == "closed";
               });
      },
      minutes(1)));
  w.run_for(minutes(2));
  const auto requests = [&] {
    return w.count<ReadQueue>() + w.count<ReadNodes>() + w.count<PollNode>() + w.count<CloseGate>() +
           w.count<OpenGate>() + w.count<CreateNode>();
  };
  const std::size_t before = requests();
  w.run_for(minutes(10));
  CHECK((requests() - before) <= 10 * 14);
}

TEST_CASE("hook: a build that is over before its node was seen connected is no failure",
          "[unit][scheduler][hook]") {
  World w(make_config(), OneBuildMeans::hook);
  w.add_host("h1");
  w.start();
  for (int i = 0; i < 6; ++i) w.add_job("linux", milliseconds(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 6 && w.is_clean(); }, minutes(1)));
  CHECK(w.builds_per_node().size() == 6);
  CHECK(w.status().counters.launch_failures == 0);
  for (const Audit& audit : w.all<Audit>()) CHECK(audit.end.starts_with("used"));
}

}  // namespace one_build_test
