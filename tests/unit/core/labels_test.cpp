#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/labels/label_expression.h"
#include "core/labels/quoted_text.h"

namespace labels_test {

using skep::LabelExpression;
using skep::LabelSet;

namespace {

nlohmann::json recording() {
  const char* source = std::getenv("SKEP_SOURCE_DIR");
  REQUIRE(source != nullptr);
  std::ifstream file(std::string(source) + "/tests/recordings/label-expressions.json");
  return nlohmann::json::parse(file);
}

}  // namespace

TEST_CASE("labels: every recorded text is read as the controller read it", "[unit][core][labels]") {
  const nlohmann::json recorded = recording();
  std::vector<LabelSet> sets;
  for (const auto& labels : recorded["label_sets"]) sets.push_back(labels.get<LabelSet>());
  REQUIRE(recorded["cases"].size() == 429);
  REQUIRE(sets.size() == 14);
  for (const auto& entry : recorded["cases"]) {
    const std::string text = entry["text"];
    CAPTURE(text);
    const auto parsed = LabelExpression::parse(text);
    CHECK(parsed.has_value() == entry["valid"].get<bool>());
    if (parsed && entry["valid"]) {
      REQUIRE(entry["matches"].size() == sets.size());
      CHECK(parsed->name() == entry["name"].get<std::string>());
      CHECK(parsed->expression() == entry["expression"].get<std::string>());
      for (std::size_t i = 0; i < sets.size(); ++i) {
        CAPTURE(i);
        CHECK((parsed->matches(sets[i]) ? 1 : 0) == entry["matches"][i].get<int>());
      }
    }
    REQUIRE(entry.contains("controller"));
    const auto& controller = entry["controller"];
    const LabelExpression used = LabelExpression::from_job(text);
    CHECK(used.name() == controller["name"].get<std::string>());
    CHECK(used.expression() == controller["expression"].get<std::string>());
    CHECK(used.is_atom() == controller["atom"].get<bool>());
  }
}

}  // namespace labels_test
