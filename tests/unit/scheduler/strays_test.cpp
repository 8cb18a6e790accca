// Executors on a host that no record knows: an earlier leader's records are lost.
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace strays_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

TEST_CASE("a stranger that is called back is kept for its block, though its label is hidden",
          "[unit][scheduler]") {
  World w(make_config());
  w.hides_labels = true;
  w.add_host("h1");
  w.start();
  w.add_job("linux", minutes(1));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.run_for(seconds(5));
  w.boot_time = seconds(10);
  w.restart_controller();
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 2; }, seconds(30)));
  w.run_for(seconds(1));
  w.records.clear();
  w.restart_scheduler();
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(1)));
  CHECK(w.builds[1] == w.builds[0]);
  CHECK(w.count<DestroyExecutor>() == 0);
  REQUIRE(w.run_until([&] { return w.is_clean(); }, minutes(2)));
  CHECK(w.builds_per_node().size() == 1);
}

TEST_CASE(
    "a stranger that waits behind a closed gate is destroyed, though it is the one that matches a block",
    "[unit][scheduler]") {
  World w(make_config());
  w.hides_labels = true;
  w.add_host("h1");
  NodeFact& fact = w.add_stranger("h1", false);
  fact.is_connected = false;
  fact.is_temporarily_offline = true;
  fact.offline_reason = "skep: waiting for its build";
  const std::string name = fact.name;
  w.nodes.at(name).labels = parse_label_set("linux");
  w.add_job("linux", minutes(1));
  w.start(2);
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(2)));
  CHECK(w.builds[0].first != name);
  CHECK_FALSE(w.nodes.contains(name));
}

}  // namespace strays_test
