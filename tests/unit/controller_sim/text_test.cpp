#include <catch2/catch.hpp>

#include "simulation/controller/exported.h"
#include "simulation/controller/text.h"

namespace skep::controller_sim::text_test {

TEST_CASE("labels are shown in the order of a Java set") {
  using Words = std::vector<std::string>;
  CHECK(java_set_order({"linux", "swarm", "x86", "n1"}) == Words{"n1", "swarm", "linux", "x86"});
  CHECK(java_set_order({"arm", "linux", "swarm", "n2"}) == Words{"swarm", "n2", "linux", "arm"});
  CHECK(java_set_order({"swarm", "nolabels"}) == Words{"swarm", "nolabels"});
  CHECK(java_set_order({"k", "kept", "swarm"}) == Words{"swarm", "k", "kept"});
  CHECK(java_set_order({"<z>", "a b", "ls", "swarm", "x&y", "\xC3\xA9"}) ==
        Words{"<z>", "a b", "swarm", "ls", "\xC3\xA9", "x&y"});
}

TEST_CASE("time spans and dates as Jenkins writes them") {
  CHECK(time_span(59'300) == "59 sec");
  CHECK(time_span(4'100) == "4.1 sec");
  CHECK(time_span(296'400) == "4 min 56 sec");
  CHECK(time_span(7'200'000) == "2 hr 0 min");
  CHECK(time_span(99) == "99 ms");
  CHECK(java_date(WallTime{1'795'402'274'000}) == "Mon Nov 23 02:51:14 UTC 2026");
}

TEST_CASE("forms, URLs, base64") {
  CHECK(find_field(parse_form("a=1&labels=linux+x86&e="), "labels") == "linux x86");
  CHECK(percent_encode("Team A/\xC3\xA9") == "Team%20A%2F%C3%A9");
  CHECK(base64_decode("YWRtaW46dG9rZW4=") == "admin:token");
  CHECK(xml_element("<a><label>x &amp; y</label></a>", "label") == "x & y");
}

TEST_CASE("tree expressions") {
  CHECK(parse_tree("a,b[c,d[e]],f[g]{1,2}") != nullptr);
  CHECK(parse_tree("a{,5}")->children.front().second->end == 5);
  CHECK(parse_tree("a{3}")->children.front().second->first == 3);
  for (const char* bad : {"", "a[", "a]", "a[b", "a{1", "a,,b", "a[]", "a{}"})
    CHECK(parse_tree(bad) == nullptr);
}

}  // namespace skep::controller_sim::text_test
