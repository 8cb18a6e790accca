// How a Consul agent is reached, as both daemons read it from their registry section.
#pragma once

#include <string>

#include "common/config/config_reader.h"

namespace skep::consul {

struct Access {
  std::string address = "http://127.0.0.1:8500/";  // of a Consul agent; the one on this machine is best
  std::string token_file;                          // ACL token, 0600; empty: none
  std::string ca_file;
  friend bool operator==(const Access&, const Access&) = default;
};

/// Reads address, allow_http, token_file and ca_file; `section` is the registry section.
Access read_access(config::ConfigSection& section);
/// Reads service: the name that hosts register under.
std::string read_service(config::ConfigSection& section);

}  // namespace skep::consul
