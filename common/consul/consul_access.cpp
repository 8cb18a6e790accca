#include "common/consul/consul_access.h"

#include "core/ids.h"

namespace skep::consul {

Access read_access(config::ConfigSection& section) {
  Access access;
  const bool may_be_plain = section.flag("allow_http", false);
  access.address = section.url("address", access.address, may_be_plain);
  access.token_file = section.text("token_file");
  access.ca_file = section.text("ca_file");
  if (access.address.empty()) {
    section.problem("address", "nothing", "the address of a Consul agent, such as http://127.0.0.1:8500/");
  }
  return access;
}

std::string read_service(config::ConfigSection& section) {
  std::string service = section.text("service", "skep-agentd");
  if (!is_valid_name(service))
    section.problem("service", "\"" + service + "\"", "a-z, 0-9 and -, at most 60 characters");
  return service;
}

}  // namespace skep::consul
