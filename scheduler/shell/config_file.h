// The scheduler's configuration file: YAML -> checked values. Checked as a whole before anything starts or is
// reloaded; every problem names file, line, key path, what was found and what is allowed.
#pragma once

#include <string>
#include <vector>

#include "common/consul/consul_access.h"
#include "core/result.h"
#include "scheduler/core/config.h"

namespace skep::scheduler {

/// How one controller is reached; what the logic needs of it is in SchedulerConfig.
struct ControllerAccess {
  ControllerId name;
  std::string url;
  std::string user;
  std::string token_file;  // API token, 0600
  std::string ca_file;
};

struct RegistryConfig {
  enum class Type { embedded, consul } type = Type::embedded;
  consul::Access consul;
  std::string consul_service;  // what hosts register under
};

/// Several schedulers, of which one leads. With the consul registry only, at the same Consul.
struct LeaderLockConfig {
  std::string key;            // empty: this scheduler is the only one
  Duration ttl = seconds(3);  // a leader that Consul does not hear of for so long has lost the lock
  friend bool operator==(const LeaderLockConfig&, const LeaderLockConfig&) = default;
};

struct FileConfig {
  SchedulerConfig logic;
  std::vector<ControllerAccess> access;
  RegistryConfig registry;
  LeaderLockConfig leader_lock;
  std::string listen = "127.0.0.1:7070";
  std::string token_file;
  std::string tls_certificate, tls_key;
  std::string state_dir;
  std::string agentd_token_file;
  std::string agentd_ca_file;
  bool agentd_may_be_plain = false;  // our token may go over http:// to another machine
  std::string log_level = "info";
  std::string log_format = "text";
};

Result<FileConfig> load_config_file(const std::string& path);
Result<FileConfig> parse_config_text(std::string_view text, const std::string& file_name);

/// What may not change on reload (listen, state_dir, registry, farm): names of the keys that differ.
std::vector<std::string> keys_that_need_a_restart(const FileConfig& now, const FileConfig& next);

}  // namespace skep::scheduler
