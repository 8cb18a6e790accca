// Runs a small program to its end: its exit code and what it said. Linux only. Thread-safe.
#pragma once

#include <string>

#include "core/result.h"
#include "core/time.h"
#include "linux/linux_process_launcher.h"

namespace skep::posix_host {

struct Ran {
  int exit_code = 0;   // 128 + signal when a signal ended it
  std::string output;  // stdout and stderr together, at most 64 KiB: the rest is read and dropped
};

/// `request.output_*` are not used. timed_out/unknown: it was killed at the deadline; the other errors are
/// those of launch().
Result<Ran> run_program(LaunchRequest request, Duration deadline);

}  // namespace skep::posix_host
