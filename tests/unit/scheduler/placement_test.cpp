// Where an executor may run, and why not. placement_property_test.cpp holds the queues against this.
#include "scheduler/core/placement.h"

#include <catch2/catch.hpp>
#include <functional>

namespace skep::scheduler::placement_test {
namespace {

Template wanted() {
  Template out;
  out.name = TemplateName("linux");
  out.driver = "process";
  out.image = "base";
  out.resources.cpu_millis = 1000;
  out.resources.memory_bytes = 4096;
  out.resources.disk_bytes = 10;
  out.resources.countable["licence"] = 1;
  out.host_attributes["zone"] = "a";
  return out;
}

HostView host(const std::string& name) {
  HostView out;
  out.host = HostId(name);
  out.drivers = {"process"};
  out.images = {"base"};
  out.attributes["zone"] = "a";
  out.capacity.cpu_millis = 4000;
  out.capacity.memory_bytes = 16'384;
  out.capacity.disk_bytes = 100;
  out.capacity.countable["licence"] = 2;
  out.free = out.capacity;
  out.max_executors = 4;
  return out;
}

std::string chosen(const std::vector<HostView>& hosts, const PlacementPolicy& policy = {}) {
  const PlacementDecision decision = decide_placement(wanted(), hosts, policy);
  const auto* placed = std::get_if<Placed>(&decision);
  return placed != nullptr ? placed->host.text : "nowhere";
}

NotPlaced refusal(const std::vector<HostView>& hosts, const PlacementPolicy& policy = {}) {
  const PlacementDecision decision = decide_placement(wanted(), hosts, policy);
  REQUIRE(std::holds_alternative<NotPlaced>(decision));
  return std::get<NotPlaced>(decision);
}

TEST_CASE("each filter refuses by itself, and says why") {
  struct Row {
    Filter filter;
    std::function<void(HostView&)> spoil;
    const char* text;
  };
  const Row rows[] = {
      {Filter::host_unknown, [](HostView& h) { h.is_known = false; }, "h1: it cannot be seen"},
      {Filter::draining, [](HostView& h) { h.is_draining = true; }, "h1: it drains"},
      {Filter::driver, [](HostView& h) { h.drivers = {"hyperv"}; }, "h1: it has no driver 'process'"},
      {Filter::image, [](HostView& h) { h.images.clear(); }, "h1: it has no image 'base'"},
      {Filter::attributes, [](HostView& h) { h.attributes["zone"] = "b"; },
       "h1: needs attribute zone=a, it has b"},
      {Filter::executors_limit, [](HostView& h) { h.executors = 4; }, "h1: it runs 4 of at most 4 executors"},
      {Filter::cpu, [](HostView& h) { h.free.cpu_millis = 999; }, nullptr},
      {Filter::memory, [](HostView& h) { h.free.memory_bytes = 4095; }, nullptr},
      {Filter::disk, [](HostView& h) { h.free.disk_bytes = 9; }, nullptr},
      {Filter::countable, [](HostView& h) { h.free.countable.clear(); }, nullptr},
      {Filter::pace, [](HostView& h) { h.coming = 8; }, "h1: it starts 8 of at most 8 executors at once"},
      {Filter::breaker, [](HostView& h) { h.is_breaker_open = true, h.breaker_reason = "no disk"; },
       "h1: launches failed there: no disk"},
  };
  REQUIRE(std::size(rows) == filter_count);
  for (const Row& row : rows) {
    HostView spoilt = host("h1");
    row.spoil(spoilt);
    INFO(to_string(row.filter));
    const NotPlaced refused = refusal({spoilt});
    CHECK(refused.refusals == std::map<Filter, int>{{row.filter, 1}});
    REQUIRE(refused.nearest_miss);
    CHECK(refused.nearest_miss->filter == row.filter);
    if (row.text != nullptr) CHECK(refused.nearest_miss->text == row.text);
  }
}

TEST_CASE("what is just enough is enough") {
  HostView exact = host("h1");
  exact.free = wanted().resources;
  exact.executors = 3;
  exact.coming = 7;
  CHECK(chosen({exact}) == "h1");
}

TEST_CASE("no hosts: placed nowhere, without a nearest miss") {
  const NotPlaced refused = refusal({});
  CHECK(refused.refusals.empty());
  CHECK_FALSE(refused.nearest_miss);
}

TEST_CASE("the nearest miss passed the most filters, and refusals are counted by filter") {
  HostView unseen = host("h1"), full = host("h2"), drains = host("h3"), drains_too = host("h4");
  unseen.is_known = false;
  full.free.memory_bytes = 0;
  drains.is_draining = drains_too.is_draining = true;
  const NotPlaced refused = refusal({drains_too, full, unseen, drains});
  CHECK(refused.refusals ==
        std::map<Filter, int>{{Filter::host_unknown, 1}, {Filter::draining, 2}, {Filter::memory, 1}});
  CHECK(refused.nearest_miss->host == HostId("h2"));
  CHECK(refused.nearest_miss->text.find("memory") != std::string::npos);
}

TEST_CASE(
    "spreading takes the host with the most room in its scarcest part, packing the one with the least") {
  HostView empty = host("h1"), half = host("h2"), lopsided = host("h3");
  half.free.cpu_millis = 2000;
  lopsided.free.memory_bytes = 5000;  // much processor, hardly any memory
  PlacementPolicy pack;
  pack.spread = false;
  CHECK(chosen({half, lopsided, empty}) == "h1");
  CHECK(chosen({half, lopsided, empty}, pack) == "h3");
}

TEST_CASE("among equals the host that starts fewer is taken, then the first by name, whatever their order") {
  HostView busy = host("a"), b = host("b"), c = host("c");
  busy.coming = 1;
  CHECK(chosen({busy, b, c}) == "b");
  CHECK(chosen({c, busy, b}) == "b");
  b.coming = 2;
  CHECK(chosen({c, busy, b}) == "c");
}

}  // namespace
}  // namespace skep::scheduler::placement_test
