// ImageLogic: what is fetched, verified and removed when; and its promises over random runs.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include "agentd/core/images/image_logic.h"

namespace image_logic_test {

using namespace skep;
using namespace skep::agentd;
using namespace skep::agentd::images;

namespace {

CatalogueEntry entry_of(const std::string& name, const std::string& version, std::uint64_t bytes = 100) {
  CatalogueEntry entry;
  entry.name = name;
  entry.version = version;
  entry.format = Format::vm;
  entry.url = "http://127.0.0.1/" + name + "/";
  entry.files = {{"disk", std::string(64, 'a'), bytes}};
  entry.digest = std::string(64, '0');
  return entry;
}

ImagesConfig config_of(std::vector<CatalogueEntry> catalogue, std::uint64_t max_bytes = 1000) {
  ImagesConfig config;
  config.catalogue = std::move(catalogue);
  config.max_bytes = max_bytes;
  config.verify_every = hours(24);
  return config;
}

std::string copy_of(const std::string& full) {
  return full + "-000000000000";
}

/// A logic with its clock, and what it asked for last.
struct World {
  explicit World(ImagesConfig config, std::uint64_t seed = 1) : logic(std::move(config), seed) {}

  void tell(const ImageEvent& event) {
    actions = logic.handle(event, now, WallTime{1'000'000'000 + to_ms(now.time_since_epoch())});
  }
  template <typename Action>
  std::vector<Action> asked() const {
    std::vector<Action> found;
    for (const ImageAction& each : actions) {
      if (const auto* one = std::get_if<Action>(&each)) found.push_back(*one);
    }
    return found;
  }
  std::vector<std::string> fetches() const {
    std::vector<std::string> names;
    for (const FetchCopy& each : asked<FetchCopy>()) names.push_back(full_name(each.entry));
    return names;
  }
  std::vector<std::string> removals() const {
    std::vector<std::string> names;
    for (const RemoveCopy& each : asked<RemoveCopy>()) names.push_back(each.copy);
    return names;
  }
  ImageStatus status(const std::string& full) const {
    for (const ImageStatus& each : logic.status(now)) {
      if (each.copy == copy_of(full)) return each;
    }
    return {};
  }
  void end_fetch(const std::string& full, std::uint64_t bytes) { tell(FetchEnded{copy_of(full), bytes, 0}); }
  void fail_fetch(const std::string& full, Error error) {
    tell(FetchEnded{copy_of(full), std::move(error), 0});
  }

  ImageLogic logic;
  Instant now{hours(1)};
  std::vector<ImageAction> actions;
};

using Names = std::vector<std::string>;
const Error broken_off = Error::try_again(ErrorCode::unavailable, "it broke off");
const Error not_there = Error::failed(ErrorCode::not_found, "404");

CopyFound found(const std::string& name, const std::string& version, std::uint64_t bytes, std::int64_t used) {
  return {copy_of(name + "@" + version), name, version, bytes, false, WallTime{used},
          WallTime{1'003'600'000}};
}

}  // namespace

TEST_CASE("images: a name means its stable version, or its only one", "[images]") {
  std::vector<CatalogueEntry> catalogue{entry_of("base", "1"), entry_of("base", "2"), entry_of("lone", "7")};
  catalogue[0].channel = "old";
  catalogue[2].channel = "edge";
  CHECK(full_name(*find(catalogue, "base")) == "base@2");
  CHECK(full_name(*find(catalogue, "base@1")) == "base@1");
  CHECK(full_name(*find(catalogue, "lone")) == "lone@7");
  CHECK(find(catalogue, "base@3") == nullptr);
  CHECK(find(catalogue, "") == nullptr);
  CHECK(references_of(catalogue, catalogue[0]) == Names{"base@1"});
  CHECK(references_of(catalogue, catalogue[1]) == Names{"base@2", "base"});
  catalogue[1].channel = "canary";
  CHECK(find(catalogue, "base") == nullptr);
}

TEST_CASE("images: nothing is done before the store was read", "[images]") {
  World world(config_of({entry_of("a", "1")}));
  world.tell(PullAsked{copy_of("a@1")});
  CHECK(world.fetches().empty());
  CHECK_FALSE(world.logic.next_deadline());
  CHECK_FALSE(world.logic.decide_hold("a", Format::vm));
}

TEST_CASE("images: what is missing is fetched, so many at a time, what was asked for first", "[images]") {
  World world(config_of({entry_of("a", "1"), entry_of("b", "1"), entry_of("c", "1"), entry_of("d", "1")}));
  world.tell(StoreRead{});
  CHECK(world.fetches() == Names{"a@1", "b@1"});
  world.tell(PullAsked{copy_of("d@1")});
  CHECK(world.fetches().empty());
  world.end_fetch("a@1", 100);
  CHECK(world.fetches() == Names{"d@1"});
  CHECK(world.asked<TellChange>().size() == 1);
  CHECK(world.logic.ready(Format::vm) == Names{"a@1", "a"});
  CHECK(world.logic.ready(Format::directory_tar).empty());
}

TEST_CASE("images: only what is ready may be held, and the reason is told", "[images]") {
  World world(config_of({entry_of("a", "1")}));
  world.tell(StoreRead{});
  world.tell(FetchProgressed{copy_of("a@1"), 40, 40});
  const auto early = world.logic.decide_hold("a", Format::vm);
  REQUIRE_FALSE(early);
  CHECK(early.error().outcome == Outcome::try_again);
  CHECK(early.error().message == "image \"a\" cannot be started yet: it is fetching, 40 %");
  world.end_fetch("a@1", 100);
  CHECK(world.logic.decide_hold("a", Format::vm).value() == copy_of("a@1"));
  CHECK(world.logic.decide_hold("a", Format::directory_tar).error().code == ErrorCode::unsupported);
  const auto strange = world.logic.decide_hold("a@2", Format::vm);
  CHECK(strange.error().code == ErrorCode::not_found);
  CHECK(strange.error().hint == "did you mean a@1?");
}

TEST_CASE("images: what may work later doubles its pause, what will not begins at the longest", "[images]") {
  World world(config_of({entry_of("a", "1")}));
  world.tell(StoreRead{});
  const auto pause_after = [&world](const Error& error) {
    world.fail_fetch("a@1", error);
    const Duration pause = *world.logic.next_deadline() - world.now;
    world.now = *world.logic.next_deadline() - milliseconds(1);
    world.tell(ImageTick{});
    CHECK(world.fetches().empty());
    world.now += milliseconds(1);
    world.tell(ImageTick{});
    CHECK(world.fetches() == Names{"a@1"});
    return pause;
  };
  for (const std::int64_t least : {5, 10, 20, 40, 80, 160, 320, 600, 600, 600}) {
    const Duration pause = pause_after(broken_off);
    CHECK(pause >= seconds(least));
    CHECK(pause <= seconds(least) * 5 / 4);
  }
  world.fail_fetch("a@1", not_there);
  CHECK(world.status("a@1").attempts == 11);
  world.tell(PullAsked{copy_of("a@1")});  // an operator does not wait
  CHECK(world.fetches() == Names{"a@1"});
  CHECK(pause_after(not_there) >= minutes(10));
  CHECK(pause_after(not_there) >= minutes(20));
  world.end_fetch("a@1", 100);
  CHECK(world.status("a@1").attempts == 0);
  CHECK(world.status("a@1").problem.empty());
}

TEST_CASE("images: unwanted copies make room first, by last use, and held ones never", "[images]") {
  World world(config_of({entry_of("new", "1", 500)}));
  StoreRead read;
  read.copies = {found("old", "1", 300, 3), found("old", "2", 300, 1), found("old", "3", 300, 2)};
  read.holds[ExecutorId("e1")] = copy_of("old@2");
  world.tell(read);
  CHECK(world.removals() == Names{copy_of("old@3"), copy_of("old@1")});
  CHECK(world.fetches().empty());
  world.tell(RemoveEnded{copy_of("old@3"), {}});
  CHECK(world.fetches().empty());
  world.tell(RemoveEnded{copy_of("old@1"), {}});
  CHECK(world.fetches() == Names{"new@1"});
  CHECK(world.logic.used_bytes() == 800);
}

TEST_CASE("images: what cannot fit removes nothing, says so, and looks again when something is free",
          "[images]") {
  World world(config_of({entry_of("new", "1", 500)}));
  StoreRead read;
  read.copies = {found("old", "1", 300, 3), found("old", "2", 600, 1)};
  read.holds[ExecutorId("e1")] = copy_of("old@2");
  world.tell(read);
  CHECK(world.removals().empty());
  CHECK(world.status("new@1").problem.find("no room") != std::string::npos);
  world.now += seconds(1);
  world.tell(HoldReleased{ExecutorId("e1")});
  CHECK(world.removals() == Names{copy_of("old@1"), copy_of("old@2")});  // old@2 was used last: until now
}

TEST_CASE("images: of the catalogue only what is on demand goes for another", "[images]") {
  std::vector<CatalogueEntry> catalogue{entry_of("a", "1", 400), entry_of("b", "1", 400),
                                        entry_of("c", "1", 400)};
  catalogue[1].is_prefetched = catalogue[2].is_prefetched = false;
  World world(config_of(catalogue));
  StoreRead read;
  read.copies = {found("a", "1", 400, 1), found("b", "1", 400, 2)};
  world.tell(read);
  CHECK(world.fetches().empty());
  world.tell(PullAsked{copy_of("c@1")});
  CHECK(world.removals() == Names{copy_of("b@1")});
  world.tell(RemoveEnded{copy_of("b@1"), {}});
  CHECK(world.fetches() == Names{"c@1"});
  world.end_fetch("c@1", 400);
  CHECK(world.status("b@1").state == CopyState::absent);
  CHECK_FALSE(world.logic.decide_hold("b", Format::vm));
}

TEST_CASE("images: verified by age and by word, one at a time; a changed copy goes when nobody holds it",
          "[images]") {
  World world(config_of({entry_of("a", "1"), entry_of("b", "1")}));
  StoreRead read;
  read.copies = {found("a", "1", 100, 1), found("b", "1", 100, 1)};
  read.copies[1].verified_at = WallTime{1'003'600'000 - 23 * 3'600'000};
  read.holds[ExecutorId("e1")] = copy_of("b@1");
  world.tell(read);
  CHECK(world.asked<VerifyCopy>().empty());
  CHECK(*world.logic.next_deadline() - world.now == hours(1));
  world.now += hours(1);
  world.tell(ImageTick{});
  REQUIRE(world.asked<VerifyCopy>().size() == 1);
  CHECK(world.asked<VerifyCopy>()[0].copy == copy_of("b@1"));
  CHECK(world.logic.decide_hold("b", Format::vm));  // startable meanwhile
  world.tell(VerifyAsked{copy_of("a@1")});
  CHECK(world.asked<VerifyCopy>().empty());
  world.tell(VerifyEnded{copy_of("b@1"), Error::failed(ErrorCode::malformed_reply, "changed")});
  CHECK(world.asked<VerifyCopy>()[0].copy == copy_of("a@1"));
  CHECK(world.status("b@1").state == CopyState::broken);
  CHECK_FALSE(world.logic.decide_hold("b", Format::vm));
  CHECK(world.removals().empty());
  world.tell(HoldReleased{ExecutorId("e1")});
  CHECK(world.removals() == Names{copy_of("b@1")});
  world.tell(RemoveEnded{copy_of("b@1"), {}});
  CHECK(world.fetches() == Names{"b@1"});
  world.tell(VerifyEnded{copy_of("a@1"), Error::try_again(ErrorCode::generic, "the disk would not")});
  CHECK(world.status("a@1").state == CopyState::ready);  // unknown is not broken
}

namespace {

/// Drives a logic at random and checks the promises of image_logic.h at each step, from its actions alone.
struct RandomRun {
  explicit RandomRun(std::uint64_t seed) : dice(seed), world(make_config(), seed) {}

  ImagesConfig make_config() {
    std::vector<CatalogueEntry> catalogue;
    for (int i = 0; i < 6; ++i) {
      CatalogueEntry entry = entry_of("i" + std::to_string(i), "1", 50 + dice.below(300));
      entry.is_prefetched = dice.chance(1, 2);
      catalogue.push_back(entry);
    }
    ImagesConfig config = config_of(catalogue);
    config.max_bytes = std::max<std::uint64_t>(least_max_bytes(config), 200 + dice.below(1500));
    config.fetch.parallel = static_cast<int>(1 + dice.below(3));
    return config;
  }

  void take(const std::vector<ImageAction>& actions) {
    bool has_wanted_removal = false;
    for (const ImageAction& each : actions) {
      if (const auto* fetch = std::get_if<FetchCopy>(&each)) {
        const std::string copy = copy_name(fetch->entry);
        CHECK(on_disk.count(copy) == 0);
        CHECK(fetching.insert({copy, bytes_of(fetch->entry)}).second);
        CHECK(static_cast<int>(fetching.size()) <= 3);
      } else if (const auto* verify = std::get_if<VerifyCopy>(&each)) {
        CHECK(on_disk.count(verify->copy) == 1);
        CHECK(verifying.empty());
        verifying = verify->copy;
      } else if (const auto* remove = std::get_if<RemoveCopy>(&each)) {
        CHECK(on_disk.count(remove->copy) == 1);
        CHECK(holders.count(remove->copy) == 0);  // never one that is held
        CHECK(fetching.count(remove->copy) == 0);
        if (broken.count(remove->copy) == 0) {
          const bool is_wanted = wanted.count(remove->copy) != 0;
          CHECK((!is_wanted || !is_prefetched(remove->copy)));
          has_wanted_removal = has_wanted_removal || is_wanted;
        }
        removing.insert(remove->copy);
      }
    }
    if (has_wanted_removal) CHECK(idle_unwanted().empty());
    std::uint64_t used = 0, held = 0;
    for (const auto& [copy, bytes] : on_disk) {
      used += bytes;
      if (holders.count(copy) != 0 || removing.count(copy) != 0) held += bytes;
    }
    for (const auto& [copy, bytes] : fetching) used += bytes;
    CHECK((used <= world.logic.max_bytes() || fetching.empty() || held > 0));
    CHECK(world.logic.used_bytes() == used);
  }

  bool is_prefetched(const std::string& copy) const {
    return std::any_of(
        world.logic.catalogue().begin(), world.logic.catalogue().end(),
        [&](const CatalogueEntry& each) { return copy_name(each) == copy && each.is_prefetched; });
  }
  std::vector<std::string> idle_unwanted() const {
    std::vector<std::string> names;
    for (const auto& [copy, bytes] : on_disk) {
      const bool is_idle = holders.count(copy) == 0 && removing.count(copy) == 0 && copy != verifying;
      if (wanted.count(copy) == 0 && is_idle && broken.count(copy) == 0) names.push_back(copy);
    }
    return names;
  }

  void tell(const ImageEvent& event) {
    world.tell(event);
    take(world.actions);
  }

  void begin() {
    StoreRead read;
    for (const CatalogueEntry& each : world.logic.catalogue()) wanted.insert(copy_name(each));
    for (int i = 0; i < 4; ++i) {
      read.copies.push_back(
          found("old" + std::to_string(i), "1", 20 + dice.below(300), static_cast<int>(dice.below(100))));
      on_disk[read.copies.back().copy] = read.copies.back().bytes;
      if (!dice.chance(1, 4)) continue;
      const ExecutorId executor("old-e" + std::to_string(i));
      read.holds[executor] = read.copies.back().copy;
      holders[read.copies.back().copy].insert(executor);
    }
    tell(read);
  }

  void step() {
    world.now += milliseconds(static_cast<std::int64_t>(dice.below(200'000)));
    const std::string any = copy_of("i" + std::to_string(dice.below(6)) + "@1");
    switch (dice.below(8)) {
      case 0:
        return tell(PullAsked{any});
      case 1:
        return tell(VerifyAsked{any});
      case 2:
        return hold("i" + std::to_string(dice.below(6)));
      case 3:
        return release();
      case 4:
        return end_fetch();
      case 5:
        return end_removal();
      case 6:
        return end_verification();
      default:
        return tell(ImageTick{});
    }
  }

  void hold(const std::string& image) {
    const auto copy = world.logic.decide_hold(image, Format::vm);
    if (!copy) return;
    CHECK(on_disk.count(*copy) == 1);
    CHECK(broken.count(*copy) == 0);
    CHECK(removing.count(*copy) == 0);
    const ExecutorId executor("e" + std::to_string(++last_executor));
    holders[*copy].insert(executor);
    tell(HoldMade{*copy, executor});
  }
  void release() {
    if (holders.empty()) return;
    const auto at = std::next(holders.begin(), static_cast<long>(dice.below(holders.size())));
    const ExecutorId executor = *at->second.begin();
    at->second.erase(executor);
    if (at->second.empty()) holders.erase(at);
    tell(HoldReleased{executor});
  }
  void end_fetch() {
    if (fetching.empty()) return;
    const auto at = std::next(fetching.begin(), static_cast<long>(dice.below(fetching.size())));
    const auto [copy, bytes] = *at;
    fetching.erase(at);
    if (dice.chance(1, 3)) return tell(FetchEnded{copy, dice.chance(1, 2) ? broken_off : not_there, 0});
    on_disk[copy] = bytes;
    tell(FetchEnded{copy, bytes, 0});
  }
  void end_removal() {
    if (removing.empty()) return;
    const std::string copy = *removing.begin();
    removing.erase(copy);
    if (dice.chance(1, 5)) {
      broken.insert(copy);
      return tell(RemoveEnded{copy, Error::try_again(ErrorCode::generic, "busy")});
    }
    on_disk.erase(copy);
    broken.erase(copy);
    tell(RemoveEnded{copy, {}});
  }
  void end_verification() {
    if (verifying.empty()) return;
    const std::string copy = std::exchange(verifying, {});
    if (dice.chance(1, 3)) {
      broken.insert(copy);
      return tell(VerifyEnded{copy, Error::failed(ErrorCode::malformed_reply, "changed")});
    }
    tell(VerifyEnded{copy, {}});
  }

  /// Faults end: everything that is fetched by itself arrives.
  void calm() {
    while (!holders.empty()) release();
    for (int i = 0; i < 400; ++i) {
      world.now += minutes(30);
      while (!removing.empty()) {
        const std::string copy = *removing.begin();
        removing.erase(copy);
        on_disk.erase(copy);
        broken.erase(copy);
        tell(RemoveEnded{copy, {}});
      }
      while (!fetching.empty()) {
        const auto [copy, bytes] = *fetching.begin();
        fetching.erase(fetching.begin());
        on_disk[copy] = bytes;
        tell(FetchEnded{copy, bytes, 0});
      }
      if (!verifying.empty()) tell(VerifyEnded{std::exchange(verifying, {}), {}});
      tell(ImageTick{});
    }
    for (const CatalogueEntry& each : world.logic.catalogue()) {
      INFO("image " << full_name(each) << ": " << world.status(full_name(each)).problem);
      if (each.is_prefetched) CHECK(on_disk.count(copy_name(each)) == 1);
    }
  }

  Prng dice;
  World world;
  std::map<std::string, std::uint64_t> on_disk, fetching;
  std::map<std::string, std::set<ExecutorId>> holders;
  std::set<std::string> removing, broken, wanted;
  std::string verifying;
  int last_executor = 0;
};

}  // namespace

TEST_CASE("images: the promises hold in random runs, and afterwards everything arrives", "[images][random]") {
  const char* given = std::getenv("SKEP_SEED");
  const std::uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  const int runs = given != nullptr ? 1 : 120;
  for (int run = 0; run < runs; ++run) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(run);
    INFO("replay: SKEP_SEED=" << seed << " agentd_images_unit_test '[random]'");
    RandomRun random(seed);
    random.begin();
    for (int i = 0; i < 300; ++i) random.step();
    random.calm();
  }
}

}  // namespace image_logic_test
