#include "scheduler/shell/gate_watch.h"

#include <algorithm>
#include <thread>

#include "common/shell/clock.h"

namespace skep::scheduler {
namespace {

const std::string leaving_reason = std::string(our_offline_prefix) + " its scheduler ends";

/// The gaps between looks.
void note_look(GateWatch& watch, const std::optional<Instant>& former, Instant started, Instant answered,
               bool is_quiet) {
  if (!former) {
    watch.first_answer = answered;
  } else {
    watch.longest_gap = std::max<Duration>(watch.longest_gap, answered - *former);
  }
  if (!is_quiet) return;
  if (watch.idle_started)
    watch.longest_idle_gap = std::max<Duration>(watch.longest_idle_gap, answered - *watch.idle_started);
  watch.idle_started = started;
}

}  // namespace

NodePolled poll_node(JenkinsController& controller, const PollNode& order) {
  const Instant started = shell::now();
  return {order.controller, order.node, started, controller.poll_node(order.node.text)};
}

NodePolled watch_gate(JenkinsController& controller, const PollNode& order,
                      const std::atomic<bool>& is_stopping) {
  const Instant until = shell::now() + order.watch_for;
  GateWatch watch;
  std::optional<Instant> former;
  bool was_open = false;
  for (;;) {
    std::this_thread::sleep_for(order.pace);  // also at first: the gate is just being opened
    NodePolled look = poll_node(controller, order);
    const Instant answered = shell::now();
    const bool is_there = look.fact && *look.fact;
    const bool is_quiet = is_there && (*look.fact)->is_idle && (*look.fact)->builds.empty();
    const bool is_shut = is_there && (*look.fact)->is_temporarily_offline;
    const bool has_build = is_there && !(*look.fact)->builds.empty();
    note_look(watch, former, look.started, answered, is_quiet);
    former = look.started;
    watch.was_assigned = watch.was_assigned || (is_there && !is_quiet);
    if (has_build && !is_shut && controller.close_gate(order.node.text, std::string(busy_reason)))
      watch.closed = shell::now();
    const bool is_left_open = is_stopping && is_there && !is_shut && !watch.closed;
    if (is_left_open) static_cast<void>(controller.close_gate(order.node.text, leaving_reason));
    const bool is_over = !is_there || has_build || (was_open && is_shut) || answered >= until || is_stopping;
    if (is_over) {
      look.watch = watch;
      return look;
    }
    was_open = was_open || !is_shut;
  }
}

GateOpened open_gate(JenkinsController& controller, const OpenGate& order,
                     const std::atomic<bool>& is_stopping) {
  GateOpened opened{order.call, order.node, controller.open_gate(order.node.text)};
  if (is_stopping) static_cast<void>(controller.close_gate(order.node.text, leaving_reason));
  return opened;
}

}  // namespace skep::scheduler
