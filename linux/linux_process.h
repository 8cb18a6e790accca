// What /proc says about processes, and how to end the whole of an executor. Linux only. Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace skep::posix_host {

/// A process that is meant, and not another that got its number later: pid and start time (field 22 of
/// /proc/PID/stat, in clock ticks since boot).
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;
  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

std::optional<ProcessIdentity> identify(pid_t pid);  // nullopt: no such process, or a zombie
bool is_alive(const ProcessIdentity& identity);      // a zombie is not alive

/// Every living process that descends from `root`, or whose initial environment holds NAME=VALUE. Not we ourselves.
std::vector<ProcessIdentity> find_processes(std::optional<ProcessIdentity> root, const std::string& cookie);

/// SIGKILL until none is found twice in a row; descendants first, so that none escapes to another parent.
/// timed_out/try_again when some outlive the deadline.
Result<void> kill_all(std::optional<ProcessIdentity> root, const std::string& cookie, Duration deadline);

void send_signal(const ProcessIdentity& identity, int signal);
/// Collects ended children so that no zombie stays. Only for children that this process launched.
void reap(pid_t pid);

}  // namespace skep::posix_host
