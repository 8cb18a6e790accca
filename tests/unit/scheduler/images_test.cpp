// Rollouts in a small farm in virtual time: hosts fetch, launches get their version, idle executors are
// replaced, bad versions stop; kills of the scheduler lose nothing.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/unit/scheduler/support/world.h"

namespace images_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

SchedulerConfig small_canary(int idle = 0) {
  SchedulerConfig config = make_config();
  config.templates[0].minimum_idle = idle;
  config.rollouts.canary_share = 50;
  config.rollouts.canary_starts = 4;
  config.rollouts.worse_join_rate = 30;
  return config;
}

struct Farm : World {
  explicit Farm(SchedulerConfig given = small_canary(), int count = 1,
                OneBuildMeans given_means = OneBuildMeans::gate)
      : World(std::move(given), given_means) {
    for (int i = 1; i <= count; ++i) add_host("h" + std::to_string(i)).catalogue = {"base@1", "base@2"};
    start();
  }
  void roll(RolloutOrder order) { send(RollOutImage{std::move(order)}); }
  const Rollout& rollout() const { return *images.at("base").rollout; }
  bool becomes(RolloutState state, Duration limit = minutes(10)) {
    return run_until([&] { return images.contains("base") && images.at("base").rollout->state == state; },
                     limit);
  }
  /// Executors that live, by what they were made from.
  std::map<std::string, int> living() const {
    std::map<std::string, int> count;
    for (const auto& [id, host] : hosts) {
      for (const auto& [executor, there] : host.executors) ++count[made_from.at(executor)];
    }
    return count;
  }
  bool build_one(Duration length = seconds(1)) {
    const std::size_t before = builds.size();
    add_job("linux", length);
    return run_until([&] { return builds.size() == before + 1 && running.empty(); }, minutes(5));
  }
  /// As many builds as prove a version, and until it is done.
  bool gets_done() {
    for (int i = 0; i < 12 && rollout().state != RolloutState::done; ++i) {
      if (!build_one(seconds(1))) return false;
      run_for(seconds(3));
    }
    return becomes(RolloutState::done, minutes(2));
  }
  std::string image_of_last_build() const { return made_from.at(ExecutorId(builds.back().first)); }
  int starts_of(const std::string& reference) const {
    return static_cast<int>(std::count_if(made_from.begin(), made_from.end(),
                                          [&](const auto& pair) { return pair.second == reference; }));
  }
  bool every_order_was_ready = true;
  /// As a host would: an order for what it does not report is the scheduler's mistake.
  void watch_orders() {
    before_action = [this](const Action& action) {
      if (const auto* order = std::get_if<OrderExecutor>(&action)) {
        const auto& ready = hosts.at(order->host).report.images;
        every_order_was_ready = every_order_was_ready &&
                                std::find(ready.begin(), ready.end(), order->order.spec.image) != ready.end();
      }
      return true;
    };
  }
};

const RolloutOrder now_to_two{"base", "2", std::nullopt, false, true};
const RolloutOrder canary_of_two{"base", "2", std::nullopt, false, false};

}  // namespace

TEST_CASE("rollout without a canary: fetched first, then launched, idle ones replaced, busy ones left alone",
          "[unit][scheduler][images]") {
  Farm w(small_canary(2), 2);
  w.watch_orders();
  REQUIRE(w.run_until([&] { return w.living()["base"] == 2; }, minutes(1)));
  w.add_job("linux", minutes(3));
  REQUIRE(w.run_until([&] { return w.running.size() == 1 && w.living()["base"] == 3; }, minutes(1)));
  const std::string busy = w.builds.back().first;
  w.roll(now_to_two);
  CHECK(w.count<PullImage>() == 2);
  CHECK(w.rollout().state == RolloutState::pulling);
  REQUIRE(w.becomes(RolloutState::rolling, seconds(20)));
  REQUIRE(w.run_until([&] { return w.living()["base@2"] == 2; }, minutes(1)));
  CHECK(w.running.contains(busy));
  REQUIRE(w.run_until([&] { return w.running.empty(); }, minutes(5)));
  REQUIRE(w.gets_done());
  CHECK(w.images.at("base").current == "2");
  CHECK(w.images.at("base").previous == "");
  CHECK(w.living() == std::map<std::string, int>{{"base@2", 2}});
  REQUIRE(w.build_one());
  CHECK(w.image_of_last_build() == "base@2");
  CHECK(w.every_order_was_ready);
}

TEST_CASE("canary: a share tries the version, then all; it is told with numbers",
          "[unit][scheduler][images]") {
  Farm w;
  w.roll(canary_of_two);
  REQUIRE(w.becomes(RolloutState::canary, seconds(20)));
  int builds = 0;
  while (w.rollout().state == RolloutState::canary && ++builds < 20) REQUIRE(w.build_one());
  CHECK(w.rollout().state != RolloutState::stopped);
  CHECK(w.rollout().new_figures.joined >= 4);
  CHECK(w.rollout().old_figures.joined >= 3);
  CHECK(w.rollout().new_figures.boot_ms.size() >= 4);
  REQUIRE(w.gets_done());
  REQUIRE(w.build_one());
  CHECK(w.image_of_last_build() == "base@2");
  CHECK(w.rollout().new_figures.lost_builds == 0);
  CHECK(w.rollout().new_figures.builds >= 4);
}

TEST_CASE("canary: as many starts as are asked for are counted", "[unit][scheduler][images]") {
  SchedulerConfig config = small_canary();
  config.rollouts.canary_starts = 230;
  Farm w(config);
  w.roll({"base", "2", 99, false, false});
  REQUIRE(w.becomes(RolloutState::canary, seconds(20)));
  for (int i = 0; i < 240 && w.rollout().state == RolloutState::canary; ++i) REQUIRE(w.build_one());
  CHECK(w.rollout().state != RolloutState::canary);
  CHECK(w.rollout().new_figures.joined >= 230);
}

TEST_CASE("canary: with --hold a good one waits for a word", "[unit][scheduler][images]") {
  Farm w;
  w.roll({"base", "2", std::nullopt, true, false});
  REQUIRE(w.becomes(RolloutState::canary, seconds(20)));
  for (int i = 0; i < 14; ++i) REQUIRE(w.build_one());
  CHECK(w.rollout().state == RolloutState::canary);
  CHECK(w.rollout().is_good);
  CHECK(w.starts_of("base") >= 6);  // it goes on at its share
  CHECK(w.starts_of("base@2") >= 6);
  w.roll(now_to_two);
  REQUIRE(w.gets_done());
}

TEST_CASE("a version whose agents end at once stops by itself; jobs run, host and template are not blamed",
          "[unit][scheduler][images]") {
  const bool is_now = GENERATE(false, true);
  Farm w;
  w.bad_images = {"base@2"};
  w.roll(is_now ? now_to_two : canary_of_two);
  REQUIRE(w.becomes(is_now ? RolloutState::rolling : RolloutState::canary, seconds(20)));
  for (int i = 0; i < 8; ++i) REQUIRE(w.build_one());
  CHECK(w.rollout().state == RolloutState::stopped);
  CHECK(w.rollout().reason.find("0 of 2 starts joined") != std::string::npos);
  CHECK(w.starts_of("base@2") <= 4);
  CHECK(w.image_of_last_build() == "base");
  CHECK(w.images.at("base").current.empty());
  CHECK(w.status().hosts[0].open_breakers.empty());
  CHECK(w.status().counters.rollout_stops == 1);
  REQUIRE(w.status().images.size() == 1);
  CHECK(w.status().images[0].text.find("stopped: version 2 joins worse") != std::string::npos);
  w.send(PauseLaunching{"look"});
  const std::int64_t item = w.add_job("linux", seconds(1));
  w.run_for(seconds(10));
  CHECK(w.explain(item).image.find("stopped") != std::string::npos);
}

TEST_CASE("a version that hangs: what is on its way is given up when it stops, and jobs need not wait for it",
          "[unit][scheduler][images]") {
  SchedulerConfig config = small_canary();
  config.templates[0].boot_deadline = minutes(5);
  Farm w(config);
  w.slow_images = {{"base@2", hours(10)}};
  w.roll(now_to_two);
  REQUIRE(w.becomes(RolloutState::rolling, seconds(20)));
  for (int i = 0; i < 3; ++i) w.add_job("linux", seconds(1));
  REQUIRE(w.run_until([&] { return w.living()["base@2"] == 3; }, seconds(20)));
  w.send(RollBackImage{"base"});
  REQUIRE(w.run_until([&] { return w.jobs.empty() && w.running.empty(); }, seconds(60)));
  CHECK(w.starts_of("base") == 3);
  CHECK(w.rollout().new_figures.failed == 0);
}

TEST_CASE("a version that starts slower stops by itself", "[unit][scheduler][images]") {
  Farm w;
  w.slow_images = {{"base@2", seconds(20)}};
  w.roll(canary_of_two);
  REQUIRE(w.becomes(RolloutState::canary, seconds(20)));
  for (int i = 0; i < 14 && w.rollout().state != RolloutState::stopped; ++i) REQUIRE(w.build_one());
  CHECK(w.rollout().state == RolloutState::stopped);
  CHECK(w.rollout().reason.find("starts slower") != std::string::npos);
}

TEST_CASE("idle executors of a version that stopped are replaced, also the last ones",
          "[unit][scheduler][images]") {
  Farm w(small_canary(2));
  w.roll(now_to_two);
  REQUIRE(w.run_until([&] { return w.living()["base@2"] >= 1; }, minutes(2)));
  w.send(RollBackImage{"base"});
  REQUIRE(w.run_until([&] { return w.living() == std::map<std::string, int>{{"base", 2}}; }, minutes(3)));
  CHECK(w.rollout().reason == "an operator rolled it back");
}

TEST_CASE("rollback after the end is one step, and forth again", "[unit][scheduler][images]") {
  Farm w(small_canary(1));
  w.roll(now_to_two);
  REQUIRE(w.gets_done());
  w.send(RollBackImage{"base"});
  REQUIRE(w.run_until([&] { return w.living() == std::map<std::string, int>{{"base", 1}}; }, minutes(3)));
  REQUIRE(w.build_one());
  CHECK(w.image_of_last_build() == "base");
  w.send(RollBackImage{"base"});
  REQUIRE(w.run_until([&] { return w.living() == std::map<std::string, int>{{"base@2", 1}}; }, minutes(3)));
}

TEST_CASE("rolled back to what was evicted: fetched again, and explained meanwhile",
          "[unit][scheduler][images]") {
  Farm w;
  w.hosts.at(HostId("h1")).report.images = {"base", "base@1"};
  w.roll({"base", "1", std::nullopt, false, true});
  REQUIRE(w.gets_done());
  w.roll(now_to_two);
  REQUIRE(w.gets_done());
  auto& host = w.hosts.at(HostId("h1"));
  std::erase(host.report.images, "base@1");
  w.report(HostId("h1"));
  w.run_for(seconds(1));
  host.catalogue = {"base@2"};
  w.send(RollBackImage{"base"});
  const std::int64_t item = w.add_job("linux");
  w.run_for(seconds(10));
  const Explanation x = w.explain(item);
  CHECK(x.reason == WaitReason::no_room);
  CHECK(x.nearest_miss.find("it has no image 'base@1'") != std::string::npos);
  CHECK(x.unblock.find("skep images pull base@1 --host h1") != std::string::npos);
  host.catalogue = {"base@1", "base@2"};
  host.report.boot_id = "b2";  // it was restarted with another catalogue
  w.report(HostId("h1"));
  REQUIRE(w.run_until([&] { return w.jobs.empty(); }, minutes(2)));
  CHECK(w.image_of_last_build() == "base@1");
}

TEST_CASE("no host knows the version: it stops at once; none has it ready in time: it stops then",
          "[unit][scheduler][images]") {
  Farm w(small_canary(), 2);
  w.run_for(minutes(1));
  w.hosts.at(HostId("h2")).is_reachable = false;
  w.send(HostUnseen{HostId("h2"), Error::try_again(ErrorCode::unavailable, "away")});
  w.roll({"base", "3", std::nullopt, false, false});
  w.run_for(seconds(50));
  CHECK(w.rollout().state == RolloutState::pulling);  // the other one may have it
  w.hosts.at(HostId("h2")).is_reachable = true;
  w.report(HostId("h2"));
  REQUIRE(w.becomes(RolloutState::stopped, seconds(10)));
  CHECK(w.rollout().reason.find("catalogue") != std::string::npos);
  w.fetch_time = hours(100);
  w.roll(canary_of_two);
  w.run_for(minutes(119));
  CHECK(w.rollout().state == RolloutState::pulling);
  REQUIRE(w.build_one());
  CHECK(w.image_of_last_build() == "base");
  REQUIRE(w.becomes(RolloutState::stopped, minutes(10)));
  CHECK(w.count<PullImage>() < 80);  // with pauses
}

TEST_CASE("a host without the version keeps the old one until the rollout is done",
          "[unit][scheduler][images]") {
  Farm w(small_canary(), 2);
  w.watch_orders();
  w.hosts.at(HostId("h2")).catalogue.clear();
  w.hosts.at(HostId("h1")).report.max_executors = 2;
  w.report(HostId("h1"));
  w.roll(now_to_two);
  REQUIRE(w.becomes(RolloutState::rolling, seconds(20)));
  for (int i = 0; i < 4; ++i) w.add_job("linux", minutes(1));
  REQUIRE(w.run_until([&] { return w.running.size() == 4; }, seconds(50)));
  CHECK(w.living() == std::map<std::string, int>{{"base", 2}, {"base@2", 2}});
  REQUIRE(w.run_until([&] { return w.running.empty(); }, minutes(3)));
  REQUIRE(w.gets_done());
  CHECK(w.rollout().reason.find("h2") != std::string::npos);
  REQUIRE(w.run_until([&] { return w.running.empty(); }, minutes(3)));
  for (int i = 0; i < 4; ++i) w.add_job("linux", seconds(30));
  w.run_for(seconds(20));
  CHECK(w.living() == std::map<std::string, int>{{"base@2", 2}});
  REQUIRE(w.run_until([&] { return w.jobs.empty(); }, minutes(3)));
  CHECK(w.every_order_was_ready);
}

TEST_CASE("held executors stay; templates that name a version are left alone", "[unit][scheduler][images]") {
  SchedulerConfig config = small_canary(1);
  Template pinned = make_template("pinned", "old");
  pinned.image = "base@1";
  pinned.minimum_idle = 1;
  config.templates.push_back(pinned);
  Farm w(config);
  w.hosts.at(HostId("h1")).report.images = {"base", "base@1"};
  w.report(HostId("h1"));
  REQUIRE(w.run_until([&] { return w.living()["base"] == 1 && w.living()["base@1"] == 1; }, minutes(1)));
  REQUIRE(w.run_until(
      [&] {
        const auto all = w.status().executors;
        return std::all_of(all.begin(), all.end(),
                           [](const auto& e) { return e.state == ExecutorState::idle; });
      },
      minutes(1)));
  for (const auto& e : w.status().executors) {
    if (e.record.template_name.text != "linux") continue;
    w.send(HoldExecutor{e.record.id, WallTime{w.wall().ms_since_epoch + 3'600'000}, hours(1), "look"});
  }
  w.roll(now_to_two);
  REQUIRE(w.gets_done());
  CHECK(w.living()["base"] == 1);
  CHECK(w.living()["base@1"] == 1);
  CHECK(w.living()["base@2"] == 1);
}

TEST_CASE("a kill before any action of a rollout loses nothing", "[unit][scheduler][images]") {
  // Each action that a rollout of a small farm takes is the last one of some run.
  for (int last = 0; last < 120; ++last) {
    INFO("killed before action " << last);
    Farm w(small_canary(1));
    w.bad_images = {"base@3"};
    w.hosts.at(HostId("h1")).catalogue.insert("base@3");
    REQUIRE(w.has_warm_one());
    int left = last;
    w.before_action = [&](const Action&) { return left-- > 0; };
    w.roll(canary_of_two);
    for (int i = 0; i < 3 && left >= 0; ++i) {
      w.add_job("linux", seconds(1));
      w.run_for(seconds(20));
    }
    w.before_action = [](const Action&) { return true; };
    w.restart_scheduler();
    if (!w.images.contains("base")) w.roll(canary_of_two);  // not even the order was recorded
    int builds = 0;
    while (w.rollout().state != RolloutState::done && ++builds < 25) {
      w.add_job("linux", seconds(1));
      w.run_for(seconds(20));
    }
    REQUIRE(w.rollout().state == RolloutState::done);
    CHECK(w.rollout().new_figures.failed == 0);
    REQUIRE(w.run_until([&] { return w.jobs.empty() && w.running.empty(); }, minutes(5)));
    for (const auto& [node, count] : w.builds_per_node()) CHECK(count == 1);
  }
}

TEST_CASE("property: no rollout ends a build, and every build runs", "[unit][scheduler][images]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    Prng random = Prng(seed).fork("rollouts");
    Farm w(small_canary(static_cast<int>(random.between(0, 3))), static_cast<int>(random.between(1, 3)),
           random.chance(1, 2) ? OneBuildMeans::gate : OneBuildMeans::hook);
    w.watch_orders();
    for (auto& [id, host] : w.hosts) host.catalogue.insert("base@3");
    if (random.chance(1, 2)) w.bad_images = {"base@3"};
    if (random.chance(1, 3)) w.hosts.begin()->second.catalogue.clear();
    std::vector<std::string> ended;
    const auto watch_builds = w.before_action;
    w.before_action = [&](const Action& action) {
      if (const auto* destroy = std::get_if<DestroyExecutor>(&action)) {
        if (w.running.contains(destroy->executor.text)) ended.push_back(destroy->executor.text);
      }
      return watch_builds(action);
    };
    std::size_t jobs = 0;
    for (int step = 0; step < 30; ++step) {
      switch (random.below(5)) {
        case 0:
          w.roll({"base", random.chance(1, 2) ? "2" : "3", std::nullopt, false, random.chance(1, 2)});
          break;
        case 1:
          w.send(RollBackImage{"base"});
          break;
        default:
          w.add_job("linux", seconds(random.between(1, 40)));
          ++jobs;
      }
      w.run_for(seconds(random.between(1, 30)));
    }
    REQUIRE(w.run_until([&] { return w.jobs.empty() && w.running.empty(); }, minutes(30)));
    CHECK(w.builds.size() == jobs);
    CHECK(ended.empty());
    CHECK(w.every_order_was_ready);
  }
}

}  // namespace images_test
