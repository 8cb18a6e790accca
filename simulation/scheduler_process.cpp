#include "simulation/scheduler_process.h"

#include <algorithm>
#include <iterator>
#include <type_traits>
#include <utility>

#include "simulation/world.h"

namespace skep::simulation {
namespace {

using namespace scheduler;

// As the shell has them: http clients, host_link, embedded and Consul registry.
constexpr Duration patience = seconds(10);
constexpr Duration watch_wait = seconds(30);
constexpr Duration look_patience = seconds(5);
constexpr Duration first_pause = milliseconds(250), last_pause = seconds(5);
constexpr Duration look_at_registry_every = seconds(1);
constexpr Duration keep_lock_every = seconds(5);
constexpr Duration restart_after = seconds(5);  // of a process that ended by itself

bool is_record(const Action& action) {
  return std::holds_alternative<RecordExecutor>(action) || std::holds_alternative<ForgetExecutor>(action) ||
         std::holds_alternative<RecordDrain>(action) || std::holds_alternative<RecordPause>(action);
}

Error malformed() {
  return Error::unknown(ErrorCode::malformed_reply, "the answer is not understood");
}

}  // namespace

SchedulerProcess::SchedulerProcess(World& world, int number, SchedulerConfig chosen, Prng random)
    : config(std::move(chosen)), world_(world), number_(number), random_(random) {
  controller_link.there_and_back = world.plan.call_controller;
  registry_link.there_and_back = {milliseconds(1), milliseconds(3)};
}

// --- life and death

void SchedulerProcess::start() {
  if (is_up_) return;
  is_up_ = true;
  ++life_;
  world_.note("scheduler " + std::to_string(number_) + " starts");
  if (world_.has_leader_lock) {
    keep_lock();
  } else {
    lead();
  }
}

void SchedulerProcess::kill(Duration down) {
  if (!is_up_) return;
  world_.note("scheduler " + std::to_string(number_) + " ends");
  is_up_ = is_stalled_ = false;
  behind_ = Duration::zero();
  ++life_;
  logic.reset();
  calls_.reset();
  crash_after = stall_after = -1;
  timer_.reset();
  actions_.clear();
  held_back_.clear();
  lines_.clear();
  stale_queue_.reset();
  stale_nodes_.reset();
  world_.later(down, [this] { start(); });
}

Instant SchedulerProcess::own_time() const {
  return world_.now - behind_;
}

void SchedulerProcess::suspend(Duration length) {
  if (!is_up_ || is_stalled_) return;
  world_.later(length, [this, life = life_, length] {
    if (life == life_) behind_ += length;
  });
  stall(length);
}

void SchedulerProcess::stall(Duration length) {
  if (!is_up_ || is_stalled_) return;
  world_.note("scheduler " + std::to_string(number_) + " is stopped");
  is_stalled_ = true;
  world_.later(length, [this, life = life_] {
    if (life == life_) resume();
  });
}

/// What was under way goes on at once: nobody knows yet that time has passed.
void SchedulerProcess::resume() {
  world_.note("scheduler " + std::to_string(number_) + " goes on");
  is_stalled_ = false;
  const int life = life_;
  run();
  auto held = std::exchange(held_back_, {});
  while (!held.empty() && life == life_ && !is_stalled_) {
    Task what = std::move(held.front());
    held.pop_front();
    what();
  }
  if (life != life_) return;
  held_back_.insert(held_back_.begin(), std::make_move_iterator(held.begin()),
                    std::make_move_iterator(held.end()));
  if (!is_stalled_ && logic) set_timer();
}

template <typename What>
void SchedulerProcess::in_life(int life, What what) {
  if (life != life_) return;
  if (is_stalled_) {
    held_back_.push_back([this, life, what = std::move(what)]() mutable { in_life(life, std::move(what)); });
  } else {
    what();
  }
}

void SchedulerProcess::post(int life, Event event) {
  in_life(life, [this, event = std::move(event)] { handle(event); });
}

/// True: the process does not come to its next action.
bool SchedulerProcess::stops_now() {
  if (has_lost_lock()) {
    kill(restart_after);
    return true;
  }
  if (stall_after >= 0 && stall_after-- == 0) is_next_suspended ? suspend(next_stall) : stall(next_stall);
  if (is_stalled_) return true;
  if (crash_after < 0 || crash_after-- > 0) return false;
  kill(next_down);
  return true;
}

// --- leadership

void SchedulerProcess::lead() {
  const std::string* last = meta.find("epoch");
  epoch = (last != nullptr ? std::stoull(*last) : 0) + 1;
  if (world_.has_leader_lock) {
    if (world_.registry.is_away || registry_link.is_request_cut) return kill(restart_after);
    epoch = world_.registry.claim_epoch(epoch);
  } else {
    world_.registry = Registry{};  // embedded: hosts announce themselves again
  }
  if (!meta.apply({{"epoch", std::to_string(epoch)}})) return kill(restart_after);
  LeaderStarted started;
  started.epoch = epoch;
  for (const auto& [id, record] : records.records()) started.executors.push_back(record);
  for (const auto& [host, reason] : drains.records()) started.drains.push_back({HostId(host), reason});
  if (const std::string* reason = meta.find("pause")) {
    started.is_paused = true;
    started.pause_reason = *reason;
  }
  logic = std::make_unique<SchedulerLogic>(config, random_.fork("life " + std::to_string(life_)));
  calls_ = std::make_shared<Calls>(world_.controller, config.controllers.front(), config.farm, "skep");
  world_.note("scheduler " + std::to_string(number_) + " leads with epoch " + std::to_string(epoch));
  seen_ = {};
  handle(std::move(started));
  follow_registry();
}

/// A third of the time between two passes of the check is waited in between, and the loss is noticed before
/// anybody else can lead.
void SchedulerProcess::keep_lock() {
  const int life = life_;
  const bool is_cut = registry_link.is_request_cut || registry_link.is_reply_cut;
  if (!logic) {
    if (!registry_link.is_request_cut && world_.registry.try_acquire(number_, world_.now)) {
      if (registry_link.is_reply_cut) return kill(restart_after);  // it holds the lock and does not know
      lock_passed_ = own_time();
      lead();
    }
  } else if (own_time() > lock_passed_ + Registry::lock_ttl) {
    return kill(restart_after);
  } else if (own_time() >= lock_passed_ + keep_lock_every && !is_cut) {
    const auto kept = world_.registry.keep(number_, world_.now);
    if (!kept) return kill(restart_after);
    if (*kept) lock_passed_ = own_time();
  }
  if (life != life_) return;
  world_.later(seconds(1), [this, life] { in_life(life, [this] { keep_lock(); }); });
}

/// As the daemon asks its lock before each event and action: after a long stop it must not act on what it
/// knew.
bool SchedulerProcess::has_lost_lock() const {
  return world_.has_leader_lock && logic != nullptr && own_time() > lock_passed_ + Registry::lock_ttl;
}

void SchedulerProcess::reload(SchedulerConfig next) {
  if (!logic || is_stalled_) return;
  config = std::move(next);
  handle(ConfigChanged{config});
}

/// As Daemon::forget_host.
std::optional<std::vector<ExecutorId>> SchedulerProcess::given_up_with(const HostId& host) const {
  if (!logic || is_stalled_ || has_lost_lock()) return std::nullopt;
  const auto listed = seen_.hosts.find(host);
  const bool is_announced = listed != seen_.hosts.end() && !listed->second;
  auto given_up = logic->given_up_with(host, own_time());
  if (is_announced || !given_up) return std::nullopt;
  return std::move(*given_up);
}

// --- the strand

void SchedulerProcess::handle(const Event& event) {
  if (!logic) return;
  if (is_stalled_) return held_back_.push_back([this, life = life_, event] { post(life, event); });
  if (has_lost_lock()) return kill(restart_after);
  ++world_.events;
  world_.digest.add(event.index());
  world_.inspector->on_scheduler_event(world_, number_, event);
  for (Action& action : logic->handle(event, own_time(), world_.wall(wall_offset))) {
    actions_.push_back(std::move(action));
  }
  run();
  if (logic && !is_stalled_) set_timer();
}

void SchedulerProcess::set_timer() {
  const auto deadline = logic->next_deadline();
  if (!deadline || (timer_ && *timer_ <= *deadline)) return;
  timer_ = *deadline;
  const std::uint64_t number = ++timer_number_;
  world_.at(std::max(world_.now, *deadline + behind_), [this, number, life = life_] {
    in_life(life, [this, number] {
      if (number != timer_number_) return;
      timer_.reset();
      handle(Tick{});
    });
  });
}

void SchedulerProcess::run() {
  while (!actions_.empty()) {
    if (stops_now()) return;
    if (is_record(actions_.front())) {
      if (!run_records()) return;
      continue;
    }
    const Action action = std::move(actions_.front());
    actions_.pop_front();
    run_action(action);
    if (!logic) return;
  }
}

/// The run of records at the front as one transaction, as Daemon::run_records. False: the process ends.
bool SchedulerProcess::run_records() {
  for (; !actions_.empty() && is_record(actions_.front()); actions_.pop_front()) {
    const Action& action = actions_.front();
    ++world_.events;
    world_.digest.add(action.index());
    bool is_written = true;
    if (const auto* record = std::get_if<RecordExecutor>(&action)) {
      is_written = records.apply({{record->record.id.text, record->record}}).has_value();
    } else if (const auto* forget = std::get_if<ForgetExecutor>(&action)) {
      is_written = records.apply({{forget->executor.text, std::nullopt}}).has_value();
    } else if (const auto* drain = std::get_if<RecordDrain>(&action)) {
      const auto reason = drain->is_draining ? std::optional<std::string>(drain->reason) : std::nullopt;
      is_written = drains.apply({{drain->host.text, reason}}).has_value();
    } else if (const auto* pause = std::get_if<RecordPause>(&action)) {
      const auto reason = pause->is_paused ? std::optional<std::string>(pause->reason) : std::nullopt;
      is_written = meta.apply({{"pause", reason}}).has_value();
    }
    if (!is_written) {
      kill(restart_after);
      return false;
    }
    world_.inspector->on_scheduler_action(world_, number_, action);
  }
  return true;
}

void SchedulerProcess::run_action(const Action& action) {
  ++world_.events;
  world_.digest.add(action.index());
  world_.inspector->on_scheduler_action(world_, number_, action);
  if (run_controller_action(action) || run_node_action(action)) return;
  run_host_action(action);
}

// --- the controller

template <typename T, typename What, typename Then>
void SchedulerProcess::ask_controller(What what, Then then) {
  const int life = life_;
  const auto serve = [this, what = std::move(what), calls = calls_](const Caller<T>& caller) {
    const auto draws = [this](int of_a_thousand) {
      return of_a_thousand > 0 &&
             world_.network_random.chance(static_cast<std::uint64_t>(of_a_thousand), 1000);
    };
    if (draws(world_.controller_weather.refused))
      return caller.reply(Error::unknown(ErrorCode::unavailable, "answered 503"));
    Result<T> result = what(*calls, world_.now);
    world_.settle_controller();
    if (draws(world_.controller_weather.unusable)) result = malformed();
    const Duration slow = world_.controller_weather.slow;
    if (slow <= Duration::zero()) return caller.reply(std::move(result));
    world_.later(draw({Duration::zero(), slow}, world_.network_random),
                 [caller, result = std::move(result)]() mutable { caller.reply(std::move(result)); });
  };
  world_.call<T>(
      controller_link, patience, serve,
      [this, life, then = std::move(then)](Result<T>&& result) {
        in_life(life, [then, result = std::move(result)]() mutable { then(std::move(result)); });
      },
      false);  // createSlave and toggleOffline are never sent again by anybody
}

/// `make`: its result, and when it was sent, as an event.
template <typename T, typename What, typename Make>
void SchedulerProcess::order_controller(What what, Make make) {
  ask_controller<T>(std::move(what), [this, make = std::move(make), started = own_time()](
                                         Result<T>&& result) { handle(make(std::move(result), started)); });
}

bool SchedulerProcess::run_controller_action(const Action& action) {
  if (const auto* order = std::get_if<ProfileController>(&action)) {
    order_controller<ControllerProfile>(
        [](Calls& calls, Instant now) { return calls.profile(now); },
        [name = order->controller](const Result<ControllerProfile>& result, Instant) {
          return Event(ControllerProfiled{name, result});
        });
  } else if (const auto* queue = std::get_if<ReadQueue>(&action)) {
    read_queue(*queue);
  } else if (const auto* nodes = std::get_if<ReadNodes>(&action)) {
    read_nodes(*nodes);
  } else if (const auto* kick = std::get_if<Kick>(&action)) {
    order_controller<void>([](Calls& calls, Instant now) { return calls.kick(now); },
                           [name = kick->controller](const Result<void>& result, Instant) {
                             return Event(Kicked{name, result});
                           });
  } else if (const auto* poll = std::get_if<PollNode>(&action)) {
    world_.later(poll->not_before, [this, life = life_, order = *poll] {
      in_life(life, [this, order] { order.is_gate_open ? watch_gate(order) : poll_node(order); });
    });
  } else {
    return false;
  }
  return true;
}

bool SchedulerProcess::run_node_action(const Action& action) {
  if (const auto* create = std::get_if<CreateNode>(&action)) {
    order_controller<std::string>(
        [this, order = *create](Calls& calls, Instant now) -> Result<std::string> {
          const int refused = world_.controller_weather.nodes_refused;
          if (refused > 0 && world_.network_random.chance(static_cast<std::uint64_t>(refused), 1000))
            return Error::failed(ErrorCode::generic, "the controller failed (500)");
          world_.inspector->before_create_node(world_, number_, order);
          return calls.create_node(order, now);
        },
        [order = *create](const Result<std::string>& result, Instant) {
          return Event(NodeCreated{order.call, order.node, result});
        });
  } else if (const auto* close = std::get_if<CloseGate>(&action)) {
    order_controller<void>(
        [order = *close](Calls& calls, Instant now) {
          return calls.close_gate(order.node.text, order.reason, now);
        },
        [order = *close](const Result<void>& result, Instant) {
          return Event(GateClosed{order.call, order.node, result});
        });
  } else if (const auto* open = std::get_if<OpenGate>(&action)) {
    order_controller<Opening>(
        [order = *open](Calls& calls, Instant now) { return calls.open_gate(order.node.text, now); },
        [order = *open](const Result<Opening>& result, Instant) {
          return Event(GateOpened{order.call, order.node, result});
        });
  } else if (const auto* remove = std::get_if<DeleteNode>(&action)) {
    order_controller<void>(
        [this, order = *remove](Calls& calls, Instant now) {
          world_.inspector->before_delete_node(world_, number_, order.node);
          return calls.delete_node(order.node, now);
        },
        [order = *remove](const Result<void>& result, Instant) {
          return Event(NodeDeleted{order.call, order.controller, order.node, result});
        });
  } else {
    return false;
  }
  return true;
}

/// Afterwards its memory serves for the next one.
template <typename Read, typename List>
void SchedulerProcess::handle_list(Read read, Result<List> Read::*list) {
  Event event(std::move(read));
  handle(event);
  Result<List>& old = std::get<Read>(event).*list;
  if (calls_ && old) calls_->take_back(std::move(*old));
}

void SchedulerProcess::read_queue(const ReadQueue& order) {
  ask_controller<QueueSnapshot>(
      [this](Calls& calls, Instant now) {
        Result<QueueSnapshot> read = calls.read_queue(now);
        if (!world_.controller_weather.lists_are_stale) {
          stale_queue_.reset();
        } else if (read) {
          if (!stale_queue_) stale_queue_ = *read;
          read = *stale_queue_;
        }
        return read;
      },
      [this, name = order.controller, started = own_time()](Result<QueueSnapshot>&& result) {
        handle_list(QueueRead{name, calls_->session(), started, std::move(result)}, &QueueRead::queue);
      });
}

void SchedulerProcess::read_nodes(const ReadNodes& order) {
  ask_controller<NodesSnapshot>(
      [this](Calls& calls, Instant now) {
        Result<NodesSnapshot> read = calls.read_nodes(now);
        if (!world_.controller_weather.lists_are_stale) {
          stale_nodes_.reset();
        } else if (read) {
          if (!stale_nodes_) stale_nodes_ = *read;
          read = *stale_nodes_;
        }
        return read;
      },
      [this, name = order.controller, started = own_time()](Result<NodesSnapshot>&& result) {
        handle_list(NodesRead{name, calls_->session(), started, std::move(result)}, &NodesRead::nodes);
      });
}

void SchedulerProcess::poll_node(const PollNode& order) {
  order_controller<std::optional<NodeFact>>(
      [node = order.node.text](Calls& calls, Instant now) { return calls.poll_node(node, now); },
      [order](Result<std::optional<NodeFact>>&& result, Instant started) {
        return Event(NodePolled{order.controller, order.node, started, std::move(result)});
      });
}

struct SchedulerProcess::Watch {
  GateLooks looks;
  PollNode order;
};

/// As scheduler/shell/gate_watch: look after look until the looks say that it is over.
void SchedulerProcess::watch_gate(const PollNode& order) {
  look_later(std::make_shared<Watch>(Watch{GateLooks(order, own_time()), order}));
}

void SchedulerProcess::look_later(const std::shared_ptr<Watch>& watch) {
  world_.later(watch->order.pace,
               [this, life = life_, watch] { in_life(life, [this, watch] { look(watch); }); });
}

void SchedulerProcess::look(const std::shared_ptr<Watch>& watch) {
  using Fact = std::optional<NodeFact>;
  ask_controller<Fact>(
      [watch](Calls& calls, Instant now) { return calls.poll_node(watch->order.node.text, now); },
      [this, watch, started = own_time()](Result<Fact>&& fact) {
        go_on(watch, watch->looks.answered(std::move(fact), started, own_time(), false));
      });
}

void SchedulerProcess::go_on(const std::shared_ptr<Watch>& watch, GateLooks::Next next) {
  if (next == GateLooks::Next::end) return handle(watch->looks.result());
  if (next == GateLooks::Next::look) return look_later(watch);
  ask_controller<void>(
      [watch, reason = std::string(GateLooks::reason_of(next))](Calls& calls, Instant now) {
        return calls.close_gate(watch->order.node.text, reason, now);
      },
      [this, watch](const Result<void>& result) {
        go_on(watch, watch->looks.closed(result.has_value(), own_time(), false));
      });
}

// --- hosts

template <typename T, typename Serve, typename Make>
void SchedulerProcess::call_host(const HostId& id, Serve serve, Make make) {
  Host* host = world_.find_host(id);
  if (host == nullptr || !lines_.contains(id)) {
    const Error error =
        Error::try_again(ErrorCode::unavailable, "host " + id.text + " has not announced itself");
    world_.later(Duration::zero(),
                 [this, life = life_, event = Event(make(Result<T>(error)))] { post(life, event); });
    return;
  }
  world_.call<T>(
      host->link, patience, [host, serve](const Caller<T>& caller) { serve(*host, caller); },
      [this, life = life_, make](Result<T>&& result) { post(life, make(std::move(result))); });
}

void SchedulerProcess::run_host_action(const Action& action) {
  if (const auto* order = std::get_if<OrderExecutor>(&action)) {
    call_host<ExecutorReport>(
        order->host,
        [what = order->order](Host& host, const Caller<ExecutorReport>& caller) { host.order(what, caller); },
        [call = order->call, id = order->order.spec.id](Result<ExecutorReport>&& result) {
          return ExecutorOrdered{call, id, std::move(result)};
        });
  } else if (const auto* destroy = std::get_if<DestroyExecutor>(&action)) {
    call_host<ExecutorReport>(
        destroy->host,
        [what = *destroy](Host& host, const Caller<ExecutorReport>& caller) {
          host.destroy(what.executor, what.epoch, caller);
        },
        [what = *destroy](Result<ExecutorReport>&& result) {
          return ExecutorDestroyed{what.call, what.executor, std::move(result)};
        });
  } else if (const auto* renew = std::get_if<RenewLeases>(&action)) {
    call_host<LeaseReply>(
        renew->host,
        [what = renew->renewal](Host& host, const Caller<LeaseReply>& caller) { host.renew(what, caller); },
        [call = renew->call, host = renew->host](Result<LeaseReply>&& result) {
          return LeasesRenewed{call, host, std::move(result)};
        });
  }
}

void SchedulerProcess::follow_registry() {
  if (!logic) return;
  const bool is_heard = !world_.registry.is_away && !world_.registry.is_stale &&
                        !registry_link.is_request_cut && !registry_link.is_reply_cut;
  const int life = life_;
  if (is_heard && !world_.registry.shows(seen_, world_.now)) on_view(world_.registry.view(world_.now));
  if (life != life_) return;
  world_.later(look_at_registry_every, [this, life] { in_life(life, [this] { follow_registry(); }); });
}

void SchedulerProcess::on_view(const Registry::View& view) {
  seen_ = view;
  for (const auto& [host, is_doubtful] : view.hosts) open_line(host, is_doubtful);
  if (!world_.has_leader_lock) return;  // the embedded registry lists nobody
  std::vector<HostId> absent;
  for (auto& [host, line] : lines_) {
    line.is_listed = view.hosts.contains(host);
    if (!line.is_listed) absent.push_back(host);
  }
  for (const HostId& host : absent) part_with(host);
}

void SchedulerProcess::open_line(const HostId& host, bool is_doubtful) {
  const auto [found, is_new] = lines_.try_emplace(host);
  HostLine& line = found->second;
  const bool was_doubtful = std::exchange(line.is_doubtful, is_doubtful && world_.has_leader_lock);
  if (is_new) {
    line.number = next_line_++;
    watch_host(host, line.number);
  } else if (was_doubtful != line.is_doubtful) {
    look_at_host(host);
  }
}

void SchedulerProcess::watch_host(const HostId& id, int number) {
  const auto line = lines_.find(id);
  Host* host = world_.find_host(id);
  if (host == nullptr || line == lines_.end() || line->second.number != number) return;
  const std::uint64_t index = line->second.index;
  const Duration wait = index == 0 ? Duration::zero() : watch_wait;
  world_.call<HostReport>(
      host->link, wait + patience,
      [host, index, wait](const Caller<HostReport>& caller) { host->read_report(index, wait, caller); },
      [this, life = life_, id, number, asked = own_time()](Result<HostReport>&& report) {
        in_life(life, [this, id, number, asked, report = std::move(report)]() mutable {
          host_answered(id, number, asked, std::move(report));
        });
      });
}

void SchedulerProcess::host_answered(const HostId& id, int number, Instant asked, Result<HostReport> report) {
  const auto line = lines_.find(id);
  if (line == lines_.end() || line->second.number != number) return;
  line->second.index = report ? report->index : 0;
  Duration pause = Duration::zero();
  if (!report) {
    pause = line->second.pause;
    line->second.pause = std::min<Duration>(pause * 2, last_pause);
  } else {
    line->second.pause = first_pause;
  }
  const int life = life_;
  note_host(id, asked, std::move(report));
  if (life != life_) return;
  if (pause == Duration::zero()) return watch_host(id, number);
  world_.later(pause,
               [this, life, id, number] { in_life(life, [this, id, number] { watch_host(id, number); }); });
}

void SchedulerProcess::note_host(const HostId& id, Instant asked, Result<HostReport> report) {
  if (report) return handle(HostReported{std::move(*report), asked});
  handle(HostUnseen{id, report.error()});
  if (logic) part_with(id);
}

void SchedulerProcess::look_at_host(const HostId& id) {
  Host* host = world_.find_host(id);
  world_.call<HostReport>(
      host->link, look_patience,
      [host](const Caller<HostReport>& caller) { host->read_report(0, Duration::zero(), caller); },
      [this, life = life_, id, asked = own_time()](Result<HostReport>&& report) {
        in_life(life, [this, id, asked, report = std::move(report)]() mutable {
          if (lines_.contains(id)) note_host(id, asked, std::move(report));
        });
      });
}

void SchedulerProcess::part_with(const HostId& host) {
  const auto found = lines_.find(host);
  if (found == lines_.end() || found->second.is_listed || !logic->may_depart(host)) return;
  lines_.erase(found);
  handle(HostDeparted{host});
}

}  // namespace skep::simulation
