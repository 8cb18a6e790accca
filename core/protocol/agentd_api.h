// What scheduler and agentd say to each other, as values; the JSON form is in common/json/agentd_codec.h.
// Protocol version 1. Append only: new fields get defaults, old ones keep their meaning.
//
// - PUT /v1/executors/{id}: ExecutorOrder -> 202 ExecutorReport; 409 stale_epoch|conflict; 507
// out_of_resources
// - DELETE /v1/executors/{id}?epoch=E: 202 ExecutorReport (destroying) or 200 (gone; also for ids never seen)
// - GET /v1/executors?index=N&wait=30s: HostReport, at once when its index != N, else at a change or after
// wait
// - GET /v1/host: HostReport without executors
// - POST /v1/leases: LeaseRenewal -> LeaseReply; 409 stale_epoch, or conflict when a later one was taken
// already
// - POST /v1/drain, /v1/undrain: {"reason"} -> HostReport
// - GET /healthz, /metrics
// Errors: {"error":{"code","outcome","message","hint"},"epoch":highest seen}.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/lifecycle/lifecycle.h"
#include "core/resources.h"
#include "core/time.h"

namespace skep {

/// Lets one executor join once. The secret appears nowhere but in the order's body and the 0600 ticket file.
struct Ticket {
  std::string url;  // the controller's base address, with trailing slash
  std::string node_name;
  std::string secret;
  std::uint32_t attempt = 1;  // grows when the same node must join again after a controller restart
  friend bool operator==(const Ticket&, const Ticket&) = default;
};

/// How a machine comes to life. A driver that cannot clone boots.
enum class StartMode { cold, warm_clone };
std::string_view to_string(StartMode mode);
std::optional<StartMode> start_mode_from(std::string_view text);

struct ExecutorSpec {
  ExecutorId id;
  TemplateName template_name;
  std::string driver;
  std::string image;    // name in the host's image catalogue
  std::string network;  // mode that the host must allow; empty: the host's default
  StartMode start = StartMode::cold;
  Resources resources;
  std::vector<std::string> agent_command;  // empty: java -jar agent.jar as skep-join builds it; else argv
                                           // with {url} {name} {secret_file} {work_dir}
  std::map<std::string, std::string> environment;
  Duration boot_deadline = seconds(60);
  Duration join_deadline = seconds(60);
  Duration stop_grace = seconds(5);
  friend bool operator==(const ExecutorSpec&, const ExecutorSpec&) = default;
};

struct ExecutorOrder {
  Epoch epoch = 0;
  ExecutorSpec spec;
  Ticket ticket;
  Duration lease = seconds(60);
  bool is_busy = false;  // as LeaseRenewal::Entry::is_busy, until a renewal says otherwise
  friend bool operator==(const ExecutorOrder&, const ExecutorOrder&) = default;
};

/// What is known of the agent process inside; a hint only: the controller's word decides.
enum class AgentPhase { none, started, connected, ended };
std::string_view to_string(AgentPhase phase);
std::optional<AgentPhase> agent_phase_from(std::string_view text);

struct ExecutorReport {
  ExecutorId id;
  TemplateName template_name;
  ExecutorState state = ExecutorState::unknown;  // creating, booting, joining, idle (connected), finished,
                                                 // destroying, gone, failed, unknown
  AgentPhase agent = AgentPhase::none;
  std::uint32_t ticket_attempt = 1;
  std::optional<int> agent_exit_code;
  Epoch epoch = 0;
  std::string message;  // why it failed, for people
  WallTime created_at;
  bool is_lease_expired = false;
  Resources resources;
  friend bool operator==(const ExecutorReport&, const ExecutorReport&) = default;
};

struct HostReport {
  HostId host;
  std::uint64_t index = 0;  // grows with every change of this report, within one start of agentd
  std::string boot_id;      // a new one per start of agentd
  std::string version;      // agentd's
  std::string os;           // "linux" | "windows", as text
  std::string arch;
  std::vector<std::string> drivers;
  std::vector<std::string> images;
  std::map<std::string, std::string> attributes;
  Resources capacity;
  std::int64_t max_executors = 0;
  bool is_draining = false;
  std::string drain_reason;
  Epoch epoch_seen = 0;
  std::vector<ExecutorReport> executors;
  friend bool operator==(const HostReport&, const HostReport&) = default;
};

struct LeaseRenewal {
  struct Entry {
    ExecutorId id;
    /// A build may run on it from its agent's connection on: such a one outlives a silent leader. The rest is
    /// removed when the lease ends. A gate is opened only after this was acknowledged.
    bool is_busy = false;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  Epoch epoch = 0;
  Duration lease = seconds(60);
  std::vector<Entry> executors;
  /// Grows from one renewal of a leader to its next: one that was late on its way changes nothing any more.
  std::uint64_t number = 0;
  friend bool operator==(const LeaseRenewal&, const LeaseRenewal&) = default;
};

struct LeaseReply {
  Epoch epoch_seen = 0;
  std::vector<ExecutorId> not_here;
  std::vector<ExecutorId> leaving;  // here, but on the way out: no build may be sent to them
};

/// agentd -> scheduler with the embedded registry: PUT /v1/hosts/{id} on the scheduler, every few seconds.
struct HostAnnouncement {
  HostId host;
  std::string agentd_url;  // where the scheduler reaches this agentd
  std::string boot_id;
  Duration ttl = seconds(15);
};

}  // namespace skep
