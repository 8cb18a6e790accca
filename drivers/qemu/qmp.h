// One command to a QEMU by its QMP socket. Each call connects, checks every reply, and ends by its deadline;
// it repeats nothing. Thread-safe; QEMU serves one connection at a time, others wait for their turn.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace skep::drivers::qemu {

struct QmpCall {
  std::string name;
  std::string arguments;  // a JSON object as text, or empty
  int file = -1;          // an open file that goes with it (getfd)
};

/// What the last of them returns, as JSON. `version`, where wanted: QEMU's own. unavailable, not_found: there
/// was no connection, nothing was done. Else outcome unknown, unless QEMU itself refused (failed).
Result<std::string> qmp_call(const std::string& socket, const std::vector<QmpCall>& calls, Duration deadline,
                             std::string* version = nullptr);

}  // namespace skep::drivers::qemu
