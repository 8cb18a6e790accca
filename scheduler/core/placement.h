// Where may an executor of this template run? Filters that count their refusals, integer scorers, and a
// reason for both. Pure; linear in hosts; same input, same output on every platform (ties break by host id).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/protocol/agentd_api.h"
#include "scheduler/core/config.h"

namespace skep::scheduler {

/// A host as placement sees it: free means capacity minus everything that is promised or not seen gone.
struct HostView {
  HostId host;
  bool is_known = true;  // false: its last report is stale or failed; takes nothing new
  bool is_draining = false;
  std::string drain_reason;
  std::string os;
  std::vector<std::string> drivers;
  std::vector<std::string> images;
  std::map<std::string, std::string> attributes;
  std::uint32_t revision = 0;  // another one when drivers, images or attributes changed
  Resources capacity;
  Resources free;
  std::int64_t max_executors = 0;
  std::int64_t executors = 0;
  int coming = 0;                // creating, booting, joining
  bool is_breaker_open = false;  // for the template in question
  std::string breaker_reason;
};

/// Filters in the order they are asked; the first that refuses is counted.
enum class Filter {
  host_unknown,
  draining,
  driver,
  image,
  attributes,
  executors_limit,
  cpu,
  memory,
  disk,
  countable,
  pace,
  breaker
};
inline constexpr std::size_t filter_count = 12;
std::string_view to_string(Filter filter);

struct Placed {
  HostId host;
  std::int64_t score = 0;
  std::string reason;
};

struct NearestMiss {
  HostId host;
  Filter filter{};
  std::string text;  // "h1: needs 4 GiB memory, 1 GiB is free"
};

struct NotPlaced {
  std::map<Filter, int> refusals;
  std::optional<NearestMiss> nearest_miss;  // the host that passed the most filters
};

using PlacementDecision = std::variant<Placed, NotPlaced>;

struct PlacementPolicy {
  int max_coming_per_host = 8;
  bool spread = true;  // prefer the host with the most room; false: pack
  friend bool operator==(const PlacementPolicy&, const PlacementPolicy&) = default;
};

/// It has what never changes while it runs: the driver and the attributes. Room and image are not asked for.
bool could_serve(const Template& wanted, const HostView& host);
bool has_image(const HostView& host, const std::string& reference);

PlacementDecision decide_placement(const Template& wanted, std::span<const HostView> hosts,
                                   const PlacementPolicy& policy);

}  // namespace skep::scheduler
