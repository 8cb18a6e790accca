// agentd with its store and its API, and the machine that it runs on.
#include "simulation/host.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "simulation/world.h"

namespace skep::simulation {
namespace {

constexpr Duration announce_every = seconds(5);
constexpr Duration calls_may_take = seconds(3);  // as in agentd's main
constexpr Duration look_at_end_every = milliseconds(250);
/// skep-join ends an agent that has had no connection for three minutes; its ping takes a while to find out.
constexpr Duration unconnected_agent_stays = minutes(5);

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

/// What is appended to a protocol is unknown to the version before, and has a default at who reads it.
agentd::Reply as_older(agentd::Reply reply) {
  if (auto* leases = std::get_if<LeaseReply>(&reply.body)) leases->leaving.clear();
  return reply;
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
  ends_by_.reset();
  is_older_ = is_next_older;
  agentd::LogicConfig config;
  config.host = plan.host;
  config.version = is_older_ ? "simulated, the one before" : "simulated";
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
  if (logic) end_process(down, "is killed");
}

void Host::end_agentd(agentd::OnStop on_stop, Duration patience, Duration down) {
  if (!logic || ends_by_) return;
  world_.note("agentd of " + plan.host.text + " is asked to end");
  ends_by_ = on_stop;
  const Instant last = world_.now + (on_stop == agentd::OnStop::keep ? calls_may_take : patience);
  const int life = life_;
  handle(agentd::StopRequested{on_stop});
  wait_for_end(life, last, down);
}

void Host::wait_for_end(int life, Instant last, Duration down) {
  if (life != life_) return;
  if (logic->is_ready_to_end()) return end_process(down, "ends in order");
  if (world_.now >= last) return end_process(down, "ends before all is done");
  world_.later(look_at_end_every, [this, life, last, down] { wait_for_end(life, last, down); });
}

bool Host::set_drain(bool is_draining) {
  if (!logic) return false;
  if (!is_draining) is_drained = false;
  const int life = life_;
  handle(agentd::DrainSet{next_request_++, is_draining, "its operator says so"});
  if (life != life_) return false;
  const bool is_kept = last_status_ < 300;
  is_drained = is_draining && is_kept;
  return is_kept;
}

void Host::end_process(Duration down, const std::string& how) {
  world_.note("agentd of " + plan.host.text + " " + how);
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
    agent.gives_up = world_.now + unconnected_agent_stays;
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
  if (!registry_link.is_request_cut && !draws(exhausted)) world_.registry.pass_host(plan.host, world_.now);
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

bool Host::draws(int of_a_thousand) {
  return of_a_thousand > 0 && random_.chance(static_cast<std::uint64_t>(of_a_thousand), 1000);
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
      const bool has_lost_state = std::any_of(
          failures.begin(), failures.end(),
          [](const agentd::Event& event) { return std::holds_alternative<agentd::StateNotRecorded>(event); });
      if (reply->needs_state && has_lost_state) continue;
      last_status_ = reply->status;
      const agentd::Reply told = is_older_ ? as_older(*reply) : *reply;
      if (auto found = requests_.extract(reply->request))
        std::visit([&told](const auto& caller) { tell(caller, told); }, found.mapped());
    }
  }
  static_cast<void>(write(batch, failed, failures));
}

/// One transaction. False: agentd was killed.
bool Host::write(std::vector<const agentd::Action*>& batch, std::set<ExecutorId>& failed,
                 std::vector<agentd::Event>& failures) {
  if (batch.empty()) return true;
  const Error full = Error::failed(ErrorCode::out_of_resources, "the disk is full");
  const bool is_lost = intents.is_full || draws(exhausted);
  bool has_state = false;
  for (const agentd::Action* action : std::exchange(batch, {})) {
    const ExecutorId& id = agentd::executor_of(*action);
    if (is_lost) {
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
  const auto number = ask(caller);
  if (!number) return;
  LeaseRenewal heard = renewal;
  if (is_older_) heard.number = 0;
  if (is_older_ && renewal.number != 0) world_.note("seen: an older agentd does not know a field");
  handle(agentd::LeasesArrived{*number, std::move(heard)});
}

void Host::pull(const std::string& reference, const Caller<std::string>& caller) {
  constexpr Span fetch{seconds(5), minutes(3)};
  if (!has_power_) return caller.drop();
  if (!logic) return caller.reply(Error::try_again(ErrorCode::unavailable, "connection refused"));
  if (!plan.catalogue.contains(reference))
    return caller.reply(Error::failed(ErrorCode::not_found, "no image is called " + reference));
  const auto is_there = [this, reference] {
    return std::find(plan.images.begin(), plan.images.end(), reference) != plan.images.end();
  };
  if (!is_there()) {
    world_.later(draw(fetch, random_), [this, reference, is_there] {
      if (is_there() || !has_power_) return;  // what was fetched in part is lost with the power
      plan.images.push_back(reference);
      if (logic) handle(agentd::ImagesChanged{});
    });
  }
  caller.reply(std::string());
}

HostReport Host::told() const {
  HostReport report = logic->report();
  if (!is_older_) return report;
  for (ExecutorReport& each : report.executors) {
    each.is_lease_expired = false;
    each.message.clear();
  }
  return report;
}

void Host::read_report(std::uint64_t index, Duration wait, const Caller<HostReport>& caller) {
  if (!has_power_) return caller.drop();
  if (!logic) return caller.reply(Error::try_again(ErrorCode::unavailable, "connection refused"));
  if (index != logic->report().index || wait <= Duration::zero()) return caller.reply(told());
  const std::uint64_t number = next_waiter_++;
  waiters_.push_back({index, number, caller});
  world_.later(wait, [this, number] {
    const auto found = std::find_if(waiters_.begin(), waiters_.end(),
                                    [number](const Waiter& each) { return each.number == number; });
    if (found == waiters_.end() || !logic) return;
    const Waiter waiter = std::move(*found);
    waiters_.erase(found);
    waiter.caller.reply(told());
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
      waiter.caller.reply(told());
    }
  }
  waiters_ = std::move(waiting);
}

}  // namespace skep::simulation
