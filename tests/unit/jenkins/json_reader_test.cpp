#include "scheduler/jenkins/json_reader.h"

#include <catch2/catch.hpp>

#include "common/json/json.h"

namespace json_reader_test {

using skep::scheduler::JsonReader;

namespace {

bool accepts(std::string_view text) {
  JsonReader in(text);
  in.skip();
  return in.finish();
}

std::string text_of(std::string_view text) {
  JsonReader in(text);
  std::string value = in.text();
  return in.finish() ? value : "refused: " + in.problem();
}

}  // namespace

TEST_CASE("the reader accepts and refuses what the strict parser does") {
  const std::string deep_enough = std::string(64, '[') + std::string(64, ']');
  const std::string too_deep = std::string(65, '[') + std::string(65, ']');
  const std::string texts[] = {
      "{}",
      "[]",
      " [ 1 , -2.5e3 , true , false , null , \"x\" ] ",
      R"({"a":{"b":[{}]},"c":1})",
      "0",
      "-0",
      "1e5",
      "\"\"",
      R"("\u00e9\ud83d\ude00\n\"\\\/")",
      deep_enough,
      R"({"a":1,"b":1})",
      "18446744073709551615",
      "-9223372036854775808",
      // and the broken ones
      "",
      " ",
      "{",
      "[",
      "[1",
      "[1,",
      "[1,]",
      "[,1]",
      "{\"a\"}",
      "{\"a\":}",
      "{\"a\":1,}",
      "{a:1}",
      "{'a':1}",
      "{\"a\":1}}",
      "[] []",
      "nul",
      "truth",
      "01",
      "-",
      "1.",
      ".5",
      "1e",
      "+1",
      "\"",
      "\"\\\"",
      "\"\\x\"",
      "\"\\u12\"",
      "\"\\u12g4\"",
      "\"\\ud800\"",
      "\"\\udc00\"",
      "\"\\ud800\\u0041\"",
      "\"a\nb\"",
      "\"\x01\"",
      too_deep,
      R"({"a":1,"a":2})",
      R"({"a":1,"\u0061":2})",
      "18446744073709551616",
      "-9223372036854775809",
      "1e999",
      "\"\xff\"",
      "\"\xc0\x80\"",
      "\"\xed\xa0\x80\"",
      "\"\xf4\x90\x80\x80\"",
      "\"\xe2\x80\"",
      "[1]\xff",
      "[1}",
      "{\"a\":1]",
      "<html></html>",
      "NaN",
  };
  for (const std::string& text : texts) {
    INFO(text);
    CHECK(accepts(text) == skep::json::parse_strict(text).has_value());
  }
}

TEST_CASE("a byte order mark is no JSON") {
  CHECK_FALSE(accepts("\xef\xbb\xbf{}"));
}

TEST_CASE("texts come out decoded") {
  CHECK(text_of(R"("a‘b’")") == "a‘b’");
  CHECK(text_of(R"("\u2018\u00e9\t\b\f\r\/")") == "‘é\t\b\f\r/");
  CHECK(text_of(R"("\uD83D\uDE00")") == "😀");
  CHECK(text_of("5") == "refused: a text was expected (byte 0)");
}

TEST_CASE("typed values are not converted") {
  const auto number = [](std::string_view text) {
    JsonReader in(text);
    const std::int64_t value = in.number();
    return in.finish() ? std::to_string(value) : "refused";
  };
  CHECK(number("-12") == "-12");
  CHECK(number("9223372036854775807") == "9223372036854775807");
  for (const char* text : {"9223372036854775808", "1.0", "1e3", "\"1\"", "true", "null", "01", "-", ""}) {
    INFO(text);
    CHECK(number(text) == "refused");
  }
  JsonReader flag("1");
  flag.flag();
  CHECK(flag.problem() == "true or false was expected (byte 0)");
}

TEST_CASE("an object is walked key by key, and the first problem ends every loop") {
  JsonReader in(R"({"a":[1,2,{"x":null}],"b":"t","skipped":{"deep":[[1,"\n"]]},"c":true})");
  std::string seen;
  std::string_view key;
  in.enter_object();
  while (in.next_key(key)) {
    seen += std::string(key) + " ";
    if (key == "a") {
      in.enter_array();
      while (in.next_element()) in.skip();
    } else if (key == "b") {
      CHECK(in.text() == "t");
    } else if (key == "c") {
      CHECK(in.flag());
    } else {
      in.skip();
    }
  }
  CHECK(in.finish());
  CHECK(seen == "a b skipped c ");

  JsonReader broken(R"([1,2,x,4])");
  int elements = 0;
  broken.enter_array();
  while (broken.next_element()) {
    broken.skip();
    ++elements;
  }
  CHECK(elements == 3);
  CHECK(broken.problem() == "a number was expected (byte 5)");
  CHECK_FALSE(broken.finish());
  CHECK(broken.number() == 0);
}

TEST_CASE("an object with too many keys is refused instead of compared for ever") {
  std::string many = "{";
  for (int i = 0; i < 1000; ++i) many += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":0";
  CHECK_FALSE(accepts(many + "}"));
}

}  // namespace json_reader_test
