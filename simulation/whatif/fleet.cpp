#include "simulation/whatif/fleet.h"

#include <algorithm>
#include <set>

#include "core/bounds.h"

namespace skep::simulation::whatif {
namespace {

Error bad(const std::string& message, const std::string& hint = {}) {
  return Error::failed(ErrorCode::invalid_input, message, hint);
}

/// The driver of all templates; empty when they differ.
std::string common_driver(const scheduler::SchedulerConfig& config) {
  std::set<std::string> drivers;
  for (const scheduler::Template& t : config.templates) drivers.insert(t.driver);
  return drivers.size() == 1 ? *drivers.begin() : std::string();
}

std::string numbered(const std::string& prefix, int number) {
  std::string digits = std::to_string(number);
  if (digits.size() < 3) digits.insert(0, 3 - digits.size(), '0');
  return prefix + "-" + digits;
}

bool fits(const scheduler::Template& t, const HostPlan& host) {
  if (t.driver != host.driver || t.resources.shortage_in(host.capacity)) return false;
  return std::all_of(t.host_attributes.begin(), t.host_attributes.end(), [&](const auto& wanted) {
    const auto found = host.attributes.find(wanted.first);
    return found != host.attributes.end() && found->second == wanted.second;
  });
}

std::int64_t times(std::int64_t available, std::int64_t wanted) {
  return wanted <= 0 ? INT64_MAX : available / wanted;
}

std::int64_t copies(const scheduler::Template& t, const HostPlan& host) {
  if (!fits(t, host)) return 0;
  std::int64_t most = std::min({host.max_executors, times(host.capacity.cpu_millis, t.resources.cpu_millis),
                                times(host.capacity.memory_bytes, t.resources.memory_bytes),
                                times(host.capacity.disk_bytes, t.resources.disk_bytes)});
  for (const auto& [name, wanted] : t.resources.countable) {
    const auto found = host.capacity.countable.find(name);
    most = std::min(most, times(found == host.capacity.countable.end() ? 0 : found->second, wanted));
  }
  return most;
}

HostPlan host_of(const HostGroup& group, int number, const std::string& driver) {
  HostPlan host;
  host.host = HostId(numbered(group.name, number));
  host.capacity = group.capacity;
  host.max_executors = group.max_executors;
  host.os = group.os;
  host.attributes = group.attributes;
  host.driver = group.driver.empty() ? driver : group.driver;
  host.takes = group.takes;
  return host;
}

}  // namespace

std::int64_t Fleet::hosts() const {
  std::int64_t sum = 0;
  for (const HostGroup& group : groups) sum += group.count;
  return sum;
}

std::int64_t room_of(const Plan& plan) {
  std::int64_t room = 0;
  for (const HostPlan& host : plan.hosts) {
    std::int64_t most = 0;
    for (const scheduler::Template& t : plan.scheduler.templates) most = std::max(most, copies(t, host));
    room += most;
  }
  return room;
}

Result<Plan> make_plan(const scheduler::SchedulerConfig& config, const Fleet& fleet, std::uint64_t seed) {
  const std::string driver = common_driver(config);
  Plan plan;
  plan.seed = seed;
  plan.scheduler = config;
  if (fleet.hosts() > static_cast<std::int64_t>(bounds::max_hosts))
    return bad("found " + std::to_string(fleet.hosts()) + " hosts; allowed: at most " +
               std::to_string(bounds::max_hosts));
  std::set<std::string> names;
  for (const HostGroup& group : fleet.groups) {
    if (group.driver.empty() && driver.empty())
      return bad("the templates use several drivers, and hosts \"" + group.name + "\" name none",
                 "describe the hosts in a file with a driver for each group: --fleet FILE");
    if (!names.insert(group.name).second) return bad("two groups of hosts are called \"" + group.name + "\"");
    for (int i = 1; i <= group.count; ++i) plan.hosts.push_back(host_of(group, i, driver));
  }
  if (room_of(plan) == 0)
    return bad("no template fits on any of the hosts of \"" + fleet.name + "\"",
               "compare resources, driver and host_attributes of the templates with the hosts");
  return plan;
}

Result<Span> parse_span(const std::string& text) {
  const std::size_t dots = text.find("..");
  const auto least = parse_duration(text.substr(0, dots));
  const auto most = dots == std::string::npos ? least : parse_duration(text.substr(dots + 2));
  if (!least || !most || *least > *most || *most > hours(24))
    return bad("found \"" + text +
               "\"; allowed: a time or two with the smaller first, such as 8s..20s, at most 24h");
  return Span{*least, *most};
}

}  // namespace skep::simulation::whatif
