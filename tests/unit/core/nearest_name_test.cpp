#include <catch2/catch.hpp>

#include "core/nearest_name.h"

namespace nearest_name_test {

using skep::edit_distance;
using skep::nearest_name;

TEST_CASE("nearest name: a typo finds what was meant, something else finds nothing",
          "[unit][core][nearest]") {
  const std::vector<std::string> commands{"status", "hosts", "executors", "queue", "drain", "undrain"};
  CHECK(nearest_name("statsu", commands) == "status");
  CHECK(nearest_name("hots", commands) == "hosts");
  CHECK(nearest_name("drian", commands) == "drain");
  CHECK(nearest_name("grain2", commands) == "drain");  // two of six
  CHECK(nearest_name("pain", commands).empty());       // two of five letters: a guess
  CHECK(nearest_name("undrian", commands) == "undrain");
  CHECK(nearest_name("executor", commands) == "executors");
  CHECK(nearest_name("xyz", commands).empty());
  CHECK(nearest_name("", commands).empty());
  CHECK(nearest_name(std::string(100'000, 'a'), commands).empty());
  CHECK(nearest_name("b", {"a", "c"}) == "a");
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("ab", "ba") == 1);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "abc") == 0);
}

}  // namespace nearest_name_test
