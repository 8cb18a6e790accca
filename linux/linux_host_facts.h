// What this machine is: read once at start. Linux only.
#pragma once

#include <string>

#include "core/resources.h"

namespace skep::posix_host {

struct HostFacts {
  std::string host_name;  // short, lower case, fit for is_valid_name where possible
  std::string arch;       // uname -m
  std::string boot_id;    // another one after each start of the machine; empty where /proc does not tell
  Resources capacity;     // processors, memory, room on the disk of `disk_path`
};
HostFacts read_host_facts(const std::string& disk_path);

/// Path of the folder that holds the running program.
std::string program_folder();

}  // namespace skep::posix_host
