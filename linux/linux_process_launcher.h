// Starts programs: argv and environment exactly as given, no inherited descriptors, own session. Linux only.
// The one place (with its twin in windows/) that uses Boost.Process. Thread-safe.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/result.h"
#include "linux/linux_process.h"

namespace skep::posix_host {

struct LaunchRequest {
  std::vector<std::string> argv;                   // argv[0]: absolute path, or found on PATH
  std::map<std::string, std::string> environment;  // complete: nothing is inherited
  std::string working_directory;
  std::string output_file;   // stdout and stderr are appended here; empty: /dev/null
  int stderr_fd = -1;        // if not -1: stderr goes here instead (a pipe's write end; stays open in the parent)
  bool is_new_session = true;
  bool is_subreaper = false;       // orphaned descendants become its children
  std::string cgroup_procs_file;   // empty: none; else joined before the program starts
  std::uint64_t max_open_files = 0;  // 0: as ours
};

/// The launched process is a child of ours but not tied to our life. Errors: not_found (program or folder), failed.
Result<ProcessIdentity> launch(const LaunchRequest& request);

/// PATH, HOME, LANG and TZ of this process, as far as they are set: what programs need to run at all.
std::map<std::string, std::string> basic_environment();

}  // namespace skep::posix_host
