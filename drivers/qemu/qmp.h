// Commands to a QEMU by its QMP socket: every reply is checked, nothing is repeated, all ends by a deadline.
// QEMU serves one connection at a time, others wait for their turn; so none is kept for long. Thread-safe for
// different objects.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "linux/linux_socket.h"

namespace skep::drivers::qemu {

struct QmpCall {
  std::string name;
  std::string arguments;  // a JSON object as text, or empty
  int file = -1;          // an open file that goes with it (getfd)
};

/// One connection. `deadline` counts from its beginning.
class QmpSession {
 public:
  /// unavailable, not_found: there was no connection, nothing was done. Else outcome unknown.
  static Result<QmpSession> open(const std::string& socket, Duration deadline);
  /// What it returns, as JSON. Outcome unknown, unless QEMU itself refused (failed).
  Result<std::string> ask(const QmpCall& call);
  /// That of the last of them; the first that fails ends it.
  Result<std::string> ask(const std::vector<QmpCall>& calls);
  /// QEMU's own, as its greeting told it.
  const std::string& version() const { return version_; }
  Duration left() const;

 private:
  QmpSession(posix_host::UnixStream stream, std::string socket, Duration deadline);
  Result<std::string> line();

  posix_host::UnixStream stream_;
  std::string socket_, version_, bytes_;
  std::chrono::steady_clock::time_point limit_;
  std::uint64_t last_id_ = 0;
};

/// One command by a connection of its own.
Result<std::string> qmp_call(const std::string& socket, const QmpCall& call, Duration deadline);

}  // namespace skep::drivers::qemu
