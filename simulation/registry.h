// What Consul does for a farm: hosts that report in, a lock that makes one scheduler the leader, and the
// number of its term. With the embedded registry only the first part is used. Pure.
//
// A check that was not passed within its ttl makes a host doubtful, and takes it off the list after
// `remove_after`; it makes a lock free `lock_delay` later (consul.io, sessions).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "core/ids.h"
#include "core/time.h"

namespace skep::simulation {

class Registry {
 public:
  static constexpr Duration host_ttl = seconds(15);
  static constexpr Duration remove_after = minutes(2);
  static constexpr Duration lock_ttl = seconds(15);
  static constexpr Duration lock_delay = seconds(2);

  struct View {
    std::map<HostId, bool> hosts;  // true: doubtful
    friend bool operator==(const View&, const View&) = default;
  };

  // All of it does nothing while the registry is away.
  void pass_host(const HostId& host, Instant now) {
    if (!is_away) hosts_[host] = now;
  }
  View view(Instant now) {
    View seen;
    for (auto each = hosts_.begin(); each != hosts_.end();) {
      const Duration age = now - each->second;
      if (age > remove_after) {
        each = hosts_.erase(each);
        continue;
      }
      seen.hosts[each->first] = age > host_ttl;
      ++each;
    }
    return seen;
  }
  /// Whether view() would be this one: asked each second, and mostly it is.
  bool shows(const View& seen, Instant now) const {
    if (hosts_.size() != seen.hosts.size()) return false;
    auto other = seen.hosts.begin();
    for (const auto& [host, passed] : hosts_) {
      const Duration age = now - passed;
      if (age > remove_after || other->first != host || other->second != (age > host_ttl)) return false;
      ++other;
    }
    return true;
  }
  /// True: the lock is held by `holder` from here on, if it passes its check in time.
  bool try_acquire(int holder, Instant now) {
    if (is_away || now < free_from_) return false;
    if (holder_ && *holder_ != holder && now <= passed_ + lock_ttl) return false;
    if (holder_ && *holder_ != holder) {
      holder_.reset();
      free_from_ = now + lock_delay;
      return false;
    }
    holder_ = holder;
    passed_ = now;
    return true;
  }
  /// False: not acknowledged. A holder that was too late is told so by nullopt.
  std::optional<bool> keep(int holder, Instant now) {
    if (is_away) return false;
    if (holder_ != holder || now > passed_ + lock_ttl) return std::nullopt;
    passed_ = now;
    return true;
  }
  void release(int holder) {
    if (holder_ == holder) holder_.reset();
  }
  void end_session(Instant now) {  // by hand, or by a leader change of Consul's own
    holder_.reset();
    free_from_ = now + lock_delay;
  }
  Epoch claim_epoch(Epoch at_least) {
    epoch_ = epoch_ + 1 > at_least ? epoch_ + 1 : at_least;
    return epoch_;
  }

  bool is_away = false;
  bool is_stale = false;  // answers with an old view
  std::uint64_t resets = 0;

 private:
  std::map<HostId, Instant> hosts_;
  std::optional<int> holder_;
  Instant passed_{}, free_from_{};
  Epoch epoch_ = 0;
};

}  // namespace skep::simulation
