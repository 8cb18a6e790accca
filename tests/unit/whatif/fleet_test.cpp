#include "simulation/whatif/fleet.h"

#include <catch2/catch.hpp>

namespace fleet_test {

using namespace skep;
using namespace skep::simulation;
using namespace skep::simulation::whatif;

namespace {

scheduler::Template small(const std::string& name, std::int64_t cpu_millis) {
  scheduler::Template t;
  t.name = TemplateName(name);
  t.driver = "process";
  t.resources.cpu_millis = cpu_millis;
  t.resources.memory_bytes = std::int64_t{1} << 30;
  return t;
}

Fleet of(int count) {
  HostGroup group;
  group.count = count;
  group.capacity.cpu_millis = 8'000;
  group.capacity.memory_bytes = std::int64_t{64} << 30;
  group.max_executors = 16;
  return {"hosts", {group}};
}

}  // namespace

TEST_CASE("fleet: a plan has the hosts, the policy and the seed", "[unit][whatif][fleet]") {
  scheduler::SchedulerConfig config;
  config.templates = {small("linux", 1'000), small("big", 4'000)};
  const auto plan = make_plan(config, of(3), 42);
  REQUIRE(plan);
  CHECK(plan->seed == 42);
  REQUIRE(plan->hosts.size() == 3);
  CHECK(plan->hosts[0].host == HostId("host-001"));
  CHECK(plan->hosts[2].host == HostId("host-003"));
  CHECK(plan->hosts[0].driver == "process");
  CHECK(plan->scheduler.templates.size() == 2);
  CHECK(room_of(*plan) == 24);  // eight of the smaller template on each
}

TEST_CASE("fleet: what cannot work is refused, with what to do", "[unit][whatif][fleet]") {
  scheduler::SchedulerConfig config;
  config.templates = {small("linux", 1'000), small("vm", 1'000)};
  config.templates[1].driver = "qemu";
  const auto unclear = make_plan(config, of(1), 1);
  REQUIRE(!unclear);
  CHECK_THAT(unclear.error().message, Catch::Contains("several drivers"));
  Fleet named = of(1);
  named.groups[0].driver = "qemu";
  CHECK(make_plan(config, named, 1));
  named.groups.push_back(named.groups[0]);
  CHECK_THAT(make_plan(config, named, 1).error().message, Catch::Contains("are called \"host\""));

  config.templates = {small("huge", 100'000)};
  CHECK_THAT(make_plan(config, of(5), 1).error().message, Catch::Contains("no template fits"));
  config.templates = {small("linux", 1'000)};
  config.templates[0].host_attributes["zone"] = "a";
  CHECK(!make_plan(config, of(5), 1));
  CHECK_THAT(make_plan(config, of(20'000), 1).error().message, Catch::Contains("at most"));
}

TEST_CASE("fleet: spans of time", "[unit][whatif][fleet]") {
  CHECK(parse_span("8s..20s")->most == seconds(20));
  CHECK(parse_span("8s..20s")->least == seconds(8));
  CHECK(parse_span("10s")->least == parse_span("10s")->most);
  for (const char* bad : {"", "20s..8s", "x", "1s..", "..1s", "1s..2d"}) {
    INFO(bad);
    CHECK(!parse_span(bad));
  }
}

}  // namespace fleet_test
