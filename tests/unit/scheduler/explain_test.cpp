// Every reason why an item waits says in a sentence why, what to do, and when it will run where that can be
// known.
#include <catch2/catch.hpp>
#include <set>

#include "tests/unit/scheduler/support/world.h"

namespace explain_test {

using namespace skep;
using namespace skep::scheduler;
using namespace skep::scheduler::testing;

namespace {

struct Farm : World {
  explicit Farm(SchedulerConfig given = make_config()) : World(std::move(given)) {
    add_host("h1");
    start();
    run_for(milliseconds(100));
  }
  Explanation after(std::int64_t item, Duration time = seconds(5)) {
    run_for(time);
    return explain(item);
  }
};

QueueItem item_in(ItemStage stage, const std::string& why = {}) {
  QueueItem item;
  item.label_source = LabelSource::script;
  item.label = "linux";
  item.stage = stage;
  item.why = why;
  return item;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// One sentence without a trailing period, and either something to do or a time.
void check_form(const Explanation& x) {
  CAPTURE(std::string(to_string(x.reason)), x.text, x.unblock);
  CHECK_FALSE(x.text.empty());
  CHECK(x.text.back() != '.');
  CHECK((x.unblock.empty() || x.unblock.back() != '.'));
  const bool leaves_by_itself = x.reason == WaitReason::stopping || x.reason == WaitReason::served_elsewhere;
  CHECK((!x.unblock.empty() || x.starts_in.has_value() || leaves_by_itself));
}

}  // namespace

TEST_CASE("explain: what Jenkins itself holds back", "[unit][scheduler][explain]") {
  Farm w;
  const Explanation blocked =
      w.after(w.add_item(item_in(ItemStage::blocked, "Build #7 is already in progress")));
  check_form(blocked);
  CHECK(blocked.reason == WaitReason::blocked);
  CHECK(holds(blocked.text, "Build #7 is already in progress"));
  CHECK(holds(blocked.unblock, "no executor is missing"));

  QueueItem quiet = item_in(ItemStage::waiting);
  quiet.quiet_until = WallTime{w.wall().ms_since_epoch + 65'000};
  const Explanation waiting = w.after(w.add_item(quiet));
  check_form(waiting);
  CHECK(waiting.reason == WaitReason::quiet_period);
  REQUIRE(waiting.starts_in);
  CHECK(*waiting.starts_in == seconds(60));

  QueueItem cancelled = item_in(ItemStage::buildable);
  cancelled.is_stopping = true;
  const Explanation stopping = w.after(w.add_item(cancelled));
  check_form(stopping);
  CHECK(stopping.reason == WaitReason::stopping);

  w.is_quieting_down = true;
  const Explanation quieted = w.after(w.add_job("linux"));
  check_form(quieted);
  CHECK(quieted.reason == WaitReason::stopping);
  CHECK(quieted.unblock == "cancel the quiet-down of controller 'main'");
}

TEST_CASE("explain: a label that cannot be resolved says so, and what would help",
          "[unit][scheduler][explain]") {
  QueueItem item = item_in(ItemStage::buildable, "Waiting for next available executor");
  item.label_source = LabelSource::unresolved;
  item.label.reset();
  SchedulerConfig config = make_config();
  const auto explained = [&] {
    Farm w(config);
    Explanation x = w.after(w.add_item(item));
    CHECK(x.reason == WaitReason::label_unresolved);
    CHECK(holds(x.text, "Waiting for next available executor"));
    CHECK(w.count<OrderExecutor>() == 0);
    check_form(x);
    return x;
  };
  CHECK(holds(explained().unblock, "set sentinel_node of controller 'main'"));
  CHECK(holds(explained().unblock, "Overall/Administer"));
  config.controllers[0].sentinel_node = "sentinel";
  CHECK(holds(explained().unblock, "Overall/Administer"));
  CHECK(holds(explained().unblock, "plain label"));
  CHECK_FALSE(holds(explained().unblock, "set sentinel_node"));
}

TEST_CASE("explain: no template, with the smallest change that would help", "[unit][scheduler][explain]") {
  struct Case {
    const char* label;
    const char* unblock;
  };
  const Case cases[] = {
      {"linux && gpu", "add label 'gpu' to template 'linux'"},
      {"!linux", "remove label 'linux' from template 'linux'"},
      {"linux && !x86", "remove label 'x86' from template 'linux'"},
      {"windows && arm64", "add label 'windows' and 'arm64' to template 'linux'"},
      {"gpu && !x86", "add label 'gpu' to, and remove label 'x86' from, template 'linux'"},
      {"", "set takes_unlabelled of template 'linux', or give the job a label"},
      {"a&&b&&c&&d", "define a template whose labels satisfy 'a&&b&&c&&d'"},
  };
  for (const Case& c : cases) {
    Farm w;
    const Explanation x = w.after(w.add_job(c.label));
    CAPTURE(c.label);
    check_form(x);
    CHECK(x.reason == WaitReason::no_template);
    CHECK(x.unblock == c.unblock);
  }
}

TEST_CASE("explain: the template's maximum", "[unit][scheduler][explain]") {
  SchedulerConfig config = make_config();
  config.templates[0].maximum = 1;
  Farm w(config);
  w.add_job("linux", minutes(5));
  REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
  const Explanation x = w.after(w.add_job("linux"));
  check_form(x);
  CHECK(x.reason == WaitReason::template_limit);
  CHECK(x.text == "template 'linux' has its maximum of 1 executor");
  CHECK(x.unblock == "raise maximum of template 'linux', or wait until one of its executors ends");
}

TEST_CASE("explain: no room says which host is nearest, what it lacks and how to help",
          "[unit][scheduler][explain]") {
  SchedulerConfig config = make_config();
  std::string refusal, unblock;
  std::function<void(World&)> prepare;
  SECTION("no host") {
    prepare = [](World& w) { w.hosts.clear(); };
    unblock = "start skep-agentd on a host";
  }
  SECTION("draining") {
    prepare = [](World& w) { w.send(DrainHost{HostId("h1"), "new disks"}); };
    refusal = "draining";
    unblock = "undrain host h1";
  }
  SECTION("driver") {
    config.templates[0].driver = "vm";
    refusal = "driver";
    unblock = "enable driver 'vm' on host h1";
  }
  SECTION("image") {
    config.templates[0].image = "other";
    refusal = "image";
    unblock = "put image 'other' on host h1";
  }
  SECTION("attributes") {
    config.templates[0].host_attributes["rack"] = "b2";
    refusal = "attributes";
    unblock = "add a host with these attributes, or drop them from template 'linux'";
  }
  SECTION("never large enough") {
    config.templates[0].resources.cpu_millis = 64'000;
    refusal = "cpu";
    unblock = "make template 'linux' smaller or add a larger host: the nearest is h1, it lacks 56 cpu";
  }
  World w(config);
  if (unblock != "start skep-agentd on a host") w.add_host("h1");
  w.start();
  if (prepare) prepare(w);
  const std::int64_t item = w.add_job("linux");
  w.run_for(seconds(10));
  const Explanation x = w.explain(item);
  check_form(x);
  CHECK(x.reason == WaitReason::no_room);
  CHECK(x.unblock == unblock);
  CHECK(x.nearest_miss.empty() == refusal.empty());
  if (!refusal.empty()) CHECK(x.refusals.at(refusal) == 1);
  CHECK(x.matching_templates == std::vector<std::string>{"linux"});
}

TEST_CASE("explain: a full host, and one whose executors fail", "[unit][scheduler][explain]") {
  SchedulerConfig config = make_config();
  config.templates[0].boot_deadline = config.templates[0].join_deadline = seconds(10);
  World w(config);
  w.add_host("h1", 8000, 1);
  w.start();
  SECTION("full") {
    w.add_job("linux", minutes(30));
    REQUIRE(w.run_until([&] { return w.builds.size() == 1; }, seconds(20)));
    const std::int64_t item = w.add_job("linux");
    w.run_for(seconds(5));
    const Explanation x = w.explain(item);
    check_form(x);
    CHECK(x.unblock == "raise max_executors of host h1, or wait until an executor ends there");
    CHECK(x.refusals.at("executors_limit") == 1);
  }
  SECTION("failing") {
    w.agents_connect = false;
    const std::int64_t item = w.add_job("linux");
    REQUIRE(w.run_until([&] { return w.status().counters.launch_failures == 1; }, minutes(1)));
    const Explanation backoff = w.explain(item);
    check_form(backoff);
    CHECK(backoff.reason == WaitReason::backoff);
    CHECK(backoff.starts_in.has_value());
    CHECK(holds(backoff.unblock, "skep executors --all"));
    REQUIRE(w.run_until([&] { return !w.status().hosts[0].open_breakers.empty(); }, minutes(5)));
    w.run_for(seconds(25));
    const Explanation open = w.explain(item);
    check_form(open);
    CHECK(open.refusals.at("breaker") == 1);
    CHECK(holds(open.unblock, "find out why executors of template 'linux' fail on host h1"));
  }
}

TEST_CASE("explain: paused, frozen, and without a right", "[unit][scheduler][explain]") {
  SECTION("paused") {
    Farm w;
    w.send(PauseLaunching{"upgrade"});
    const Explanation x = w.after(w.add_job("linux"));
    check_form(x);
    CHECK(x.reason == WaitReason::paused);
    CHECK(x.text == "launching is paused: upgrade");
    CHECK(x.unblock == "resume launching: skep resume");
  }
  SECTION("a right is missing") {
    World w(make_config());
    w.missing_permissions = {"Agent/Create"};
    w.add_host("h1");
    w.start();
    const std::int64_t item = w.add_job("linux");
    w.run_for(seconds(20));
    const Explanation x = w.explain(item);
    check_form(x);
    CHECK(x.reason == WaitReason::frozen);
    CHECK(x.unblock == "grant Agent/Create to the account on controller 'main'");
  }
  SECTION("the controller is away") {
    SchedulerConfig config = make_config();
    config.templates[0].maximum = 0;
    Farm w(config);
    const std::int64_t item = w.add_job("linux");
    w.run_for(seconds(5));
    w.is_controller_up = false;
    const Explanation x = w.after(item, minutes(2));
    check_form(x);
    CHECK(x.reason == WaitReason::frozen);
    CHECK(x.unblock == "make controller 'main' reachable and readable; see skep status");
  }
}

TEST_CASE("explain: on its way, being offered, and a resume", "[unit][scheduler][explain]") {
  Farm w;
  w.boot_time = seconds(3);
  const std::int64_t item = w.add_job("linux", minutes(5));
  std::set<WaitReason> seen;
  REQUIRE(w.run_until(
      [&] {
        if (!w.builds.empty()) return true;
        bool is_listed = false;
        for (const Explanation& listed : w.status().queue) is_listed = is_listed || listed.item == item;
        if (is_listed) {
          const Explanation x = w.explain(item);
          check_form(x);
          CHECK(x.starts_in.has_value());
          seen.insert(x.reason);
        }
        return false;
      },
      seconds(30)));
  CHECK(seen.contains(WaitReason::executor_coming));
  CHECK(seen.contains(WaitReason::gate_opening));

  const std::string name = w.builds[0].first;
  const Explanation lost = w.after(w.add_job("t-linux-1-1abc"));
  check_form(lost);
  CHECK(lost.reason == WaitReason::resume_lost);
  CHECK(lost.unblock == "abort the build and start it again");
  const Explanation resume = w.after(w.add_job(name));
  check_form(resume);
  CHECK(resume.reason == WaitReason::resume);
  CHECK(resume.executor == ExecutorId(name));
}

}  // namespace explain_test
