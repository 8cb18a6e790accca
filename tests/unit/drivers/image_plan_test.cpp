// Which images an engine gets, keeps and loses: cases, and promises over random lives of two hosts on one
// engine.
#include "drivers/container/image_plan.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>

#include "core/prng.h"

namespace image_plan_test {

using namespace skep;
using namespace skep::drivers::container;

const std::string owner = "skep-h1";

std::string id_of(int number) {
  std::string digits = std::to_string(number);
  return "sha256:" + std::string(64 - digits.size(), '0') + digits;
}

std::string digest_of(int number) {
  return id_of(number + 500).substr(7);
}

TEST_CASE("image plan: tags keep owners, versions and digests apart, and are names that engines take",
          "[unit][drivers]") {
  const std::string tag = tag_of("skep-h1", "base@2+b-1f2d3c4b5a69");
  CHECK(tag.rfind(tag_prefix("skep-h1"), 0) == 0);
  CHECK(tag.substr(tag.rfind('/')) == "/base:v2_b-1f2d3c4b5a69");
  CHECK(tag.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789./:_-") == std::string::npos);
  CHECK(tag_prefix("skep-h1") != tag_prefix("skep-h2"));
}

TEST_CASE("image plan: records survive being written", "[unit][drivers]") {
  const LoadRecord record{digest_of(1), id_of(1), true};
  const auto read = decode_record(encode(record));
  REQUIRE(read);
  CHECK(*read == record);
  for (const char* text : {"", "{}", "[]", R"({"digest": 1})"}) CHECK_FALSE(decode_record(text));
}

TEST_CASE("image plan: a copy is loaded, is ready, and goes", "[unit][drivers]") {
  const std::string copy = "base@1-1f2d3c4b5a69", tag = tag_of(owner, copy);
  ImageFactsOfHost facts;
  facts.owner = owner;
  facts.copies = {{copy, digest_of(1), true, false}};
  CHECK(plan_images(facts).load == std::vector<std::string>{copy});
  facts.records[copy] = {digest_of(1), id_of(1), false};
  CHECK(plan_images(facts).load == std::vector<std::string>{copy});  // killed in the middle
  facts.engine = {{id_of(1), {tag}, false}};
  CHECK(plan_images(facts).ready == std::set<std::string>{copy});
  CHECK(plan_images(facts).load.empty());
  SECTION("the digest of its files is another: what is there is not what it says") {
    facts.copies.front().digest = digest_of(2);
    CHECK(plan_images(facts).ready.empty());
    CHECK(plan_images(facts).load == std::vector<std::string>{copy});
  }
  SECTION("somebody moved its tag to another image") {
    facts.engine = {{id_of(2), {tag, "other:1"}, false}};
    CHECK(plan_images(facts).ready.empty());
    CHECK(plan_images(facts).tags_to_remove == std::set<std::string>{tag});
    CHECK(plan_images(facts).load == std::vector<std::string>{copy});
  }
  SECTION("it is held, and cannot be started any more") {
    facts.copies = {{copy, "", false, true}};
    const ImagePlan plan = plan_images(facts);
    CHECK(plan.ready.empty());
    CHECK(plan.load.empty());
    CHECK(plan.tags_to_remove.empty());
    CHECK(plan.records_to_forget.empty());
  }
  SECTION("it is gone from the host") {
    facts.copies.clear();
    CHECK(plan_images(facts).tags_to_remove == std::set<std::string>{tag});
    CHECK(plan_images(facts).records_to_forget.empty());
    facts.engine.clear();
    CHECK(plan_images(facts).records_to_forget == std::set<std::string>{copy});
  }
  SECTION("a load that broke off left it without a name") {
    facts.copies.clear();
    facts.engine = {{id_of(1), {}, false}};
    CHECK(plan_images(facts).names_to_give == std::map<std::string, std::string>{{tag, id_of(1)}});
    CHECK(plan_images(facts).records_to_forget.empty());
  }
  SECTION("it was there before us without a name: it stays, with ours or without") {
    facts.copies.clear();
    facts.records[copy].was_nameless = true;
    CHECK(plan_images(facts).tags_to_remove.empty());
    facts.engine = {{id_of(1), {}, false}};
    CHECK(plan_images(facts).names_to_give.empty());
    facts.engine = {{id_of(1), {tag, "other:1"}, false}};
    CHECK(plan_images(facts).tags_to_remove == std::set<std::string>{tag});
  }
}

/// Two hosts and other people share an engine; loads break off, tags are moved, images are pruned.
struct SharedEngine {
  explicit SharedEngine(std::uint64_t seed) : random(seed) {
    for (const char* each : {"skep-h1", "skep-h2"}) {
      hosts.emplace_back();
      hosts.back().owner = each;
    }
  }

  EngineImage* find(const std::string& id) {
    const auto found =
        std::find_if(engine.begin(), engine.end(), [&](const EngineImage& each) { return each.id == id; });
    return found == engine.end() ? nullptr : &*found;
  }
  EngineImage& have(const std::string& id) {
    if (EngineImage* image = find(id)) return *image;
    engine.push_back({id, {}, false});
    return engine.back();
  }
  bool is_on_record(const std::string& id) const {
    return std::any_of(hosts.begin(), hosts.end(), [&](const ImageFactsOfHost& host) {
      return std::any_of(host.records.begin(), host.records.end(),
                         [&](const auto& each) { return each.second.id == id; });
    });
  }
  void move_tag(const std::string& tag, const std::string& id) {
    for (EngineImage& each : engine) each.tags.erase(tag);
    have(id).tags.insert(tag);
  }
  /// As engines do it: the last name takes the image along.
  void remove_tag(const std::string& tag) {
    for (EngineImage& each : engine) {
      if (each.tags.erase(tag) == 0) continue;
      if (each.tags.empty() && !each.has_digests) {
        const std::string id = each.id;
        if (foreign_nameless.count(id) > 0) is_foreign_lost = true;
        engine.erase(
            std::find_if(engine.begin(), engine.end(), [&](const EngineImage& e) { return e.id == id; }));
      }
      return;
    }
  }

  void disturb() {
    ImageFactsOfHost& host = hosts[random.below(hosts.size())];
    const int number = static_cast<int>(random.below(4));
    const std::string copy = "base@" + std::to_string(number) + "-1f2d3c4b5a69";
    switch (random.below(8)) {
      case 0:
      case 1: {  // the host has it, or has it no more
        const auto found = std::find_if(host.copies.begin(), host.copies.end(),
                                        [&](const CopyFacts& each) { return each.copy == copy; });
        if (found == host.copies.end())
          host.copies.push_back({copy, digest_of(number), true, false});
        else if (found->is_held)
          found->can_start = !found->can_start;
        else
          host.copies.erase(found);
        break;
      }
      case 2:
        for (CopyFacts& each : host.copies) {
          if (each.copy == copy) each.is_held = !each.is_held;
        }
        host.copies.erase(
            std::remove_if(host.copies.begin(), host.copies.end(),
                           [](const CopyFacts& each) { return !each.can_start && !each.is_held; }),
            host.copies.end());
        break;
      case 3:  // somebody else's, under a name of theirs
        have(id_of(number)).tags.insert("theirs:" + std::to_string(number));
        break;
      case 4:
        // Where a record says that it is ours, it would be taken for what a load of ours left.
        if (find(id_of(number)) == nullptr && !is_on_record(id_of(number))) {
          have(id_of(number));
          foreign_nameless.insert(id_of(number));
        }
        break;
      case 5:  // pruned by hand
        engine.erase(std::remove_if(engine.begin(), engine.end(),
                                    [&](const EngineImage& each) { return each.id == id_of(number); }),
                     engine.end());
        foreign_nameless.erase(id_of(number));
        break;
      case 6:
        move_tag(tag_of(host.owner, copy), id_of(9));
        break;
      default:
        carry_out(host, true);
        break;
    }
  }

  void carry_out(ImageFactsOfHost& host, bool may_break) {
    host.engine = engine;
    const ImagePlan plan = plan_images(host);
    check(host, plan);
    for (const auto& [tag, id] : plan.names_to_give) {
      if (find(id) != nullptr) move_tag(tag, id);
    }
    for (const std::string& tag : plan.tags_to_remove) {
      if (!may_break || random.chance(3, 4)) remove_tag(tag);
    }
    for (const std::string& copy : plan.records_to_forget) host.records.erase(copy);
    for (const std::string& copy : plan.load) {
      if (may_break && random.chance(1, 4)) break;  // killed before
      const int number = copy[5] - '0';
      host.engine = engine;
      host.records[copy] = plan_record(host, copy, digest_of(number), id_of(number));
      if (may_break && random.chance(1, 4)) break;  // killed in the middle
      have(id_of(number));
      if (may_break && random.chance(1, 4)) break;
      move_tag(tag_of(host.owner, copy), id_of(number));
    }
  }

  void check(const ImageFactsOfHost& host, const ImagePlan& plan) {
    for (const std::string& tag : plan.tags_to_remove) {
      REQUIRE(tag.rfind(tag_prefix(host.owner), 0) == 0);
      for (const CopyFacts& copy : host.copies) {
        if (tag_of(host.owner, copy.copy) != tag) continue;
        const EngineImage* image = nullptr;
        for (const EngineImage& each : host.engine) image = each.tags.count(tag) > 0 ? &each : image;
        REQUIRE(image != nullptr);
        REQUIRE(image->id != host.records.at(copy.copy).id);  // somebody moved it
      }
    }
    for (const auto& [tag, id] : plan.names_to_give) {
      REQUIRE(tag.rfind(tag_prefix(host.owner), 0) == 0);
      REQUIRE(is_nameless(host.engine, id));
    }
    for (const std::string& copy : plan.ready) {
      const std::string& id = host.records.at(copy).id;
      REQUIRE(std::any_of(host.engine.begin(), host.engine.end(), [&](const EngineImage& each) {
        return each.id == id && each.tags.count(tag_of(host.owner, copy)) > 0;
      }));
    }
  }

  Prng random;
  std::vector<ImageFactsOfHost> hosts;
  std::vector<EngineImage> engine;
  std::set<std::string> foreign_nameless;
  bool is_foreign_lost = false;
};

TEST_CASE("image plan: over random lives nothing of others goes, and in the end all is as it should be",
          "[unit][drivers][property]") {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    INFO("seed " << seed);
    SharedEngine shared(seed);
    for (int i = 0; i < 60; ++i) shared.disturb();
    for (int i = 0; i < 6; ++i) {
      for (ImageFactsOfHost& host : shared.hosts) shared.carry_out(host, false);
    }
    REQUIRE_FALSE(shared.is_foreign_lost);
    for (ImageFactsOfHost& host : shared.hosts) {
      host.engine = shared.engine;
      const ImagePlan plan = plan_images(host);
      REQUIRE(plan.load.empty());
      REQUIRE(plan.tags_to_remove.empty());
      for (const CopyFacts& copy : host.copies)
        REQUIRE(plan.ready.count(copy.copy) == (copy.can_start ? 1u : 0u));
      host.copies.clear();
    }
    for (int i = 0; i < 6; ++i) {
      for (ImageFactsOfHost& host : shared.hosts) shared.carry_out(host, false);
    }
    REQUIRE_FALSE(shared.is_foreign_lost);
    for (const EngineImage& image : shared.engine) {
      const bool is_theirs = image.tags.count("theirs:" + image.id.substr(image.id.size() - 1)) > 0 ||
                             shared.foreign_nameless.count(image.id) > 0;
      // In doubt it is left: it was somebody's when it was loaded.
      const bool is_protected = std::any_of(shared.hosts.begin(), shared.hosts.end(), [&](const auto& host) {
        return std::any_of(host.records.begin(), host.records.end(), [&](const auto& each) {
          return each.second.id == image.id && each.second.was_nameless;
        });
      });
      const bool is_ours = std::any_of(image.tags.begin(), image.tags.end(), [](const std::string& tag) {
        return tag.rfind("skep.local/", 0) == 0;
      });
      REQUIRE((is_theirs || is_ours || image.id == id_of(9)));
      if (is_ours) REQUIRE((is_theirs || is_protected));
    }
  }
}

}  // namespace image_plan_test
