// The driver of a host: verbs against the model of what runs there.
#include <utility>

#include "simulation/host.h"
#include "simulation/world.h"

namespace skep::simulation {
namespace {

constexpr Duration driver_patience = seconds(60);  // a driver gives up on its own tool then

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

}  // namespace

void Host::script(drivers::fake::Verb verb, Span takes, bool is_image_broken) {
  using drivers::fake::Fault;
  drivers::fake::CallScript script;
  script.takes = draw(takes, random_);
  if (driver.slow > Duration::zero()) script.takes += draw({Duration::zero(), driver.slow}, random_);
  if (draws(driver.fails)) script.fault = Fault::fails;
  if (draws(driver.fails_for_now)) script.fault = Fault::fails_for_now;
  if (draws(driver.unknown_and_done)) script.fault = Fault::unknown_and_done;
  if (draws(driver.unknown_not_done)) script.fault = Fault::unknown_not_done;
  if (draws(driver.hangs)) script.fault = Fault::hangs;
  const bool is_full = driver.is_full && verb == drivers::fake::Verb::start;
  if (is_full || draws(exhausted)) {
    script.fault = Fault::fails_for_now;
    script.code = ErrorCode::out_of_resources;
  }
  if (is_image_broken) {  // its digest is another one
    script.fault = Fault::fails;
    script.code = ErrorCode::generic;
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
    model.set_images(images_there());
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

/// No name at all would mean that every image is there.
std::vector<std::string> Host::images_there() const {
  std::vector<std::string> there;
  for (const std::string& image : plan.images) {
    if (!missing_images.contains(image)) there.push_back(image);
  }
  if (there.empty()) there.emplace_back("none");
  return there;
}

void Host::start_sandbox(const agentd::CallDriver& call, const agentd::Start& start) {
  const std::string& image = start.spec.image;
  const bool is_image_broken = broken_images.contains(image);
  if (is_image_broken || missing_images.contains(image)) world_.note("seen: a start lacks its image");
  if (!is_image_broken && !missing_images.contains(image) && broken_images.size() + missing_images.size() > 0)
    world_.note("seen: another image of a host that lacks one is started");
  model.set_images(images_there());
  script(drivers::fake::Verb::start, plan.takes.create, is_image_broken);
  drivers::fake::LifeScript life;
  life.join.reset();
  life.boot = draws(lives.never_boots) ? Duration(hours(10'000)) : draw(plan.takes.boot, random_);
  const auto slow = world_.plan.slow_images.find(image);
  if (slow != world_.plan.slow_images.end()) life.boot += slow->second;
  if (draws(lives.dies)) life.dies = draw({Duration::zero(), minutes(10)}, random_);
  const int made_before = model.times_made(call.id);
  model.script_life(call.id, life);
  const auto seen = model.start(owner_, {start.spec, start.ticket, start.epoch}, world_.now);
  if (model.times_made(call.id) > made_before) {
    world_.begin_life(call.id, plan.host, start.spec.template_name);
    const Duration takes = seen.takes.value_or(Duration::zero());
    plan_agent(call.id, start.ticket, start.spec.join_deadline, world_.now + takes + life.boot);
    Agent& agent = agents[call.id];
    agent.never_joins = draws(lives.never_joins) || world_.plan.unjoining_images.contains(image);
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

}  // namespace skep::simulation
