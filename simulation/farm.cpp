#include "simulation/farm.h"

#include <utility>

#include "simulation/world.h"

namespace skep::simulation {
namespace {

constexpr int most_events_at_once = 100'000;
constexpr Duration agent_way = milliseconds(1);
constexpr Duration sweep_every = minutes(1);
// No message is so late in any weather, nor is a leader stopped for so long.
constexpr Duration orders_are_late_by = hours(12);

controller_sim::Options controller_options(const Plan& plan) {
  controller_sim::Options options;
  options.core_version = plan.core_version;
  options.seed = plan.seed;
  controller_sim::User user;
  user.name = "skep";
  user.token = "token-of-skep";
  if (!plan.may_script) {
    user.permissions = {"Overall/Read",    "Job/Read",         "Agent/Create", "Agent/Connect",
                        "Agent/Configure", "Agent/Disconnect", "Agent/Delete"};
  }
  options.users = {user};
  return options;
}

}  // namespace

World::World(Plan chosen, Load& its_load, Witness& its_witness)
    : plan(std::move(chosen)),
      load(its_load),
      witness(its_witness),
      network_random(Prng(plan.seed).fork("network")),
      controller(controller_options(plan), start_of_time, plan.wall_start) {
  agents_link.there_and_back = plan.call_host;
  const Prng root(plan.seed);
  for (const HostPlan& each : plan.hosts) {
    hosts.push_back(std::make_unique<Host>(*this, each, root.fork("host " + each.host.text)));
    host_by_id[each.host] = hosts.back().get();
  }
  wake_controller_at(controller.next_deadline());
  plan_next_arrival();
  later(sweep_every, [this] { sweep_finished_jobs(); });
}

WallTime World::wall(Duration offset) const {
  return {plan.wall_start.ms_since_epoch + to_ms(now.time_since_epoch() + offset)};
}

void World::run_until(Instant end) {
  int at_once = 0;
  while (problem.empty() && !agenda.is_empty() && agenda.next() <= end) {
    at_once = agenda.next() == now ? at_once + 1 : 0;
    now = agenda.next();
    if (at_once > most_events_at_once) problem = "a daemon wakes up again and again at one instant";
    ++events;
    digest.add(static_cast<std::uint64_t>(now.time_since_epoch().count()));
    agenda.take()();
    inspector->after_event(*this);
  }
  if (problem.empty() && now < end) now = end;
}

void World::note(const std::string& text) {
  inspector->on_note(*this, text);
}

Host* World::find_host(const HostId& id) {
  const auto found = host_by_id.find(id);
  return found == host_by_id.end() ? nullptr : found->second;
}

// --- the controller

void World::wake_controller_at(std::optional<Instant> deadline) {
  if (!deadline || (controller_wake && *controller_wake <= *deadline && *controller_wake >= now)) return;
  controller_wake = std::max(now, *deadline);
  at(*controller_wake, [this, planned = *controller_wake] {
    if (controller_wake != planned) return;
    controller_wake.reset();
    controller.advance(now);
    settle_controller();
  });
}

void World::settle_controller() {
  for (const controller_sim::AgentCommand& command : controller.take_agent_commands()) {
    const auto life = lives.find(ExecutorId(command.agent));
    if (life == lives.end()) continue;
    Host* host = find_host(life->second.host);
    later(agent_way, [host, command] { host->on_agent_command(command); });
  }
  for (const std::size_t record : controller.take_changed_builds()) on_build_changed(record);
  for (const auto& process : schedulers) process->look_at_companion();
  wake_controller_at(controller.next_deadline());
}

void World::restart_controller(bool keep_queue, Duration down, Duration starting) {
  note(std::string("the controller restarts, ") + (keep_queue ? "its queue is kept" : "its queue is lost"));
  controller.restart(keep_queue, now, down, starting);
  for (const auto& process : schedulers) process->forget_stale_lists();
  settle_controller();
}

// --- load

void World::plan_next_arrival() {
  next_arrival = load.next();
  if (!next_arrival) return;
  at(std::max(now, next_arrival->at), [this] {
    const Arrival arrival = *next_arrival;
    plan_next_arrival();
    arrive(arrival);
  });
}

void World::arrive(const Arrival& arrival) {
  controller_sim::JobSpec job;
  job.path = "j" + std::to_string(++arrivals);
  job.kind = arrival.is_pipeline ? controller_sim::JobKind::pipeline : controller_sim::JobKind::freestyle;
  job.label = arrival.label;
  job.duration = arrival.length;
  job.empty_block = arrival.is_empty;
  job.quiet_period = arrival.quiet_period;
  controller.create_job(job);
  jobs[job.path] = arrival;
  const auto item = controller.schedule(job.path, now);
  witness.on_arrival(arrival, item.value_or(0));
  settle_controller();
}

void World::on_build_changed(std::size_t record) {
  const controller_sim::BuildRecord& build = *controller.build(record);
  const auto job = jobs.find(build.job);
  if (job == jobs.end()) return;
  const auto life = lives.find(ExecutorId(build.node));
  if (build.resumed == 0 && !over.contains(build.job) && running_builds.insert(build.id).second) {
    if (life != lives.end()) {
      ++life->second.builds;
      if (!life->second.first_build) life->second.first_build = now;
    }
    witness.on_build_started(build, job->second);
  }
  if (build.ended_at && over.insert(build.job).second) {
    running_builds.erase(build.id);
    if (life != lives.end()) life->second.last_build_end = now;
    witness.on_build_ended(build, job->second);
  }
  digest.add(build.id);
  inspector->on_build_changed(*this, build);
}

/// Memory must not grow with the length of a trace.
void World::sweep_finished_jobs() {
  for (auto path = over.begin(); path != over.end();) {
    if (!controller.forget_job(*path)) {
      ++path;
      continue;
    }
    jobs.erase(*path);
    path = over.erase(path);
  }
  controller.forget_builds(controller.first_build() + controller.builds().size());
  sweep_old_lives();
  later(sweep_every, [this] { sweep_finished_jobs(); });
}

/// Hosts know which executors there were, so that a late order for one of them is seen to be wrong.
void World::sweep_old_lives() {
  while (!ended_lives.empty() && ended_lives.front().gone + orders_are_late_by < now) {
    if (Host* host = find_host(ended_lives.front().host)) host->model.forget(ended_lives.front().id);
    ended_lives.pop_front();
  }
}

void World::begin_life(const ExecutorId& id, const HostId& host, const TemplateName& name) {
  ExecutorLife& life = lives[id];
  life.id = id;
  life.host = host;
  life.template_name = name;
  life.ordered = now;
}

void World::end_life(const ExecutorId& id) {
  auto ended = lives.extract(id);
  if (!ended) return;
  ended.mapped().gone = now;
  witness.on_executor_gone(ended.mapped());
  ended_lives.push_back(std::move(ended.mapped()));
}

// --- Farm

Farm::Farm(Plan plan, Load& load, Witness& witness)
    : world_(std::make_unique<World>(std::move(plan), load, witness)) {
  const Prng root(world_->plan.seed);
  for (const auto& host : world_->hosts) host->start_agentd();
  world_->schedulers.push_back(
      std::make_unique<SchedulerProcess>(*world_, 0, world_->plan.scheduler, root.fork("scheduler 0")));
  world_->schedulers.back()->start();
}
Farm::~Farm() = default;

Instant Farm::now() const {
  return world_->now;
}
void Farm::run_until(Instant end) {
  world_->run_until(end);
}
std::size_t Farm::unfinished_jobs() const {
  return world_->controller.queue_length() + world_->running_builds.size();
}
bool Farm::has_arrivals_left() const {
  return world_->next_arrival.has_value();
}
std::uint64_t Farm::events() const {
  return world_->events;
}
std::uint64_t Farm::digest() const {
  return world_->digest.value();
}
std::vector<ExecutorLife> Farm::living() const {
  std::vector<ExecutorLife> out;
  for (const auto& [id, life] : world_->lives) {
    out.push_back(life);
    out.back().gone = world_->now;
  }
  return out;
}
const std::string& Farm::problem() const {
  return world_->problem;
}

}  // namespace skep::simulation
