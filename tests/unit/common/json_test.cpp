#include "common/json/json.h"

#include <catch2/catch.hpp>

namespace json_test {

using namespace skep;
using json::parse_strict;

TEST_CASE("strict: what others would let pass is refused, with the place") {
  const std::string wrong[] = {"",
                               " ",
                               "{",
                               "[1,]",
                               "{\"a\":1,}",
                               "{\"a\":1,\"a\":1}",
                               "{'a':1}",
                               "{a:1}",
                               "01",
                               "1.",
                               ".5",
                               "+1",
                               "NaN",
                               "Infinity",
                               "-",
                               "tru",
                               "nul",
                               "[1] x",
                               "[1][2]",
                               "\"\n\"",
                               "\"\\x\"",
                               "\"\\ud800\"",
                               "\"\xff\"",
                               "\"\xc0\x80\"",
                               "\"\xed\xa0\x80\"",
                               "\xEF\xBB\xBF[]",
                               "// c\n1",
                               "99999999999999999999",
                               "-9223372036854775809",
                               "1e999",
                               std::string("1\0", 2),
                               std::string("1\0junk", 6),
                               std::string("\"a\0b\"", 5),
                               std::string("\0[]", 3),
                               std::string(65, '[') + std::string(65, ']'),
                               std::string(1'000'000, '['),
                               "<!DOCTYPE html>"};
  for (const std::string& text : wrong) {
    const auto parsed = parse_strict(text);
    INFO(text.substr(0, 60));
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == ErrorCode::malformed_reply);
    CHECK(parsed.error().message.size() < 400);
  }
  CHECK(parse_strict("[1,2").error().message.find("byte") != std::string::npos);
}

TEST_CASE("strict: what is JSON is taken") {
  CHECK(parse_strict(" {\"a\":[1,-2,2.5e3,true,false,null,\"\\u00e9\\ud83d\\ude00\"]} \r\n"));
  CHECK(parse_strict(std::string(64, '[') + std::string(64, ']')));
  CHECK((*parse_strict("{\"a\":{\"b\":1},\"c\":{\"b\":2}}"))["c"]["b"] == 2);  // the same key, in two objects
  CHECK(*json::get_int64(*parse_strict("{\"n\":9223372036854775807}"), "n") == INT64_MAX);
  CHECK(*json::get_int64(*parse_strict("{\"n\":-9223372036854775808}"), "n") == INT64_MIN);
  CHECK_FALSE(json::get_int64(*parse_strict("{\"n\":18446744073709551615}"), "n"));
  CHECK_FALSE(json::get_int64(*parse_strict("{\"n\":1.0}"), "n"));
}

TEST_CASE("typed fields name the key that is missing or wrong") {
  const json::Json object = *parse_strict("{\"t\":\"x\",\"n\":null,\"b\":1}");
  CHECK(*json::get_string(object, "t") == "x");
  for (const auto& error : {json::get_string(object, "n").error(), json::get_string(object, "gone").error(),
                            json::get_bool(object, "b").error(), json::get_int64(object, "t").error()})
    CHECK(error.message.find("is missing or not") != std::string::npos);
  CHECK_FALSE(json::get_string(json::Json::array(), "t"));
}

TEST_CASE("writing never throws") {
  const std::string text = json::dump(json::Json{{"a", "\xff\xfe"}, {"b", std::string("\0", 1)}});
  CHECK(parse_strict(text));
}

}  // namespace json_test
