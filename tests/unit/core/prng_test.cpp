#include "core/prng.h"

#include <rapidcheck.h>

#include <array>
#include <catch2/catch.hpp>
#include <limits>
#include <set>

namespace prng_test {

using skep::Prng;

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();

}  // namespace

TEST_CASE("prng: a seed gives the stream of the publication", "[unit][core][prng]") {
  struct Case {
    std::uint64_t seed;
    std::array<std::uint64_t, 4> stream;
  };
  // Computed by a second implementation, in Python.
  for (const Case& c :
       {Case{0, {0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0, 0x6aa594f1262d2d2c}},
        {1, {0xb3f2af6d0fc710c5, 0x853b559647364cea, 0x92f89756082a4514, 0x642e1c7bc266a3a7}},
        {UINT64_MAX, {0x8f5520d52a7ead08, 0xc476a018caa1802d, 0x81de31c0d260469e, 0xbf658d7e065f3c2f}}}) {
    Prng prng(c.seed);
    for (const std::uint64_t value : c.stream) CHECK(prng.next() == value);
  }
}

TEST_CASE("prng: forks are streams of their own", "[unit][core][prng]") {
  CHECK(Prng(7).fork("placement").next() == 0x0b04f31244c517e8);
  CHECK(Prng(7).fork("faults").next() == 0x6f3ebd0625ae55e8);
  Prng parent(7), untouched(7);
  Prng fork = parent.fork("a");
  for (int i = 0; i < 10; ++i) fork.next();
  CHECK(parent.fork("a").next() == untouched.fork("a").next());
  CHECK(parent.next() == untouched.next());
  std::set<std::uint64_t> firsts{Prng(7).next(), Prng(8).next(), Prng(8).fork("a").next()};
  for (const char* name : {"", "a", "b", "ab", "ba", "aa"}) firsts.insert(Prng(7).fork(name).next());
  CHECK(firsts.size() == 9);
}

TEST_CASE("prng: a range is reached up to both ends and never left", "[unit][core][prng]") {
  Prng prng(3);
  std::set<std::uint64_t> below;
  std::set<std::int64_t> between;
  int positive = 0;
  for (int i = 0; i < 500; ++i) {
    below.insert(prng.below(5));
    between.insert(prng.between(-2, 2));
    CHECK(prng.below(1) == 0);
    CHECK(prng.between(most, most) == most);
    CHECK(prng.between(least, least) == least);
    CHECK(prng.below(UINT64_MAX / 2 + 2) <= UINT64_MAX / 2 + 1);  // nearly half of all draws are thrown away
    positive += prng.between(least, most) > 0 ? 1 : 0;
  }
  CHECK(below == std::set<std::uint64_t>{0, 1, 2, 3, 4});
  CHECK(between == std::set<std::int64_t>{-2, -1, 0, 1, 2});
  CHECK(positive > 200);
  CHECK(positive < 300);
}

TEST_CASE("prng: ranges of every size", "[unit][core][prng]") {
  CHECK(rc::check("values lie in the range; the same seed draws the same", [] {
    const auto seed = *rc::gen::arbitrary<std::uint64_t>();
    const auto shift = *rc::gen::inRange(0, 64);
    const std::uint64_t bound = *rc::gen::inRange<std::uint64_t>(1, UINT64_MAX) >> shift | 1;
    const auto a = *rc::gen::arbitrary<std::int64_t>(), b = *rc::gen::arbitrary<std::int64_t>();
    Prng prng(seed), twin(seed);
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t below = prng.below(bound);
      const std::int64_t between = prng.between(std::min(a, b), std::max(a, b));
      RC_ASSERT(below < bound);
      RC_ASSERT(between >= std::min(a, b));
      RC_ASSERT(between <= std::max(a, b));
      RC_ASSERT(below == twin.below(bound));
      RC_ASSERT(between == twin.between(std::min(a, b), std::max(a, b)));
    }
  }));
}

TEST_CASE("prng: a chance is kept", "[unit][core][prng]") {
  Prng prng(5);
  int hits = 0;
  for (int i = 0; i < 4000; ++i) {
    CHECK_FALSE(prng.chance(0, 3));
    CHECK(prng.chance(3, 3));
    hits += prng.chance(1, 4) ? 1 : 0;
  }
  CHECK(hits > 850);
  CHECK(hits < 1150);
}

}  // namespace prng_test
