// What changed since the last look, what runs where, and a life that is longer than memory.
#include "tests/unit/controller_sim/controller_fixture.h"

namespace skep::controller_sim::history_test {
namespace {

using Indexes = std::vector<std::size_t>;

/// A node that takes one build after the other.
void open_node(Farm& farm, const std::string& name) {
  farm.create(name, "linux");
  farm.connect(name);
}

void run_one(Farm& farm, const std::string& job, int number) {
  const std::size_t index = farm.model.first_build() + farm.model.builds().size();
  farm.schedule(job, number);
  farm.until([&] { return farm.model.build(index) != nullptr; });
  farm.finish(farm.model.build(index)->node);
  farm.pass(milliseconds(10));
}

}  // namespace

TEST_CASE("changed builds are told once: started and ended") {
  Farm farm;
  farm.sentinel();
  farm.job("app", "linux");
  CHECK(farm.model.take_changed_builds().empty());
  open_node(farm, "n1");
  farm.schedule("app", 1);
  farm.until([&] { return farm.builds_on("n1") == 1; });
  CHECK(farm.model.take_changed_builds() == Indexes{0});
  CHECK(farm.model.take_changed_builds().empty());
  farm.finish("n1");
  CHECK(farm.model.take_changed_builds() == Indexes{0});
  run_one(farm, "app", 2);
  run_one(farm, "app", 3);
  CHECK(farm.model.take_changed_builds() == Indexes{1, 2});  // start and end in one
  REQUIRE(farm.model.build(1));
  CHECK(farm.model.build(1)->result == "SUCCESS");
  CHECK(farm.model.build(3) == nullptr);
}

TEST_CASE("a block that goes on after a restart is a changed build again") {
  Farm farm("2.528.3");
  farm.sentinel();
  farm.pipeline("flow", "linux");
  open_node(farm, "n1");
  farm.schedule("flow");
  farm.until([&] { return farm.builds_on("n1") == 1; });
  const std::uint64_t id = farm.model.builds().front().id;
  CHECK(farm.model.take_changed_builds() == Indexes{0});
  farm.model.restart(true, farm.now);
  farm.pass(seconds(7));
  CHECK(farm.model.take_changed_builds().empty());
  farm.model.forget_builds(1);  // it waits to go on
  REQUIRE(farm.model.first_build() == 0);
  open_node(farm, "n1");
  farm.until([&] { return farm.model.builds().front().resumed == 1; });
  CHECK(farm.model.take_changed_builds() == Indexes{0});
  CHECK(farm.model.running_build_on("n1") == id);
}

TEST_CASE("a build runs on a node from its assignment to its end") {
  Farm farm;
  farm.sentinel();
  farm.job("app", "linux");
  open_node(farm, "n1");
  CHECK_FALSE(farm.model.running_build_on("n1"));
  CHECK_FALSE(farm.model.running_build_on("nowhere"));
  farm.schedule("app");
  farm.until([&] { return farm.model.running_build_on("n1").has_value(); });
  const auto assigned = farm.model.running_build_on("n1");
  CHECK(farm.model.builds().empty());  // no executable yet
  farm.until([&] { return farm.builds_on("n1") == 1; });
  CHECK(farm.model.running_build_on("n1") == assigned);
  CHECK(farm.model.builds().front().id == assigned);
  farm.finish("n1");
  CHECK_FALSE(farm.model.running_build_on("n1"));
}

TEST_CASE("forgotten builds leave the indexes of the others alone") {
  Farm farm;
  farm.sentinel();
  farm.job("app", "linux");
  open_node(farm, "n1");
  for (int i = 0; i < 3; ++i) run_one(farm, "app", i);
  farm.schedule("app", 3);
  farm.until([&] { return farm.model.build(3) != nullptr; });
  farm.model.forget_builds(2);
  CHECK(farm.model.first_build() == 2);
  CHECK(farm.model.builds().size() == 2);
  CHECK(farm.model.build(1) == nullptr);
  REQUIRE(farm.model.build(2));
  CHECK(farm.model.build(2)->number == 3);
  CHECK(farm.model.take_changed_builds() == Indexes{2, 3});
  farm.model.forget_builds(100);  // the one that runs stays
  CHECK(farm.model.first_build() == 3);
  REQUIRE(farm.model.build(3));
  farm.finish("n1");
  CHECK(farm.model.build(3)->result == "SUCCESS");
  farm.model.forget_builds(100);
  CHECK(farm.model.builds().empty());
  CHECK(farm.model.first_build() == 4);
  run_one(farm, "app", 4);
  CHECK(farm.model.build(4) != nullptr);
}

TEST_CASE("a job is forgotten when nothing of it is left to do") {
  Farm farm;
  farm.sentinel();
  farm.job("app", "linux");
  farm.schedule("app");
  CHECK_FALSE(farm.model.forget_job("app"));  // an item waits
  open_node(farm, "n1");
  farm.until([&] { return farm.model.running_build_on("n1").has_value(); });
  CHECK_FALSE(farm.model.forget_job("app"));  // assigned
  farm.until([&] { return farm.builds_on("n1") == 1; });
  CHECK_FALSE(farm.model.forget_job("app"));  // runs
  farm.finish("n1");
  CHECK(farm.model.forget_job("app"));
  CHECK(farm.model.forget_job("app"));
  CHECK(farm.get("/job/app/api/json").status == 404);
  CHECK_FALSE(farm.model.schedule("app", farm.now));
  CHECK(farm.get("/queue/item/1/api/json").status == 200);  // left items stay their time
  farm.pass(minutes(6));
  CHECK(farm.get("/queue/item/1/api/json").status == 404);
}

TEST_CASE("a stopped build keeps its job until its executor is free") {
  Farm farm;
  farm.sentinel();
  farm.job("app", "linux");
  open_node(farm, "n1");
  farm.schedule("app");
  farm.until([&] { return farm.builds_on("n1") == 1; });
  farm.model.stop_build("app", 1, farm.now);
  CHECK_FALSE(farm.model.forget_job("app"));
  farm.until([&] { return farm.model.builds().front().ended_at.has_value(); });
  CHECK(farm.model.forget_job("app"));
}

TEST_CASE("old runs are discarded, and numbers go on") {
  Farm farm;
  farm.options.runs_kept = 2;
  farm.model = ControllerModel(farm.options, farm.now, farm.wall());
  farm.sentinel();
  farm.job("app", "linux");
  open_node(farm, "n1");
  for (int i = 0; i < 5; ++i) run_one(farm, "app", i);
  CHECK(farm.get("/job/app/3/api/json").status == 404);
  CHECK(farm.get("/job/app/4/api/json").status == 200);
  CHECK(farm.get("/job/app/lastBuild/api/json?tree=number").body.find("\"number\":5") != std::string::npos);
  CHECK(farm.get("/job/app/api/json?tree=nextBuildNumber").body.find("6") != std::string::npos);
  CHECK(farm.model.builds().size() == 5);
}

}  // namespace skep::controller_sim::history_test
