// What is launched, how much, how fast, and what is not.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace launch_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

QueueItem quiet_item(const World& w, const std::string& label, Duration left) {
  QueueItem item;
  item.stage = ItemStage::waiting;
  item.label_source = LabelSource::script;
  item.label = label;
  item.in_queue_since = w.wall();
  item.quiet_until = WallTime{w.wall().ms_since_epoch + to_ms(left)};
  return item;
}

}  // namespace

TEST_CASE("launch: as many executors as items, never twice while they come", "[unit][scheduler][launch]") {
  SchedulerConfig config = make_config();
  config.max_creations_per_second = 100;
  World w(config);
  w.boot_time = seconds(20);
  w.add_host("h1", 64000, 64);
  w.start();
  for (int i = 0; i < 8; ++i) w.add_job("linux", seconds(1));
  w.run_for(seconds(15));
  CHECK(w.count<CreateNode>() == 8);
  REQUIRE(w.run_until([&] { return w.builds.size() == 8 && w.is_clean(); }, minutes(2)));
  CHECK(w.count<CreateNode>() == 8);
}

TEST_CASE("launch: creations are paced per second and starts per host", "[unit][scheduler][launch]") {
  SchedulerConfig config = make_config();
  config.max_creations_per_second = 5;
  config.max_coming_per_host = 6;
  World w(config);
  w.boot_time = seconds(30);
  w.add_host("h1", 64000, 64);
  w.start();
  for (int i = 0; i < 40; ++i) w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.count<CreateNode>() > 0; }, seconds(10)));
  w.run_for(milliseconds(100));
  CHECK(w.count<CreateNode>() == 5);
  w.run_for(seconds(10));
  CHECK(w.count<CreateNode>() == 6);
}

TEST_CASE("launch: look-ahead covers items whose quiet period ends soon, and only those",
          "[unit][scheduler][launch]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  w.run_for(milliseconds(100));
  w.add_item(quiet_item(w, "linux", seconds(40)));
  w.run_for(seconds(20));
  CHECK(w.count<CreateNode>() == 0);
  w.run_for(seconds(14));
  CHECK(w.count<CreateNode>() == 1);
  CHECK(w.count<OpenGate>() == 0);
}

TEST_CASE("launch: blocked, stopping, pending, unresolved items and a quieting controller ask for nothing",
          "[unit][scheduler][launch]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  QueueItem item;
  item.label_source = LabelSource::script;
  item.label = "linux";
  item.in_queue_since = w.wall();
  SECTION("blocked") {
    item.stage = ItemStage::blocked;
    w.add_item(item);
  }
  SECTION("stopping") {
    item.is_stopping = true;
    w.add_item(item);
  }
  SECTION("pending") {
    item.stage = ItemStage::pending;
    w.add_item(item);
  }
  SECTION("unresolved") {
    item.label_source = LabelSource::unresolved;
    item.label.reset();
    w.add_item(item);
  }
  SECTION("quieting down") {
    w.is_quieting_down = true;
    w.add_item(item);
  }
  SECTION("no template") {
    item.label = "solaris";
    w.add_item(item);
  }
  SECTION("no template takes unlabelled items") {
    item.label = " ";
    w.add_item(item);
  }
  w.run_for(seconds(20));
  CHECK(w.count<CreateNode>() == 0);
}

TEST_CASE("launch: unlabelled items go to templates that take them", "[unit][scheduler][launch]") {
  Template any = make_template("any", "misc");
  any.takes_unlabelled = true;
  World w(make_config({make_template("linux", "linux"), any}));
  w.add_host("h1");
  w.start();
  w.add_job("");
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  CHECK(w.all<CreateNode>().front().takes_unlabelled);
}

TEST_CASE("launch: the template with the fewest labels is preferred, then the name",
          "[unit][scheduler][launch]") {
  World w(make_config({make_template("rich", "linux x86 gpu"), make_template("plain2", "linux x86"),
                       make_template("plain1", "linux x86")}));
  w.add_host("h1");
  w.start();
  w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(20)));
  CHECK(w.all<OrderExecutor>()[0].order.spec.template_name == TemplateName("plain1"));
}

TEST_CASE("launch: the oldest item comes first across classes", "[unit][scheduler][launch]") {
  SchedulerConfig config = make_config({make_template("a", "alpha"), make_template("b", "beta")});
  World w(config);
  w.add_host("h1", 1000, 1);
  w.start();
  w.add_job("beta", seconds(1));
  w.run_for(milliseconds(1));
  w.add_job("alpha", seconds(1));
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(20)));
  CHECK(w.all<OrderExecutor>()[0].order.spec.template_name == TemplateName("b"));
  REQUIRE(w.run_until([&] { return w.builds.size() == 2 && w.is_clean(); }, minutes(1)));
}

TEST_CASE("launch: a template's maximum and minimum idle hold", "[unit][scheduler][launch]") {
  SchedulerConfig config = make_config();
  config.templates[0].maximum = 3;
  config.templates[0].minimum_idle = 2;
  World w(config);
  w.add_host("h1", 64000, 64);
  w.start();
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 2; }, seconds(20)));
  w.run_for(seconds(5));
  CHECK(w.count<OrderExecutor>() == 2);
  for (int i = 0; i < 6; ++i) w.add_job("linux", seconds(30));
  w.run_for(seconds(20));
  CHECK(w.builds.size() == 3);
  REQUIRE(w.run_until([&] { return w.builds.size() == 6; }, minutes(3)));
}

TEST_CASE("launch: unneeded executors beyond minimum idle are recycled after the idle limit",
          "[unit][scheduler][launch]") {
  SchedulerConfig config = make_config();
  config.templates[0].idle_limit = minutes(2);
  World w(config);
  w.boot_time = seconds(5);
  w.add_host("h1");
  w.start();
  const std::int64_t item = w.add_job("linux");
  REQUIRE(w.run_until([&] { return w.count<OrderExecutor>() == 1; }, seconds(10)));
  w.remove_item(item);
  w.run_for(minutes(1));
  CHECK(w.count<DestroyExecutor>() == 0);
  REQUIRE(w.run_until([&] { return w.count<Audit>() == 1; }, minutes(2)));
  CHECK(w.is_clean());
  CHECK(w.all<Audit>()[0].end.starts_with("unused"));
}

TEST_CASE("launch: an idle permanent node that is not ours is given its time to take the item",
          "[unit][scheduler][launch]") {
  World w(make_config());
  w.add_host("h1");
  Node own;
  own.fact.name = "permanent";
  own.fact.is_offline = false;
  own.fact.is_connected = true;
  own.fact.labels = {"linux", "x86", "permanent"};
  own.labels = {"linux", "x86", "permanent"};
  own.is_accepting = false;  // it will refuse, for reasons that are not shown
  w.nodes["permanent"] = own;
  w.start();
  w.run_for(milliseconds(100));
  const std::int64_t item = w.add_job("linux");
  w.run_for(seconds(6));
  CHECK(w.count<CreateNode>() == 0);
  CHECK(w.explain(item).reason == WaitReason::served_elsewhere);
  REQUIRE(w.run_until([&] { return w.count<CreateNode>() == 1; }, seconds(15)));
  w.run_for(minutes(1));
  CHECK(w.nodes.contains("permanent"));
}

TEST_CASE("launch: the sentinel is created, closed, never ordered and never swept",
          "[unit][scheduler][launch]") {
  SchedulerConfig config = make_config();
  config.controllers[0].sentinel_node = "t-sentinel-1-0abc";
  World w(config);
  w.add_host("h1");
  w.start();
  REQUIRE(w.run_until(
      [&] {
        return w.nodes.contains("t-sentinel-1-0abc") &&
               w.nodes.at("t-sentinel-1-0abc").fact.is_temporarily_offline;
      },
      seconds(60)));
  w.run_for(minutes(5));
  CHECK(w.count<CreateNode>() == 1);
  CHECK(w.all<CreateNode>()[0].labels.empty());
  CHECK_FALSE(w.all<CreateNode>()[0].takes_unlabelled);
  CHECK(w.count<OrderExecutor>() == 0);
  w.restart_controller();
  REQUIRE(w.run_until(
      [&] {
        return w.nodes.contains("t-sentinel-1-0abc") &&
               w.nodes.at("t-sentinel-1-0abc").fact.is_temporarily_offline;
      },
      minutes(2)));
}

TEST_CASE("launch: names are unique, valid and never used again", "[unit][scheduler][launch]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  std::set<ExecutorId> seen;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 5; ++i) w.add_job("linux", milliseconds(100));
    REQUIRE(w.run_until([&] { return w.jobs.empty() && w.is_clean(); }, minutes(2)));
    w.restart_scheduler();
  }
  for (const CreateNode& create : w.all<CreateNode>()) {
    CHECK(is_valid_name(create.node.text));
    CHECK(seen.insert(create.node).second);
  }
  CHECK(seen.size() == 15);
}

TEST_CASE("launch: leases are renewed for what lives, busy ones marked", "[unit][scheduler][launch]") {
  World w(make_config());
  w.add_host("h1");
  w.start();
  w.add_job("linux", minutes(5));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  const std::size_t before = w.count<RenewLeases>();
  w.run_for(minutes(2));
  const auto renewals = w.all<RenewLeases>();
  CHECK(renewals.size() >= before + 5);
  REQUIRE(renewals.back().renewal.executors.size() == 1);
  CHECK(renewals.back().renewal.executors[0].is_busy);
  CHECK(renewals.back().renewal.epoch == 1);
}

TEST_CASE("launch: the same events give the same actions", "[unit][scheduler][launch]") {
  const auto run = [] {
    SchedulerConfig config = make_config();
    config.templates[0].minimum_idle = 2;
    World w(config);
    w.add_host("h1");
    w.add_host("h2");
    w.start();
    for (int i = 0; i < 20; ++i) w.add_job(i % 2 == 0 ? "linux" : "x86 && linux", milliseconds(70 * i));
    w.run_for(minutes(1));
    std::vector<std::string> names;
    for (const CreateNode& create : w.all<CreateNode>()) names.push_back(create.node.text);
    return std::pair(w.log.size(), names);
  };
  CHECK(run() == run());
}

}  // namespace launch_test
