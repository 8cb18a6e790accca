// How the world carries out what the logic asks for.
#include <algorithm>
#include <type_traits>

#include "tests/unit/scheduler/support/world.h"

namespace skep::scheduler::testing {

void World::interpret(const Action& action) {
  std::visit(
      [this, &action](const auto& a) {
        using T = std::decay_t<decltype(a)>;
        if constexpr (std::is_same_v<T, RecordExecutor>) {
          records[a.record.id] = a.record;
        } else if constexpr (std::is_same_v<T, ForgetExecutor>) {
          records.erase(a.executor);
        } else if constexpr (std::is_same_v<T, RecordImage>) {
          images[a.image.name] = a.image;
        } else if constexpr (std::is_same_v<T, CreateNode> || std::is_same_v<T, CloseGate> ||
                             std::is_same_v<T, OpenGate> || std::is_same_v<T, Kick> ||
                             std::is_same_v<T, DeleteNode> || std::is_same_v<T, OrderExecutor> ||
                             std::is_same_v<T, DestroyExecutor> || std::is_same_v<T, PullImage>) {
          play(a);
        } else {
          play_read(action);
        }
      },
      action);
}

void World::play(const CreateNode& a) {
  const auto broken = fault(a);
  if (!is_controller_up) return answer(round_trip, NodeCreated{a.call, a.node, down()});
  if (!broken || broken->is_done) {
    if (nodes.contains(a.node.text) && !a.is_recreation) {
      return answer(round_trip,
                    NodeCreated{a.call, a.node, Error::failed(ErrorCode::conflict, "Agent already exists")});
    }
    Node node;
    node.fact.name = a.node.text;
    node.labels = parse_label_set(a.labels);
    node.labels.insert("swarm");
    node.labels.insert(a.node.text);
    node.fact.labels.assign(node.labels.begin(), node.labels.end());
    node.takes_unlabelled = a.takes_unlabelled;
    node.is_hooked = node.labels.contains(one_build_marker_label);
    node.generation = ++generations_;
    nodes[a.node.text] = node;
    maintain();
  }
  if (broken) return answer(round_trip, NodeCreated{a.call, a.node, broken->error});
  answer(round_trip, NodeCreated{a.call, a.node, std::string("secret-of-") + a.node.text});
}

void World::play(const CloseGate& a) {
  const auto broken = fault(a);
  if (!is_controller_up) return answer(round_trip, GateClosed{a.call, a.node, down()});
  const auto node = nodes.find(a.node.text);
  if (node == nodes.end())
    return answer(round_trip,
                  GateClosed{a.call, a.node, Error::failed(ErrorCode::not_found, "no such node")});
  if (!broken || broken->is_done) {
    node->second.fact.is_temporarily_offline = node->second.fact.is_offline = true;
    node->second.fact.offline_reason = a.reason;
  }
  answer(round_trip, GateClosed{a.call, a.node, broken ? Result<void>(broken->error) : Result<void>()});
}

void World::play(const OpenGate& a) {
  const auto broken = fault(a);
  if (!is_controller_up) return answer(round_trip, GateOpened{a.call, a.node, down()});
  const auto node = nodes.find(a.node.text);
  if (node == nodes.end())
    return answer(round_trip,
                  GateOpened{a.call, a.node, Error::failed(ErrorCode::not_found, "no such node")});
  const Opening opening{opening_kicks, !node->second.fact.is_temporarily_offline};
  if (!broken || broken->is_done) {
    later(milliseconds(2), [this, name = a.node.text, generation = node->second.generation] {
      const auto found = nodes.find(name);
      if (found == nodes.end() || found->second.generation != generation) return;
      found->second.fact.is_temporarily_offline = false;
      found->second.fact.offline_reason.clear();
      found->second.fact.is_offline = !found->second.fact.is_connected;
    });
    if (opening_kicks) later(milliseconds(3), [this] { maintain(); });
  }
  answer(milliseconds(4),
         GateOpened{a.call, a.node, broken ? Result<Opening>(broken->error) : Result<Opening>(opening)});
}

void World::play(const Kick& a) {
  const auto broken = fault(a);
  if (!is_controller_up) return answer(round_trip, Kicked{a.controller, down()});
  if (broken) return answer(round_trip, Kicked{a.controller, broken->error});
  later(milliseconds(1), [this] { maintain(); });
  answer(round_trip, Kicked{a.controller, {}});
}

void World::play(const DeleteNode& a) {
  const auto broken = fault(a);
  if (!is_controller_up) return answer(round_trip, NodeDeleted{a.call, a.controller, a.node, down()});
  if (broken && !broken->is_done)
    return answer(round_trip, NodeDeleted{a.call, a.controller, a.node, broken->error});
  const bool was_there = nodes.contains(a.node);
  remove_node(a.node);
  running.erase(a.node);
  maintain();
  if (broken) return answer(round_trip, NodeDeleted{a.call, a.controller, a.node, broken->error});
  answer(round_trip,
         NodeDeleted{
             a.call, a.controller, a.node,
             was_there ? Result<void>() : Result<void>(Error::failed(ErrorCode::not_found, "no such node"))});
}

void World::play(const OrderExecutor& a) {
  const auto broken = fault(a);
  const ExecutorId id = a.order.spec.id;
  const auto found = hosts.find(a.host);
  if (found == hosts.end() || !found->second.is_reachable) {
    return answer(
        round_trip,
        ExecutorOrdered{a.call, id, Error::unknown(ErrorCode::unavailable, "host does not answer")});
  }
  if (!broken || broken->is_done) {
    HostExecutor& there = found->second.executors[id];
    const bool is_new = there.generation == 0 || a.order.ticket.attempt > there.ticket.attempt;
    there.report.id = id;
    made_from[id] = a.order.spec.image;
    there.report.template_name = a.order.spec.template_name;
    there.report.epoch = a.order.epoch;
    there.report.resources = a.order.spec.resources;
    if (is_new) {
      there.ticket = a.order.ticket;
      there.report.ticket_attempt = a.order.ticket.attempt;
      there.report.state = ExecutorState::creating;
      there.report.agent = AgentPhase::none;
      there.report.agent_exit_code.reset();
      there.generation = ++generations_;
      boot(a.host, id, there.generation);
    }
  }
  if (broken) return answer(round_trip, ExecutorOrdered{a.call, id, broken->error});
  answer(round_trip, ExecutorOrdered{a.call, id, found->second.executors[id].report});
}

void World::play(const PullImage& a) {
  TestHost& host = hosts.at(a.host);
  const auto told = [&](Result<std::string> problem) {
    answer(round_trip, ImagePulled{a.call, a.host, a.reference, std::move(problem)});
  };
  if (!host.is_reachable) return told(Error::try_again(ErrorCode::unavailable, "host does not answer"));
  if (!host.catalogue.contains(a.reference))
    return told(Error::failed(ErrorCode::not_found, "no image is called " + a.reference));
  later(fetch_time, [this, id = a.host, reference = a.reference] {
    auto& ready = hosts.at(id).report.images;
    if (std::find(ready.begin(), ready.end(), reference) == ready.end()) ready.push_back(reference);
    report(id);
  });
  told(std::string());
}

void World::play(const DestroyExecutor& a) {
  const auto broken = fault(a);
  const auto found = hosts.find(a.host);
  if (found == hosts.end() || !found->second.is_reachable) {
    return answer(round_trip,
                  ExecutorDestroyed{a.call, a.executor,
                                    Error::unknown(ErrorCode::unavailable, "host does not answer")});
  }
  if (broken && !broken->is_done)
    return answer(round_trip, ExecutorDestroyed{a.call, a.executor, broken->error});
  ExecutorReport gone;
  gone.id = a.executor;
  gone.state = ExecutorState::gone;
  if (found->second.executors.contains(a.executor)) {
    const bool was_connected = found->second.executors[a.executor].report.agent == AgentPhase::connected;
    found->second.executors.erase(a.executor);
    if (was_connected) remove_node(a.executor.text);
    gone.state = ExecutorState::destroying;
    later(milliseconds(5), [this, host = a.host] { report(host); });
  }
  if (broken) return answer(round_trip, ExecutorDestroyed{a.call, a.executor, broken->error});
  answer(round_trip, ExecutorDestroyed{a.call, a.executor, gone});
}

QueueItem World::shown(const QueueItem& item) const {
  if (!hides_labels || !item.label || is_any_node_text(*item.label)) return item;
  std::vector<std::string> matching;
  for (const auto& [name, node] : nodes) {
    if (LabelExpression::from_job(*item.label).matches(node.labels)) matching.push_back(name);
  }
  if (matching.size() != 1) return item;
  QueueItem hidden = item;
  hidden.label.reset();
  hidden.label_source = LabelSource::unresolved;
  hidden.matching_node = matching.front();
  return hidden;
}

void World::watch(Watching w) {
  if (w.incarnation != incarnation_) return;
  std::optional<NodeFact> fact;
  if (nodes.contains(w.order.node.text)) fact = nodes.at(w.order.node.text).fact;
  later(round_trip, [this, w, started = now, fact] { watch_answered(w, started, fact); });
}

void World::watch_answered(Watching w, Instant started, std::optional<NodeFact> fact) {
  if (w.incarnation != incarnation_) return;
  const GateLooks::Next next = w.looks.answered(std::move(fact), started, now, false);
  if (next == GateLooks::Next::look) return later(w.order.pace, [this, w] { watch(w); });
  Duration closing = Duration::zero();
  if (next == GateLooks::Next::close_busy) {
    const auto node = nodes.find(w.order.node.text);
    if (node != nodes.end()) {
      node->second.fact.is_temporarily_offline = node->second.fact.is_offline = true;
      node->second.fact.offline_reason = GateLooks::reason_of(next);
      closing = round_trip;
    }
    w.looks.closed(node != nodes.end(), now + closing, false);
  }
  answer(closing, w.looks.result());
}

void World::play_read(const Action& action) {
  const auto broken = fault(action);
  if (const auto* a = std::get_if<ProfileController>(&action)) {
    if (!is_controller_up) return answer(round_trip, ControllerProfiled{a->controller, down()});
    if (broken) return answer(round_trip, ControllerProfiled{a->controller, broken->error});
    ControllerProfile profile;
    profile.version = "2.528.3";
    profile.session = session;
    profile.one_build = means;
    profile.missing_permissions = missing_permissions;
    return answer(round_trip, ControllerProfiled{a->controller, profile});
  }
  if (const auto* a = std::get_if<ReadQueue>(&action)) {
    if (!is_controller_up) return answer(round_trip, QueueRead{a->controller, "", now, down()});
    if (broken) return answer(round_trip, QueueRead{a->controller, session, now, broken->error});
    QueueSnapshot queue;
    queue.is_quieting_down = is_quieting_down;
    for (const auto& [id, job] : jobs) queue.items.push_back(shown(job.item));
    return answer(round_trip, QueueRead{a->controller, session, now, queue});
  }
  if (const auto* a = std::get_if<ReadNodes>(&action)) {
    if (!is_controller_up) return answer(round_trip, NodesRead{a->controller, "", now, down()});
    if (broken) return answer(round_trip, NodesRead{a->controller, session, now, broken->error});
    NodesSnapshot list;
    for (const auto& [name, node] : nodes) list.nodes.push_back(node.fact);
    return answer(round_trip, NodesRead{a->controller, session, now, list});
  }
  if (const auto* a = std::get_if<PollNode>(&action)) {
    const Duration wait = a->not_before;
    const int incarnation = incarnation_;
    later(wait, [this, poll = *a, broken, incarnation] {
      if (incarnation != incarnation_) return;
      if (!is_controller_up) return answer(round_trip, NodePolled{poll.controller, poll.node, now, down()});
      if (broken) return answer(round_trip, NodePolled{poll.controller, poll.node, now, broken->error});
      if (watches && poll.is_gate_open) return watch({poll, GateLooks(poll, now), incarnation});
      std::optional<NodeFact> fact;
      if (nodes.contains(poll.node.text)) fact = nodes.at(poll.node.text).fact;
      answer(round_trip, NodePolled{poll.controller, poll.node, now, fact, std::nullopt, session});
    });
    return;
  }
  if (const auto* a = std::get_if<RenewLeases>(&action)) {
    const auto found = hosts.find(a->host);
    if (found == hosts.end() || !found->second.is_reachable) {
      return answer(
          round_trip,
          LeasesRenewed{a->call, a->host, Error::unknown(ErrorCode::unavailable, "host does not answer")});
    }
    if (broken) return answer(round_trip, LeasesRenewed{a->call, a->host, broken->error});
    LeaseReply reply;
    reply.epoch_seen = a->renewal.epoch;
    for (const auto& entry : a->renewal.executors) {
      if (!found->second.executors.contains(entry.id)) reply.not_here.push_back(entry.id);
      if (found->second.leaving.contains(entry.id)) reply.leaving.push_back(entry.id);
    }
    return answer(round_trip, LeasesRenewed{a->call, a->host, reply});
  }
}

}  // namespace skep::scheduler::testing
