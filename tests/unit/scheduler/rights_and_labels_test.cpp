// What an account without administration meets: rights that come and go, and labels that its controller hides
// behind the name of the one node that matches.
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace rights_and_labels_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

World hiding_world() {
  World w(make_config());
  w.hides_labels = true;
  w.add_host("h1");
  w.start();
  return w;
}

}  // namespace

TEST_CASE("labels: an item that names our one busy executor gets an executor like it", "[unit][scheduler]") {
  World w = hiding_world();
  w.add_job("linux", minutes(30));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.run_for(seconds(3));
  const std::int64_t second = w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, seconds(20)));
  CHECK(w.builds_per_node().size() == 2);
  CHECK_FALSE(w.jobs.contains(second));
  CHECK(w.count<CreateNode>() == 2);
}

TEST_CASE("labels: a hidden label is explained as what it is like", "[unit][scheduler]") {
  SchedulerConfig config = make_config();
  config.templates[0].maximum = 1;
  World w(std::move(config));
  w.hides_labels = true;
  w.add_host("h1");
  w.start();
  w.add_job("linux", minutes(30));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  const std::int64_t second = w.add_job("linux");
  w.run_for(seconds(5));
  const Explanation x = w.explain(second);
  CHECK(x.reason == WaitReason::template_limit);
  CHECK(x.matching_templates == std::vector<std::string>{"linux"});
}

TEST_CASE("labels: an item that only a node of somebody else satisfies is reported, not guessed",
          "[unit][scheduler]") {
  World w = hiding_world();
  Node foreign;
  foreign.fact.name = "static1";
  foreign.fact.is_connected = true;
  foreign.fact.is_offline = false;
  foreign.fact.is_idle = false;
  foreign.labels = parse_label_set("linux");
  w.nodes["static1"] = foreign;
  const std::int64_t item = w.add_job("linux");
  w.run_for(seconds(20));
  CHECK(w.count<CreateNode>() == 0);
  CHECK(w.explain(item).reason == WaitReason::label_unresolved);
}

TEST_CASE("labels: a block that comes back hides its label and still gets no other executor",
          "[unit][scheduler]") {
  World w = hiding_world();
  w.add_job("linux", minutes(30));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  w.restart_controller();
  REQUIRE(w.run_until([&] { return w.builds.size() == 2; }, minutes(2)));
  CHECK(w.builds[0].first == w.builds[1].first);
  CHECK(w.count<OrderExecutor>() == 2);
  CHECK(w.status().counters.launches == 1);
}

TEST_CASE("rights: what was missing is looked for again, and work goes on when it is granted",
          "[unit][scheduler]") {
  World w(make_config());
  w.missing_permissions = {"Agent/Delete"};
  w.add_host("h1");
  w.start();
  w.add_job("linux");
  w.run_for(minutes(2));
  CHECK(w.count<CreateNode>() == 0);
  CHECK(w.count<ProfileController>() <= 8);
  w.missing_permissions.clear();
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(1)));
  const std::size_t profiles = w.count<ProfileController>();
  w.run_for(minutes(10));
  CHECK(w.count<ProfileController>() == profiles);
}

TEST_CASE("rights: an order that is refused for want of a right makes us look at the rights",
          "[unit][scheduler]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  w.run_for(seconds(5));
  bool is_withdrawn = true;
  w.fault = [&](const Action& a) -> std::optional<Fault> {
    if (!is_withdrawn || !std::holds_alternative<CreateNode>(a)) return std::nullopt;
    return Fault{Error::failed(ErrorCode::permission_denied, "the account lacks Agent/Create"), false};
  };
  w.missing_permissions = {"Agent/Create"};
  const std::int64_t item = w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<ProfileController>() == 2; }, seconds(40)));
  w.run_for(seconds(5));
  CHECK(w.explain(item).reason == WaitReason::frozen);
  is_withdrawn = false;
  w.missing_permissions.clear();
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, minutes(3)));
}

}  // namespace rights_and_labels_test
