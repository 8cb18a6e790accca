// Names of nodes: made, and known again.
#include "scheduler/core/node_names.h"

#include <catch2/catch.hpp>
#include <set>

#include "core/bounds.h"

namespace skep::scheduler::node_names_test {
namespace {

std::string made(const std::string& farm, const std::string& template_name, Epoch epoch = 1,
                 std::uint64_t counter = 0) {
  Prng random(11);
  return make_node_name(farm, TemplateName(template_name), epoch, counter, random).text;
}

TEST_CASE("a part of a name has letters, digits and single dashes") {
  CHECK(name_part("Linux_x86.64") == "linux-x86-64");
  CHECK(name_part("--a  b--") == "a-b");
  CHECK(name_part("größe") == "gr-e");
  CHECK(name_part("…").empty());
  CHECK(name_part("").empty());
}

TEST_CASE("a name says farm, template, epoch and counter, and is read again") {
  const std::string name = made("Farm North", "Linux Small", 36, 35);
  CHECK(name.substr(0, name.size() - 3) == "farm-north-linux-small-10-z");
  const auto parsed = parse_node_name("Farm North", name);
  REQUIRE(parsed);
  CHECK(parsed->template_part == "linux-small");
  CHECK(parsed->epoch == 36);
}

TEST_CASE("names without a usable letter get one") {
  const std::string name = made("…", "…");
  CHECK(name.rfind("skep-t-1-0", 0) == 0);
  const auto parsed = parse_node_name("…", name);
  REQUIRE(parsed);
  CHECK(is_template_part(parsed->template_part, TemplateName("…")));
}

TEST_CASE("a long template name is cut in the middle of the node's name, and still known") {
  const std::string farm(60, 'f'), longest(200, 'x');
  const std::string name = made(farm, longest, 99'999, 10'000'000);
  CHECK(name.size() == bounds::max_name_chars);
  const auto parsed = parse_node_name(farm, name);
  REQUIRE(parsed);
  CHECK(parsed->epoch == 99'999);
  CHECK(is_template_part(parsed->template_part, TemplateName(longest)));
  CHECK_FALSE(is_template_part(parsed->template_part, TemplateName(std::string(200, 'y'))));
  // The greatest numbers leave room for some letters of the template all the same.
  CHECK(parse_node_name(farm, made(farm, longest, ~Epoch{0}, ~std::uint64_t{0}))->epoch == ~Epoch{0});
}

TEST_CASE("a template whose name begins like another's is not taken for it") {
  CHECK(is_template_part("linux", TemplateName("linux")));
  CHECK_FALSE(is_template_part("linux", TemplateName("linux-big")));
  CHECK_FALSE(is_template_part("linux-big", TemplateName("linux")));
}

TEST_CASE("what no scheduler of this farm made is nobody's") {
  const std::string ours = made("farm", "linux");
  REQUIRE(parse_node_name("farm", ours));
  CHECK_FALSE(parse_node_name("other", ours));
  for (const char* name : {"", "farm", "farm-", "farm-linux", "farm-linux-1", "farm-linux-0-0abc",
                           "farm-linux-1-abc", "farm-linux-1-0AbC", "farm-linux-one two-0abc", "farm--1-0abc",
                           "farm-linux-zzzzzzzzzzzzzz-0abc", "farm-linux-1-0abc-"}) {
    INFO(name);
    CHECK_FALSE(parse_node_name("farm", name));
  }
}

TEST_CASE("epoch and counter alone keep names apart, and so does chance") {
  CHECK(made("farm", "linux", 1, 11) != made("farm", "linux", 11, 1));
  std::set<std::string> names;
  Prng random(3);
  for (int i = 0; i < 20; ++i) names.insert(make_node_name("farm", TemplateName("linux"), 1, 0, random).text);
  CHECK(names.size() > 15);
}

}  // namespace
}  // namespace skep::scheduler::node_names_test
