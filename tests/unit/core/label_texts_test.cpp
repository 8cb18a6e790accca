// What the recorded expressions do not show: the texts of errors, limits, quoting, and the labels of nodes.
#include <rapidcheck.h>

#include <catch2/catch.hpp>

#include "core/bounds.h"
#include "core/labels/label_expression.h"
#include "core/labels/label_tokens.h"
#include "core/labels/quoted_text.h"

namespace label_texts_test {

using namespace skep;
using Kind = LabelTokenKind;
using Texts = std::vector<std::string>;

namespace {

std::string nested(int depth) {
  const auto count = static_cast<std::size_t>(depth);
  return std::string(count, '(') + "a" + std::string(count, ')');
}

}  // namespace

TEST_CASE("label texts: an error names the reason and the column in characters", "[unit][core][labels]") {
  struct Case {
    std::string text, message;
  };
  for (const Case& c :
       {Case{"", "a label is missing at column 1"},
        {"a&&", "a label is missing at column 4"},
        {"&&a", "a label is missing before && at column 1"},
        {"a b", "an operator such as && is missing before this at column 3"},
        {"a!b", "an operator such as && is missing before this at column 2"},
        {"!!a", "a second ! (write !(!a)) at column 2"},
        {"a->b->c", "a second -> (use parentheses) at column 5"},
        {"(a", "a ( that is not closed at column 1"},
        {"a)", "a ) without its ( at column 2"},
        {"a&b", "a single & (and is &&) at column 2"},
        {"a|b", "a single | (or is ||) at column 2"},
        {"a'b", "a ' (labels are quoted with \") at column 2"},
        {"a<b", "a < or > that is part of no arrow at column 2"},
        {"a&&\"b",
         "a quoted label that is not closed, runs over a line or has an unknown escape at column 4"},
        {"\"\\q\"",
         "a quoted label that is not closed, runs over a line or has an unknown escape at column 1"},
        {"\xc3\xa9\xe2\x82\xac&b", "a single & (and is &&) at column 3"}}) {
    CAPTURE(c.text);
    const auto refused = LabelExpression::parse(c.text);
    REQUIRE_FALSE(refused);
    CHECK(refused.error() == Error::failed(ErrorCode::invalid_input, c.message));
  }
}

TEST_CASE("label texts: tokens know their place", "[unit][core][labels]") {
  struct Case {
    Kind kind;
    std::string label;
    std::size_t offset;
    std::string sign;
  };
  const std::vector<Case> expected{{Kind::atom, "\xc3\xa9-1", 0, ""}, {Kind::conjunction, "", 5, "&&"},
                                   {Kind::negation, "", 8, "!"},      {Kind::open, "", 9, "("},
                                   {Kind::atom, "b \"c", 10, ""},     {Kind::implication, "", 17, "->"},
                                   {Kind::atom, "d-", 19, ""},        {Kind::equivalence, "", 21, "<->"},
                                   {Kind::atom, "e", 24, ""},         {Kind::close, "", 25, ")"},
                                   {Kind::disjunction, "", 26, "||"}, {Kind::atom, "f", 29, ""}};
  const auto tokens = tokenize_label("\xc3\xa9-1 && !(\"b \\\"c\"->d-<->e)||\tf");
  REQUIRE(tokens);
  REQUIRE(tokens->size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    CHECK((*tokens)[i].kind == expected[i].kind);
    CHECK((*tokens)[i].label == expected[i].label);
    CHECK((*tokens)[i].offset == expected[i].offset);
    CHECK(sign_of(expected[i].kind) == expected[i].sign);
  }
}

TEST_CASE("label texts: length and depth have limits, beyond them a job's text is one label",
          "[unit][core][labels]") {
  const std::string longest(bounds::max_label_text_bytes, 'a');
  CHECK(LabelExpression::parse(longest));
  CHECK(LabelExpression::parse(nested(bounds::max_label_depth)));
  // Closed ones do not count as depth.
  std::string many = "a";
  for (int i = 0; i < 2 * bounds::max_label_depth; ++i) many += "&&(a)";
  CHECK(LabelExpression::parse(many));
  for (const std::string& text : {longest + "a", nested(bounds::max_label_depth + 1)}) {
    const auto refused = LabelExpression::parse(text);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::invalid_input);
    CHECK(refused.error().message.size() < 200);
    const LabelExpression used = LabelExpression::from_job(text);
    CHECK(used.is_atom());
    CHECK(used.name() == text);
    CHECK(used.matches({text}));
    CHECK_FALSE(used.matches({"a"}));
  }
}

TEST_CASE("label texts: an expression that needs many values at once", "[unit][core][labels]") {
  std::string text = "x";
  LabelSet labels{"x"};
  for (int i = 0; i < 100; ++i) {
    text = "l" + std::to_string(i) + "&&(" + text + ")";
    labels.insert("l" + std::to_string(i));
  }
  const auto deep = LabelExpression::parse(text);
  REQUIRE(deep);
  CHECK(deep->matches(labels));
  for (const char* missing : {"x", "l0", "l50", "l99"}) {
    LabelSet fewer = labels;
    fewer.erase(missing);
    CHECK_FALSE(deep->matches(fewer));
  }
}

TEST_CASE("label texts: the labels of an expression, once, in their order", "[unit][core][labels]") {
  const auto read = LabelExpression::parse("b && (a || !b) -> \"c d\"");
  REQUIRE(read);
  CHECK(read->atoms() == Texts{"b", "a", "c d"});
  CHECK(LabelExpression::from_job("a &").atoms() == Texts{"a &"});
}

TEST_CASE("label texts: blank means any node", "[unit][core][labels]") {
  for (const std::string& text : {std::string(), std::string(" \t\r\n"), std::string("\0\x1f", 2)})
    CHECK(is_any_node_text(text));
  for (const char* text : {"a", " a ", "\x7f", "\xc2\xa0", "\"\""}) CHECK_FALSE(is_any_node_text(text));
}

TEST_CASE("label texts: a node's labels are split at blanks outside of quotes", "[unit][core][labels]") {
  struct Case {
    std::string text;
    Texts tokens;
  };
  for (const Case& c : {Case{"", {}},
                        {" \t\r\n", {}},
                        {"a", {"a"}},
                        {" b\ta\r\nb ", {"b", "a", "b"}},
                        {"\"a b\" c", {"a b", "c"}},
                        {"'a b'c", {"a bc"}},
                        {"a\"b c\"d", {"ab cd"}},
                        {"'a\"b' \"c'd\"", {"a\"b", "c'd"}},
                        {"a \"\" b", {"a", "", "b"}},
                        {"\"a b", {"a b"}},
                        {"a \"", {"a"}},
                        {"C:\\tools", {"C:\\tools"}},
                        {"\\a", {"\\a"}},
                        {"\\ a", {"\\", "a"}},
                        {"a\\ b", {"a b"}},
                        {"a\\\"b a\\'b a\\\\b", {"a\"b", "a'b", "a\\b"}}}) {
    CAPTURE(c.text);
    CHECK(split_quoted(c.text) == c.tokens);
    CHECK(parse_label_set(c.text) == LabelSet(c.tokens.begin(), c.tokens.end()));
  }
}

TEST_CASE("label texts: one pair of quotes is taken away", "[unit][core][labels]") {
  struct Case {
    std::string text, plain;
  };
  for (const Case& c : {Case{"", ""},
                        {"a", "a"},
                        {"\"", "\""},
                        {"\"\"", ""},
                        {"\"a b\"", "a b"},
                        {"'a b'", "a b"},
                        {"\"a'", "\"a'"},
                        {"a\"b\"", "a\"b\""},
                        {"\"\"a\"\"", "\"a\""},
                        {"\"a\\\"\\\\\\'b\"", "a\"\\'b"},
                        {"\"\\n\\r\\t\\f\\b\\q\"", "\n\r\t\f\bq"},
                        {"\"a\\\"", "a"},
                        // as Jenkins reads it: the second and third digit
                        {"\"\\u0041b\"",
                         "\x04"
                         "b"},
                        {"\"\\u0abc\"", "\xe0\xa8\x8b"},
                        {"\"\\u0\"", "\"\\u0\""}}) {
    CAPTURE(c.text);
    CHECK(unquote(c.text) == c.plain);
  }
  CHECK(rc::check("what is quoted comes back, bare or not", [] {
    const auto text = *rc::gen::container<std::string>(
        rc::gen::oneOf(rc::gen::arbitrary<char>(), rc::gen::element('\\', '"', '\'', '\n', ' ', 'u')));
    RC_ASSERT(unquote(quote(text)) == text);
    RC_ASSERT(escape_label(text) == (needs_escape(text) ? quote(text) : text));
  }));
}

TEST_CASE("label texts: which labels are printed in quotes", "[unit][core][labels]") {
  for (const char c : std::string_view("?*/\\%!@#$^&|<>[]:; ()\t\n\x01\x1f\x7f")) {
    CAPTURE(c);
    CHECK(needs_escape(std::string("a") + c + "b"));
  }
  for (const char* label : {"", "a.", ".", "a\xc2\x80", "\xc2\x9f"}) CHECK(needs_escape(label));
  for (const char* label : {"a", "a.b", "a-b", "a_b", "a\"b", "a'b", "a=b,c", "\xc3\xa9", "a\xc2\xa0"})
    CHECK_FALSE(needs_escape(label));
}

}  // namespace label_texts_test
