// What the audit says when a gate was not watched closely enough: a second build that nobody saw is never
// "no".
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace unwatched_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

World crowd(Duration gate_poll, bool watches = false) {
  SchedulerConfig config = make_config();
  config.templates[0].maximum = 2;
  config.controllers[0].gate_poll = gate_poll;
  World w(std::move(config));
  w.watches = watches;
  w.add_host("h1");
  w.start();
  for (int i = 0; i < 12; ++i) w.add_job("linux", milliseconds(60));
  REQUIRE(
      w.run_until([&] { return w.jobs.empty() && w.is_clean() && w.count<Audit>() == w.count<CreateNode>(); },
                  minutes(5)));
  return w;
}

}  // namespace

TEST_CASE("audit: with slow polls every executor with a second build is reported",
          "[unit][scheduler][gate]") {
  const World w = crowd(milliseconds(200), GENERATE(false, true));
  std::size_t second = 0;
  for (const auto& [name, count] : w.builds_per_node()) {
    if (count < 2) continue;
    ++second;
    const std::string& node = name;
    const auto audits = w.all<Audit>();
    const auto audit =
        std::find_if(audits.begin(), audits.end(), [&](const Audit& a) { return a.record.id.text == node; });
    REQUIRE(audit != audits.end());
    INFO(node << " served " << count << " builds; end: " << audit->end << ", unwatched "
              << audit->gate_unwatched_ms << " ms, open " << audit->gate_open_ms << " ms, blind "
              << audit->gate_longest_blind_ms << " ms");
    CHECK((audit->is_violation || audit->may_hide_build));
  }
  CHECK(second > 0);
  CHECK(w.status().counters.unproven + w.status().counters.violations >= second);
}

TEST_CASE("gate: where watching is slow, one gate is open at a time", "[unit][scheduler][gate]") {
  SchedulerConfig config = make_config();
  config.controllers[0].gate_poll = milliseconds(200);
  World w(std::move(config));
  w.add_host("h1");
  w.start();
  std::set<std::string> open;
  std::vector<std::size_t> open_at_once;  // at each opening
  w.before_action = [&](const Action& action) {
    if (const auto* closed = std::get_if<CloseGate>(&action)) open.erase(closed->node.text);
    if (const auto* opened = std::get_if<OpenGate>(&action)) {
      open.insert(opened->node.text);
      open_at_once.push_back(open.size());
    }
    return true;
  };
  for (int i = 0; i < 40; ++i) w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.jobs.empty(); }, minutes(5)));
  REQUIRE(open_at_once.size() > 12);
  CHECK(*std::max_element(open_at_once.begin(), open_at_once.begin() + 5) > 1);
  CHECK(*std::max_element(open_at_once.begin() + 8, open_at_once.end()) == 1);
}

TEST_CASE("audit: with usual polls one build is proved", "[unit][scheduler][gate]") {
  const bool watches = GENERATE(false, true);
  const World w = crowd(milliseconds(8), watches);
  // The watch closes by itself: the logic closes before the order, and not again at the sight of the build.
  if (watches) CHECK(w.count<CloseGate>() == w.count<CreateNode>());
  for (const auto& [node, count] : w.builds_per_node()) CHECK(count == 1);
  const auto audits = w.all<Audit>();
  CHECK(audits.size() == 12);
  for (const Audit& audit : audits) {
    CHECK_FALSE(audit.is_violation);
    CHECK_FALSE(audit.may_hide_build);
    CHECK(audit.gate_unwatched_ms < 40);
  }
  CHECK(w.status().counters.unproven == 0);
}

TEST_CASE("audit: a gate that stood open before it was opened may hide a build", "[unit][scheduler][gate]") {
  World w(make_config());
  w.add_host("h1");
  const bool was_open = GENERATE(false, true);
  w.before_action = [&](const Action& action) {
    const auto* opened = std::get_if<OpenGate>(&action);
    if (opened != nullptr && was_open) w.nodes[opened->node.text].fact.is_temporarily_offline = false;
    return true;
  };
  w.start();
  w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }));
  CHECK(w.all<Audit>().front().may_hide_build == was_open);
  CHECK_FALSE(w.all<Audit>().front().is_violation);
}

TEST_CASE("audit: a gate that a list shows open before it was opened may hide a build",
          "[unit][scheduler][gate]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  World w(config);
  w.add_host("h1");
  w.start();
  REQUIRE(w.has_warm_one());
  Instant opened{};
  w.before_action = [&](const Action& action) {
    if (std::holds_alternative<OpenGate>(action)) opened = w.now;
    return true;
  };
  w.add_job("linux", seconds(10));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }));
  const Duration arrives = GENERATE(Duration::zero(), Duration(seconds(1)));  // before and after it is closed
  w.run_for(arrives);
  const Duration asked =
      GENERATE(-Duration(milliseconds(1)), Duration(milliseconds(1)));  // before our opening
  NodeFact shown = w.nodes.begin()->second.fact;
  shown.is_offline = shown.is_temporarily_offline = false;
  w.send(NodesRead{ControllerId("main"), w.session, opened + asked, NodesSnapshot{{shown}}});
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }));
  CHECK(w.all<Audit>().front().may_hide_build == (asked < Duration::zero()));
}

TEST_CASE("audit: a node that is made again stands open until it is closed", "[unit][scheduler][gate]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  w.add_job("linux", minutes(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }));
  w.run_for(seconds(5));
  const bool is_slow = GENERATE(false, true);
  w.restart_controller();
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 2; }));
  if (is_slow) w.round_trip = milliseconds(200);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }));
  CHECK(w.builds_per_node().size() == 1);
  CHECK(w.all<Audit>().front().may_hide_build == is_slow);
}

TEST_CASE("audit: a build on an executor that nobody of ours opened may not be the only one",
          "[unit][scheduler][gate]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  World w(config);
  w.add_host("h1");
  w.start();
  REQUIRE(w.has_warm_one());
  const ExecutorId id(w.nodes.begin()->first);
  NodeFact& fact = w.nodes.begin()->second.fact;  // opened by somebody, and closed again since its build came
  fact.is_idle = false;
  fact.builds = {"job/other/1/"};
  w.restart_scheduler();
  w.run_for(seconds(5));
  fact.is_idle = true;
  fact.builds.clear();
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }));
  CHECK(w.all<Audit>().front().record.id == id);
  CHECK(w.all<Audit>().front().may_hide_build);
}

TEST_CASE("audit: nobody watches a gate while the scheduler's machine is suspended",
          "[unit][scheduler][gate]") {
  struct Row {
    const char* what;
    Duration after_opening, length;
    bool may_hide;
  };
  const Row row = GENERATE(Row{"while it is open", milliseconds(1), minutes(1), true},
                           Row{"its clock is set right a while later", seconds(20), minutes(1), true},
                           Row{"its clock is set right after the build", minutes(2), minutes(1), false},
                           Row{"for less than a build", milliseconds(1), milliseconds(20), false},
                           Row{"its clock is set back", milliseconds(1), -minutes(1), true});
  INFO(row.what);
  World w(make_config());
  w.add_host("h1");
  w.start();
  w.add_job("linux", minutes(3));
  REQUIRE(w.run_until([&] { return w.count<OpenGate>() == 1; }));
  w.run_for(row.after_opening);
  w.suspended += row.length;
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }));
  const Audit audit = w.all<Audit>().front();
  CHECK(audit.may_hide_build == row.may_hide);
  CHECK(audit.gate_unwatched_ms >= (row.may_hide ? 60'000 : 0));
}

TEST_CASE("audit: what came and went while nobody led cannot be ruled out", "[unit][scheduler][gate]") {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = 1;
  World w(config);
  w.add_host("h1");
  w.start();
  REQUIRE(w.has_warm_one());
  const bool is_gone = GENERATE(true, false);
  if (is_gone) {
    w.nodes.clear();
    w.hosts.at(HostId("h1")).executors.clear();
  }
  w.hosts.at(HostId("h1")).report.epoch_seen = 2;
  w.restart_scheduler();
  w.run_for(seconds(5));
  if (!is_gone) w.send(RetireExecutor{w.status().executors[0].record.id, "done", false});
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  CHECK(w.all<Audit>().front().may_hide_build == is_gone);
}

}  // namespace unwatched_test
