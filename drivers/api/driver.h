// The driver contract: eight verbs, idempotent by executor id, blocking, no policy inside.
//
// Rules that the contract suite (tests/contract/drivers) checks for every driver:
//   - start(id) twice yields the same instance; start after destroy is an error (conflict): ids are never
//   used twice.
//   - destroy(id) of something that is not there succeeds; after it succeeded, inspect says absent and
//   nothing is left.
//   - an id that is no valid name is refused by every verb (invalid_input): it may become a path.
//   - what cannot be seen (no descriptor left, no right to look) is an error, never "absent" or "exited".
//   - an Error with Outcome::unknown means: the caller must inspect before anything else.
//   - list() names exactly what carries our owner tag; it never touches what it does not own.
//   - instances outlive the process that made them; recover(handle) finds them again.
// Threads: different ids may be called concurrently from different threads; one id never is.
// Exceptions: none leave a driver.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/protocol/agentd_api.h"
#include "core/result.h"
#include "core/time.h"

namespace skep::drivers {

enum class InstanceState {
  creating,  // partly made; destroy is the only sensible verb
  running,   // sandbox runs
  exited,    // sandbox ended by itself; its residue is still there
  absent,    // nothing of it exists
};
std::string_view to_string(InstanceState state);

/// Versioned, opaque to all but the driver; agentd keeps it durably and gives it back to recover().
struct InstanceHandle {
  int version = 1;
  std::string blob;
  friend bool operator==(const InstanceHandle&, const InstanceHandle&) = default;
};

struct Instance {
  ExecutorId id;
  InstanceState state = InstanceState::absent;
  Epoch epoch = 0;
  AgentPhase agent = AgentPhase::none;
  std::uint32_t ticket_attempt = 0;  // of the ticket that the agent phase speaks of
  std::optional<int> exit_code;      // of the agent process, when ended
  std::string message;
  InstanceHandle handle;
};

struct StartRequest {
  ExecutorSpec spec;
  Ticket ticket;  // delivered by the driver's safest channel, never by argv or environment
  Epoch epoch = 0;
};

struct ProbeReport {
  bool is_usable = false;
  std::string detail;               // version or the reason why not, for people
  std::vector<std::string> images;  // names of images that can be started now
};

struct Capabilities {
  bool can_redeliver_ticket = false;  // TicketDelivery is implemented
  bool reports_changes = false;       // ChangeSource is implemented
  bool limits_cpu = false;
  bool limits_memory = false;
  bool limits_disk = false;
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual std::string name() const = 0;
  virtual Result<ProbeReport> probe() = 0;
  virtual Capabilities capabilities() const = 0;
  virtual Result<std::vector<Instance>> list() = 0;
  virtual Result<Instance> inspect(const ExecutorId& id) = 0;
  virtual Result<Instance> start(const StartRequest& request) = 0;
  /// Asks the sandbox to end and waits at most `deadline`; then it is ended hard. Residue stays until
  /// destroy().
  virtual Result<void> stop(const ExecutorId& id, Duration deadline) = 0;
  /// Ends and removes everything of this id; verified by looking before it answers.
  virtual Result<void> destroy(const ExecutorId& id) = 0;
  virtual Result<Instance> recover(const InstanceHandle& handle) = 0;
};

/// Rare ability: hand a new ticket to a running sandbox (the same node joins again after a controller
/// restart).
class TicketDelivery {
 public:
  virtual ~TicketDelivery() = default;
  virtual Result<void> deliver_ticket(const ExecutorId& id, const Ticket& ticket) = 0;
};

/// Rare ability: calls back (any thread, must return quickly) when an instance may have changed.
class ChangeSource {
 public:
  virtual ~ChangeSource() = default;
  virtual void set_change_listener(std::function<void(const ExecutorId&)> listener) = 0;
};

}  // namespace skep::drivers
