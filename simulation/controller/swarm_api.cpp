// plugin/swarm/: createSlave and the label calls, as swarm plugin 3.51 answers them (recordings 06, 07).
#include <algorithm>
#include <charconv>

#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

namespace {

constexpr const char* odd_plain = "text/plain; UTF-8;charset=iso-8859-1";

/// Jenkins.checkGoodName; the typographic quotes of the message do not survive in a header: blanks stand for
/// them.
std::optional<std::string> bad_name(const std::string& name) {
  if (name.empty()) return "No name is specified";
  if (name == "." || name == "..") return name + "  is not an allowed name";
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20) return "No control code is allowed";
    if (std::string_view("?*/\\%!@#$^&|<>[]:;").find(c) != std::string_view::npos)
      return std::string(1, c) + "  is an unsafe character";
  }
  if (name.back() == '.') return "A name cannot end with  . ";
  return std::nullopt;
}

int parse_int(const std::string& text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string label_response(const std::string& labels) {
  return "<labelResponse><labels>" + labels + "</labels></labelResponse>";  // not XML-escaped, as the plugin
}

}  // namespace

HttpReply State::route_swarm(const ParsedRequest& request) {
  const std::string& verb = request.segments[2];
  if (verb == "createSlave") return request.is_post() ? create_slave(request) : not_found();
  if (verb == "getSlaveLabels") return slave_labels(request, "get");
  if (verb == "addSlaveLabels") return request.is_post() ? slave_labels(request, "add") : not_found();
  if (verb == "removeSlaveLabels") return request.is_post() ? slave_labels(request, "remove") : not_found();
  return not_found();
}

Verdict State::order_create(const Caller& caller, const NewNode& wanted) {
  for (const char* const permission : {"Agent/Create", "Agent/Connect"}) {
    if (!has(caller, permission)) return {Ending::denied, permission};
  }
  if (auto problem = bad_name(wanted.name)) return {Ending::bad_name, std::move(*problem)};
  const std::string name = wanted.hash.empty() ? wanted.name : wanted.name + "-" + wanted.hash;
  if (wanted.is_malformed || name.size() > 255) return {Ending::bad_field};
  const auto existing = nodes.find(name);
  if (existing != nodes.end() && !wanted.replaces) {
    const auto computer = computers.find(name);
    if (wanted.hash.empty()) return {Ending::exists, "already exists"};
    if (computer != computers.end() && !offline(computer->second))
      return {Ending::exists, "is already created and on-line"};
  }
  Node node;
  node.name = name;
  node.label_text = wanted.labels.empty() ? "swarm" : "swarm " + wanted.labels;
  node.exclusive = wanted.exclusive;
  node.executors = wanted.executors;
  node.keep = wanted.keep;
  node.remote_fs = wanted.remote_fs;
  node.description = "Swarm agent from 127.0.0.1";
  if (!wanted.description.empty()) node.description += ": " + wanted.description;
  node.environment = wanted.environment;
  if (existing == nodes.end()) {
    add_node(std::move(node));
  } else {
    // The node object is replaced, the computer stays; with it the flag, where it lives there. No maintenance
    // follows.
    auto touched = touched_labels(existing->second);
    node.previous_labels = touched;
    note_labels(node);
    existing->second = std::move(node);
    ++label_changes;
    touched.merge(touched_labels(existing->second));
    trim_labels(touched);
  }
  return {Ending::done, name};
}

HttpReply State::create_slave(const ParsedRequest& request) {
  const Fields& given = request.parameters;
  const std::string mode = field_or(given, "mode", "");
  NewNode wanted;
  wanted.name = field_or(given, "name", "");
  wanted.hash = field_or(given, "hash", "");
  wanted.labels = field_or(given, "labels", "");
  wanted.description = field_or(given, "description", "");
  wanted.remote_fs = field_or(given, "remoteFsRoot", "");
  wanted.exclusive = mode == "EXCLUSIVE";
  wanted.executors = parse_int(field_or(given, "executors", "0"));
  wanted.keep = field_or(given, "keepDisconnectedClients", "false") == "true";
  wanted.replaces = field_or(given, "deleteExistingClients", "false") == "true";
  const bool is_mode = mode == "NORMAL" || mode == "EXCLUSIVE";
  wanted.is_malformed = !is_mode || find_field(given, "toolLocation");  // no tool is configured here
  for (const auto& [key, value] : given) {
    if (key == "environmentVariable") wanted.environment.emplace_back(key, value);
  }
  const Verdict verdict = order_create(request.caller, wanted);
  switch (verdict.ending) {
    case Ending::denied:
      return *require(request, verdict.text);
    case Ending::bad_name:
      return failure(verdict.text);
    case Ending::bad_field:
    case Ending::no_node:
      return server_error(500, flag_in_node ? 7353 : 8140);
    case Ending::exists: {
      const std::string name = wanted.hash.empty() ? wanted.name : wanted.name + "-" + wanted.hash;
      return plain(409, odd_plain, "Agent \"" + name + "\" " + verdict.text + ".\n");
    }
    case Ending::done:
      break;
  }
  const std::string& name = verdict.text;
  return plain(200, "text/plain;charset=iso-8859-1",
               java_properties({{"name", name}, {"secret", secret_of(name)}}, WallTime{wall_ms(clock)}));
}

HttpReply State::slave_labels(const ParsedRequest& request, std::string_view action) {
  const std::string name = field_or(request.parameters, "name", "");
  const auto found = nodes.find(name);
  if (found == nodes.end() || name.empty())
    return plain(404, odd_plain, "Agent \"" + name + "\" does not exist.\n");
  Node& node = found->second;
  std::vector<std::string> words = split_blanks(node.label_text);
  if (action != "get") {
    if (auto refused = require(request, "Agent/Configure")) return *refused;
    node.previous_labels.insert(node.labels.begin(), node.labels.end());
    for (const std::string& word : split_blanks(field_or(request.parameters, "labels", ""))) {
      const auto position = std::find(words.begin(), words.end(), word);
      if (action == "add" && position == words.end()) words.push_back(word);
      if (action == "remove" && position != words.end()) words.erase(position);
    }
    node.label_text.clear();
    for (const std::string& word : words) node.label_text += (node.label_text.empty() ? "" : " ") + word;
    note_labels(node);
    ++label_changes;
    // node.setLabelString only: neither the label cache nor the queue hears of it (recording 07).
  }
  std::string shown;
  for (const std::string& word : words) shown += (shown.empty() ? "" : " ") + word;
  return plain(200, "text/xml;charset=utf-8", label_response(shown));
}

}  // namespace skep::controller_sim
