// The agents inside of executors: they connect to the controller and run builds.
#include <utility>

#include "simulation/host.h"
#include "simulation/world.h"

namespace skep::simulation {
namespace {

constexpr Duration reset_after = milliseconds(20);  // the peer of a process that ended hears of it

}  // namespace

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
