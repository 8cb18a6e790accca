// The end of a container, seen by the end of its first process. Podman looks only four times a second for the
// end that a request waits for (seen with 4.3); a process' own end is told at once. Thread-safe.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "core/time.h"
#include "drivers/container/engine.h"
#include "linux/linux_process.h"

namespace skep::drivers::container {

/// `pid` as the engine tells it (0: none). nullopt: it is not seen here as the one with `cookie`
/// (NAME=VALUE), as where the engine numbers processes otherwise than this host.
std::optional<posix_host::ProcessIdentity> first_process(int pid, const std::string& cookie);

/// Until the engine says that the container ended too. False: it still runs after `deadline`. Without `first`
/// the engine is asked to wait.
Result<bool> wait_for_end(Engine& engine, const std::string& container,
                          const std::optional<posix_host::ProcessIdentity>& first, Duration deadline);

}  // namespace skep::drivers::container
