// What AgentdLogic asks for. Imperative; carried out in the order of the list.
//
// RecordIntent, ForgetIntent, RecordEpoch and RecordDrain return only when they are durable, so the order of
// the list is the write-ahead rule. When RecordIntent or ForgetIntent fails, the rest of the list that names
// the same executor is NOT carried out and IntentNotRecorded is the next event. Driver calls run
// concurrently; their answers come as events. The logic never has two calls for one executor, or two lists of
// one driver, under way.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "agentd/core/events.h"

namespace skep::agentd {

struct RecordEpoch {
  Epoch epoch = 0;
};
struct RecordIntent {
  IntentRecord record;
};  // its key is record.spec.id
struct ForgetIntent {
  ExecutorId id;
};
struct RecordDrain {
  bool is_draining = false;
  std::string reason;
};

struct Probe {};  // -> DriverProbed
struct List {};   // -> DriverListed
struct Start {
  ExecutorSpec spec;
  Ticket ticket;
  Epoch epoch = 0;
};                  // -> DriverStarted
struct Inspect {};  // -> DriverInspected
struct Recover {
  SandboxHandle handle;
};  // -> DriverRecovered
struct Stop {
  Duration deadline = seconds(5);
};                  // -> DriverStopped
struct Destroy {};  // -> DriverDestroyed
struct DeliverTicket {
  Ticket ticket;
};  // -> TicketDelivered
using Verb = std::variant<Probe, List, Start, Inspect, Recover, Stop, Destroy, DeliverTicket>;

struct CallDriver {
  CallId call = 0;
  std::string driver;
  ExecutorId id;  // empty for Probe and List
  Verb verb;
};

/// status is HTTP's. An Error is written as the error body with epoch_seen.
struct Reply {
  RequestId request = 0;
  int status = 200;
  std::variant<ExecutorReport, HostReport, LeaseReply, Error> body;
  Epoch epoch_seen = 0;
  ExecutorId about;  // the executor that the request named, if any
  /// Not sent when a RecordEpoch or RecordDrain before it failed: StateNotRecorded brings another answer.
  bool needs_state = false;
};

enum class Level { debug, info, warning, error };
struct Explain {  // a log line; never holds a ticket's secret
  Level level = Level::info;
  std::string message;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string once_per_minute_key;  // not empty: at most one line a minute for this cause
};

using Action = std::variant<RecordEpoch, RecordIntent, ForgetIntent, RecordDrain, CallDriver, Reply, Explain>;

/// The executor that an action names; empty when it names none.
const ExecutorId& executor_of(const Action& action);
const char* verb_name(const Verb& verb);

}  // namespace skep::agentd
