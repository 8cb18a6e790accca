// How a driver tells skep-sandbox what to make, and what that answers. Pure.
//
//   skep-sandbox --status FILE --root DIR --lower DIR --upper DIR --scratch DIR --host-name NAME --work DIR
//                [--no-network] [--user ID] [--bind FROM TO | --read-only FROM TO]... -- PROGRAM
//                [ARGUMENT...]
//
// FILE is made when the program runs, or when it never will: "running", or a code and why not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/result.h"
#include "linux/linux_sandbox.h"

namespace skep::drivers::process {

struct SandboxCall {
  std::string status_file;
  posix_host::Sandbox sandbox;
  friend bool operator==(const SandboxCall&, const SandboxCall&) = default;
};

/// "PATH" or "PATH:PATH-INSIDE", to be shown read-only; nullopt: not two absolute paths without "..".
std::optional<posix_host::Sandbox::Bind> bind_from(const std::string& text);

/// argv; [0] is `program`.
std::vector<std::string> command_line(const std::string& program, const SandboxCall& call);
/// Of argv without [0]. invalid_input names what is wrong.
Result<SandboxCall> read_command_line(const std::vector<std::string>& words);

/// Text of the status file.
std::string status_text(const Result<void>& outcome);
/// What it says; malformed_reply: it is no such text.
Result<void> read_sandbox_status(const std::string& text);

}  // namespace skep::drivers::process
