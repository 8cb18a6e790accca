#include <catch2/catch.hpp>

#include "cli/arguments.h"

namespace arguments_test {

using namespace skep::cli;

namespace {

struct Read {
  std::vector<std::string> texts;
  std::string reason;
};

Read read(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "skep");
  Read out;
  CLI::App app{"test", "skep"};
  app.add_option("text", out.texts);
  app.add_option("--reason", out.reason);
  take_marks_away(app);
  app.parse(marked_arguments(static_cast<int>(arguments.size()), arguments.data()));
  return out;
}

}  // namespace

TEST_CASE("arguments: texts arrive as they were typed", "[unit][cli][arguments]") {
  CHECK(read({"[a]", "[a,b]", "++", "%%", "{}", ""}).texts ==
        std::vector<std::string>{"[a]", "[a,b]", "++", "%%", "{}", ""});
  CHECK(read({"a", "--", "-x", "--", "--reason"}).texts ==
        std::vector<std::string>{"a", "-x", "--", "--reason"});
  CHECK(read({"--reason", "[why]", "a"}).reason == "[why]");
  CHECK(read({"--reason=[why]", "a"}).reason == "[why]");
}

}  // namespace arguments_test
