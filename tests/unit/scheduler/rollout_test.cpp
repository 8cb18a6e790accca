// The decisions about versions of images, without a farm around them: tables, and properties over random
// runs.
#include <catch2/catch.hpp>

#include "core/prng.h"
#include "scheduler/core/rollout.h"

namespace rollout_test {

using namespace skep;
using namespace skep::scheduler;

namespace {

constexpr WallTime some_time{1'790'000'000'000};

ImageVersions at(const std::string& current) {
  ImageVersions image;
  image.name = "base";
  image.current = current;
  return image;
}

ImageVersions rolling_out(const RolloutOrder& order, RolloutState state, const std::string& current = "1") {
  auto made = decide_rollout(at(current), order, RolloutPolicy{}, some_time);
  REQUIRE(made);
  made->rollout->state = state;
  return *made;
}

RolloutOrder to_two(std::optional<int> share = std::nullopt) {
  return {"base", "2", share, false, false};
}

using Strings = std::vector<std::string>;

VersionFigures figures(int joined, int failed, std::int64_t boot_ms = 100, int builds = 0, int lost = 0) {
  VersionFigures made;
  for (int i = 0; i < joined; ++i) made.note_joined(boot_ms);
  made.failed = failed;
  for (int i = 0; i < builds; ++i) made.note_build(i < lost);
  return made;
}

}  // namespace

TEST_CASE("versions: what an order names", "[unit][scheduler][rollout]") {
  CHECK(is_rollable("base"));
  CHECK_FALSE(is_rollable("base@2"));
  CHECK_FALSE(is_rollable(""));
  CHECK(image_reference("base", "2") == "base@2");
  CHECK(image_reference("base", "") == "base");
  for (const char* good : {"2", "2024-11.1", "v2_rc1", "A"}) CHECK(is_image_version(good));
  for (const char* bad : {"", "a b", "2@3", "../x", "-1", "2/3"}) CHECK_FALSE(is_image_version(bad));
  CHECK_FALSE(is_image_version(std::string(41, 'a')));
  for (const RolloutState state : {RolloutState::pulling, RolloutState::canary, RolloutState::rolling,
                                   RolloutState::done, RolloutState::stopped})
    CHECK(rollout_state_from(to_string(state)) == state);
  CHECK_FALSE(rollout_state_from("going"));
}

TEST_CASE("references: which version a launch may name, the wanted one first", "[unit][scheduler][rollout]") {
  struct Row {
    RolloutState state;
    int share, credit;
    bool is_affordable;
    Strings expected;
  };
  const Row rows[] = {
      {RolloutState::pulling, 10, 100, true, {"base@1"}},
      {RolloutState::canary, 10, 89, true, {"base@1"}},
      {RolloutState::canary, 10, 90, true, {"base@2", "base@1"}},
      {RolloutState::canary, 10, 90, false, {"base@1"}},
      {RolloutState::rolling, 10, 0, true, {"base@2", "base@1"}},
      {RolloutState::rolling, 10, 0, false, {"base@1"}},
      {RolloutState::done, 10, 0, true, {"base@1"}},
      {RolloutState::stopped, 10, 0, true, {"base@1"}},
  };
  for (const Row& row : rows) {
    ImageVersions image = rolling_out(to_two(row.share), row.state);
    image.rollout->credit = row.credit;
    INFO(to_string(row.state) << " credit " << row.credit);
    CHECK(decide_references(image, row.is_affordable) == row.expected);
  }
  CHECK(decide_references(at(""), true) == Strings{"base"});
}

TEST_CASE("a command that cannot be carried out says what to do instead", "[unit][scheduler][rollout]") {
  const RolloutPolicy policy;
  const auto refusal = [&](const ImageVersions& image, RolloutOrder order) {
    const auto made = decide_rollout(image, order, policy, some_time);
    REQUIRE_FALSE(made);
    CHECK_FALSE(made.error().hint.empty());
    return made.error();
  };
  CHECK(refusal(at("1"), {"base", "no version", {}, false, false}).code == ErrorCode::invalid_input);
  CHECK(refusal(at("1"), to_two(0)).code == ErrorCode::invalid_input);
  CHECK(refusal(at("1"), to_two(101)).code == ErrorCode::invalid_input);
  CHECK(refusal(at("2"), to_two()).code == ErrorCode::conflict);
  const ImageVersions canary = rolling_out(to_two(), RolloutState::canary);
  const Error other = refusal(canary, {"base", "3", {}, false, false});
  CHECK(other.code == ErrorCode::conflict);
  CHECK(other.hint.find("skep images rollback base") != std::string::npos);
  CHECK(refusal(canary, to_two()).hint.find("--now") != std::string::npos);
  const auto back = decide_rollback(at("1"), some_time);
  REQUIRE_FALSE(back);
  CHECK(back.error().code == ErrorCode::conflict);
}

TEST_CASE("--now ends a canary, --hold keeps it, share 0 of the policy means none",
          "[unit][scheduler][rollout]") {
  RolloutPolicy policy;
  ImageVersions held = rolling_out({"base", "2", 20, true, false}, RolloutState::canary);
  held.rollout->is_good = true;
  const auto on = decide_rollout(held, {"base", "2", {}, false, true}, policy, some_time);
  REQUIRE(on);
  CHECK(on->rollout->state == RolloutState::rolling);
  CHECK_FALSE(on->rollout->is_held);
  policy.canary_share = 0;
  CHECK(decide_rollout(at("1"), to_two(), policy, some_time)->rollout->share == 100);
  CHECK(decide_rollout(at("1"), to_two(7), policy, some_time)->rollout->share == 7);
}

TEST_CASE("a rollback stops what is under way, or swaps the versions", "[unit][scheduler][rollout]") {
  for (const RolloutState state : {RolloutState::pulling, RolloutState::canary, RolloutState::rolling}) {
    const auto back = decide_rollback(rolling_out(to_two(), state), some_time);
    REQUIRE(back);
    CHECK(back->current == "1");
    CHECK(back->rollout->state == RolloutState::stopped);
  }
  ImageVersions done = rolling_out(to_two(), RolloutState::done, "");
  done.current = "2";
  done.previous = "";
  const auto back = decide_rollback(done, some_time);
  REQUIRE(back);
  CHECK(back->current.empty());
  CHECK(back->previous == "2");
  CHECK(replacing_reference(*back) == "base");
  // And forth again.
  CHECK(decide_rollback(*back, some_time)->current == "2");
}

TEST_CASE("verdict: worse as soon as it is certain, good after enough starts", "[unit][scheduler][rollout]") {
  RolloutPolicy policy;  // 10 starts, 20 points, factor 2, 20 points
  struct Row {
    const char* what;
    VersionFigures old_figures, new_figures;
    std::optional<bool> is_worse;
  };
  const Row rows[] = {
      {"nothing yet", figures(50, 0), figures(0, 0), std::nullopt},
      {"two failed, all others may join", figures(50, 0), figures(0, 2), std::nullopt},
      {"three failed: 70 % at best", figures(50, 0), figures(0, 3), true},
      {"the old one is as bad", figures(5, 5), figures(5, 5), false},
      {"the old one is bad, the new one is worse", figures(8, 8), figures(2, 8), true},
      {"nothing seen of the old one: all joined", figures(0, 0), figures(0, 3), true},
      {"nine of ten", figures(50, 0), figures(9, 1), false},
      {"nine joined", figures(50, 0), figures(9, 0), std::nullopt},
      {"slower by a second", figures(50, 0, 500), figures(10, 0, 1500), true},
      {"three times as slow, and yet no second", figures(50, 0, 200), figures(10, 0, 900), false},
      {"slow, as half of the starts tell", figures(50, 0, 500), figures(5, 0, 9000), true},
      {"two of the old one tell nothing", figures(2, 0, 500), figures(10, 0, 9000), false},
      {"twice as slow is allowed", figures(50, 0, 5000), figures(10, 0, 10'000), false},
      {"loses builds", figures(50, 0, 100, 50, 0), figures(10, 0, 100, 10, 3), true},
      {"loses as many as the old one", figures(50, 0, 100, 10, 3), figures(10, 0, 100, 10, 4), false},
      {"too few builds", figures(50, 0), figures(10, 0, 100, 9, 9), false},
  };
  for (const Row& row : rows) {
    INFO(row.what);
    Rollout rollout;
    rollout.to = "2";
    rollout.old_figures = row.old_figures;
    rollout.new_figures = row.new_figures;
    const auto verdict = decide_verdict(rollout, policy);
    REQUIRE(verdict.has_value() == row.is_worse.has_value());
    if (!verdict) continue;
    CHECK(verdict->is_worse == *row.is_worse);
    CHECK(verdict->reason.find_first_of("0123456789") != std::string::npos);
  }
}

TEST_CASE("median: of the last samples only", "[unit][scheduler][rollout]") {
  CHECK(median_boot_ms({}) == 0);
  VersionFigures seen;
  for (const std::int64_t ms : {900, 100, 500}) seen.note_joined(ms);
  CHECK(median_boot_ms(seen) == 500);
  seen.note_joined(std::nullopt);
  CHECK(seen.joined == 4);
  CHECK(median_boot_ms(seen) == 500);
  for (std::size_t i = 0; i < most_boot_samples; ++i) seen.note_joined(7);
  CHECK(seen.boot_ms.size() == most_boot_samples);
  CHECK(median_boot_ms(seen) == 7);
}

TEST_CASE("property: the share is exact at every length of a run, and the first launch tries",
          "[unit][scheduler][rollout]") {
  for (int share = 1; share < 100; ++share) {
    ImageVersions image = rolling_out(to_two(share), RolloutState::canary);
    int tried = 0;
    for (int launches = 1; launches <= 400; ++launches) {
      const std::string chosen = decide_references(image, true).front();
      if (launches == 1) REQUIRE(chosen == "base@2");
      tried += chosen == "base@2" ? 1 : 0;
      REQUIRE(note_launch(image, chosen));
      REQUIRE(tried == 1 + (launches - 1) * share / 100);
    }
  }
}

TEST_CASE("property: a version that never joins ends within a bounded number of starts",
          "[unit][scheduler][rollout]") {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    Prng random = Prng(seed).fork("bad image");
    RolloutPolicy policy;
    policy.canary_starts = static_cast<int>(random.between(1, 30));
    policy.worse_join_rate = static_cast<int>(random.between(0, 90));
    ImageVersions image = rolling_out(to_two(static_cast<int>(random.between(1, 100))),
                                      random.chance(1, 2) ? RolloutState::canary : RolloutState::rolling);
    int coming = 0, starts = 0;
    bool is_stopped = false;
    for (int step = 0; step < 5000 && !is_stopped; ++step) {
      if (coming > 0 && random.chance(1, 2)) {
        --coming;
        ++image.rollout->new_figures.failed;
        const auto verdict = decide_verdict(*image.rollout, policy);
        is_stopped = verdict && verdict->is_worse;
        REQUIRE((!verdict || verdict->is_worse));
        continue;
      }
      const bool is_affordable = is_trial_affordable(image, coming, policy);
      const std::string chosen = decide_references(image, is_affordable).front();
      note_launch(image, chosen);
      if (chosen == "base@1") {
        image.rollout->old_figures.note_joined(100);
        continue;
      }
      ++coming;
      ++starts;
    }
    CHECK(is_stopped);
    CHECK(starts <= policy.canary_starts);
  }
}

TEST_CASE("in words: what goes on, with numbers", "[unit][scheduler][rollout]") {
  const RolloutPolicy policy;
  ImageVersions image = rolling_out(to_two(), RolloutState::canary);
  image.rollout->new_figures = figures(3, 1);
  CHECK(rollout_in_words(image, policy) ==
        "image base is at version 1; 10 % of launches try version 2 (3 of 4 starts joined, 10 are needed)");
  image.rollout->state = RolloutState::stopped;
  image.rollout->reason = "because";
  CHECK(rollout_in_words(image, policy) ==
        "image base is at version 1; the rollout to version 2 stopped: because");
  CHECK(rollout_in_words(at(""), policy) == "image base is at the host's own choice");
}

}  // namespace rollout_test
