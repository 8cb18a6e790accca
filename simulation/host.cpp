#include "simulation/host.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "simulation/world.h"

namespace skep::simulation {
namespace {

constexpr Duration announce_every = seconds(5);
constexpr Duration driver_patience = seconds(60);  // a driver gives up on its own tool then
constexpr Duration connect_retry = seconds(2);
constexpr Duration reset_after = milliseconds(20);  // the peer of a process that ended hears of it

agentd::SandboxState state_of(drivers::InstanceState state) {
  switch (state) {
    case drivers::InstanceState::creating:
      return agentd::SandboxState::creating;
    case drivers::InstanceState::running:
      return agentd::SandboxState::running;
    case drivers::InstanceState::exited:
      return agentd::SandboxState::exited;
    case drivers::InstanceState::absent:
      return agentd::SandboxState::absent;
  }
  return agentd::SandboxState::absent;
}

// As agentd/shell/driver_calls does it.
agentd::Sandbox sandbox_of(const drivers::Instance& instance) {
  agentd::Sandbox sandbox;
  sandbox.id = instance.id;
  sandbox.state = state_of(instance.state);
  sandbox.epoch = instance.epoch;
  sandbox.agent = instance.agent;
  sandbox.ticket_attempt = instance.ticket_attempt;
  sandbox.exit_code = instance.exit_code;
  sandbox.message = instance.message;
  sandbox.handle = {instance.handle.version, instance.handle.blob};
  return sandbox;
}

Result<agentd::Sandbox> sandbox_of(const Result<drivers::Instance>& instance) {
  if (!instance) return instance.error();
  return sandbox_of(*instance);
}

bool is_record(const agentd::Action& action) {
  return std::holds_alternative<agentd::RecordIntent>(action) ||
         std::holds_alternative<agentd::ForgetIntent>(action) ||
         std::holds_alternative<agentd::RecordEpoch>(action) ||
         std::holds_alternative<agentd::RecordDrain>(action);
}

template <typename T>
void tell(const Caller<T>& caller, const agentd::Reply& reply) {
  if (const T* value = std::get_if<T>(&reply.body)) return caller.reply(*value);
  if (const auto* error = std::get_if<Error>(&reply.body)) return caller.reply(*error);
  caller.reply(Error::unknown(ErrorCode::malformed_reply, "an answer of another kind"));
}

Error connection_lost() {
  return Error::unknown(ErrorCode::unavailable, "the connection was reset");
}

}  // namespace

Host::Host(World& world, HostPlan chosen, Prng random)
    : plan(std::move(chosen)), world_(world), random_(random), owner_("agentd of " + plan.host.text) {
  if (plan.images.empty()) {
    for (const scheduler::Template& each : world.plan.scheduler.templates) plan.images.push_back(each.image);
  }
  drivers::fake::ModelOptions options;
  options.images = plan.images;
  options.life.join.reset();
  model = drivers::fake::HostModel(options);
  link.there_and_back = world.plan.call_host;
  registry_link.there_and_back = {milliseconds(1), milliseconds(3)};
}

// --- agentd

void Host::start_agentd() {
  if (logic || !has_power_) return;
  ++life_;
  agentd::LogicConfig config;
  config.host = plan.host;
  config.version = "simulated";
  config.os = plan.os;
  config.arch = "x86_64";
  config.attributes = plan.attributes;
  config.capacity = plan.capacity;
  config.max_executors = plan.max_executors;
  logic = std::make_unique<agentd::AgentdLogic>(std::move(config));
  agentd::Started started;
  if (const Epoch* epoch = numbers.find("epoch")) started.epoch_seen = *epoch;
  started.boot_id = plan.host.text + "-" + std::to_string(life_);
  for (const auto& [id, record] : intents.records()) started.intents.push_back(record);
  if (const std::string* reason = drain.find("drain")) {
    started.is_draining = true;
    started.drain_reason = *reason;
  }
  started.drivers = {{plan.driver, true, reports_changes}};
  shown_index_ = 0;
  world_.note("agentd of " + plan.host.text + " starts");
  handle(started);
  announce();
}

void Host::kill_agentd(Duration down) {
  if (!logic) return;
  world_.note("agentd of " + plan.host.text + " is killed");
  ++life_;
  logic.reset();
  crash_after = -1;
  timer_.reset();
  model.kill_driver_process(world_.now);
  end_requests(true);
  world_.later(down, [this] { start_agentd(); });
}

void Host::end_requests(bool is_reset) {
  for (const auto& [number, asker] : std::exchange(requests_, {})) {
    std::visit([is_reset](const auto& caller) { is_reset ? caller.reply(connection_lost()) : caller.drop(); },
               asker);
  }
  for (Waiter& waiter : std::exchange(waiters_, {})) {
    is_reset ? waiter.caller.reply(connection_lost()) : waiter.caller.drop();
  }
}

void Host::lose_power(Duration down) {
  if (!has_power_) return;
  world_.note("host " + plan.host.text + " loses power");
  has_power_ = false;
  ++life_;
  logic.reset();
  crash_after = -1;
  timer_.reset();
  model.reboot(world_.now);
  end_requests(false);
  // Nobody closes these connections: the controller's ping finds out.
  for (auto& [id, agent] : agents) drop_connection(agent, seconds(random_.between(30, 240)));
  agents.clear();
  world_.later(down, [this] {
    has_power_ = true;
    start_agentd();
  });
}

void Host::cut_off() {
  if (!has_power_ || is_cut_off_) return;
  is_cut_off_ = true;
  link.is_request_cut = link.is_reply_cut = registry_link.is_request_cut = true;
  for (auto& [id, agent] : agents) {
    if (agent.connection == 0) continue;
    drop_connection(agent, seconds(random_.between(30, 240)));
    agent.gives_up = world_.now + hours(1);
    world_.later(connect_retry,
                 [this, executor = id, process = agent.process] { connect(executor, process); });
  }
}

void Host::connect_again() {
  if (!std::exchange(is_cut_off_, false)) return;
  link.is_request_cut = link.is_reply_cut = registry_link.is_request_cut = false;
}

void Host::announce() {
  if (!logic) return;
  if (!registry_link.is_request_cut) world_.registry.pass_host(plan.host, world_.now);
  world_.later(announce_every, [this, life = life_] {
    if (life == life_) announce();
  });
}

void Host::handle(agentd::Event event) {
  if (!logic) return;
  std::vector<agentd::Event> failures;  // of what the last event asked for; the first one comes last
  for (;;) {
    ++world_.events;
    world_.digest.add(event.index());
    world_.inspector->on_agentd_event(world_, plan.host, event);
    std::vector<agentd::Event> more;
    run(logic->handle(event, world_.now, world_.wall(wall_offset)), more);
    failures.insert(failures.end(), std::make_move_iterator(more.rbegin()),
                    std::make_move_iterator(more.rend()));
    if (failures.empty() || !logic) break;
    event = std::move(failures.back());
    failures.pop_back();
  }
  if (!logic) return;
  wake_waiters();
  set_timer();
}

bool Host::dies_now() {
  if (crash_after < 0 || crash_after-- > 0) return false;
  kill_agentd(next_down);
  return true;
}

void Host::run(const std::vector<agentd::Action>& actions, std::vector<agentd::Event>& failures) {
  std::set<ExecutorId> failed;
  std::vector<const agentd::Action*> batch;
  for (const agentd::Action& action : actions) {
    if (dies_now()) return;
    ++world_.events;
    world_.digest.add(action.index());
    world_.digest.add(agentd::executor_of(action).text);
    world_.inspector->on_agentd_action(world_, plan.host, action);
    const bool is_dropped = failed.contains(agentd::executor_of(action));
    if (is_record(action)) {
      if (!is_dropped) batch.push_back(&action);
      continue;
    }
    if (std::holds_alternative<agentd::Explain>(action)) continue;
    if (!write(batch, failed, failures)) return;
    if (failed.contains(agentd::executor_of(action))) continue;
    if (const auto* call = std::get_if<agentd::CallDriver>(&action)) call_driver(*call);
    if (const auto* reply = std::get_if<agentd::Reply>(&action)) {
      if (auto found = requests_.extract(reply->request))
        std::visit([reply](const auto& caller) { tell(caller, *reply); }, found.mapped());
    }
  }
  static_cast<void>(write(batch, failed, failures));
}

/// One transaction. False: agentd was killed.
bool Host::write(std::vector<const agentd::Action*>& batch, std::set<ExecutorId>& failed,
                 std::vector<agentd::Event>& failures) {
  if (batch.empty()) return true;
  const Error full = Error::failed(ErrorCode::out_of_resources, "the disk is full");
  bool has_state = false;
  for (const agentd::Action* action : std::exchange(batch, {})) {
    const ExecutorId& id = agentd::executor_of(*action);
    if (intents.is_full) {
      if (id.empty()) has_state = true;
      if (!id.empty() && failed.insert(id).second) failures.emplace_back(agentd::IntentNotRecorded{id, full});
      continue;
    }
    if (const auto* intent = std::get_if<agentd::RecordIntent>(action))
      static_cast<void>(intents.apply({{intent->record.spec.id.text, intent->record}}));
    if (const auto* forget = std::get_if<agentd::ForgetIntent>(action))
      static_cast<void>(intents.apply({{forget->id.text, std::nullopt}}));
    if (const auto* epoch = std::get_if<agentd::RecordEpoch>(action)) {
      static_cast<void>(numbers.apply({{"epoch", epoch->epoch}}));
      highest_epoch = std::max(highest_epoch, epoch->epoch);
    }
    if (const auto* record = std::get_if<agentd::RecordDrain>(action)) {
      static_cast<void>(drain.apply(
          {{"drain", record->is_draining ? std::optional<std::string>(record->reason) : std::nullopt}}));
    }
  }
  if (has_state) failures.emplace_back(agentd::StateNotRecorded{full});
  return !dies_now();  // what follows is on record, and never happens
}

void Host::set_timer() {
  const auto deadline = logic->next_deadline();
  if (!deadline || (timer_ && *timer_ <= *deadline)) return;
  timer_ = *deadline;
  const std::uint64_t number = ++timer_number_;
  world_.at(std::max(world_.now, *deadline), [this, number, life = life_] {
    if (life != life_ || number != timer_number_) return;
    timer_.reset();
    handle(agentd::Tick{});
  });
}

// --- its API

template <typename T>
std::optional<std::uint64_t> Host::ask(const Caller<T>& caller) {
  if (!has_power_) {
    caller.drop();
    return std::nullopt;
  }
  if (!logic) {
    caller.reply(Error::try_again(ErrorCode::unavailable, "connection refused"));
    return std::nullopt;
  }
  const std::uint64_t number = next_request_++;
  requests_.emplace_hint(requests_.end(), number, caller);
  return number;
}

void Host::order(const ExecutorOrder& order, const Caller<ExecutorReport>& caller) {
  if (const auto number = ask(caller)) handle(agentd::OrderArrived{*number, order});
}

void Host::destroy(const ExecutorId& executor, Epoch epoch, const Caller<ExecutorReport>& caller) {
  if (const auto number = ask(caller)) handle(agentd::DestroyArrived{*number, executor, epoch});
}

void Host::renew(const LeaseRenewal& renewal, const Caller<LeaseReply>& caller) {
  if (const auto number = ask(caller)) handle(agentd::LeasesArrived{*number, renewal});
}

void Host::read_report(std::uint64_t index, Duration wait, const Caller<HostReport>& caller) {
  if (!has_power_) return caller.drop();
  if (!logic) return caller.reply(Error::try_again(ErrorCode::unavailable, "connection refused"));
  if (index != logic->report().index || wait <= Duration::zero()) return caller.reply(logic->report());
  const std::uint64_t number = next_waiter_++;
  waiters_.push_back({index, number, caller});
  world_.later(wait, [this, number] {
    const auto found = std::find_if(waiters_.begin(), waiters_.end(),
                                    [number](const Waiter& each) { return each.number == number; });
    if (found == waiters_.end() || !logic) return;
    const Waiter waiter = std::move(*found);
    waiters_.erase(found);
    waiter.caller.reply(logic->report());
  });
}

void Host::wake_waiters() {
  const HostReport& report = logic->report();
  if (report.index == shown_index_) return;
  shown_index_ = report.index;
  std::vector<Waiter> waiting;
  for (Waiter& waiter : std::exchange(waiters_, {})) {
    if (waiter.index == report.index) {
      waiting.push_back(std::move(waiter));
    } else {
      waiter.caller.reply(report);
    }
  }
  waiters_ = std::move(waiting);
}

// --- driver

void Host::script(drivers::fake::Verb verb, Span takes) {
  using drivers::fake::Fault;
  drivers::fake::CallScript script;
  script.takes = draw(takes, random_);
  if (driver.slow > Duration::zero()) script.takes += draw({Duration::zero(), driver.slow}, random_);
  const auto draws = [this](int of_a_thousand) {
    return of_a_thousand > 0 && random_.chance(static_cast<std::uint64_t>(of_a_thousand), 1000);
  };
  if (draws(driver.fails)) script.fault = Fault::fails;
  if (draws(driver.fails_for_now)) script.fault = Fault::fails_for_now;
  if (draws(driver.unknown_and_done)) script.fault = Fault::unknown_and_done;
  if (draws(driver.unknown_not_done)) script.fault = Fault::unknown_not_done;
  if (draws(driver.hangs)) script.fault = Fault::hangs;
  if (driver.is_full && verb == drivers::fake::Verb::start) {
    script.fault = Fault::fails_for_now;
    script.code = ErrorCode::out_of_resources;
  }
  model.script_next(verb, script);
}

template <typename Answered>
void Host::answer(std::optional<Duration> takes, Answered answered) {
  world_.later(takes.value_or(driver_patience),
               [this, life = life_, answered = std::move(answered)]() mutable {
                 if (life == life_) handle(std::move(answered));
               });
}

void Host::call_driver(const agentd::CallDriver& call) {
  using drivers::fake::Verb;
  world_.inspector->before_driver_call(world_, plan.host, call);
  const Span quick{milliseconds(1), milliseconds(20)};
  const Instant now = world_.now;
  if (std::holds_alternative<agentd::Probe>(call.verb)) {
    script(Verb::probe, quick);
    const auto seen = model.probe();
    answer(seen.takes, agentd::DriverProbed{call.call, call.driver,
                                            seen.result ? Result<agentd::DriverUse>(agentd::DriverUse{
                                                              seen.result->is_usable, seen.result->detail,
                                                              seen.result->images})
                                                        : Result<agentd::DriverUse>(seen.result.error())});
  } else if (std::holds_alternative<agentd::List>(call.verb)) {
    script(Verb::list, quick);
    const auto seen = model.list(owner_, now);
    Result<std::vector<agentd::Sandbox>> list = std::vector<agentd::Sandbox>();
    if (seen.result) {
      for (const drivers::Instance& each : *seen.result) list->push_back(sandbox_of(each));
    } else {
      list = seen.result.error();
    }
    answer(seen.takes, agentd::DriverListed{call.call, call.driver, std::move(list)});
  } else if (std::holds_alternative<agentd::Inspect>(call.verb)) {
    script(Verb::inspect, quick);
    const auto seen = model.inspect(owner_, call.id, now);
    answer(seen.takes, agentd::DriverInspected{call.call, call.id, sandbox_of(seen.result)});
  } else if (const auto* recover = std::get_if<agentd::Recover>(&call.verb)) {
    script(Verb::recover, quick);
    const auto seen = model.recover(owner_, {recover->handle.version, recover->handle.blob}, now);
    answer(seen.takes, agentd::DriverRecovered{call.call, call.id, sandbox_of(seen.result)});
  } else if (const auto* start = std::get_if<agentd::Start>(&call.verb)) {
    start_sandbox(call, *start);
  } else if (const auto* stop = std::get_if<agentd::Stop>(&call.verb)) {
    stop_sandbox(call, *stop);
  } else if (std::holds_alternative<agentd::Destroy>(call.verb)) {
    destroy_sandbox(call);
  } else if (const auto* delivery = std::get_if<agentd::DeliverTicket>(&call.verb)) {
    deliver_ticket(call, *delivery);
  }
}

void Host::start_sandbox(const agentd::CallDriver& call, const agentd::Start& start) {
  const auto draws = [this](int of_a_thousand) {
    return of_a_thousand > 0 && random_.chance(static_cast<std::uint64_t>(of_a_thousand), 1000);
  };
  script(drivers::fake::Verb::start, plan.takes.create);
  drivers::fake::LifeScript life;
  life.join.reset();
  life.boot = draws(lives.never_boots) ? Duration(hours(10'000)) : draw(plan.takes.boot, random_);
  if (draws(lives.dies)) life.dies = draw({Duration::zero(), minutes(10)}, random_);
  const int made_before = model.times_made(call.id);
  model.script_life(call.id, life);
  const auto seen = model.start(owner_, {start.spec, start.ticket, start.epoch}, world_.now);
  if (model.times_made(call.id) > made_before) {
    world_.begin_life(call.id, plan.host, start.spec.template_name);
    const Duration takes = seen.takes.value_or(Duration::zero());
    plan_agent(call.id, start.ticket, start.spec.join_deadline, world_.now + takes + life.boot);
    Agent& agent = agents[call.id];
    agent.never_joins = draws(lives.never_joins);
    agent.joins_late = draws(lives.joins_late);
    agent.joins_twice = draws(lives.joins_twice);
    agent.hangs = draws(lives.hangs);
    if (life.dies) {
      world_.at(world_.now + takes + *life.dies, [this, id = call.id] { on_sandbox_changed(id); });
    }
  }
  answer(seen.takes, agentd::DriverStarted{call.call, call.id, sandbox_of(seen.result)});
}

void Host::stop_sandbox(const agentd::CallDriver& call, const agentd::Stop& stop) {
  script(drivers::fake::Verb::stop, {milliseconds(10), milliseconds(500)});
  const auto seen = model.stop(owner_, call.id, stop.deadline, world_.now);
  answer(seen.takes, agentd::DriverStopped{call.call, call.id, seen.result});
  world_.later(seen.takes.value_or(Duration::zero()), [this, id = call.id] { on_sandbox_changed(id); });
}

void Host::destroy_sandbox(const agentd::CallDriver& call) {
  script(drivers::fake::Verb::destroy, plan.takes.destroy);
  const auto seen = model.destroy(owner_, call.id, world_.now);
  answer(seen.takes, agentd::DriverDestroyed{call.call, call.id, seen.result});
  on_sandbox_changed(call.id);
  world_.later(seen.takes.value_or(Duration::zero()), [this, id = call.id] { on_sandbox_changed(id); });
}

void Host::deliver_ticket(const agentd::CallDriver& call, const agentd::DeliverTicket& delivery) {
  script(drivers::fake::Verb::deliver_ticket, {milliseconds(1), milliseconds(20)});
  const auto before = model.look_at(call.id, world_.now);
  const auto seen = model.deliver_ticket(owner_, call.id, delivery.ticket, world_.now);
  const auto after = model.look_at(call.id, world_.now);
  if (before && after && after->ticket_attempt > before->ticket_attempt) {
    const auto found = agents.find(call.id);
    const Duration patience = found == agents.end() ? Duration(seconds(60)) : found->second.join_deadline;
    plan_agent(call.id, delivery.ticket, patience, world_.now + seen.takes.value_or(Duration::zero()));
  }
  answer(seen.takes, agentd::TicketDelivered{call.call, call.id, seen.result});
}

void Host::on_sandbox_changed(const ExecutorId& id) {
  const auto seen = model.look_at(id, world_.now);
  const bool is_running = seen && seen->state == drivers::InstanceState::running;
  const auto agent = agents.find(id);
  if (!is_running && agent != agents.end() && (!seen || seen->state == drivers::InstanceState::exited)) {
    drop_connection(agent->second, reset_after);
    agents.erase(agent);
  }
  if (!seen) world_.end_life(id);
  if (reports_changes && seen) handle(agentd::InstanceChanged{id});
}

bool Host::is_alive(const ExecutorId& executor) {
  const auto seen = model.look_at(executor, world_.now);
  return seen && seen->state == drivers::InstanceState::running;
}

bool Host::carries(const ExecutorId& executor, std::uint64_t build) const {
  const auto found = agents.find(executor);
  return found != agents.end() && found->second.builds.contains(build);
}

// --- agents

void Host::plan_agent(const ExecutorId& id, const Ticket& ticket, Duration join_deadline, Instant from) {
  Agent& agent = agents[id];
  agent.id = id;
  agent.ticket = ticket;
  agent.join_deadline = join_deadline;
  const int process = ++agent.process;
  world_.at(from, [this, id, process] { run_agent(id, process); });
}

void Host::run_agent(const ExecutorId& id, int process) {
  const auto found = agents.find(id);
  if (found == agents.end() || found->second.process != process || !is_alive(id)) return;
  Agent& agent = found->second;
  agent.is_running = true;
  agent.gives_up = world_.now + agent.join_deadline;
  on_sandbox_changed(id);
  if (agent.never_joins) return;
  Duration wait = draw(plan.takes.join, random_);
  if (agent.joins_late) {
    wait += agent.join_deadline + draw({seconds(1), minutes(2)}, random_);
    agent.gives_up += hours(1);
  }
  world_.later(wait, [this, id, process] { connect(id, process); });
  if (agent.joins_twice)
    world_.later(draw({Duration::zero(), seconds(20)}, random_),
                 [this, id, process] { connect(id, process); });
}

void Host::connect(const ExecutorId& id, int process) {
  const auto found = agents.find(id);
  if (found == agents.end() || found->second.process != process || !found->second.is_running || !is_alive(id))
    return;
  Agent& agent = found->second;
  const auto retry = [&] {
    if (world_.now >= agent.gives_up) return end_agent(id, 1);
    world_.later(connect_retry, [this, id, process] { connect(id, process); });
  };
  if (is_cut_off_ || world_.agents_link.is_request_cut || !world_.controller.listening()) return retry();
  const auto result =
      world_.controller.agent_connect(agent.ticket.node_name, agent.ticket.secret, world_.now);
  if (result.status == 101) {
    agent.connection = result.connection;
    static_cast<void>(model.connect_agent(id, world_.now));
    if (auto life = world_.lives.find(id); life != world_.lives.end() && !life->second.connected)
      life->second.connected = world_.now;
    on_sandbox_changed(id);
  } else if (agent.connection == 0) {
    retry();
  }
  world_.settle_controller();
}

void Host::end_agent(const ExecutorId& id, int exit_code) {
  const auto found = agents.find(id);
  if (found == agents.end() || !found->second.is_running) return;
  found->second.is_running = false;
  model.end_agent(id, exit_code, world_.now);
  on_sandbox_changed(id);
}

void Host::drop_connection(Agent& agent, Duration after) {
  if (agent.connection == 0) return;
  world_.later(after, [this, name = agent.ticket.node_name, connection = agent.connection] {
    world_.controller.agent_disconnect(name, world_.now, connection);
    world_.settle_controller();
  });
  agent.connection = 0;
}

void Host::on_agent_command(const controller_sim::AgentCommand& command) {
  using controller_sim::AgentCommandKind;
  const ExecutorId id(command.agent);
  const auto found = agents.find(id);
  if (found == agents.end() || found->second.connection != command.connection) return;
  Agent& agent = found->second;
  switch (command.kind) {
    case AgentCommandKind::run_build:
      agent.builds[command.build] = false;
      if (!agent.hangs)
        world_.later(command.duration, [this, id, build = command.build] { end_build(id, build, true); });
      return;
    case AgentCommandKind::resume_build: {
      const auto build = agent.builds.find(command.build);
      const bool is_lost = build == agent.builds.end();
      if (is_lost || build->second)
        world_.later(milliseconds(100),
                     [this, id, number = command.build, is_lost] { end_build(id, number, !is_lost); });
      return;
    }
    case AgentCommandKind::stop_build:
      agent.builds.erase(command.build);
      return;
    case AgentCommandKind::close_channel:
      agent.connection = 0;
      end_agent(id, 0);
      return;
  }
}

void Host::end_build(const ExecutorId& id, std::uint64_t build, bool is_success) {
  const auto found = agents.find(id);
  if (found == agents.end() || !is_alive(id)) return;
  Agent& agent = found->second;
  if (agent.connection == 0) {
    if (agent.builds.contains(build)) agent.builds[build] = true;
    return;
  }
  agent.builds.erase(build);
  world_.controller.build_finished_on_agent(id.text, build, world_.now, is_success);
  world_.settle_controller();
}

void Host::release_hung() {
  for (auto& [id, agent] : agents) {
    if (!std::exchange(agent.hangs, false)) continue;
    for (const auto& [build, is_done] : agent.builds) {
      world_.later(seconds(1), [this, executor = id, number = build] { end_build(executor, number, true); });
    }
  }
}

}  // namespace skep::simulation
