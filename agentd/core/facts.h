// What agentd's logic knows of executors: the durable intent, and the sandbox as a driver sees it. Plain
// values. Pure.
//
// Sandbox and SandboxHandle carry the same facts as drivers::Instance and drivers::InstanceHandle: the logic
// links nothing but core, so the shell translates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/ids.h"
#include "core/protocol/agentd_api.h"
#include "core/time.h"

namespace skep::agentd {

/// Number of one driver call; its answer carries it back. 0: none.
using CallId = std::uint64_t;
/// Number of one request of the API; Reply carries it back.
using RequestId = std::uint64_t;

enum class SandboxState {
  creating,  // partly made; only fit to be destroyed
  running,
  exited,  // ended by itself; residue is there
  absent,  // nothing of it exists
};

/// Opaque to all but its driver.
struct SandboxHandle {
  int version = 1;
  std::string blob;
  friend bool operator==(const SandboxHandle&, const SandboxHandle&) = default;
};

struct Sandbox {
  ExecutorId id;
  SandboxState state = SandboxState::absent;
  Epoch epoch = 0;
  AgentPhase agent = AgentPhase::none;
  std::uint32_t ticket_attempt = 0;  // of the ticket that `agent` speaks of; 0: not known
  std::optional<int> exit_code;      // of the agent, once ended
  std::string message;
  SandboxHandle handle;
};

enum class IntentState {
  creating,    // the driver may have been asked to start it; its ticket is not kept
  running,     // the driver said that it runs
  failed,      // stays until it is destroyed by order or its lease ends
  destroying,  // must go
  gone,        // seen gone; remembered so that its id is never used again
};
std::string_view to_string(IntentState state);
std::optional<IntentState> intent_state_from(std::string_view text);

/// The durable record of one executor, written before a driver is touched. Holds no secret.
struct IntentRecord {
  ExecutorSpec spec;  // only the id is set for what was found without an order
  Epoch epoch = 0;    // of the order
  Duration lease = seconds(60);
  IntentState state = IntentState::creating;
  SandboxHandle handle;
  std::uint32_t ticket_attempt = 1;
  bool is_busy = false;        // as a scheduler last told
  bool was_connected = false;  // its agent was connected at least once
  WallTime created_at;
  WallTime gone_at;
  std::string message;  // why it failed
  friend bool operator==(const IntentRecord&, const IntentRecord&) = default;
};

}  // namespace skep::agentd
