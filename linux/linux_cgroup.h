// One control group per executor: limits, and a mark that no process can shed. "Where allowed": what this
// process may not do is said, not worked around. Version 2, version 1 and the mix of both. Linux only.
// Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace skep::posix_host {

struct CgroupLimits {
  std::int64_t cpu_millis = 0;    // 1000 = one processor, a hard quota; 0: none
  std::int64_t memory_bytes = 0;  // 0: none
  std::int64_t processes = 0;     // 0: none
};

class Cgroups {
 public:
  /// Name of the group, below that of this process, that holds the group of each executor.
  static constexpr const char* parent_name = "skep-executors";

  /// Tries out, below the group of this process, what may be made there. Never fails: the answer may be
  /// "nothing". With version 2 and a group of our own (systemd: Delegate=yes) this process moves into a
  /// subgroup of it, because a group with limits for its children must not hold processes itself.
  static Cgroups probe();

  bool finds_processes() const { return !parents_.empty(); }
  bool limits_cpu() const { return limits_cpu_; }
  bool limits_memory() const { return limits_memory_; }
  bool limits_processes() const { return limits_processes_; }
  /// What can be done, or why nothing can; for people.
  const std::string& detail() const { return detail_; }

  /// The folders that make(name) would create: known before, so that they can be recorded before.
  std::vector<std::string> folders_of(const std::string& name) const;
  /// Creates them with those of the limits that can be set. On an error, none is left.
  Result<std::vector<std::string>> make(const std::string& name, const CgroupLimits& limits) const;
  /// Only empty groups can be removed. Those that are not there are. try_again when processes are still
  /// inside.
  static Result<void> remove(const std::vector<std::string>& folders, Duration deadline);

 private:
  std::vector<std::string> parents_;  // one per hierarchy
  bool limits_cpu_ = false, limits_memory_ = false, limits_processes_ = false;
  std::string detail_;
};

}  // namespace skep::posix_host
