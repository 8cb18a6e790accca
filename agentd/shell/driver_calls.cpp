#include "agentd/shell/driver_calls.h"

#include <utility>

namespace skep::agentd {
namespace {

using drivers::Driver;
using drivers::Instance;
using drivers::InstanceState;

SandboxState state_of(InstanceState state) {
  switch (state) {
    case InstanceState::creating:
      return SandboxState::creating;
    case InstanceState::running:
      return SandboxState::running;
    case InstanceState::exited:
      return SandboxState::exited;
    case InstanceState::absent:
      return SandboxState::absent;
  }
  return SandboxState::absent;
}

Sandbox sandbox_of(const Instance& instance) {
  Sandbox sandbox;
  sandbox.id = instance.id;
  sandbox.state = state_of(instance.state);
  sandbox.epoch = instance.epoch;
  sandbox.agent = instance.agent;
  sandbox.ticket_attempt = instance.ticket_attempt;
  sandbox.exit_code = instance.exit_code;
  sandbox.message = instance.message;
  sandbox.handle = SandboxHandle{instance.handle.version, instance.handle.blob};
  return sandbox;
}

Result<Sandbox> sandbox_of(const Result<Instance>& instance) {
  if (!instance) return instance.error();
  return sandbox_of(*instance);
}

/// One verb each; `error` set: the verb is not carried out and this is its answer.
struct Runner {
  Driver& driver;
  const CallDriver& action;
  const Error* error = nullptr;

  Event operator()(const Probe&) const {
    if (error != nullptr) return DriverProbed{action.call, action.driver, *error};
    const auto report = driver.probe();
    if (!report) return DriverProbed{action.call, action.driver, report.error()};
    return DriverProbed{action.call, action.driver,
                        DriverUse{report->is_usable, report->detail, report->images}};
  }
  Event operator()(const List&) const {
    if (error != nullptr) return DriverListed{action.call, action.driver, *error};
    const auto instances = driver.list();
    if (!instances) return DriverListed{action.call, action.driver, instances.error()};
    std::vector<Sandbox> sandboxes;
    for (const Instance& instance : *instances) sandboxes.push_back(sandbox_of(instance));
    return DriverListed{action.call, action.driver, std::move(sandboxes)};
  }
  Event operator()(const Start& start) const {
    if (error != nullptr) return DriverStarted{action.call, action.id, *error};
    return DriverStarted{
        action.call, action.id,
        sandbox_of(driver.start(drivers::StartRequest{start.spec, start.ticket, start.epoch}))};
  }
  Event operator()(const Inspect&) const {
    if (error != nullptr) return DriverInspected{action.call, action.id, *error};
    return DriverInspected{action.call, action.id, sandbox_of(driver.inspect(action.id))};
  }
  Event operator()(const Recover& recover) const {
    if (error != nullptr) return DriverRecovered{action.call, action.id, *error};
    return DriverRecovered{
        action.call, action.id,
        sandbox_of(driver.recover(drivers::InstanceHandle{recover.handle.version, recover.handle.blob}))};
  }
  Event operator()(const Stop& stop) const {
    if (error != nullptr) return DriverStopped{action.call, action.id, *error};
    return DriverStopped{action.call, action.id, driver.stop(action.id, stop.deadline)};
  }
  Event operator()(const Destroy&) const {
    if (error != nullptr) return DriverDestroyed{action.call, action.id, *error};
    return DriverDestroyed{action.call, action.id, driver.destroy(action.id)};
  }
  Event operator()(const DeliverTicket& delivery) const {
    if (error != nullptr) return TicketDelivered{action.call, action.id, *error};
    auto* channel = dynamic_cast<drivers::TicketDelivery*>(&driver);
    if (channel == nullptr) {
      return TicketDelivered{
          action.call, action.id,
          Error::failed(ErrorCode::unsupported, "driver " + action.driver + " cannot hand over tickets")};
    }
    return TicketDelivered{action.call, action.id, channel->deliver_ticket(action.id, delivery.ticket)};
  }
};

/// Stands in where no driver is called.
class NoDriver final : public Driver {
 public:
  std::string name() const override { return {}; }
  Result<drivers::ProbeReport> probe() override { return nothing(); }
  drivers::Capabilities capabilities() const override { return {}; }
  Result<std::vector<Instance>> list() override { return nothing(); }
  Result<Instance> inspect(const ExecutorId&) override { return nothing(); }
  Result<Instance> start(const drivers::StartRequest&) override { return nothing(); }
  Result<void> stop(const ExecutorId&, Duration) override { return nothing(); }
  Result<void> destroy(const ExecutorId&) override { return nothing(); }
  Result<Instance> recover(const drivers::InstanceHandle&) override { return nothing(); }

 private:
  static Error nothing() { return Error::failed(ErrorCode::unsupported, "no driver"); }
};

}  // namespace

DriverFact describe(Driver& driver) {
  const drivers::Capabilities can = driver.capabilities();
  DriverFact fact;
  fact.name = driver.name();
  fact.can_redeliver_ticket =
      can.can_redeliver_ticket && dynamic_cast<drivers::TicketDelivery*>(&driver) != nullptr;
  fact.reports_changes = can.reports_changes && dynamic_cast<drivers::ChangeSource*>(&driver) != nullptr;
  return fact;
}

Event run_call(Driver& driver, const CallDriver& action) {
  return std::visit(Runner{driver, action}, action.verb);
}

Event refuse_call(const CallDriver& action, const Error& error) {
  NoDriver none;
  return std::visit(Runner{none, action, &error}, action.verb);
}

}  // namespace skep::agentd
