// What /proc says about processes, and how to end the whole of an executor. Linux only. Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <set>
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

/// nullopt: no such process, a zombie, or nothing could be seen.
std::optional<ProcessIdentity> identify(pid_t pid);
bool is_alive(const ProcessIdentity& identity);  // a zombie is not alive

/// Alive, and began with that NAME=VALUE in its environment. An error when the system would not say (no
/// descriptor left): that is not "no".
Result<bool> is_alive_with(const ProcessIdentity& identity, const std::string& cookie);

/// What belongs together: each mark finds processes that the others miss.
struct ProcessMarks {
  std::optional<ProcessIdentity> root;  // it and its descendants
  std::string
      cookie;  // NAME=VALUE in the environment that a process began with; survives setsid and orphaning
  std::vector<std::string> cgroups;  // folders of control groups; nothing leaves them by itself
};

/// Every living process with one of the marks, and the descendants of each. Never the calling process.
/// Not seen: one that was orphaned AND began without the cookie AND is in none of the groups. Processes of
/// other users show their environment only to root.
std::vector<ProcessIdentity> find_processes(const ProcessMarks& marks);

/// Living processes of one of these names (as the kernel keeps them: the first 15 letters) that have
/// `argument` as one of their arguments.
std::vector<ProcessIdentity> find_by_argument(const std::vector<std::string>& names,
                                              const std::string& argument);

/// Stops everything first, so that nothing can fork away, then SIGKILL until none is found twice in a row.
/// try_again: timed_out when some outlive the deadline, out_of_resources when nothing could be seen.
Result<void> kill_all(const ProcessMarks& marks, Duration deadline);

/// Does nothing when that process has ended, even when its number belongs to another one by now.
void send_signal(const ProcessIdentity& identity, int signal);
/// Becomes readable when that process ends; -1 when it has. The caller closes it.
int open_pidfd(const ProcessIdentity& identity);
/// False when it still runs after `time`. Also collects it when it is our child.
bool wait_for_end(const ProcessIdentity& identity, Duration time);
/// Real user ids that some process has, as far as it can be seen.
std::set<std::uint32_t> users_of_processes();
/// Collects an ended child so that no zombie stays. Only for children that this process launched.
void reap(pid_t pid);

}  // namespace skep::posix_host
