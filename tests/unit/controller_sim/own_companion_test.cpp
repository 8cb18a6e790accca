// Skep's own companion scripts, which the stand-in knows by their first line.
#include "scheduler/jenkins/companion.h"
#include "scheduler/jenkins/scripts.h"
#include "tests/unit/controller_sim/controller_fixture.h"

namespace skep::controller_sim::own_companion_test {
namespace {

using namespace scheduler;

struct Companion : Farm {
  Companion() {
    sentinel();
    job("one", "c1 && linux");
  }
  HttpReply run(const std::string& script) {
    return post("/scriptText", "script=" + percent_encode_form(script));
  }
  std::string install() { return without_boot(run(companion_install_script()).body); }
  HttpReply wait(std::uint64_t from, Duration time = milliseconds(0)) {
    return run(companion_wait_script(from, time));
  }
  std::string told(std::uint64_t from) { return without_boot(wait(from).body); }
  static std::string without_boot(std::string text) {
    const std::size_t start = text.find(" 1 ");
    if (start != std::string::npos && text.size() > start + 39) text.erase(start + 3, 37);
    return text;
  }
  /// With one request answered at last.
  std::string finished(std::uint64_t parked) {
    std::string body = "not yet";
    for (auto& [id, reply] : model.take_finished_replies()) {
      if (id == parked) body = without_boot(reply.body);
    }
    return body;
  }
};

}  // namespace

TEST_CASE("its own companion: a base with an end, news, and the paths of builds") {
  Companion farm;
  CHECK(farm.told(1) == "skep-companion absent\n");
  farm.schedule("one", 1);
  farm.pass(seconds(1));
  CHECK(farm.install() == "skep-companion 1 1\n1 buildable c1&&linux\nend 1\n");
  const std::string boot = farm.run(companion_install_script()).body;
  CHECK(farm.run(companion_install_script()).body == boot);
  farm.create("x1", "c1+linux+" + std::string(one_build_marker_label));
  farm.connect("x1");
  farm.until([&] { return farm.builds_on("x1") == 1; });
  CHECK(farm.told(1) == "skep-companion 1 1 4\n1 online x1\n2 left 1 c1&&linux\n3 accepted x1 job/one/\n");
  farm.finish("x1");
  farm.pass(milliseconds(100));
  CHECK(farm.told(4) == "skep-companion 1 1 6\n4 completed x1 job/one/1/\n5 offline x1\n");
  CHECK(farm.model.node_names() == std::vector<std::string>{"skep-sentinel"});
  farm.model.set_quieting_down(true, farm.now);
  CHECK(farm.told(6) == "skep-companion 1 1 6 quiet\n");
  CHECK(farm.install() == "skep-companion 1 6 quiet\nend 0\n");
}

TEST_CASE("its own companion: a wait ends with an event, with its time, or at once for a number of another") {
  Companion farm;
  farm.install();
  const auto first = farm.wait(1, seconds(10)).parked;
  REQUIRE(first);
  farm.pass(seconds(9));
  CHECK(farm.finished(*first) == "not yet");
  farm.pass(seconds(1));
  CHECK(farm.finished(*first) == "skep-companion 1 1 1\n");
  const auto second = farm.wait(1, seconds(10)).parked;
  REQUIRE(second);
  farm.schedule("one", 1);
  CHECK(farm.finished(*second) == "skep-companion 1 1 2\n1 waiting 1 c1&&linux\n");
  const HttpReply beyond = farm.wait(99, seconds(10));
  CHECK_FALSE(beyond.parked);
  CHECK(Companion::without_boot(beyond.body).starts_with("skep-companion 1 1 "));
}

TEST_CASE("its own companion takes the place of other versions, and leaves the hook beside it") {
  Companion farm;
  const auto rules = [&](const std::string& node) {
    farm.schedule("one", node.back());
    farm.create(node, "c1+linux+" + std::string(one_build_marker_label));
    farm.connect(node);
    farm.until([&] { return farm.builds_on(node) == 1; });
    return !farm.model.takes_builds(node);
  };
  farm.run(one_build_hook_script);
  farm.model.befall_companion(FaultKind::companion_other_version, 0, farm.now);
  CHECK(farm.told(1) == "skep-companion absent\n");
  CHECK(farm.install() == "skep-companion 1 1\nend 0\n");
  CHECK(rules("x1"));
  const std::string events = farm.told(1);
  CHECK(events.find("accepted x1 job/one/\n") != std::string::npos);
  CHECK(events.find("accepted") == events.rfind("accepted"));  // by one listener
  CHECK(farm.run(companion_remove_script()).body == std::string(companion_removed) + "\n");
  CHECK(farm.told(1) == "skep-companion absent\n");
  CHECK(rules("x2"));  // by the hook
}

TEST_CASE("who waits while its own companion is removed hears nothing until its time is over") {
  Companion farm;
  farm.install();
  const auto waiting = farm.wait(1, seconds(10)).parked;
  REQUIRE(waiting);
  farm.run(companion_remove_script());
  farm.schedule("one", 1);
  farm.pass(seconds(9));
  CHECK(farm.finished(*waiting) == "not yet");
  farm.pass(seconds(1));
  CHECK(farm.finished(*waiting) == "skep-companion 1 1 1\n");
}

TEST_CASE("faults of its own companion, and of answers that had to wait") {
  Companion farm;
  farm.install();
  farm.schedule("one", 1);
  farm.pass(seconds(1));
  REQUIRE(farm.told(1) == "skep-companion 1 1 3\n1 waiting 1 c1&&linux\n2 buildable 1 c1&&linux\n");
  const auto with = [&](const char* kind, std::int64_t value = 0) {
    farm.model.clear_faults();
    REQUIRE(parse_fault_kind(kind));
    farm.model.misbehave({"scriptText", *parse_fault_kind(kind), value, 1});
  };
  with("companion_overflow", 1);
  CHECK(farm.told(1) == "skep-companion 1 2 3\n2 buildable 1 c1&&linux\n");
  with("half_json");
  const auto waiting = farm.wait(3, seconds(10)).parked;
  REQUIRE(waiting);
  farm.schedule("one", 2);
  const auto finished = farm.model.take_finished_replies();
  REQUIRE(finished.size() == 1);
  CHECK_FALSE(read_companion_news(finished[0].second.body));
  CHECK(read_companion_news(farm.wait(3).body));
  with("companion_other_version");
  CHECK(farm.told(3) == "skep-companion absent\n");
  CHECK(farm.install().starts_with("skep-companion 1 1\n"));
  with("companion_absent");
  CHECK(farm.told(1) == "skep-companion absent\n");
}

}  // namespace skep::controller_sim::own_companion_test
