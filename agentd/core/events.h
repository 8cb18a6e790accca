// Everything that can move AgentdLogic. Past tense; plain values. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "agentd/core/config.h"
#include "agentd/core/facts.h"
#include "core/protocol/agentd_api.h"
#include "core/result.h"

namespace skep::agentd {

struct DriverFact {
  std::string name;
  bool can_redeliver_ticket = false;
  bool reports_changes = false;
};

/// First event of a life: durable state read back.
struct Started {
  Epoch epoch_seen = 0;
  std::string boot_id;  // a new one per start of agentd
  std::vector<IntentRecord> intents;
  bool is_draining = false;
  std::string drain_reason;
  std::vector<DriverFact> drivers;
};

struct OrderArrived {
  RequestId request = 0;
  ExecutorOrder order;
};
struct DestroyArrived {
  RequestId request = 0;
  ExecutorId id;
  Epoch epoch = 0;
};
struct LeasesArrived {
  RequestId request = 0;
  LeaseRenewal renewal;
};
struct DrainSet {
  RequestId request = 0;
  bool is_draining = true;
  std::string reason;
};

struct DriverUse {  // what a probe tells
  bool is_usable = false;
  std::string detail;
  std::vector<std::string> images;
};
struct DriverProbed {
  CallId call = 0;
  std::string driver;
  Result<DriverUse> result;
};
struct DriverListed {
  CallId call = 0;
  std::string driver;
  Result<std::vector<Sandbox>> result;
};
struct DriverStarted {
  CallId call = 0;
  ExecutorId id;
  Result<Sandbox> result;
};
struct DriverInspected {
  CallId call = 0;
  ExecutorId id;
  Result<Sandbox> result;
};
struct DriverRecovered {
  CallId call = 0;
  ExecutorId id;
  Result<Sandbox> result;
};
struct DriverStopped {
  CallId call = 0;
  ExecutorId id;
  Result<void> result;
};
struct DriverDestroyed {
  CallId call = 0;
  ExecutorId id;
  Result<void> result;
};
struct TicketDelivered {
  CallId call = 0;
  ExecutorId id;
  Result<void> result;
};
/// A driver says that something may have changed: it is inspected.
struct InstanceChanged {
  ExecutorId id;
};

/// What images can be started may be another than at the last probe.
struct ImagesChanged {};

/// RecordIntent or ForgetIntent failed; what followed it in the same list for the same executor was not
/// carried out.
struct IntentNotRecorded {
  ExecutorId id;
  Error error;
};
/// RecordEpoch or RecordDrain failed; the list went on.
struct StateNotRecorded {
  Error error;
};

struct Tick {};
/// From here on no order is accepted; OnStop says what happens to what there is.
struct StopRequested {
  OnStop on_stop = OnStop::keep;
};

using Event = std::variant<Started, OrderArrived, DestroyArrived, LeasesArrived, DrainSet, DriverProbed,
                           DriverListed, DriverStarted, DriverInspected, DriverRecovered, DriverStopped,
                           DriverDestroyed, TicketDelivered, InstanceChanged, ImagesChanged,
                           IntentNotRecorded, StateNotRecorded, Tick, StopRequested>;

}  // namespace skep::agentd
