#include "scheduler/core/placement.h"

#include <algorithm>

#include "core/check.h"
#include "scheduler/core/placement_queue.h"

namespace skep::scheduler {
namespace {

bool contains(const std::vector<std::string>& texts, const std::string& wanted) {
  return std::find(texts.begin(), texts.end(), wanted) != texts.end();
}

bool has_attributes(const Template& wanted, const HostView& host) {
  for (const auto& [key, value] : wanted.host_attributes) {
    const auto found = host.attributes.find(key);
    if (found == host.attributes.end() || found->second != value) return false;
  }
  return true;
}

bool has_countable(const Template& wanted, const HostView& host) {
  for (const auto& [what, amount] : wanted.resources.countable) {
    if (amount <= 0) continue;
    const auto found = host.free.countable.find(what);
    if (found == host.free.countable.end() || found->second < amount) return false;
  }
  return true;
}

std::string missing_attribute(const Template& wanted, const HostView& host) {
  for (const auto& [key, value] : wanted.host_attributes) {
    const auto found = host.attributes.find(key);
    if (found == host.attributes.end()) return "needs attribute " + key + "=" + value + ", it has none";
    if (found->second != value) return "needs attribute " + key + "=" + value + ", it has " + found->second;
  }
  return "attributes differ";
}

std::string shortage_text(const Template& wanted, const HostView& host) {
  const auto shortage = wanted.resources.shortage_in(host.free);
  return shortage ? to_string(*shortage) : "it is full";
}

std::string refusal_text(Filter filter, const Template& wanted, const HostView& host,
                         const PlacementPolicy& policy) {
  switch (filter) {
    case Filter::host_unknown:
      return "it cannot be seen";
    case Filter::draining:
      return host.drain_reason.empty() ? "it drains" : "it drains: " + host.drain_reason;
    case Filter::driver:
      return "it has no driver '" + wanted.driver + "'";
    case Filter::image:
      return "it has no image '" + wanted.image + "'";
    case Filter::attributes:
      return missing_attribute(wanted, host);
    case Filter::executors_limit:
      return "it runs " + std::to_string(host.executors) + " of at most " +
             std::to_string(host.max_executors) + " executors";
    case Filter::cpu:
    case Filter::memory:
    case Filter::disk:
    case Filter::countable:
      return shortage_text(wanted, host);
    case Filter::pace:
      return "it starts " + std::to_string(host.coming) + " of at most " +
             std::to_string(policy.max_coming_per_host) + " executors at once";
    case Filter::breaker:
      return "launches failed there: " + host.breaker_reason;
  }
  return "refused";
}

// Room that is left, 0..1000, by the scarcest dimension: a host is as full as its fullest part.
std::int64_t room_left(const Template& wanted, const HostView& host) {
  std::int64_t least = 1000;
  const auto look = [&least](std::int64_t free, std::int64_t capacity, std::int64_t amount) {
    if (capacity <= 0) return;
    // 128-bit free arithmetic: capacities are far below 2^53, but are given by others.
    const std::int64_t left = std::max<std::int64_t>(0, free - amount);
    const std::int64_t part =
        capacity > 1'000'000'000'000 ? left / (capacity / 1000) : left * 1000 / capacity;
    least = std::min(least, std::clamp<std::int64_t>(part, 0, 1000));
  };
  look(host.free.cpu_millis, host.capacity.cpu_millis, wanted.resources.cpu_millis);
  look(host.free.memory_bytes, host.capacity.memory_bytes, wanted.resources.memory_bytes);
  look(host.free.disk_bytes, host.capacity.disk_bytes, wanted.resources.disk_bytes);
  look(host.max_executors - host.executors, host.max_executors, 1);
  return least;
}

/// The filters whose answer changes with a host's report only.
std::optional<Filter> unsuitable(const Template& wanted, const HostView& host) {
  if (!contains(host.drivers, wanted.driver)) return Filter::driver;
  if (!wanted.image.empty() && !contains(host.images, wanted.image)) return Filter::image;
  if (!has_attributes(wanted, host)) return Filter::attributes;
  return std::nullopt;
}

std::optional<Filter> too_full(const Template& wanted, const HostView& host, const PlacementPolicy& policy) {
  if (host.executors >= host.max_executors) return Filter::executors_limit;
  if (wanted.resources.cpu_millis > host.free.cpu_millis) return Filter::cpu;
  if (wanted.resources.memory_bytes > host.free.memory_bytes) return Filter::memory;
  if (wanted.resources.disk_bytes > host.free.disk_bytes) return Filter::disk;
  if (!has_countable(wanted, host)) return Filter::countable;
  if (host.coming >= policy.max_coming_per_host) return Filter::pace;
  if (host.is_breaker_open) return Filter::breaker;
  return std::nullopt;
}

constexpr std::int64_t refused_score = -1;

}  // namespace

std::optional<Filter> refusing_filter(const Template& wanted, const HostView& host,
                                      const PlacementPolicy& policy) {
  if (!host.is_known) return Filter::host_unknown;
  if (host.is_draining) return Filter::draining;
  if (const auto filter = unsuitable(wanted, host)) return filter;
  return too_full(wanted, host, policy);
}

std::int64_t placement_score(const Template& wanted, const HostView& host, const PlacementPolicy& policy) {
  const std::int64_t room = room_left(wanted, host);
  // Hosts that start fewer executors at the moment come first among equals: starting is what hurts a host
  // most.
  const std::int64_t calm = std::max<std::int64_t>(0, 100 - host.coming);
  return (policy.spread ? room : 1000 - room) * 101 + calm;
}

bool could_serve(const Template& wanted, const HostView& host) {
  return contains(host.drivers, wanted.driver) && has_attributes(wanted, host);
}

bool has_image(const HostView& host, const std::string& reference) {
  return contains(host.images, reference);
}

PlacementDecision decide_placement(const Template& wanted, std::span<const HostView> hosts,
                                   const PlacementPolicy& policy) {
  const HostView* best = nullptr;
  std::int64_t best_score = 0;
  NotPlaced refused;
  const HostView* nearest = nullptr;
  Filter nearest_filter{};
  for (const HostView& host : hosts) {
    if (const auto filter = refusing_filter(wanted, host, policy)) {
      ++refused.refusals[*filter];
      const bool is_nearer = nearest == nullptr || *filter > nearest_filter ||
                             (*filter == nearest_filter && host.host < nearest->host);
      if (is_nearer) {
        nearest = &host;
        nearest_filter = *filter;
      }
      continue;
    }
    const std::int64_t score = placement_score(wanted, host, policy);
    // Ties break by host id, so that the order of the list never matters.
    if (best == nullptr || score > best_score || (score == best_score && host.host < best->host)) {
      best = &host;
      best_score = score;
    }
  }
  if (best != nullptr)
    return Placed{best->host, best_score, policy.spread ? "most room left" : "least room left"};
  if (nearest != nullptr) {
    refused.nearest_miss =
        NearestMiss{nearest->host, nearest_filter,
                    nearest->host.text + ": " + refusal_text(nearest_filter, wanted, *nearest, policy)};
  }
  return refused;
}

PlacementQueue::PlacementQueue(const Template& wanted, std::span<const HostView> hosts,
                               const PlacementPolicy& policy)
    : wanted_(wanted), hosts_(hosts), policy_(policy) {
  SKEP_ASSERT(policy.spread);
  while (leaves_ < hosts.size()) leaves_ *= 2;
  entries_.reserve(hosts.size());
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    entries_.push_back({refused_score, hosts[i].revision, !unsuitable(wanted_, hosts[i])});
    entries_.back().score = score_of(i);
  }
  tree_.assign(leaves_, 0);
  play_all();
}

void PlacementQueue::play_all() {
  for (std::size_t match = leaves_ - 1; match >= 1; --match) {
    const auto player = [&](std::size_t child) {
      return child < leaves_ ? tree_[child] : static_cast<std::uint32_t>(child - leaves_);
    };
    const std::uint32_t left = player(2 * match), right = player(2 * match + 1);
    tree_[match] = wins(right, left) ? right : left;
  }
}

// Indices beyond the hosts fill the tree up; they lose against everybody.
bool PlacementQueue::wins(std::uint32_t a, std::uint32_t b) const {
  if (a >= entries_.size() || b >= entries_.size()) return a < b;
  if (entries_[a].score != entries_[b].score) return entries_[a].score > entries_[b].score;
  return entries_[a].score != refused_score && hosts_[a].host < hosts_[b].host;
}

std::int64_t PlacementQueue::score_of(std::size_t index) {
  const HostView& host = hosts_[index];
  Entry& entry = entries_[index];
  if (!host.is_known || host.is_draining || host.executors >= host.max_executors) return refused_score;
  if (entry.revision != host.revision) {
    entry.revision = host.revision;
    entry.is_suitable = !unsuitable(wanted_, host);
  }
  if (!entry.is_suitable || too_full(wanted_, host, policy_)) return refused_score;
  return placement_score(wanted_, host, policy_);
}

void PlacementQueue::replay(std::size_t index) {
  std::uint32_t winner = static_cast<std::uint32_t>(index);
  for (std::size_t node = leaves_ + index; node > 1; node /= 2) {
    const std::size_t other = node ^ 1U;
    const std::uint32_t rival = other < leaves_ ? tree_[other] : static_cast<std::uint32_t>(other - leaves_);
    if (wins(rival, winner)) winner = rival;
    tree_[node / 2] = winner;
  }
}

void PlacementQueue::touch(std::size_t index) {
  const std::int64_t score = score_of(index);
  if (score == entries_[index].score) return;
  entries_[index].score = score;
  replay(index);
}

void PlacementQueue::refresh(std::span<const HostView> hosts, std::span<const std::uint64_t> changed_at,
                             std::uint64_t seen) {
  hosts_ = hosts;
  const auto is_changed = [seen](std::uint64_t at) { return at > seen; };
  const auto count = std::count_if(changed_at.begin(), changed_at.end(), is_changed);
  // One change is about log2(hosts) matches; all matches are as many as there are hosts.
  const bool is_all = static_cast<std::size_t>(count) * 8 > entries_.size();
  for (std::size_t i = 0; count > 0 && i < changed_at.size(); ++i) {
    if (!is_changed(changed_at[i])) continue;
    if (is_all) {
      entries_[i].score = score_of(i);
    } else {
      touch(i);
    }
  }
  if (is_all) play_all();
}

std::optional<std::size_t> PlacementQueue::best() {
  if (entries_.empty()) return std::nullopt;
  for (;;) {
    const std::size_t top = leaves_ > 1 ? tree_[1] : 0;
    const std::int64_t before = entries_[top].score;
    if (before == refused_score) return std::nullopt;
    touch(top);
    if (entries_[top].score == before) return top;
  }
}

void Placements::note(std::size_t index) {
  if (index >= changed_at_.size()) changed_at_.resize(index + 1, 0);
  changed_at_[index] = ++changes_;
}

void Placements::reset() {
  kept_.clear();
  changed_at_.clear();
}

PlacementQueue& Placements::queue(std::size_t template_index, const std::shared_ptr<const Template>& wanted,
                                  std::span<const HostView> hosts, const PlacementPolicy& policy) {
  SKEP_ASSERT(changed_at_.size() <= hosts.size());
  const auto key = std::pair(template_index, wanted->image);
  auto found = kept_.find(key);
  const bool is_usable =
      found != kept_.end() && found->second.wanted == wanted && found->second.policy == policy;
  if (!is_usable) {
    if (found != kept_.end()) kept_.erase(found);
    Kept fresh{wanted, policy, {*wanted, hosts, policy}, changes_};
    return kept_.emplace(key, std::move(fresh)).first->second.queue;
  }
  Kept& kept = found->second;
  kept.queue.refresh(hosts, changed_at_, kept.seen);
  kept.seen = changes_;
  return kept.queue;
}

}  // namespace skep::scheduler
