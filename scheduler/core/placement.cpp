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

}  // namespace

std::optional<Filter> refusing_filter(const Template& wanted, const HostView& host,
                                      const PlacementPolicy& policy) {
  if (!host.is_known) return Filter::host_unknown;
  if (host.is_draining) return Filter::draining;
  if (!contains(host.drivers, wanted.driver)) return Filter::driver;
  if (!wanted.image.empty() && !contains(host.images, wanted.image)) return Filter::image;
  if (!has_attributes(wanted, host)) return Filter::attributes;
  if (host.executors >= host.max_executors) return Filter::executors_limit;
  if (wanted.resources.cpu_millis > host.free.cpu_millis) return Filter::cpu;
  if (wanted.resources.memory_bytes > host.free.memory_bytes) return Filter::memory;
  if (wanted.resources.disk_bytes > host.free.disk_bytes) return Filter::disk;
  if (!has_countable(wanted, host)) return Filter::countable;
  if (host.coming >= policy.max_coming_per_host) return Filter::pace;
  if (host.is_breaker_open) return Filter::breaker;
  return std::nullopt;
}

std::int64_t placement_score(const Template& wanted, const HostView& host, const PlacementPolicy& policy) {
  const std::int64_t room = room_left(wanted, host);
  // Hosts that start fewer executors at the moment come first among equals: starting is what hurts a host
  // most.
  const std::int64_t calm = std::max<std::int64_t>(0, 100 - host.coming);
  return (policy.spread ? room : 1000 - room) * 101 + calm;
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
  heap_.reserve(hosts.size());
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    if (refusing_filter(wanted_, hosts_[i], policy_)) continue;
    heap_.push_back({placement_score(wanted_, hosts_[i], policy_), i});
  }
  std::make_heap(heap_.begin(), heap_.end(),
                 [this](const Entry& a, const Entry& b) { return is_worse(a, b); });
}

bool PlacementQueue::is_worse(const Entry& a, const Entry& b) const {
  if (a.score != b.score) return a.score < b.score;
  return hosts_[b.index].host < hosts_[a.index].host;
}

std::optional<std::size_t> PlacementQueue::best() {
  const auto worse = [this](const Entry& a, const Entry& b) { return is_worse(a, b); };
  while (!heap_.empty()) {
    const Entry top = heap_.front();
    const HostView& host = hosts_[top.index];
    const bool is_refused = refusing_filter(wanted_, host, policy_).has_value();
    const std::int64_t score = is_refused ? 0 : placement_score(wanted_, host, policy_);
    if (!is_refused && score == top.score) return top.index;
    std::pop_heap(heap_.begin(), heap_.end(), worse);
    heap_.pop_back();
    if (is_refused) continue;
    heap_.push_back({score, top.index});
    std::push_heap(heap_.begin(), heap_.end(), worse);
  }
  return std::nullopt;
}

}  // namespace skep::scheduler
