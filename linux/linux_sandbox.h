// One program with a root, processes, mounts and names of its own: namespaces of this kernel, no engine.
// Linux only. docs/design/namespaces.md tells why it is so.
//
// Facts: namespaces(7), mount_namespaces(7), pid_namespaces(7), capabilities(7), the kernel's
// filesystems/overlayfs, and what 6.1 and 6.18 did when it was tried. Needs 5.12 (mount_setattr).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/result.h"

namespace skep::posix_host {

struct Sandbox {
  struct Bind {
    std::string from;  // absolute, outside
    std::string to;    // absolute, inside; made when it is not there
    bool is_read_only = true;
    friend bool operator==(const Bind&, const Bind&) = default;
  };
  std::string root;     // an empty folder that the new root is mounted on
  std::string lower;    // what the root shows; never changed
  std::string upper;    // what is changed or made in it; empty at first
  std::string scratch;  // of the overlay, empty, on the same file system as `upper`
  std::string host_name;
  std::vector<Bind> binds;            // in that order
  std::string work;                   // folder inside, made when it is not there: the program begins there
  bool has_network = true;            // the host's; else none but a loopback of its own
  std::optional<std::uint32_t> user;  // user and group inside; needs root
  std::vector<std::string> program;   // argv; [0] is a path inside; empty: nothing runs, all else is made
  friend bool operator==(const Sandbox&, const Sandbox&) = default;
};

/// Runs the program in a new sandbox and returns its exit code (128 + signal when a signal ended it) when all
/// that ran inside has ended. SIGTERM and SIGINT are passed on to it; when the calling process dies, all
/// inside die. `on_running` is called once the program runs. An error, outcome failed: nothing runs, and the
/// message names the step; unsupported or permission_denied where this kernel, or its configuration, refuses.
///
/// For a process of its own with one thread: its namespaces change, and it must not go on with anything else.
Result<int> run_sandbox(const Sandbox& sandbox, const std::function<void()>& on_running);

}  // namespace skep::posix_host
