// What a scheduler asks of its controller, and the looks at an open gate.
#include <algorithm>
#include <type_traits>
#include <utility>

#include "simulation/scheduler_process.h"
#include "simulation/world.h"

namespace skep::simulation {
namespace {

using namespace scheduler;

// As scheduler/shell/companion_line.
constexpr Duration companion_waits = seconds(30), companion_pace = milliseconds(20);
constexpr Duration first_companion_retry = seconds(1), last_companion_retry = seconds(15);

Error malformed() {
  return Error::unknown(ErrorCode::malformed_reply, "the answer is not understood");
}

/// As the adapter tells it: an order that is refused did not happen, and of a read nothing is known.
template <typename T>
Error mistrusted(Trust trust) {
  constexpr bool is_order = std::is_void_v<T> || std::is_same_v<T, std::string> || std::is_same_v<T, Opening>;
  if (trust == Trust::handshake_fails)
    return Error::try_again(ErrorCode::unavailable, "no connection: the certificate is not taken");
  const char* const refused = "the controller refuses the account (401)";
  return is_order ? Error::failed(ErrorCode::unauthenticated, refused)
                  : Error::unknown(ErrorCode::unauthenticated, refused);
}

}  // namespace

template <typename T, typename What, typename Then>
void SchedulerProcess::ask_controller(What what, Then then) {
  const int life = life_;
  const auto answered = [this, life, then = std::move(then)](Result<T>&& result) {
    in_life(life, [then, result = std::move(result)]() mutable { then(std::move(result)); });
  };
  if (world_.lacks_room<T>(exhausted, answered)) return;
  const auto serve = [this, what = std::move(what), calls = calls_](const Caller<T>& caller) {
    const Trust trust = world_.controller_weather.trust;
    if (trust != Trust::kept && world_.controller.listening()) return caller.reply(mistrusted<T>(trust));
    if (world_.draws(world_.controller_weather.refused))
      return caller.reply(Error::unknown(ErrorCode::unavailable, "answered 503"));
    Result<T> result = what(*calls, world_.now);
    world_.settle_controller();
    if (world_.draws(world_.controller_weather.unusable)) result = malformed();
    const Duration slow = world_.controller_weather.slow;
    if (slow <= Duration::zero()) return caller.reply(std::move(result));
    world_.later(draw({Duration::zero(), slow}, world_.network_random),
                 [caller, result = std::move(result)]() mutable { caller.reply(std::move(result)); });
  };
  world_.call<T>(controller_link, patience, serve, answered,
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
  } else if (std::holds_alternative<RebaseCompanion>(action)) {
    calls_->rebase_companion();
    look_at_companion();
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

/// Asks, waits, and asks again. The question waits at the controller, where nothing of it can be lost: its
/// answer can.
void SchedulerProcess::follow_companion() {
  if (!logic || !calls_ || !config.controllers.front().companion) return;
  const std::uint64_t number = ++companion_asked_;
  companion_wait_ = CompanionWait{own_time(), number};
  world_.later(companion_waits, [this, life = life_, number] {
    if (life == life_ && companion_wait_ && companion_wait_->number == number) ask_companion();
  });
  look_at_companion();
}

void SchedulerProcess::look_at_companion() {
  if (!companion_wait_ || !calls_ || !calls_->has_companion_news(world_.now)) return;
  const std::uint64_t number = companion_wait_->number;
  world_.later(milliseconds(1), [this, life = life_, number] {
    if (life == life_ && companion_wait_ && companion_wait_->number == number) ask_companion();
  });
}

void SchedulerProcess::ask_companion() {
  const Instant started = companion_wait_->started;
  companion_wait_.reset();
  ask_controller<CompanionAnswer>(
      [](Calls& calls, Instant now) { return calls.ask_companion(now); },
      [this, started](Result<CompanionAnswer>&& answer) {
        const ControllerId name = config.controllers.front().name;
        Duration pause = companion_pace;
        if (answer) {
          companion_retry_ = Duration::zero();
          handle(CompanionTold{name, calls_->session(), started, std::move(answer->queue),
                               std::move(answer->nodes), answer->is_base, answer->events});
        } else {
          // The adapter's book was at the controller's side of the link here: what it took in is lost.
          calls_->rebase_companion();
          companion_retry_ = std::clamp(2 * companion_retry_, first_companion_retry, last_companion_retry);
          pause = companion_retry_;
          handle(CompanionLost{name, answer.error()});
        }
        if (!logic) return;
        world_.later(pause, [this, life = life_] { in_life(life, [this] { follow_companion(); }); });
      });
}

void SchedulerProcess::poll_node(const PollNode& order) {
  order_controller<std::optional<NodeFact>>(
      [node = order.node.text](Calls& calls, Instant now) { return calls.poll_node(node, now); },
      [this, order](Result<std::optional<NodeFact>>&& result, Instant started) {
        return Event(NodePolled{order.controller, order.node, started, std::move(result), std::nullopt,
                                calls_->session()});
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
  if (next == GateLooks::Next::end) {
    NodePolled last = watch->looks.result();
    last.session = calls_->session();
    return handle(std::move(last));
  }
  if (next == GateLooks::Next::look) return look_later(watch);
  ask_controller<void>(
      [watch, reason = std::string(GateLooks::reason_of(next))](Calls& calls, Instant now) {
        return calls.close_gate(watch->order.node.text, reason, now);
      },
      [this, watch](const Result<void>& result) {
        go_on(watch, watch->looks.closed(result.has_value(), own_time(), false));
      });
}

}  // namespace skep::simulation
