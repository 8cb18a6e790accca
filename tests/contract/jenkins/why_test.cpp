// Every `why` text that was recorded, and what may be learned from it. What is expected follows from the
// descriptions of the recordings: which job asks for which label, which nodes there were.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "core/labels/label_expression.h"
#include "scheduler/jenkins/texts.h"
#include "tests/contract/support/recordings.h"

namespace skep::scheduler::why_test {
namespace {

using Kind = WhyFacts::Kind;
using recordings::Exchange;
using recordings::Recording;

struct Row {
  const char* why;
  Kind kind;
  const char* text;
};

constexpr Row rows[] = {
    // The labels of the jobs of 03, as Jenkins writes them.
    {"There are no nodes with the label ‘linux’", Kind::label, "linux"},
    {"There are no nodes with the label ‘linux&&x86’", Kind::label, "linux&&x86"},
    {"There are no nodes with the label ‘linux&&(x86||arm)’", Kind::label, "linux&&(x86||arm)"},
    {"There are no nodes with the label ‘windows||linux’", Kind::label, "windows||linux"},
    {"There are no nodes with the label ‘\"a b\"&&linux’", Kind::label, "\"a b\"&&linux"},
    {"There are no nodes with the label ‘a b’", Kind::label, "a b"},
    {"There are no nodes with the label ‘linux && && x’", Kind::label, "linux && && x"},
    {"There are no nodes with the label ‘it’s’", Kind::label, "it’s"},
    {"There are no nodes with the label ‘!!a’", Kind::label, "!!a"},
    {"All nodes of label ‘linux’ are offline", Kind::label, "linux"},
    {"All nodes of label ‘windows||linux’ are offline", Kind::label, "windows||linux"},
    {"All nodes of label ‘linux&&(x86||arm)’ are offline", Kind::label, "linux&&(x86||arm)"},
    // Matched by the online built-in node, or by several: the text names the label; by one: the node.
    {"Waiting for next available executor on ‘!windows’", Kind::label_or_node, "!windows"},
    {"Waiting for next available executor on ‘a->b’", Kind::label_or_node, "a->b"},
    {"Waiting for next available executor on ‘a<->b’", Kind::label_or_node, "a<->b"},
    {"Waiting for next available executor on ‘linux’", Kind::label_or_node, "linux"},
    {"Waiting for next available executor on ‘n1’", Kind::label_or_node, "n1"},
    {"Waiting for next available executor on ‘h0’", Kind::label_or_node, "h0"},
    {"Waiting for next available executor on ‘h1’", Kind::label_or_node, "h1"},
    {"‘n1’ is offline", Kind::node, "n1"},
    {"‘g0’ is offline", Kind::node, "g0"},
    {"‘g1’ is offline", Kind::node, "g1"},
    {"‘g2’ is offline", Kind::node, "g2"},
    {"‘g3’ is offline", Kind::node, "g3"},
    // No label, or no agents at all.
    {"Waiting for next available executor", Kind::any_node, ""},
    {"‘n1’ is reserved for jobs with matching label expression; ‘n2’ is reserved for jobs with matching "
     "label expression; "
     "‘skep-sentinel’ is reserved for jobs with matching label expression",
     Kind::no_label, ""},
    {"‘n1’ is reserved for jobs with matching label expression; ‘skep-sentinel’ is reserved for jobs with "
     "matching label "
     "expression",
     Kind::no_label, ""},
    // Other jobs.
    {"There are no nodes with the label ‘nolab1’", Kind::label, "nolab1"},
    {"There are no nodes with the label ‘zz’", Kind::label, "zz"},
    {"There are no nodes with the label ‘gpu||(linux&&!docker)’", Kind::label, "gpu||(linux&&!docker)"},
    {"There are no nodes with the label ‘s1’", Kind::label, "s1"},  // a block that waits for its own node
    {"There are no nodes with the label ‘zlab’", Kind::label, "zlab"},
    // No word about labels.
    {"In the quiet period. Expires in 59 sec", Kind::nothing, ""},
    {"In the quiet period. Expires in 4 min 56 sec", Kind::nothing, ""},
    {"In the quiet period. Expires in 4 min 50 sec", Kind::nothing, ""},
    {"Build #1 is already in progress (ETA: N/A)", Kind::nothing, ""},
    {"Jenkins is about to shut down", Kind::stopping, ""},
};

/// Calls `visit(item)` for every item of every recorded queue, and for every item asked for by its id.
template <typename Visit>
void for_each_item(Visit visit) {
  for (const Recording& recording : recordings::all()) {
    for (const Exchange& exchange : recording.exchanges) {
      if (exchange.is_event() || !exchange.answer.json || exchange.target.rfind("/queue/", 0) != 0) continue;
      INFO(recording.file << ": " << exchange.step);
      const json::Json& answer = *exchange.answer.json;
      if (answer.contains("items")) {
        for (const json::Json& item : answer.at("items")) visit(recording, item);
      } else {
        visit(recording, answer);
      }
    }
  }
}

}  // namespace

TEST_CASE("every recorded `why` is in the table, and is read as the table says", "[contract]") {
  std::map<std::string, bool> seen;
  for (const Row& row : rows) seen[row.why] = false;
  std::size_t texts = 0;
  for_each_item([&](const Recording&, const json::Json& item) {
    if (!item.contains("why") || item.at("why").is_null()) return;
    const std::string why = item.at("why").get<std::string>();
    INFO(why);
    CHECK(seen.count(why) == 1);
    seen[why] = true;
    ++texts;
  });
  CHECK(texts > 200);
  for (const auto& [why, is_recorded] : seen) {
    INFO("recorded nowhere: " << why);
    CHECK(is_recorded);
  }
  for (const Row& row : rows) {
    INFO(row.why);
    const WhyFacts facts = read_why(row.why);
    CHECK(static_cast<int>(facts.kind) == static_cast<int>(row.kind));
    CHECK(facts.text == row.text);
  }
}

TEST_CASE("a label out of a `why` is the label that the job asks for", "[contract]") {
  // As typed, from what the recordings say of their jobs; nullptr: any node.
  const std::map<std::string, const char*> typed{
      {"linux", "linux"},
      {"and", "linux && x86"},
      {"parentheses", "linux && (x86||arm)"},
      {"not", "!windows"},
      {"implies", "a -> b"},
      {"iff", "a<->b"},
      {"quoted-and", "\"a b\" && linux"},
      {"quoted", "\"a b\""},
      {"unparsable", "linux && && x"},
      {"any", nullptr},
      {"apostrophe", "it’s"},
      {"double-not", "!!a"},
      {"or", "windows||linux"},
      {"part of p-linux #1", "linux"},
      {"part of p-par #1", "linux"},
      {"part of p-expr #1", "gpu||(linux && !docker)"},
      {"part of p-any #1", nullptr},
      {"part of Team A » p #1", "linux"},
      {"build it", "linux"},
      {"never", "zz"},
  };
  std::set<std::string> checked;
  for_each_item([&](const Recording&, const json::Json& item) {
    if (!item.contains("why") || !item.contains("task") || !item.at("task").contains("name")) return;
    const std::string job = item.at("task").at("name").get<std::string>();
    const auto known = typed.find(job);
    if (known == typed.end() || !item.at("why").is_string()) return;
    const WhyFacts facts = read_why(item.at("why").get<std::string>());
    INFO(job << ": " << item.at("why"));
    if (facts.kind == Kind::no_label) CHECK(known->second == nullptr);
    if (facts.kind != Kind::label) return;
    REQUIRE(known->second != nullptr);
    const LabelExpression wanted = LabelExpression::from_job(known->second),
                          read = LabelExpression::from_job(facts.text);
    CHECK(read.name() == wanted.name());
    CHECK(read.expression() == wanted.expression());
    checked.insert(job);
  });
  CHECK(checked.size() >= 13);
}

TEST_CASE("composite texts of up to five clauses, and names that look like the text around them",
          "[contract]") {
  const Row odd[] = {
      {"‘a’ doesn’t have label ‘linux’; ‘b’ doesn’t have label ‘linux’; ‘c’ doesn’t have label ‘linux’; ‘d’ "
       "doesn’t have label "
       "‘linux’; ‘e’ doesn’t have label ‘linux’",
       Kind::label, "linux"},
      {"‘a’ doesn’t have label ‘linux’; ‘b’ doesn’t have label ‘linux’; ‘c’ is offline; ‘d’ is not accepting "
       "tasks; ‘e’ doesn’t "
       "have label ‘linux’; ... and 12 more",
       Kind::label, "linux"},
      {"‘a’ is offline; ‘b’ is offline; ‘c’ is offline; ‘d’ is offline; ‘e’ is offline; ... and 1 more",
       Kind::nothing, ""},
      {"‘a’ is offline; ‘b’ is not accepting tasks; ‘c’ lacks permission to run on ‘d’; ‘e’ is offline; ‘f’ "
       "doesn’t have label "
       "‘x’; ... and 3 more",
       Kind::label, "x"},
      {"a has been removed from configuration; ‘b’ doesn’t have label ‘x86’", Kind::label, "x86"},
      {"Executor slot already in use; ‘b’ is reserved for jobs with matching label expression",
       Kind::no_label, ""},
      // A label that holds a quote, the separator, or both.
      {"‘a’ doesn’t have label ‘it’s’; ‘b’ doesn’t have label ‘it’s’", Kind::label, "it’s"},
      {"‘a’ doesn’t have label ‘x; y’; ‘b’ is offline", Kind::label, "x; y"},
      {"‘a’ doesn’t have label ‘x’; y’; ‘b’ is offline", Kind::label, "x’; y"},
      {"‘a’ doesn’t have label ‘x’; y’; ... and 2 more", Kind::label, "x’; y"},
      {"‘a’ doesn’t have label ‘x’; y’", Kind::label, "x’; y"},
      {"There are no nodes with the label ‘a’; b’", Kind::label, "a’; b"},
      {"There are no nodes with the label ‘a’ is offline’", Kind::label, "a’ is offline"},
      {"All nodes of label ‘all’ are offline’ are offline", Kind::label, "all’ are offline"},
      {"Waiting for next available executor on ‘n’; m’", Kind::label_or_node, "n’; m"},
      // Quotes that belong to the label, not to the text.
      {"There are no nodes with the label ‘\"a b\"||\"c d\"’", Kind::label, "\"a b\"||\"c d\""},
      {"There are no nodes with the label ‘'x'’", Kind::label, "'x'"},
      {"There are no nodes with the label ‘“x”’", Kind::label, "“x”"},
      {"There are no nodes with the label \"a b\"&&linux", Kind::label, "\"a b\"&&linux"},
      {"There are no nodes with the label linux&&\"a b\"", Kind::label, "linux&&\"a b\""},
      {"There are no nodes with the label \"a b\"||\"c d\"", Kind::label, "\"a b\"||\"c d\""},
      // Nodes named like labels, texts or parts of them: a node is never taken for a label.
      {"‘linux’ is offline", Kind::node, "linux"},
      {"‘doesn’t have label’ is offline", Kind::node, "doesn’t have label"},
      {"‘n is offline’ is offline", Kind::node, "n is offline"},
      {"‘a; b’ is offline", Kind::nothing, ""},  // or two clauses: not to be told apart
      {"‘a’ is not accepting tasks; ‘b’ is not accepting tasks", Kind::nothing, ""},
      {"Must run on s1 not n2; ‘n3’ is offline", Kind::label, "s1"},
      {"‘n2’ doesn’t have label ‘s1’; ‘n3’ doesn’t have label ‘s1’", Kind::label, "s1"},
  };
  for (const Row& row : odd) {
    INFO(row.why);
    const WhyFacts facts = read_why(row.why);
    CHECK(static_cast<int>(facts.kind) == static_cast<int>(row.kind));
    CHECK(facts.text == row.text);
  }
}

}  // namespace skep::scheduler::why_test
