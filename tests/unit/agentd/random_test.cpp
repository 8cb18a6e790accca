// Random weather: requests, driver errors, crashes and full disks in any order. No assertion of the logic may
// fail, the promises hold at each step, and when the weather calms everything ends.
#include <catch2/catch.hpp>

#include <cstdlib>
#include <random>

#include "core/prng.h"
#include "tests/unit/agentd/support/world.h"

namespace random_test {

using namespace skep;
using namespace skep::agentd;

namespace {

Error random_error(Prng& prng) {
  switch (prng.below(3)) {
    case 0:
      return Error::failed(ErrorCode::generic, "failed");
    case 1:
      return Error::try_again(ErrorCode::unavailable, "try again");
    default:
      return Error::unknown(ErrorCode::timed_out, "unknown");
  }
}

class Weather {
 public:
  explicit Weather(std::uint64_t seed) : prng_(seed) {
    world_.config.forever_limit = hours(1);
    world_.start();
    for (int i = 0; i < 300; ++i) {
      one_event();
      check();
    }
    calm();
  }

 private:
  std::string any_id() { return "a" + std::to_string(prng_.below(6)); }

  void one_event() {
    static const std::vector<std::string> verbs{"start",   "inspect",        "recover", "stop",
                                                "destroy", "deliver_ticket", "list",    "probe"};
    switch (prng_.below(13)) {
      case 0:
      case 1: {
        ExecutorOrder order = make_order(any_id(), 1 + prng_.below(3));
        order.ticket.attempt = static_cast<std::uint32_t>(1 + prng_.below(3));
        if (prng_.chance(1, 10)) order.spec.image = "other";
        world_.order(order);
        break;
      }
      case 2:
        world_.destroy(any_id(), 1 + prng_.below(3));
        break;
      case 3:
        world_.renew({{ExecutorId(any_id()), prng_.chance(1, 2)}, {ExecutorId(any_id()), prng_.chance(1, 2)}},
                     3);
        break;
      case 4:
        world_.advance(milliseconds(prng_.between(1, 20'000)));
        break;
      case 5:
        world_.errors[verbs[prng_.below(verbs.size())]].push_back(random_error(prng_));
        break;
      case 6: {
        const std::string& verb = verbs[prng_.below(verbs.size())];
        if (world_.effects_despite_error.erase(verb) == 0) world_.effects_despite_error.insert(verb);
        break;
      }
      case 7:
        if (prng_.chance(1, 4)) world_.restart();
        break;
      case 8:
        world_.are_records_failing = prng_.chance(1, 3);
        break;
      case 9:
      case 10:
        change_a_box();
        break;
      default:
        for (std::uint64_t n = prng_.below(4); n > 0; --n) world_.run_one_call();
    }
  }

  void change_a_box() {
    const std::string id = any_id();
    const auto found = world_.boxes.find(id);
    if (found == world_.boxes.end()) return;
    found->second.agent = static_cast<AgentPhase>(prng_.below(4));
    if (prng_.chance(1, 6)) found->second.state = static_cast<SandboxState>(prng_.below(3));
    if (prng_.chance(1, 20)) world_.boxes.erase(found);
    world_.send(InstanceChanged{ExecutorId(id)});
  }

  void check() {
    for (const auto& [id, count] : world_.starts) REQUIRE(count <= 1);
    std::set<std::string> called;
    for (const CallDriver& call : world_.calls) {
      if (!call.id.empty()) REQUIRE(called.insert(call.id.text).second);
    }
    world_.send(Tick{});
    const auto due = world_.logic->next_deadline();
    if (due) REQUIRE(*due > world_.now);
  }

  void calm() {
    world_.errors.clear();
    world_.effects_despite_error.clear();
    world_.are_records_failing = false;
    world_.advance(hours(4));
    REQUIRE(world_.boxes.empty());
    REQUIRE(world_.logic->report().executors.empty());
    REQUIRE(world_.intents.empty());
  }

  World world_;
  Prng prng_;
};

}  // namespace

TEST_CASE("random: any order of requests, faults and crashes keeps the promises", "[unit][agentd][random]") {
  const char* replay = std::getenv("SKEP_SEED");
  if (replay != nullptr) {
    Weather weather(std::strtoull(replay, nullptr, 10));
    return;
  }
  const std::uint64_t fresh = std::random_device{}();
  for (std::uint64_t i = 0; i < 200; ++i) {
    const std::uint64_t seed = i < 100 ? i : fresh + i;
    INFO("seed " << seed << "; replay: SKEP_SEED=" << seed << " agentd_unit_test '[random]'");
    Weather weather(seed);
  }
}

}  // namespace random_test
