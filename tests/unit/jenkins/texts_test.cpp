#include "scheduler/jenkins/texts.h"

#include <catch2/catch.hpp>

namespace Catch {
template <>
struct StringMaker<skep::scheduler::WhyFacts::Kind> {
  static std::string convert(skep::scheduler::WhyFacts::Kind kind) {
    constexpr const char* names[] = {"label",    "label_or_node", "node",   "any_node",
                                     "no_label", "stopping",      "nothing"};
    return names[static_cast<int>(kind)];
  }
};
}  // namespace Catch

namespace texts_test {

using namespace skep::scheduler;
using Kind = WhyFacts::Kind;

TEST_CASE("every text of the English bundle is read") {
  struct Row {
    const char* why;
    Kind kind;
    const char* text;
  };
  const Row rows[] = {
      {"There are no nodes with the label ‘linux’", Kind::label, "linux"},
      {"There are no nodes with the label ‘it’s’", Kind::label, "it’s"},
      {"There are no nodes with the label ‘\"a b\"&&linux’", Kind::label, "\"a b\"&&linux"},
      {"There are no nodes with the label 'linux'", Kind::label, "linux"},
      {"There are no nodes with the label linux.", Kind::label, "linux"},
      {"There are no nodes with the label “linux”", Kind::label, "linux"},
      {"All nodes of label ‘linux&&(x86||arm)’ are offline", Kind::label, "linux&&(x86||arm)"},
      {"All nodes of label 'linux' are offline.", Kind::label, "linux"},
      {"Waiting for next available executor on ‘!windows’", Kind::label_or_node, "!windows"},
      {"Waiting for next available executor on linux", Kind::label_or_node, "linux"},
      {"‘n1’ is offline", Kind::node, "n1"},
      {"n1 is offline.", Kind::node, "n1"},
      {"Waiting for next available executor", Kind::any_node, ""},
      {"Waiting for next available executor.", Kind::any_node, ""},
      {"‘n1’ doesn’t have label ‘linux’", Kind::label, "linux"},
      {"'n1' doesn't have label 'linux'", Kind::label, "linux"},
      {"‘n1’ doesn’t have label ‘it’s’", Kind::label, "it’s"},
      {"‘n1’ is reserved for jobs with matching label expression", Kind::no_label, ""},
      {"‘n1’ is not accepting tasks", Kind::node, "n1"},
      {"‘somebody’ lacks permission to run on ‘n1’", Kind::nothing, ""},
      {"n1 has been removed from configuration", Kind::nothing, ""},
      {"Executor slot already in use", Kind::nothing, ""},
      {"Must run on s1 not n2", Kind::label, "s1"},
      {"part of app #3 should be allowed to run first", Kind::nothing, ""},
      {"Blocked by ‘a resource’", Kind::nothing, ""},
      {"A build is already in progress", Kind::nothing, ""},
      {"Build #1 is already in progress (ETA: N/A)", Kind::nothing, ""},
      {"Upstream project ‘up’ is already building", Kind::nothing, ""},
      {"Downstream project ‘down’ is already building", Kind::nothing, ""},
      {"Jenkins is about to shut down", Kind::stopping, ""},
      {"Stopping part of app #3", Kind::stopping, ""},
      {"In the quiet period. Expires in 4.1 sec", Kind::nothing, ""},
      {"Finished waiting", Kind::nothing, ""},
      {"", Kind::nothing, ""},
      // Another language: reported, never guessed.
      {"Es gibt keine Knoten mit dem Label „linux“", Kind::nothing, ""},
      // Composites: sorted refusals joined by "; ", at most five.
      {"‘a’ doesn’t have label ‘linux’; ‘b’ is offline", Kind::label, "linux"},
      {"‘a’ is offline; ‘b’ doesn’t have label ‘linux’; ... and 3 more", Kind::label, "linux"},
      {"‘a’ is reserved for jobs with matching label expression; ‘b’ is offline", Kind::no_label, ""},
      {"Executor slot already in use; Must run on s1 not n2; Must run on s1 not n3", Kind::label, "s1"},
      {"‘a’ is offline; ‘b’ is offline", Kind::nothing, ""},
      // Quotes and separators that belong to the label.
      {"‘a’ doesn’t have label ‘x’; y’; ‘b’ is offline", Kind::label, "x’; y"},
      {"‘a’ doesn’t have label ‘x’; y’; ... and 2 more", Kind::label, "x’; y"},
      {"‘a’ doesn’t have label ‘x’; y’", Kind::label, "x’; y"},
      {"‘a’ doesn’t have label ‘x’; \u5e94\u7528 should be allowed to run first", Kind::label, "x"},
      {"n1 doesn't have label linux; n2 is offline", Kind::label, "linux"},
      {"There are no nodes with the label \"a b\"&&linux", Kind::label, "\"a b\"&&linux"},
      {"There are no nodes with the label linux&&\"a b\"", Kind::label, "linux&&\"a b\""},
      {"There are no nodes with the label \"a b\"||\"c d\"", Kind::label, "\"a b\"||\"c d\""},
      {"There are no nodes with the label ‘'x'’", Kind::label, "'x'"},
      // Names without an end.
      {"There are no nodes with the label ", Kind::nothing, ""},
      {"There are no nodes with the label ‘’", Kind::nothing, ""},
      {"Must run on ", Kind::nothing, ""},
  };
  for (const Row& row : rows) {
    INFO(row.why);
    const WhyFacts facts = read_why(row.why);
    CHECK(facts.kind == row.kind);
    CHECK(facts.text == row.text);
  }
}

TEST_CASE("Java properties: order, comments, escapes, continuation") {
  const auto plain = parse_properties("#\n#Sun Nov 22 17:00:00 UTC 2026\nname=eph-7f3a\nsecret=5555\n");
  CHECK(plain.size() == 2);
  CHECK(plain.at("name") == "eph-7f3a");
  CHECK(plain.at("secret") == "5555");
  CHECK(parse_properties("secret=1\r\n! a note\r\n\r\nname=2") ==
        std::map<std::string, std::string>{{"secret", "1"}, {"name", "2"}});
  CHECK(parse_properties("name=\\ lead").at("name") == " lead");
  CHECK(parse_properties("name=\\u00FCn\\u00EF").at("name") == "ünï");
  CHECK(parse_properties("name=\xFC").at("name") == "ü");  // ISO-8859-1
  CHECK(parse_properties("name=\\uD83D\\uDE00").at("name") == "😀");
  CHECK(parse_properties("name=\\uD83Dx").at("name") == "\xEF\xBF\xBDx");
  CHECK(parse_properties("name=\\u12").at("name") == "u12");
  CHECK(parse_properties("a\\=b = c\\td").at("a=b") == "c\td");
  CHECK(parse_properties("name : a\\\n   b").at("name") == "ab");
  CHECK(parse_properties("name").at("name").empty());
  CHECK(parse_properties("").empty());
  CHECK(parse_properties("#only a comment\\\nname=x").at("name") == "x");  // comments do not go on
  CHECK(parse_properties("name=x\\").at("name") == "x");
}

TEST_CASE("builds are known by their path, whatever host the address names") {
  CHECK(build_path("http://127.0.0.1:8080/job/a/12/") == "job/a/12/");
  CHECK(build_path("https://ci.example/jenkins/job/Team%20A/job/b/1/") == "job/Team%20A/job/b/1/");
  CHECK(build_path("job/p/1/") == "job/p/1/");
  CHECK(build_path("http://127.0.0.1:8080/queue/item/3/").empty());
  CHECK(build_path("").empty());
}

TEST_CASE("permissions are named as Jenkins' own pages name them") {
  CHECK(permission_name("hudson.model.Computer.Delete") == "Agent/Delete");
  CHECK(permission_name("hudson.model.Hudson.Administer") == "Overall/Administer");
  CHECK(permission_name("hudson.model.Item.Read") == "Job/Read");
  CHECK(permission_name("org.example.Strange.Thing") == "org.example.Strange.Thing");
}

}  // namespace texts_test
