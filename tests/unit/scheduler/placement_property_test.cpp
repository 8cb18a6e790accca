// The placement queues against the plain definition, over random fleets that change at random.
#include <rapidcheck.h>

#include <catch2/catch.hpp>

#include "scheduler/core/placement_queue.h"

namespace skep::scheduler::placement_property_test {
namespace {

constexpr int template_count = 3;

std::shared_ptr<const Template> make_template(int index) {
  auto made = std::make_shared<Template>();
  made->name = TemplateName("t" + std::to_string(index));
  made->driver = index == 1 ? "vm" : "process";
  made->image = index == 2 ? "" : "base";
  made->resources.cpu_millis = 500 * (index + 1);
  made->resources.memory_bytes = 1000 * (index + 1);
  if (index == 0) made->resources.countable["licence"] = 1;
  if (index == 2) made->host_attributes["zone"] = "a";
  return made;
}

/// Few values of each kind, so that ties and refusals are frequent.
HostView arbitrary_host(int number, std::uint32_t revision) {
  HostView host;
  host.host = HostId("h" + std::to_string(number));
  host.is_known = *rc::gen::weightedElement<bool>({{9, true}, {1, false}});
  host.is_draining = *rc::gen::weightedElement<bool>({{1, true}, {9, false}});
  host.drivers = {"process"};
  if (*rc::gen::arbitrary<bool>()) host.drivers.emplace_back("vm");
  host.images = {*rc::gen::element<std::string>("base", "base", "other")};
  host.attributes["zone"] = *rc::gen::element<std::string>("a", "b");
  host.revision = revision;
  host.capacity.cpu_millis = 4000;
  host.capacity.memory_bytes = 8000;
  host.free.cpu_millis = 500 * *rc::gen::inRange<std::int64_t>(0, 9);
  host.free.memory_bytes = 1000 * *rc::gen::inRange<std::int64_t>(0, 9);
  host.free.countable["licence"] = *rc::gen::inRange<std::int64_t>(0, 3);
  host.max_executors = 4;
  host.executors = *rc::gen::inRange<std::int64_t>(0, 5);
  host.coming = *rc::gen::inRange(0, 3);
  return host;
}

/// What decide_placement chooses, as an index.
std::optional<std::size_t> chosen(const Template& wanted, const std::vector<HostView>& hosts,
                                  const PlacementPolicy& policy) {
  const PlacementDecision decision = decide_placement(wanted, hosts, policy);
  const auto* placed = std::get_if<Placed>(&decision);
  if (placed == nullptr) return std::nullopt;
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (hosts[i].host == placed->host) return i;
  }
  return std::nullopt;
}

void place_one(const Template& wanted, HostView& host) {
  host.free -= wanted.resources;
  ++host.executors;
  ++host.coming;
}

}  // namespace

TEST_CASE("placement queues choose what decide_placement chooses, whatever changed in between",
          "[unit][scheduler][placement][property]") {
  const bool holds = rc::check("queues follow the definition", [] {
    PlacementPolicy policy;
    policy.max_coming_per_host = 2;
    std::vector<std::shared_ptr<const Template>> templates;
    for (int i = 0; i < template_count; ++i) templates.push_back(make_template(i));
    std::uint32_t revisions = 0;
    int names = 0;
    std::vector<HostView> hosts;
    const int first = *rc::gen::inRange(0, 20);
    for (int i = 0; i < first; ++i) hosts.push_back(arbitrary_host(names++, ++revisions));
    Placements placements;
    const int steps = *rc::gen::inRange(1, 60);
    for (int step = 0; step < steps; ++step) {
      const auto index = static_cast<std::size_t>(*rc::gen::inRange(0, template_count));
      const int what = *rc::gen::inRange(0, 10);
      if (what == 0) {
        hosts.push_back(arbitrary_host(names++, ++revisions));
        placements.reset();
      } else if (what == 1 && !hosts.empty()) {
        hosts.erase(hosts.begin() + *rc::gen::inRange<std::ptrdiff_t>(0, std::ssize(hosts)));
        placements.reset();
      } else if (what <= 5 && !hosts.empty()) {
        const auto changes = *rc::gen::inRange<std::size_t>(1, hosts.size() + 1);
        for (std::size_t i = 0; i < changes; ++i) {
          const auto at = *rc::gen::inRange<std::size_t>(0, hosts.size());
          const HostId name = hosts[at].host;
          hosts[at] = arbitrary_host(0, ++revisions);
          hosts[at].host = name;
          placements.note(at);
        }
      } else {
        const auto best = placements.queue(index, templates[index], hosts, policy).best();
        RC_ASSERT(best == chosen(*templates[index], hosts, policy));
        if (best) place_one(*templates[index], hosts[*best]);  // fuller: nobody is told
      }
    }
  });
  CHECK(holds);
}

}  // namespace skep::scheduler::placement_property_test
