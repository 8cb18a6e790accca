#include <rapidcheck.h>

#include <catch2/catch.hpp>
#include <limits>

#include "core/resources.h"

namespace resource_texts_test {

using namespace skep;

namespace {

constexpr std::int64_t kib = std::int64_t{1} << 10;
constexpr std::int64_t mib = std::int64_t{1} << 20;
constexpr std::int64_t gib = std::int64_t{1} << 30;
constexpr std::int64_t tib = std::int64_t{1} << 40;

struct ReadCase {
  std::string text;
  std::int64_t value;
};

template <typename Parse>
void check_refused(Parse parse, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    CAPTURE(text);
    const auto refused = parse(text);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::invalid_input);
    CHECK(refused.error().outcome == Outcome::failed);
    CHECK(refused.error().message.find("\"" + text.substr(0, 80) + "\" is not a ") == 0);
    CHECK(refused.error().message.size() < 200);
  }
}

}  // namespace

TEST_CASE("resource texts: what an executor takes", "[unit][core][resources]") {
  CHECK(to_string(Resources{}) == "nothing");
  CHECK(to_string(Resources{0, 0, 0, {{"licence", 0}}}) == "nothing");
  CHECK(to_string(Resources{2000, 4 * gib, 20 * gib, {{"licence", 1}}}) ==
        "2 cpu, 4 GiB memory, 20 GiB disk, 1 licence");
  CHECK(to_string(Resources{0, 0, 5 * mib, {{"port", 3}, {"licence", 2}}}) ==
        "5 MiB disk, 2 licence, 3 port");
  CHECK(to_string(Resources{500, 0, 0, {}}) == "0.5 cpu");
  CHECK(to_string(Resources{1, 0, 0, {}}) == "0.001 cpu");
  CHECK(to_string(Resources{2050, 0, 0, {}}) == "2.05 cpu");
  // over-committed
  CHECK(to_string(Resources{-500, 0, 0, {}}) == "-0.5 cpu");
  CHECK(to_string(Resources{-2000, -gib, -1, {{"licence", -1}}}) ==
        "-2 cpu, -1 GiB memory, -1 B disk, -1 licence");
  CHECK(to_string(Resources{std::numeric_limits<std::int64_t>::min(), 0, 0, {}}) ==
        "-9223372036854775.808 cpu");
}

TEST_CASE("resource texts: what is short", "[unit][core][resources]") {
  struct Case {
    Shortage shortage;
    std::string text;
  };
  for (const Case& c : {Case{{"cpu", 2000, 500}, "needs 2 cpu, 0.5 cpu free"},
                        {{"memory", 4 * gib, gib}, "needs 4 GiB memory, 1 GiB memory free"},
                        {{"disk", 20 * gib, 0}, "needs 20 GiB disk, 0 B disk free"},
                        {{"licence", 2, 1}, "needs 2 licence, 1 licence free"},
                        {{"cpu", 1, -2000}, "needs 0.001 cpu, 0 cpu free"},
                        {{"memory", 1, -gib}, "needs 1 B memory, 0 B memory free"},
                        {{"licence", 1, -4}, "needs 1 licence, 0 licence free"}})
    CHECK(to_string(c.shortage) == c.text);
}

TEST_CASE("resource texts: sizes for people never claim more than there is", "[unit][core][resources]") {
  struct Case {
    std::int64_t bytes;
    std::string text;
  };
  for (const Case& c : {Case{0, "0 B"},
                        {1023, "1023 B"},
                        {kib, "1 KiB"},
                        {kib + 102, "1 KiB"},
                        {kib + 103, "1.1 KiB"},
                        {kib + 512, "1.5 KiB"},
                        {2 * kib - 1, "1.9 KiB"},
                        {mib - 1, "1023.9 KiB"},
                        {2 * mib - 1, "1.9 MiB"},
                        {2 * gib - 1, "1.9 GiB"},
                        {2 * tib - 1, "1.9 TiB"},
                        {-kib - 512, "-1.5 KiB"},
                        {-1, "-1 B"},
                        {std::numeric_limits<std::int64_t>::max(), "8388607.9 TiB"},
                        {std::numeric_limits<std::int64_t>::min(), "-8388607.9 TiB"}})
    CHECK(bytes_to_text(c.bytes) == c.text);
}

TEST_CASE("resource texts: sizes are read", "[unit][core][resources]") {
  for (const ReadCase& c : {ReadCase{"0", 0},
                            {"100", 100},
                            {"7B", 7},
                            {"512MiB", 512 * mib},
                            {"20GiB", 20 * gib},
                            {"1TiB", tib},
                            {"3KiB", 3 * kib},
                            {"1K", kib},
                            {"1M", mib},
                            {"1G", gib},
                            {"1T", tib},
                            {"10KB", 10'000},
                            {"10MB", 10'000'000},
                            {"10GB", 10'000'000'000},
                            {"1.5TB", 1'500'000'000'000},
                            {"1.5GiB", gib + 512 * mib},
                            {"0.5KiB", 512},
                            {"1 GiB", gib},
                            {"8192TiB", 8192 * tib},
                            {"999999999999999", 999'999'999'999'999}}) {
    CAPTURE(c.text);
    const auto bytes = parse_bytes(c.text);
    REQUIRE(bytes);
    CHECK(*bytes == c.value);
  }
  check_refused(parse_bytes, {"",
                              "GiB",
                              "-1",
                              "+1",
                              " 1",
                              "1 GiB ",
                              "1gib",
                              "1GiBB",
                              "1.5",
                              "1.",
                              "1.GiB",
                              ".5GiB",
                              "1..5GiB",
                              "1.2.3GiB",
                              "1e3",
                              "1,5GiB",
                              "0x10",
                              "1000000000000000",
                              "99999999TiB",
                              std::string("1\0GiB", 5),
                              std::string(1000, 'x')});
}

TEST_CASE("resource texts: processors are read", "[unit][core][resources]") {
  for (const ReadCase& c : {ReadCase{"2", 2000},
                            {"0.5", 500},
                            {"1500m", 1500},
                            {"0", 0},
                            {"0m", 0},
                            {"0.001", 1},
                            {"1.25", 1250},
                            {"999999999999999.999", 999'999'999'999'999'999}}) {
    CAPTURE(c.text);
    const auto millis = parse_cpu(c.text);
    REQUIRE(millis);
    CHECK(*millis == c.value);
  }
  check_refused(parse_cpu, {"", "m", "-1", "-500m", "+2", "1.5m", "2 ", " 2", "2M", "1e3", "0.5.5", "1.",
                            ".5", "two", "1000000000000000", std::string(1000, '9') + "m"});
}

TEST_CASE("resource texts: what is written with a unit is read as that many", "[unit][core][resources]") {
  CHECK(rc::check("sizes and processors", [] {
    const std::int64_t count = *rc::gen::inRange<std::int64_t>(0, 1'000'000);
    const std::vector<ReadCase> units{
        {"KiB", kib}, {"MiB", mib}, {"GiB", gib}, {"KB", 1'000}, {"GB", 1'000'000'000}};
    const auto& [unit, size] = units[*rc::gen::inRange<std::size_t>(0, units.size())];
    const auto bytes = parse_bytes(std::to_string(count) + unit);
    RC_ASSERT(bytes.has_value());
    RC_ASSERT(*bytes == count * size);
    const auto millis = parse_cpu(std::to_string(count) + "m");
    RC_ASSERT(millis.has_value());
    RC_ASSERT(*millis == count);
    std::string digits = std::to_string(1000 + count % 1000).substr(1);
    const auto decimal = parse_cpu(std::to_string(count / 1000) + "." + digits);
    RC_ASSERT(decimal.has_value());
    RC_ASSERT(*decimal == count);
  }));
}

}  // namespace resource_texts_test
