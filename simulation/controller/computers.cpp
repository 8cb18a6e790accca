// Nodes, computers and channels.
#include <algorithm>

#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

const Node* State::node_of(const Computer& computer) const {
  const auto node = nodes.find(computer.name);
  return node == nodes.end() ? nullptr : &node->second;
}

const OfflineFlag* State::flag_of(const Computer& computer, const Node* node) const {
  if (!flag_in_node) return computer.offline ? &*computer.offline : nullptr;
  return node != nullptr && node->offline ? &*node->offline : nullptr;
}

bool State::offline(const Computer& computer, const Node* node) const {
  if (flag_of(computer, node) != nullptr) return true;
  return computer.name != built_in_name && computer.channel != Channel::online;
}

bool State::idle(const Computer& computer) const {
  return computer.one_off.empty() && std::none_of(computer.slots.begin(), computer.slots.end(),
                                                  [](const auto& slot) { return slot.has_value(); });
}

std::string State::display_name(const std::string& node_name) const {
  return node_name == built_in_name ? "Built-In Node" : node_name;
}

std::string State::secret_of(const std::string& name) const {
  return digest64(options.seed, "secret", name);
}

void State::add_node(Node node) {
  const std::string name = node.name;
  const int executors = node.executors;
  const bool swarm = node.kind == NodeKind::swarm;
  note_labels(node);
  const bool is_new = nodes.count(name) == 0;
  Node& kept = nodes[name];
  kept = std::move(node);
  if (executors > 0) {
    Computer& computer =
        computers[name];  // a lingering one of the same name is taken over: it still goes with its body
    computer.name = name;
    if (!computer.doomed) {
      computer.slots.resize(static_cast<std::size_t>(executors));
      maybe_free.insert(name);
      if (swarm) {
        computer.offline_reason =
            "This agent is offline because Jenkins failed to launch the agent process on it.";
        computer.offline_class = "hudson.slaves.OfflineCause$LaunchFailed";
      }
    }
  }
  if (is_new) {
    trim_labels_of(kept, true);
  } else {
    ++label_changes;
    trim_labels(touched_labels(kept));
  }
  schedule_maintenance();
}

void State::remove_node(const std::string& name) {
  const auto node = nodes.find(name);
  if (node == nodes.end()) return;
  const auto removed = nodes.extract(node);
  trim_labels_of(removed.mapped(), false);
  const auto found = computers.find(name);
  if (found != computers.end()) {
    found->second.doomed = true;
    disconnect(found->second, "", "");
    drop_if_done(name);
  }
  schedule_maintenance();
}

void State::drop_if_done(const std::string& computer_name) {
  const auto found = computers.find(computer_name);
  if (found != computers.end() && found->second.doomed && idle(found->second)) computers.erase(found);
}

void State::set_offline(Computer& computer, std::optional<OfflineFlag> flag) {
  const bool closing = flag.has_value();
  const auto node = nodes.find(computer.name);
  if (!flag_in_node) {
    computer.offline = flag;
    if (!closing) {
      computer.offline_reason.clear();
      computer.offline_class.clear();
    }
  }
  if (node != nodes.end()) {
    node->second.offline = std::move(flag);
    trim_labels(touched_labels(node->second));  // Jenkins.updateNode; no maintenance for an ephemeral node
    if (node->second.kind != NodeKind::swarm) schedule_maintenance();
  }
  report((closing ? "closed " : "opened ") + computer.name);
}

void State::disconnect(Computer& computer, std::string_view reason, std::string_view reason_class) {
  if (computer.channel == Channel::none) return;
  const bool was_online = computer.channel == Channel::online;
  AgentCommand close;
  close.kind = AgentCommandKind::close_channel;
  close.agent = computer.name;
  close.connection = computer.connection;
  commands.push_back(std::move(close));
  computer.channel = Channel::none;
  computer.connection = 0;
  computer.offline_reason = reason;
  computer.offline_class = reason_class;
  if (was_online) report("offline " + computer.name);
  for (const auto& slot : computer.slots) {
    if (!slot) continue;
    Occupation& occupation = occupations.at(*slot);
    if (!occupation.running || occupation.ending) continue;
    if (!occupation.pipeline) {
      end_later(occupation, "FAILURE", milliseconds(30));
    } else if (!occupation.lost_at) {
      const auto node = nodes.find(computer.name);
      occupation.lost_at = clock;
      occupation.lost_node =
          node == nodes.end() || (node->second.kind == NodeKind::swarm && !node->second.keep);
      at(clock + options.resume_timeout, {EventKind::lost_agent_timeout, occupation.id});
    }
  }
}

/// SwarmLauncher.afterDisconnect: removes the node that has the name now, whoever made it.
void State::after_disconnect(const std::string& name) {
  const auto node = nodes.find(name);
  if (node != nodes.end() && node->second.kind == NodeKind::swarm && !node->second.keep) remove_node(name);
}

ConnectResult State::connect(const std::string& name, const std::string& secret) {
  if (phase != Phase::up) return {503, "Starting Jenkins"};
  if (name.empty() || secret.empty()) {
    return {400, "This endpoint is only for use from agent.jar in WebSocket mode"};
  }
  const auto found = computers.find(name);
  if (found == computers.end() || nodes.count(name) == 0) return {400, "no such agent"};
  if (secret != secret_of(name)) return {403, "incorrect secret"};
  Computer& computer = found->second;
  if (computer.channel != Channel::none) {
    return {400, name + " is already connected to this controller. Rejecting this connection."};
  }
  computer.channel = Channel::connecting;
  computer.connection = next_connection++;
  at(clock + options.connect_delay, {EventKind::agent_online, computer.connection, name});
  return {101, "", computer.connection};
}

}  // namespace skep::controller_sim
