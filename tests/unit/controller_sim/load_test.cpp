// A stand-in on which much happens, for benchmarks: as many events as asked for.
#include "tests/controller_sim/shell/load.h"

#include <map>
#include <string>

#include "scheduler/jenkins/companion.h"
#include "tests/unit/controller_sim/controller_fixture.h"

namespace skep::controller_sim::load_test {

TEST_CASE("a load tells as many events a second as asked for, and leaves nothing in the queue") {
  Farm farm;
  farm.job("one", "nobody");
  farm.job("two", "nobody-else");
  farm.model.create_permanent_node("other", "other", true, 1, farm.now);
  farm.post("/scriptText", "script=" + percent_encode_form(scheduler::companion_install_script()));
  REQUIRE(farm.model.companion_events() == 0);
  LoadSpec spec;
  spec.jobs = {"one", "two"};
  spec.nodes = {"other"};
  spec.standing = 10;
  spec.events_per_second = 300;
  spec.node_events_per_second = 20;
  spec.length = seconds(2);
  Load load(spec, farm.model, farm.now);
  for (int step = 0; step < 300; ++step) {
    farm.pass(milliseconds(5));
    load.step(farm.model, farm.now);
    CHECK(farm.model.queue_length() <= 10);
  }
  CHECK_FALSE(load.is_over());
  CHECK(farm.model.queue_length() == 10);
  CHECK(farm.model.companion_events() >= 450);
  CHECK(farm.model.companion_events() <= 460);
  const auto told = scheduler::read_companion_news(
      farm.post("/scriptText",
                "script=" + percent_encode_form(scheduler::companion_wait_script(1, seconds(0))))
          .body);
  REQUIRE(told);
  std::map<std::string, int> kinds;
  for (const auto& event : told->events) ++kinds[event.kind];
  CHECK(kinds["opened"] + kinds["closed"] == 30);
  CHECK(kinds["waiting"] - kinds["cancelled"] == 10);
  for (int step = 0; step < 100; ++step) {
    farm.pass(milliseconds(5));
    load.step(farm.model, farm.now);
  }
  CHECK(load.is_over());
  CHECK(farm.model.queue_length() == 0);
}

}  // namespace skep::controller_sim::load_test
