#include "tests/unit/agentd/support/world.h"

#include <utility>

#include "core/check.h"

namespace skep::agentd {

LogicConfig World::default_config() {
  LogicConfig config;
  config.host = HostId("h1");
  config.version = "test";
  config.os = "linux";
  config.arch = "x86_64";
  config.capacity = Resources{8000, 8LL << 30, 100LL << 30, {{"licence", 2}}};
  config.max_executors = 4;
  return config;
}

ExecutorOrder make_order(const std::string& id, Epoch epoch) {
  ExecutorOrder order;
  order.epoch = epoch;
  order.spec.id = ExecutorId(id);
  order.spec.template_name = TemplateName("t1");
  order.spec.driver = "fake";
  order.spec.resources = Resources{1000, 1LL << 30, 1LL << 30, {}};
  order.ticket = Ticket{"http://controller/", id, "the-secret", 1};
  order.lease = seconds(60);
  return order;
}

const Error* error_of(const std::optional<Reply>& reply) {
  return reply ? std::get_if<Error>(&reply->body) : nullptr;
}

std::string message_of(const std::optional<Reply>& reply) {
  const Error* error = error_of(reply);
  return error != nullptr ? error->message : std::string{};
}

World::World(LogicConfig c) : config(std::move(c)) {}

void World::start() {
  logic = std::make_unique<AgentdLogic>(config);
  Started started;
  started.epoch_seen = epoch;
  started.boot_id = "boot";
  for (const auto& [id, record] : intents) started.intents.push_back(record);
  started.is_draining = is_draining;
  started.drain_reason = drain_reason;
  started.drivers = drivers;
  send(started);
}

void World::crash() {
  logic.reset();
  calls.clear();
  replies_.clear();
}

void World::restart() {
  crash();
  crash_at.reset();
  now += seconds(1);
  wall.ms_since_epoch += 1000;
  start();
  settle();
}

bool World::step() {
  ++steps;
  if (!crash_at || steps <= *crash_at) return true;
  crash();
  return false;
}

void World::send(const Event& event) {
  if (!is_up()) return;
  const std::vector<Action> asked = logic->handle(event, now, wall);
  SKEP_ASSERT(logic->is_consistent());
  perform(asked);
}

bool World::record(const Action& action) {
  if (const auto* intent = std::get_if<RecordIntent>(&action)) {
    trace.push_back("record " + std::string(to_string(intent->record.state)) + " " +
                    intent->record.spec.id.text);
    if (are_records_failing) return false;
    intents[intent->record.spec.id.text] = intent->record;
  } else if (const auto* forget = std::get_if<ForgetIntent>(&action)) {
    trace.push_back("forget " + forget->id.text);
    if (are_records_failing) return false;
    intents.erase(forget->id.text);
  } else if (const auto* seen_epoch = std::get_if<RecordEpoch>(&action)) {
    trace.push_back("record epoch " + std::to_string(seen_epoch->epoch));
    if (are_records_failing) return false;
    epoch = seen_epoch->epoch;
  } else if (const auto* drained = std::get_if<RecordDrain>(&action)) {
    trace.push_back("record drain");
    if (are_records_failing) return false;
    is_draining = drained->is_draining;
    drain_reason = drained->reason;
  }
  return true;
}

void World::perform(const std::vector<Action>& list) {
  const Error full = Error::failed(ErrorCode::out_of_resources, "disk full");
  std::set<ExecutorId> failed;
  std::vector<Event> next;
  bool has_lost_state = false;
  for (const Action& action : list) {
    actions.push_back(action);
    if (std::holds_alternative<Explain>(action)) continue;
    const ExecutorId id = executor_of(action);
    if (!id.empty() && failed.count(id) != 0) continue;
    if (!step()) return;
    if (const auto* call = std::get_if<CallDriver>(&action)) {
      calls.push_back(*call);
    } else if (const auto* reply = std::get_if<Reply>(&action)) {
      if (reply->needs_state && has_lost_state) continue;
      trace.push_back("reply " + std::to_string(reply->status));
      replies_[reply->request] = *reply;
    } else if (!record(action)) {
      if (id.empty()) {
        has_lost_state = true;
        next.emplace_back(StateNotRecorded{full});
      } else {
        failed.insert(id);
        next.emplace_back(IntentNotRecorded{id, full});
      }
    }
  }
  for (const Event& event : next) send(event);
}

Result<Sandbox> World::look(const std::string& id) const {
  Sandbox sandbox;
  sandbox.id = ExecutorId(id);
  const auto found = boxes.find(id);
  if (found == boxes.end()) return sandbox;
  sandbox.state = found->second.state;
  sandbox.epoch = found->second.epoch;
  sandbox.agent = found->second.agent;
  sandbox.ticket_attempt = found->second.attempt;
  sandbox.exit_code = found->second.exit_code;
  sandbox.handle.blob = id;
  return sandbox;
}

Event World::carry_out(const CallDriver& call) {
  const std::string verb = verb_name(call.verb);
  const std::string& id = call.id.text;
  ++performed_[verb];
  trace.push_back(id.empty() ? verb : verb + " " + id);
  std::optional<Error> error;
  if (auto& planned = errors[verb]; !planned.empty()) {
    error = planned.front();
    planned.pop_front();
  }
  const bool has_effect = !error || effects_despite_error.count(verb) != 0;
  const auto looked = [&]() -> Result<Sandbox> {
    if (error) return *error;
    return look(id);
  };
  const auto done = [&]() -> Result<void> {
    if (error) return *error;
    return {};
  };
  if (std::holds_alternative<Probe>(call.verb)) {
    if (error) return DriverProbed{call.call, call.driver, *error};
    return DriverProbed{call.call, call.driver,
                        DriverUse{is_usable, is_usable ? "v1" : "no socket", {"debian"}}};
  }
  if (std::holds_alternative<List>(call.verb)) {
    if (error) return DriverListed{call.call, call.driver, *error};
    std::vector<Sandbox> all;
    for (const auto& [name, box] : boxes) all.push_back(*look(name));
    return DriverListed{call.call, call.driver, all};
  }
  if (const auto* start_verb = std::get_if<Start>(&call.verb)) {
    if (has_effect && boxes.count(id) == 0) {
      boxes[id] =
          Box{SandboxState::running, start_verb->epoch, AgentPhase::none, start_verb->ticket.attempt, {}};
      ++starts[id];
    }
    return DriverStarted{call.call, call.id, looked()};
  }
  if (std::holds_alternative<Inspect>(call.verb)) return DriverInspected{call.call, call.id, looked()};
  if (const auto* recover = std::get_if<Recover>(&call.verb)) {
    if (error) return DriverRecovered{call.call, call.id, *error};
    return DriverRecovered{call.call, call.id, look(recover->handle.blob)};
  }
  if (std::holds_alternative<Stop>(call.verb)) {
    const auto found = boxes.find(id);
    if (has_effect && found != boxes.end()) found->second.state = SandboxState::exited;
    return DriverStopped{call.call, call.id, done()};
  }
  if (std::holds_alternative<Destroy>(call.verb)) {
    if (has_effect) boxes.erase(id);
    return DriverDestroyed{call.call, call.id, done()};
  }
  const auto& delivery = std::get<DeliverTicket>(call.verb);
  const auto found = boxes.find(id);
  if (has_effect && found != boxes.end()) {
    found->second.attempt = delivery.ticket.attempt;
    found->second.agent = AgentPhase::started;
  }
  return TicketDelivered{call.call, call.id, done()};
}

bool World::run_one_call() {
  if (!is_up() || calls.empty()) return false;
  const CallDriver call = calls.front();
  calls.pop_front();
  const Event answer = carry_out(call);
  if (step()) send(answer);
  return true;
}

void World::settle() {
  for (int i = 0; i < 10'000 && run_one_call(); ++i) {
  }
}

void World::advance(Duration by) {
  const Instant until = now + by;
  settle();
  for (int i = 0; i < 100'000 && is_up(); ++i) {
    const auto due = logic->next_deadline();
    if (!due || *due > until) break;
    if (*due > now) {
      wall.ms_since_epoch += to_ms(*due - now);
      now = *due;
    }
    send(Tick{});
    settle();
  }
  if (now < until) {
    wall.ms_since_epoch += to_ms(until - now);
    now = until;
  }
}

std::optional<Reply> World::take_reply() {
  const auto found = replies_.find(last_request_);
  if (found == replies_.end()) return std::nullopt;
  return found->second;
}

std::optional<Reply> World::order(const ExecutorOrder& order) {
  send(OrderArrived{++last_request_, order});
  return take_reply();
}

std::optional<Reply> World::destroy(const std::string& id, Epoch of) {
  send(DestroyArrived{++last_request_, ExecutorId(id), of});
  return take_reply();
}

std::optional<Reply> World::renew(const std::vector<LeaseRenewal::Entry>& entries, Epoch of, Duration lease,
                                  std::uint64_t number) {
  send(LeasesArrived{++last_request_, LeaseRenewal{of, lease, entries, number}});
  return take_reply();
}

std::optional<Reply> World::drain(bool is_wanted, const std::string& reason) {
  send(DrainSet{++last_request_, is_wanted, reason});
  return take_reply();
}

void World::set_agent(const std::string& id, AgentPhase phase, std::optional<int> exit_code) {
  boxes.at(id).agent = phase;
  boxes.at(id).exit_code = exit_code;
  send(InstanceChanged{ExecutorId(id)});
  settle();
}

void World::end_sandbox(const std::string& id, int exit_code) {
  boxes.at(id).state = SandboxState::exited;
  boxes.at(id).exit_code = exit_code;
  send(InstanceChanged{ExecutorId(id)});
  settle();
}

std::optional<ExecutorReport> World::seen(const std::string& id) const {
  for (const ExecutorReport& report : logic->report().executors) {
    if (report.id.text == id) return report;
  }
  return std::nullopt;
}

ExecutorState World::state(const std::string& id) const {
  const auto report = seen(id);
  return report ? report->state : ExecutorState::gone;
}

bool World::has_call(const std::string& id, const char* verb) const {
  for (const CallDriver& call : calls) {
    if (call.id.text == id && std::string(verb_name(call.verb)) == verb) return true;
  }
  return false;
}

int World::count_calls(const std::string& verb) const {
  const auto found = performed_.find(verb);
  return found == performed_.end() ? 0 : found->second;
}

}  // namespace skep::agentd
