// Many placements of one template in one pass: the same choices as decide_placement for each, at O(log hosts)
// after the first. Sound because within a pass a host only gets fuller, so its score only falls (spread) and
// a refusal stays one. Pure; looks at the hosts again each time, so other templates may place on them in
// between.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "scheduler/core/placement.h"

namespace skep::scheduler {

/// The first filter that refuses; nullopt: the host can take one.
std::optional<Filter> refusing_filter(const Template& wanted, const HostView& host,
                                      const PlacementPolicy& policy);
/// Higher is better; only for hosts that no filter refuses.
std::int64_t placement_score(const Template& wanted, const HostView& host, const PlacementPolicy& policy);

class PlacementQueue {
 public:
  /// `wanted` and the hosts must outlive it; policy.spread must be set.
  PlacementQueue(const Template& wanted, std::span<const HostView> hosts, const PlacementPolicy& policy);
  /// Index of the host that decide_placement would choose now; nullopt: none can take one.
  std::optional<std::size_t> best();

 private:
  struct Entry {
    std::int64_t score;
    std::size_t index;
  };
  bool is_worse(const Entry& a, const Entry& b) const;
  const Template& wanted_;
  std::span<const HostView> hosts_;
  PlacementPolicy policy_;
  std::vector<Entry> heap_;
};

}  // namespace skep::scheduler
