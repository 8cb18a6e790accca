#include "scheduler/shell/gate_watch.h"

#include <string>
#include <thread>
#include <utility>

#include "common/shell/clock.h"
#include "scheduler/core/gate_looks.h"

namespace skep::scheduler {

NodePolled poll_node(JenkinsController& controller, const PollNode& order) {
  const Instant started = shell::now();
  auto fact = controller.poll_node(order.node.text);
  return {order.controller, order.node, started, std::move(fact), std::nullopt, controller.session()};
}

NodePolled watch_gate(JenkinsController& controller, const PollNode& order,
                      const std::atomic<bool>& is_stopping) {
  GateLooks looks(order, shell::now());
  GateLooks::Next next = GateLooks::Next::look;
  while (next == GateLooks::Next::look) {
    std::this_thread::sleep_for(order.pace);  // also at first: the gate is just being opened
    NodePolled look = poll_node(controller, order);
    next = looks.answered(std::move(look.fact), look.started, shell::now(), is_stopping);
  }
  while (next != GateLooks::Next::end) {
    const auto closed = controller.close_gate(order.node.text, std::string(GateLooks::reason_of(next)));
    next = looks.closed(closed.has_value(), shell::now(), is_stopping);
  }
  NodePolled last = looks.result();
  last.session = controller.session();
  return last;
}

GateOpened open_gate(JenkinsController& controller, const OpenGate& order,
                     const std::atomic<bool>& is_stopping) {
  GateOpened opened{order.call, order.node, controller.open_gate(order.node.text)};
  if (is_stopping) static_cast<void>(controller.close_gate(order.node.text, std::string(leaving_reason)));
  return opened;
}

}  // namespace skep::scheduler
