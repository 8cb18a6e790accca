#include "core/resources.h"

#include <rapidcheck.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <vector>

namespace resources_test {

using skep::Resources;
using skep::Shortage;

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();

struct ArithmeticCase {
  std::int64_t a, b, sum, difference;
};

Resources all(std::int64_t value) {
  return {value, value, value, {{"licence", value}}};
}

/// Mostly small, often at the ends.
std::int64_t arbitrary_value() {
  const std::int64_t near = *rc::gen::inRange<std::int64_t>(0, 4);
  return *rc::gen::elementOf(std::vector<std::int64_t>{near, -near, most - near, least + near});
}

Resources arbitrary_resources() {
  Resources made{arbitrary_value(), arbitrary_value(), arbitrary_value(), {}};
  for (const char* name : {"licence", "port"}) {
    if (*rc::gen::arbitrary<bool>()) made.countable[name] = arbitrary_value();
  }
  return made;
}

std::int64_t count_of(const Resources& resources, const std::string& name) {
  const auto found = resources.countable.find(name);
  return found == resources.countable.end() ? 0 : found->second;
}

}  // namespace

TEST_CASE("resources: arithmetic goes through every dimension and saturates", "[unit][core][resources]") {
  for (const ArithmeticCase& c : {ArithmeticCase{5, 3, 8, 2},
                                  {3, 5, 8, -2},
                                  {0, 0, 0, 0},
                                  {most, 1, most, most - 1},
                                  {most, most, most, 0},
                                  {least, -1, least, least + 1},
                                  {least, 1, least + 1, least},
                                  {-2, most, most - 2, least},
                                  {-1, least, least, most},
                                  {0, least, least, most},
                                  {most, least, -1, most}}) {
    CAPTURE(c.a, c.b);
    CHECK(all(c.a) + all(c.b) == all(c.sum));
    CHECK(all(c.a) - all(c.b) == all(c.difference));
  }
  Resources twice = all(3);
  const Resources& same = twice;
  twice += same;
  CHECK(twice == all(6));
  twice -= same;
  CHECK(twice == all(0));
}

TEST_CASE("resources: a countable thing that one side lacks counts as none", "[unit][core][resources]") {
  const Resources a{1, 2, 3, {{"licence", 2}}};
  const Resources b{10, 20, 30, {{"port", 7}}};
  CHECK(a + b == Resources{11, 22, 33, {{"licence", 2}, {"port", 7}}});
  CHECK(a - b == Resources{-9, -18, -27, {{"licence", 2}, {"port", -7}}});
}

TEST_CASE("resources: the first dimension that is short is named", "[unit][core][resources]") {
  const Resources host{4000, 800, 90, {{"licence", 1}, {"port", 5}}};
  // a lambda, not a table: GCC 12 takes the clean-up of half a table for a use of what was not initialised
  const auto check = [](const Resources& wanted, const Resources& available,
                        const std::optional<Shortage>& shortage) {
    CAPTURE(to_string(wanted), to_string(available));
    CHECK(wanted.shortage_in(available) == shortage);
    CHECK(wanted.fits_in(available) == !shortage.has_value());
  };
  check({}, {}, std::nullopt);
  check(host, host, std::nullopt);
  check({4001, 0, 0, {}}, host, Shortage{"cpu", 4001, 4000});
  check({0, 801, 0, {}}, host, Shortage{"memory", 801, 800});
  check({0, 0, 91, {}}, host, Shortage{"disk", 91, 90});
  check({0, 0, 0, {{"port", 6}}}, host, Shortage{"port", 6, 5});
  check({0, 0, 0, {{"gpu", 1}}}, host, Shortage{"gpu", 1, 0});
  check({0, 0, 0, {{"gpu", 0}}}, host, std::nullopt);
  // in the order cpu, memory, disk, countable by name
  check(all(5000), {}, Shortage{"cpu", 5000, 0});
  check(all(5000), {5000, 0, 0, {}}, Shortage{"memory", 5000, 0});
  check(all(5000), {5000, 5000, 0, {}}, Shortage{"disk", 5000, 0});
  check({0, 0, 0, {{"port", 9}, {"licence", 9}}}, host, Shortage{"licence", 9, 1});
  // over-committed: what wants nothing of it still fits
  check({1, 0, 0, {}}, {-1, 0, 0, {}}, Shortage{"cpu", 1, -1});
  check({0, 1, 0, {}}, {-1, 1, -1, {{"licence", -1}}}, std::nullopt);
  check({0, 0, 0, {{"licence", 0}}}, {0, 0, 0, {{"licence", -1}}}, std::nullopt);
  check(all(-1), {}, std::nullopt);
  check(all(most), all(most), std::nullopt);
  check(all(most), all(least), Shortage{"cpu", most, least});
}

TEST_CASE("resources: sums and fits over random values", "[unit][core][resources]") {
  CHECK(rc::check("a sum is the exact sum, cut at the ends; what fits alone fits beside more room", [] {
    const Resources a = arbitrary_resources();
    const Resources b = arbitrary_resources();
    const Resources sum = a + b;
    const auto cut = [](std::int64_t left, std::int64_t right) {
      if (right > 0 && left > most - right) return most;
      if (right < 0 && left < least - right) return least;
      return left + right;
    };
    RC_ASSERT(sum.cpu_millis == cut(a.cpu_millis, b.cpu_millis));
    RC_ASSERT(sum.memory_bytes == cut(a.memory_bytes, b.memory_bytes));
    RC_ASSERT(sum.disk_bytes == cut(a.disk_bytes, b.disk_bytes));
    for (const char* name : {"licence", "port"})
      RC_ASSERT(count_of(sum, name) == cut(count_of(a, name), count_of(b, name)));
    RC_ASSERT(sum == b + a);
    RC_ASSERT(a.fits_in(a));
    const Resources more{std::max<std::int64_t>(0, b.cpu_millis),
                         std::max<std::int64_t>(0, b.memory_bytes),
                         std::max<std::int64_t>(0, b.disk_bytes),
                         {{"licence", std::max<std::int64_t>(0, count_of(b, "licence"))}}};
    if (a.fits_in(b)) RC_ASSERT(a.fits_in(b + more));
  }));
}

}  // namespace resources_test
