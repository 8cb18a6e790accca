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
  std::vector<std::string> argv;  // argv[0]: a path, or a name that is looked for on our PATH
  std::map<std::string, std::string> environment;  // complete: nothing is inherited
  std::string working_directory;                   // empty: /
  std::string output_file;           // stdout and stderr are appended here (made 0600); empty: /dev/null
  int output_fd = -1;                // if not -1: stdout and stderr go here instead; stays open in the parent
  bool is_new_session = true;        // not ended with our terminal or process group
  bool is_subreaper = false;         // orphaned descendants become its children
  std::uint64_t max_open_files = 0;  // 0, or more than we may: as ours
  std::vector<std::string> cgroups;  // folders of control groups that are joined before the program starts
};

/// The launched process is a child of ours but not tied to our life: it survives us. When this returns, the
/// program runs, with its own environment. stdin is /dev/null, no core is dumped, signals are as a login
/// shell has them. Errors, all outcome failed: invalid_input, not_found (program or folder),
/// permission_denied, out_of_resources.
Result<ProcessIdentity> launch(const LaunchRequest& request);

/// PATH, HOME, LANG and TZ of this process, as far as they are set: what programs need to run at all.
std::map<std::string, std::string> basic_environment();

}  // namespace skep::posix_host
