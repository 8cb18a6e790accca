#include "simulation/whatif/run.h"

#include <catch2/catch.hpp>

#include "simulation/whatif/fleet.h"
#include "tests/unit/whatif/fake_farm.h"

namespace run_test {

using namespace skep;
using namespace skep::simulation;
using namespace skep::simulation::whatif;
using skep::test::fake_farm;
using skep::test::TextSource;

namespace {

Plan plan_of(int hosts) {
  scheduler::SchedulerConfig config;
  config.templates.resize(1);
  config.templates[0].name = TemplateName("linux");
  config.templates[0].driver = "process";
  HostGroup group;
  group.count = hosts;
  group.max_executors = 2;
  return *make_plan(config, {"hosts", {group}}, 1);
}

Findings run_text(const std::string& rows, std::size_t servers, const Progress& progress = {}) {
  const std::string text = "arrival,label,duration,quiet\n" + rows;
  TextSource scanned(text);
  const auto summary = scan_trace(scanned, "t");
  REQUIRE(summary);
  TextSource source(text);
  TraceLoad load(source, "t", summary->first, first_arrival_at);
  return run(plan_of(1), load, fake_farm(servers), RunOptions{summary->span()}, progress);
}

Duration time_of(const Findings& findings, Doing doing) {
  return findings.time[static_cast<std::size_t>(doing)];
}

}  // namespace

TEST_CASE("run: waits are from arrival and quiet period to the build's start", "[unit][whatif][run]") {
  const Findings found =
      run_text("0,linux,60,\n0,linux,60,\n30,linux&&x86,60,\n30,linux && x86,60,10\n100,,1,\n", 1);
  CHECK(found.arrived == 5);
  CHECK(found.started == 5);
  CHECK(found.ended == 5);
  CHECK(found.never_started() == 0);
  REQUIRE(found.labels.size() == 3);
  CHECK(found.labels.at("linux").waits.most() == seconds(60));
  CHECK(found.labels.at("linux").waits.least() == Duration::zero());
  CHECK(found.labels.at("linux&&x86").arrived == 2);
  CHECK(found.labels.at("linux&&x86").waits.least() == seconds(90));
  CHECK(found.labels.at("linux&&x86").waits.most() == seconds(140));
  CHECK(found.labels.at(any_node).waits.most() == seconds(140));
  CHECK(found.waits.count() == 5);
}

TEST_CASE("run: executors' time is counted from the first arrival on, by what they did",
          "[unit][whatif][run]") {
  const Findings found = run_text("0,linux,60,\n40,linux,60,\n", 2);
  CHECK(time_of(found, Doing::busy) == seconds(120));
  CHECK(time_of(found, Doing::coming) == seconds(5));   // of the first one it was before the first arrival
  CHECK(time_of(found, Doing::leaving) == seconds(1));  // of the second one it is not over at the end
  CHECK(time_of(found, Doing::idle) == found.window);   // the one that the fake keeps
  CHECK(found.window == seconds(100));
  CHECK(found.launched == 3);
  CHECK(found.used == 2);
  CHECK(found.left_idle == 1);
  CHECK(found.room == 2);
  CHECK(found.templates.at("linux").launched == found.launched);
}

TEST_CASE("run: jobs that nothing serves are given up, and told", "[unit][whatif][run]") {
  const Findings found = run_text("0,nowhere,60,\n10,linux,60,\n", 1);
  CHECK(found.never_started() == 1);
  CHECK(found.labels.at("nowhere").arrived == 1);
  CHECK(found.labels.at("nowhere").started == 0);
  CHECK(found.window >= give_up_after);
  CHECK(found.window <= give_up_after + minutes(2));
}

TEST_CASE("run: a build that takes days is waited for", "[unit][whatif][run]") {
  const Findings found = run_text("0,linux,3d,\n", 1);
  CHECK(found.ended == 1);
  CHECK(found.window == hours(72));
  CHECK(found.timeline.slots().size() <= Timeline::most_slots);
}

TEST_CASE("run: a farm that stands still ends the run, and says why", "[unit][whatif][run]") {
  TextSource source("arrival,label,duration\n0,linux,60\n1000,linux,60\n");
  TraceLoad load(source, "t", Duration::zero(), first_arrival_at);
  const MakeFarm breaking = [](const Plan&, Load& jobs, Witness& witness) -> std::unique_ptr<VirtualFarm> {
    auto farm = std::make_unique<test::FakeFarm>(1, jobs, witness);
    farm->break_at(first_arrival_at + seconds(100));
    return farm;
  };
  const Findings found = run(plan_of(1), load, breaking, RunOptions{seconds(1000)});
  CHECK(found.problem == "it stands still");
  CHECK(found.window == seconds(100));
}

TEST_CASE("run: labels beyond the limit share one name", "[unit][whatif][run]") {
  std::string rows;
  for (std::size_t i = 0; i < most_labels + 50; ++i) rows += "0,label" + std::to_string(i) + ",1,\n";
  const Findings found = run_text(rows, 500);
  CHECK(found.labels.size() == most_labels + 1);
  CHECK(found.labels.at(other_labels).arrived == 50);
  CHECK(found.labels.at(other_labels).started == 50);
}

TEST_CASE("run: the same input gives the same findings; progress is told", "[unit][whatif][run]") {
  std::string rows;
  for (int i = 0; i < 300; ++i) rows += std::to_string(i * 7) + ",linux,123,\n";
  int told = 0;
  const Findings a = run_text(rows, 3, [&](Duration, Duration, std::uint64_t) { ++told; }),
                 b = run_text(rows, 3);
  CHECK(told > 100);
  CHECK(a.window == b.window);
  CHECK(a.events == b.events);
  for (const int permille : {500, 950, 990, 1000})
    CHECK(a.waits.quantile(permille) == b.waits.quantile(permille));
  CHECK(a.utilisation() > 0.5);
  CHECK(a.utilisation() == b.utilisation());
}

}  // namespace run_test
