// The hosts of a simulated farm, by groups of equal ones, and the plan that follows from them. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/result.h"
#include "simulation/farm.h"

namespace skep::simulation::whatif {

/// Hosts that are alike.
struct HostGroup {
  std::string name = "host";  // prefix of their names; a letter or digit at both ends
  int count = 10;
  Resources capacity;
  std::int64_t max_executors = 16;
  std::string os = "linux";
  std::string driver;  // empty: the one that the templates have in common
  std::map<std::string, std::string> attributes;
  SandboxTimes takes;
};

struct Fleet {
  std::string name;  // how it is shown: "20 hosts"
  std::vector<HostGroup> groups;
  std::int64_t hosts() const;
};

/// How many executors of the smallest template find room: each host as if it held only the one that fits most
/// often. Templates that no host can hold count for nothing.
std::int64_t room_of(const Plan& plan);

/// The plan of one run. Error (invalid_input): a group needs a driver because the templates use several,
/// there are more than bounds::max_hosts hosts, or no template fits on any host.
Result<Plan> make_plan(const scheduler::SchedulerConfig& config, const Fleet& fleet, std::uint64_t seed);

/// "8s..20s" or "10s"; the first is not above the second. At most a day.
Result<Span> parse_span(const std::string& text);

}  // namespace skep::simulation::whatif
