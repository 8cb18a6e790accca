#include "simulation/whatif/trace_text.h"

#include <catch2/catch.hpp>

namespace trace_text_test {

using namespace skep;
using namespace skep::simulation::whatif;

namespace {

std::vector<std::string> texts_of(const std::vector<TraceField>& fields) {
  std::vector<std::string> out;
  for (const TraceField& field : fields) out.push_back(field.text);
  return out;
}

}  // namespace

TEST_CASE("trace text: CSV fields, with quotes where a comma is part of one", "[unit][whatif][trace]") {
  std::vector<TraceField> fields;
  REQUIRE(!split_csv(R"(1,"a, ""b""",,x)", fields));
  CHECK(texts_of(fields) == std::vector<std::string>{"1", "a, \"b\"", "", "x"});
  CHECK(fields[1].column == 3);
  CHECK(fields[3].column == 15);
  REQUIRE(!split_csv("", fields));
  CHECK(fields.size() == 1);
  REQUIRE(!split_csv("\"\",\"\"\"\"", fields));
  CHECK(texts_of(fields) == std::vector<std::string>{"", "\""});
  CHECK(split_csv("1,\"open", fields)->column == 3);
  CHECK(split_csv("\"a\"b", fields)->column == 4);
  CHECK(split_csv(std::string(100, ','), fields));
}

TEST_CASE("trace text: a flat JSON object", "[unit][whatif][trace]") {
  std::vector<TraceField> fields;
  REQUIRE(!split_json_object(
      R"( {"arrival": 12.5, "label":"a \"b\" \u00e9\ud83d\ude00", "x":null,"y":true} )", fields));
  CHECK(texts_of(fields) == std::vector<std::string>{"12.5", "a \"b\" \xC3\xA9\xF0\x9F\x98\x80", "", "true"});
  CHECK(fields[0].name == "arrival");
  CHECK(fields[0].column == 14);
  REQUIRE(!split_json_object("{}", fields));
  CHECK(fields.empty());
}

TEST_CASE("trace text: JSON that is none is named with its column", "[unit][whatif][trace]") {
  const std::vector<std::pair<std::string, std::size_t>> lines{{"", 1},
                                                               {"[1]", 1},
                                                               {"{\"a\":1", 7},
                                                               {"{\"a\":1,}", 8},
                                                               {"{\"a\" 1}", 6},
                                                               {"{\"a\":}", 6},
                                                               {"{\"a\":[1]}", 6},
                                                               {"{\"a\":1} x", 9},
                                                               {"{\"a\":\"\\x\"}", 8},
                                                               {"{a:1}", 2},
                                                               {"{\"a\":\"b", 8},
                                                               {"{\"a\":1,\"a\":2}", 8},
                                                               {"{\"a\":\"\\ud800\"}", 13},
                                                               {"{\"a\":\"\\udc00\"}", 13},
                                                               {"{\"a\":\"\x01\"}", 7}};
  std::vector<TraceField> fields;
  for (const auto& [line, column] : lines) {
    INFO(line);
    const auto problem = split_json_object(line, fields);
    REQUIRE(problem);
    CHECK(problem->column == column);
  }
}

TEST_CASE("trace text: times", "[unit][whatif][trace]") {
  CHECK(parse_arrival("0") == Duration::zero());
  CHECK(parse_arrival("12.5") == milliseconds(12'500));
  CHECK(parse_arrival("1790000000.123456789") == seconds(1'790'000'000) + Duration(123'456'789));
  CHECK(parse_arrival("1970-01-02T00:00:00Z") == hours(24));
  CHECK(parse_arrival("2026-11-23T08:00:00Z") == seconds(1'795'420'800));
  CHECK(parse_arrival("2026-11-23 08:00:00") == seconds(1'795'420'800));
  CHECK(parse_arrival("2026-11-23T09:00:00.25+01:00") == seconds(1'795'420'800) + milliseconds(250));
  CHECK(parse_arrival("2026-11-23T02:30:00-0530") == seconds(1'795'420'800));
  for (const char* bad :
       {"", "x", "-1", "1.", ".5", "1e3", "99999999999", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
        "2026-11-23", "2026-11-23T25:00:00Z", "2026-11-23T08:00:00.Z", "2026-11-23T08:00:00+1",
        "2026/11/23 08:00:00", "1969-12-31T23:00:00Z", "2026-11-23T08:00:00Zx", "9999-01-01T00:00:00Z"}) {
    INFO(bad);
    CHECK(!parse_arrival(bad));
  }
  CHECK(parse_length("90") == seconds(90));
  CHECK(parse_length("1.5") == milliseconds(1500));
  CHECK(parse_length("1h30m") == minutes(90));
  CHECK(!parse_length("-5"));
  CHECK(!parse_length("long"));
  CHECK(parse_count("1500.5", milliseconds(1)) == std::chrono::microseconds(1'500'500));
}

}  // namespace trace_text_test
