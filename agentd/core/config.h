// agentd's configuration as values. Read and checked by agentd/shell/config_file; the logic uses LogicConfig
// only. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agentd/core/images/catalogue.h"
#include "core/ids.h"
#include "core/resources.h"
#include "core/time.h"

namespace skep::agentd {

/// What the logic needs: who this host is, what it may give away, and its patience.
struct LogicConfig {
  HostId host;                                    // required; by default the machine's host name
  std::string version;                            // of agentd, for people
  std::string os;                                 // "linux" | "windows", as text
  std::string arch;                               // "x86_64", "aarch64"
  std::map<std::string, std::string> attributes;  // free facts that templates may ask for
  Resources capacity;                             // given to executors in all
  std::int64_t max_executors = 64;                // 1..10,000

  /// How long a sandbox outlives its agent when no leader says what to do with it: after a restart of the
  /// controller, a pipeline waits five minutes for its node.
  Duration resume_window = minutes(6);
  Duration forever_limit = hours(24);        // how long a busy executor outlives its lease at most
  Duration tombstone_keep = hours(1);        // how long an id that was seen gone is remembered
  std::size_t max_tombstones = 10'000;       // the oldest are forgotten first
  Duration retry_first = milliseconds(500);  // pause before a driver verb is repeated; doubles
  Duration retry_last = seconds(30);
  Duration inspect_interval = seconds(2);        // of an executor whose driver does not report changes
  Duration slow_inspect_interval = seconds(30);  // of one whose driver does
  Duration list_interval = seconds(60);          // looks for what carries our owner tag but is not known
  Duration probe_interval = seconds(60);
};

/// What happens to executors when agentd is asked to end.
enum class OnStop {
  keep,    // they run on and are adopted at the next start
  drain,   // unused ones are destroyed, busy ones are waited for
  remove,  // all are destroyed: an operator's explicit word
};

/// How the host becomes known to schedulers.
struct RegistryConfig {
  enum class Type { none, embedded, consul } type = Type::embedded;
  std::string scheduler_url;         // embedded: where to announce; empty: nowhere
  std::string scheduler_token_file;  // 0600
  std::string scheduler_ca_file;
  Duration ttl = seconds(15);  // announced, or the check passed, every third of it
  std::string consul_address;  // consul: of the agent on this machine
  std::string consul_token_file;
  std::string consul_ca_file;
  std::string consul_service;
};

struct ProcessDriverConfig {
  bool is_enabled = true;
  std::string root;                           // empty: <state_dir>/executors
  std::string join_program;                   // empty: skep-join beside skep-agentd
  std::map<std::string, std::string> images;  // name -> directory that is copied for each executor
};

struct NamespacesDriverConfig {
  bool is_enabled = false;
  std::string root;                                 // empty: <state_dir>/namespaces
  std::map<std::string, std::string> images;        // name -> directory that is the root of each executor
  std::string join_program = "/usr/bin/skep-join";  // inside
  std::vector<std::string> binds;                   // PATH or PATH:PATH-INSIDE, shown read-only
  std::vector<std::string> networks;                // that templates may ask for; the first is the default
  std::int64_t first_user = 80'000;
  std::int64_t users = 0;  // 0: executors run as agentd does
};

struct ContainerDriverConfig {
  bool is_enabled = false;
  std::string socket = "/run/docker.sock";
  std::string root;                                 // empty: <state_dir>/containers
  std::map<std::string, std::string> images;        // name -> sha256:... or repository@sha256:...
  std::string join_program = "/usr/bin/skep-join";  // inside the image
  std::string user;                                 // uid:gid inside; empty: agentd's own
  std::vector<std::string> networks;                // that templates may ask for; the first is the default
  std::int64_t default_disk_bytes = std::int64_t{1} << 30;
  std::int64_t max_processes = 4096;
};

/// Files of one image, each with its SHA-256 in hex; `disk` may be missing.
struct VmImageConfig {
  std::string folder;
  std::string kernel, kernel_sha256;
  std::string initrd, initrd_sha256;
  std::string disk, disk_sha256;
  std::string command_line;
};

struct QemuDriverConfig {
  bool is_enabled = false;
  std::string program = "qemu-system-x86_64";
  std::string root;                                 // empty: <state_dir>/vms
  std::map<std::string, VmImageConfig> images;      // by name
  std::string join_program = "/usr/bin/skep-join";  // inside the guest
  std::string accelerator = "auto";                 // auto, kvm, tcg
  std::vector<std::string> networks;                // that templates may ask for; the first is the default
  std::vector<std::string> reach;                   // host:port[/udp] beside the controller
  std::int64_t first_user = 70'000;
  std::int64_t users = 256;  // 0: QEMU runs as agentd does
};

/// Scripted driver without any sandbox: for trying out and for tests of schedulers.
struct FakeDriverConfig {
  bool is_enabled = false;
};

struct AgentdConfig {
  LogicConfig logic;
  RegistryConfig registry;
  ProcessDriverConfig process;
  NamespacesDriverConfig namespaces;
  ContainerDriverConfig container;
  QemuDriverConfig qemu;
  FakeDriverConfig fake;
  images::ImagesConfig images;
  std::string state_dir;               // required; holds state.db
  std::string listen = "127.0.0.1:0";  // another than a loopback address needs a token file
  std::string advertise_url;  // what schedulers use to reach us; empty: the address that we listen on
  std::string token_file;     // 0600
  std::string tls_certificate, tls_key;  // PEM files; both or none
  std::string log_level = "info";        // debug, info, warning, error
  std::string log_format = "text";       // text, json
  OnStop on_stop = OnStop::keep;
  int worker_threads = 8;  // driver calls at once, 1..64
};

}  // namespace skep::agentd
