#include "core/ids.h"

#include <catch2/catch.hpp>
#include <set>
#include <type_traits>
#include <vector>

#include "core/bounds.h"

namespace ids_test {

using namespace skep;

static_assert(!std::is_convertible_v<HostId, ExecutorId> && !std::is_constructible_v<HostId, ExecutorId>);
static_assert(!std::is_convertible_v<std::string, HostId>);

TEST_CASE("ids: names that we create", "[unit][core][ids]") {
  const std::string longest(bounds::max_name_chars, 'a');
  for (const std::string& name : {std::string("a"), std::string("0"), std::string("a-b"), std::string("a--9"),
                                  std::string("skep-main-t1-7"), longest}) {
    CAPTURE(name);
    CHECK(is_valid_name(name));
  }
  for (const std::string& name :
       std::vector<std::string>{"", "-", "-a", "a-", "A", "a_b", "a.b", "a b", " a", "a\n", "a/b", "..",
                                "\xc3\xa9", std::string("a\0b", 3), longest + "a"}) {
    CAPTURE(name);
    CHECK_FALSE(is_valid_name(name));
  }
}

TEST_CASE("ids: order is that of the texts", "[unit][core][ids]") {
  CHECK(HostId("a") == HostId("a"));
  CHECK(HostId("a") < HostId("b"));
  CHECK(HostId("h10") < HostId("h9"));
  CHECK(HostId().empty());
  CHECK_FALSE(HostId("a").empty());
}

}  // namespace ids_test
