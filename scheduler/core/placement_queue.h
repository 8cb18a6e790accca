// Many placements of one template: the same choices as decide_placement for each, without a look at all
// hosts. A tournament over the hosts' scores: a host that changed is played again (O(log hosts)), the best
// one is at the top. Who changes a host says so (touch), but for one case: a host that only got fuller is
// noticed by best(). Pure.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
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
  void touch(std::size_t index);
  /// The same hosts, maybe at another address; those with changed_at > seen changed.
  void refresh(std::span<const HostView> hosts, std::span<const std::uint64_t> changed_at,
               std::uint64_t seen);

 private:
  struct Entry {
    std::int64_t score;      // refused: below every score
    std::uint32_t revision;  // of the host, when is_suitable was found out
    bool is_suitable;        // by what rarely changes: driver, image, attributes
  };
  bool wins(std::uint32_t a, std::uint32_t b) const;
  std::int64_t score_of(std::size_t index);
  void replay(std::size_t index);
  void play_all();

  const Template& wanted_;
  std::span<const HostView> hosts_;
  PlacementPolicy policy_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> tree_;  // winner of each match; the root is 1, leaves are not stored
  std::size_t leaves_ = 1;
};

/// The queues of all templates over one list of hosts, kept from pass to pass.
class Placements {
 public:
  /// The host at this index changed.
  void note(std::size_t index);
  /// The list of hosts changed: an index means another host now.
  void reset();
  PlacementQueue& queue(std::size_t template_index, const std::shared_ptr<const Template>& wanted,
                        std::span<const HostView> hosts, const PlacementPolicy& policy);

 private:
  struct Kept {
    std::shared_ptr<const Template> wanted;
    PlacementPolicy policy;
    PlacementQueue queue;
    std::uint64_t seen;  // so many changes are in it
  };
  std::map<std::pair<std::size_t, std::string>, Kept> kept_;  // by template and the image it stands for
  std::vector<std::uint64_t> changed_at_;                     // by host: the number of its last change
  std::uint64_t changes_ = 0;
};

}  // namespace skep::scheduler
