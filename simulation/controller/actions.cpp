// Orders under computer/, queue/ and job/ (recordings 03-05, 08-10, 14).
#include <algorithm>
#include <charconv>

#include "simulation/controller/exported.h"
#include "simulation/controller/state.h"

namespace skep::controller_sim {

using State = ControllerModel::State;

namespace {

std::optional<std::int64_t> parse_number(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

/// "0sec", "5", "1min": what build?delay= takes.
std::optional<Duration> parse_delay(const std::string& text) {
  const std::size_t digits = text.find_first_not_of("0123456789");
  const auto value = parse_number(text.substr(0, digits));
  if (!value) return std::nullopt;
  const std::string unit = digits == std::string::npos ? "" : text.substr(digits);
  if (unit.empty() || unit.rfind("sec", 0) == 0) return seconds(*value);
  if (unit.rfind("min", 0) == 0) return minutes(*value);
  return std::nullopt;
}

}  // namespace

HttpReply State::route_queue(const ParsedRequest& request) {
  const std::vector<std::string>& path = request.segments;
  if (request.asks_json(1)) return read_queue(request);
  if (path.size() == 5 && path[1] == "item" && request.asks_json(3)) {
    const auto id = parse_number(path[2]);
    return id ? read_item(request, *id) : not_found();
  }
  if (path.size() == 2 && path[1] == "cancelItem") {
    if (!request.is_post()) return method_not_allowed();
    const auto id = parse_number(field_or(request.parameters, "id", ""));
    expire_left_items();
    if (!id || items.count(*id) == 0) return server_error(404, flag_in_node ? 84531 : 72092);
    if (!has(request.caller, "Job/Cancel")) return empty(422);
    if (!cancel(*id)) return server_error(500, flag_in_node ? 84531 : 72092);
    return empty(204);
  }
  return not_found();
}

HttpReply State::route_job(const ParsedRequest& request) {
  const std::vector<std::string>& segments = request.segments;
  std::string path;
  std::size_t next = 0;
  while (next + 1 < segments.size() && segments[next] == "job") {
    path += (path.empty() ? "" : "/") + segments[next + 1];
    next += 2;
  }
  const auto found = jobs.find(path);
  if (found == jobs.end() || !has(request.caller, "Job/Read")) return not_found();
  Job& job = found->second;
  if (request.asks_json(next)) {
    return exported(request,
                    job.spec.kind == JobKind::freestyle ? "hudson.model.FreeStyleProject"
                                                        : "org.jenkinsci.plugins.workflow.job.WorkflowJob",
                    [&](JsonObject& out) { write_job(path, job, out, request.caller); });
  }
  if (next >= segments.size()) return page(200, path, path, "", 20000);
  const std::string& verb = segments[next];
  if (verb == "build" || verb == "buildWithParameters") {
    if (!request.is_post()) return method_not_allowed();
    if (auto refused = require(request, "Job/Build")) return *refused;
    Parameters parameters;
    for (const auto& [name, value] : request.parameters) {
      if (verb == "buildWithParameters" && name != "delay" && name != "token")
        parameters.emplace_back(name, value);
    }
    const auto delay = find_field(request.parameters, "delay");
    const auto id =
        schedule(path, parameters, delay ? parse_delay(*delay) : std::nullopt, request.caller.name);
    HttpReply reply = redirect(absolute("queue/item/" + std::to_string(id.value_or(0)) + "/"));
    reply.status = 201;
    return reply;
  }
  const bool last = verb == "lastBuild";
  const auto number = parse_number(verb);
  if ((!last && !number) || job.runs.empty()) return not_found();
  const int wanted = last ? job.runs.back().number : static_cast<int>(*number);
  const Run* run = find_run(path, wanted);
  if (run == nullptr) return not_found();
  if (request.asks_json(next + 1)) {
    return exported(request,
                    job.spec.kind == JobKind::freestyle ? "hudson.model.FreeStyleBuild"
                                                        : "org.jenkinsci.plugins.workflow.job.WorkflowRun",
                    [&](JsonObject& out) { write_run(job, *run, out, request.caller); });
  }
  if (segments.size() == next + 2 && segments[next + 1] == "consoleText") {
    std::string text;
    for (const std::string& line : run->console) text += line + "\n";
    return plain(200, "text/plain;charset=utf-8", text);
  }
  if (segments.size() == next + 2 && segments[next + 1] == "stop") {
    if (!request.is_post()) return method_not_allowed();
    if (auto refused = require(request, "Job/Cancel")) return *refused;
    stop_run(path, wanted);
    return redirect(local(job_url(path) + std::to_string(wanted) + "/"));
  }
  return not_found();
}

HttpReply State::route_computer(const ParsedRequest& request) {
  const std::vector<std::string>& path = request.segments;
  if (request.asks_json(1)) return read_computers(request);
  if (path.size() == 3 && path[1] == "api" && path[2] == "xml") {
    // Enough to see that XPath has pitfalls of its own (recording 02).
    const std::string xpath = field_or(request.query, "xpath", "");
    HttpReply reply = json_reply("XPath " + xpath + " didn?t match");
    reply.headers.pop_back();
    reply.status = 404;
    if (xpath.find("displayName") != std::string::npos) {
      reply.status = 500;
      reply.body = "XPath \"" + xpath + "\" matched " + std::to_string(computers.size() + 1) +
                   " nodes. Create XPath that only matches one, or use the \"wrapper\" query parameter to "
                   "wrap them all "
                   "under a root element.";
    }
    return reply;
  }
  if (path.size() == 2 && path[1] == "doCreateItem") {
    if (!request.is_post()) return method_not_allowed();
    return create_permanent(request);
  }
  if (path.size() < 2) return page(200, "Nodes", "Nodes", "", 60000);
  const bool built_in = path[1] == "(built-in)" || path[1] == "(master)";
  const std::string name = built_in ? built_in_name : path[1];
  const auto found = computers.find(name);
  if (found == computers.end() || (name.empty() && !built_in)) return not_found();
  if (request.asks_json(2)) return read_computer(request, found->second);
  if (path.size() != 3) return path.size() == 2 ? page(200, name, name, "", 40000) : not_found();
  const std::string& verb = path[2];
  if (verb == "config.xml") return node_config(request, name);
  const bool known = verb == "toggleOffline" || verb == "changeOfflineCause" || verb == "doDelete" ||
                     verb == "doDisconnect" || verb == "launchSlaveAgent";
  if (!known) return not_found();
  if (!request.is_post()) return method_not_allowed();
  if (verb == "doDelete") return delete_computer(request, name);
  if (verb == "doDisconnect") return disconnect_computer(request, name);
  if (verb == "launchSlaveAgent") {
    if (auto refused = require(request, "Agent/Connect")) return *refused;
    return redirect("log");
  }
  return change_offline(request, name, verb == "toggleOffline");
}

/// toggleOffline flips, changeOfflineCause closes.
Verdict State::order_offline(const Caller& caller, Computer& computer, bool toggle,
                             const std::string& message) {
  const bool opening = toggle && flag_of(computer) != nullptr;
  const char* const permission = opening ? "Agent/Connect" : "Agent/Disconnect";
  if (!has(caller, permission)) return {Ending::denied, permission};
  if (nodes.count(computer.name) == 0) return {Ending::no_node};
  if (opening) {
    set_offline(computer, std::nullopt);
  } else {
    set_offline(computer, OfflineFlag{message, caller.name, wall_ms(clock)});
  }
  return {};
}

HttpReply State::change_offline(const ParsedRequest& request, const std::string& name, bool toggle) {
  const Verdict verdict = order_offline(request.caller, computers.at(name), toggle,
                                        field_or(request.parameters, "offlineMessage", ""));
  if (verdict.ending == Ending::denied) return *require(request, verdict.text);
  if (verdict.ending == Ending::no_node)
    return toggle ? not_found() : server_error(500, flag_in_node ? 7353 : 8140);
  return redirect(local("computer/" + percent_encode(name.empty() ? "(built-in)" : name) + "/"));
}

/// Of a computer that exists.
Verdict State::order_delete(const Caller& caller, const std::string& name) {
  if (name == built_in_name) return {Ending::bad_name};
  if (!has(caller, "Agent/Delete")) return {Ending::denied, "Agent/Delete"};
  if (nodes.count(name) != 0) {
    remove_node(name);
  } else {
    Computer& leftover = computers.at(name);  // its node is gone already: what is left goes now
    for (const auto& slot : leftover.slots) {
      if (slot && occupations.at(*slot).running && !occupations.at(*slot).ending)
        end_later(occupations.at(*slot), "ABORTED", Duration{});
    }
  }
  return {};
}

HttpReply State::delete_computer(const ParsedRequest& request, const std::string& name) {
  const Verdict verdict = order_delete(request.caller, name);
  if (verdict.ending == Ending::denied) return *require(request, verdict.text);
  return verdict.ending == Ending::done ? redirect(local("computer/")) : empty(400);
}

HttpReply State::disconnect_computer(const ParsedRequest& request, const std::string& name) {
  Computer& computer = computers.at(name);
  if (computer.channel != Channel::none) {
    if (auto refused = require(request, "Agent/Disconnect")) return *refused;
    const std::string message = field_or(request.parameters, "offlineMessage", "");
    disconnect(computer, message.empty() ? "Disconnected by " + request.caller.name : message,
               "hudson.slaves.OfflineCause$UserCause");
    at(clock + milliseconds(5), {EventKind::remove_node, 1, name});
  }
  return redirect(local("computer/" + percent_encode(name) + "/"));
}

std::string State::config_xml(const Node& node) const {
  const bool swarm = node.kind == NodeKind::swarm;
  const std::string root = swarm ? "hudson.plugins.swarm.SwarmSlave" : "slave";
  std::string xml = "<?xml version=\"1.1\" encoding=\"UTF-8\"?>\n<" + root +
                    (swarm ? " plugin=\"swarm@3.51\"" : "") + ">\n";
  if (node.offline) {
    xml += "  <temporaryOfflineCause class=\"hudson.slaves.OfflineCause$UserCause\">\n    <timestamp>" +
           std::to_string(node.offline->timestamp_ms) +
           "</timestamp>\n    <description>\n      <holder>\n        <owner>hudson.slaves.Messages</owner>\n "
           "     </holder>\n"
           "      <key>SlaveComputer.DisconnectedBy</key>\n      <args>\n        <string>" +
           xml_escape(node.offline->user) + "</string>\n        <string>" +
           (node.offline->message.empty() ? "" : " : " + xml_escape(node.offline->message)) +
           "</string>\n      </args>\n    </description>\n    <userId>" + xml_escape(node.offline->user) +
           "</userId>\n";
    if (flag_in_node) xml += "    <message>" + xml_escape(node.offline->message) + "</message>\n";
    xml += "  </temporaryOfflineCause>\n";
  }
  xml += "  <name>" + xml_escape(node.name) + "</name>\n  <description>" + xml_escape(node.description) +
         "</description>\n  <remoteFS>" + xml_escape(node.remote_fs) + "</remoteFS>\n  <numExecutors>" +
         std::to_string(node.executors) + "</numExecutors>\n  <mode>" +
         (node.exclusive ? "EXCLUSIVE" : "NORMAL") +
         "</mode>\n  <retentionStrategy class=\"hudson.slaves.RetentionStrategy$" +
         (swarm ? "NoOp" : "Always") + "\"/>\n  <launcher class=\"" +
         (swarm ? "hudson.plugins.swarm.SwarmLauncher" : "hudson.slaves.JNLPLauncher") +
         "\">\n    <workDirSettings>\n      <disabled>true</disabled>\n      "
         "<internalDir>remoting</internalDir>\n"
         "      <failIfWorkDirIsMissing>false</failIfWorkDirIsMissing>\n    </workDirSettings>\n"
         "    <webSocket>false</webSocket>\n  </launcher>\n  <label>" +
         xml_escape(node.label_text) + "</label>\n";
  if (!node.keep && node.environment.empty()) return xml + "  <nodeProperties/>\n</" + root + ">";
  xml += "  <nodeProperties>\n";
  if (node.keep) xml += "    <hudson.plugins.swarm.KeepSwarmClientNodeProperty/>\n";
  if (!node.environment.empty()) xml += "    <hudson.slaves.EnvironmentVariablesNodeProperty/>\n";
  return xml + "  </nodeProperties>\n</" + root + ">";
}

HttpReply State::node_config(const ParsedRequest& request, const std::string& name) {
  const auto node = nodes.find(name);
  if (node == nodes.end()) return not_found();
  if (auto refused = require(request, "Agent/Configure")) return *refused;
  if (!request.is_post()) return plain(200, "application/xml", config_xml(node->second));
  return post_config(request, node->second);
}

HttpReply State::post_config(const ParsedRequest& request, Node& node) {
  const std::string& xml = request.raw->body;
  const std::size_t page_size = flag_in_node ? 7353 : 8140;
  if (request.header("Content-Type").find("xml") == std::string::npos) return server_error(500, page_size);
  std::size_t root = xml.find('<');
  while (root != std::string::npos && root + 1 < xml.size() && (xml[root + 1] == '?' || xml[root + 1] == '!'))
    root = xml.find('<', root + 1);
  if (root == std::string::npos) return server_error(500, page_size);
  const std::string root_name = xml.substr(root + 1, xml.find_first_of(" >/\t\r\n", root + 1) - root - 1);
  if (xml.find("</" + root_name + ">") == std::string::npos) return server_error(500, page_size);
  if (root_name != (node.kind == NodeKind::swarm ? "hudson.plugins.swarm.SwarmSlave" : "slave")) {
    return jetty_error(400, "Node types do not match");
  }
  NodeConfig config;
  config.label_text = xml_element(xml, "label").value_or("");
  config.exclusive = xml_element(xml, "mode").value_or("NORMAL") == "EXCLUSIVE";
  config.remote_fs = xml_element(xml, "remoteFS").value_or(node.remote_fs);
  config.executors =
      static_cast<int>(parse_number(xml_element(xml, "numExecutors").value_or("")).value_or(node.executors));
  if (const auto cause = xml_element(xml, "temporaryOfflineCause")) {
    std::string message = xml_element(*cause, "message").value_or("");
    const std::size_t marked = cause->find("<string> : ");
    if (message.empty() && marked != std::string::npos)
      message = cause->substr(marked + 11, cause->find('<', marked + 11) - marked - 11);
    config.offline = OfflineFlag{message, xml_element(*cause, "userId").value_or(""),
                                 parse_number(xml_element(*cause, "timestamp").value_or("")).value_or(0)};
  }
  apply_config(node, std::move(config));
  return empty(200);
}

void State::apply_config(Node& node, NodeConfig config) {
  auto touched = touched_labels(node);
  node.previous_labels.insert(node.labels.begin(), node.labels.end());
  node.label_text = std::move(config.label_text);
  node.exclusive = config.exclusive;
  node.remote_fs = std::move(config.remote_fs);
  node.executors = config.executors;
  node.offline = std::move(config.offline);
  note_labels(node);
  ++label_changes;
  const auto computer = computers.find(node.name);
  if (computer != computers.end() && !computer->second.doomed && node.executors >= 0) {
    auto& slots = computer->second.slots;
    const auto wanted = static_cast<std::size_t>(node.executors);
    while (slots.size() > wanted && !slots.back()) slots.pop_back();
    if (slots.size() < wanted) slots.resize(wanted);
    maybe_free.insert(node.name);
  }
  touched.merge(touched_labels(node));
  trim_labels(touched);
  schedule_maintenance();
}

HttpReply State::create_permanent(const ParsedRequest& request) {
  if (auto refused = require(request, "Agent/Create")) return *refused;
  Node node;
  node.name = field_or(request.parameters, "name", "");
  if (node.name.empty()) return failure("No name is specified");
  if (nodes.count(node.name) != 0) return failure("Agent called " + node.name + " already exists");
  const std::string json = field_or(request.parameters, "json", "");
  node.kind = NodeKind::permanent;
  node.label_text = json_string_field(json, "labelString").value_or("");
  node.remote_fs = json_string_field(json, "remoteFS").value_or("");
  node.description = json_string_field(json, "nodeDescription").value_or("");
  node.exclusive = json_string_field(json, "mode").value_or("NORMAL") == "EXCLUSIVE";
  node.executors =
      static_cast<int>(parse_number(json_string_field(json, "numExecutors").value_or("1")).value_or(1));
  add_node(std::move(node));
  return redirect(local("computer/"));
}

}  // namespace skep::controller_sim
