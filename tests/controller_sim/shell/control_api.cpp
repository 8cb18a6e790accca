#include "tests/controller_sim/shell/control_api.h"

#include <algorithm>
#include <set>

#include "common/json/json.h"
#include "simulation/controller/text.h"

namespace skep::controller_sim {
namespace {

using json::Json;

HttpReply answer(int status, const Json& body) {
  return {status, {{"Content-Type", "application/json"}}, json::dump(body) + "\n"};
}

HttpReply refuse(const std::string& message) {
  return answer(400, {{"error", message}});
}

std::string text_of(const Json& object, const char* key, std::string fallback = {}) {
  const auto value = json::get_string(object, key);
  return value ? *value : fallback;
}

std::int64_t number_of(const Json& object, const char* key, std::int64_t fallback) {
  const auto value = json::get_int64(object, key);
  return value ? *value : fallback;
}

bool flag_of(const Json& object, const char* key, bool fallback) {
  const auto value = json::get_bool(object, key);
  return value ? *value : fallback;
}

std::optional<Duration> optional_ms(const Json& object, const char* key) {
  const auto value = json::get_int64(object, key);
  if (!value) return std::nullopt;
  return milliseconds(*value);
}

HttpReply create_job(Hub& hub, const Json& body) {
  JobSpec spec;
  spec.path = text_of(body, "path");
  if (spec.path.empty()) return refuse("a job needs a path");
  spec.kind = text_of(body, "kind", "freestyle") == "pipeline" ? JobKind::pipeline : JobKind::freestyle;
  spec.label = text_of(body, "label");
  spec.duration = milliseconds(number_of(body, "duration_ms", 1000));
  spec.command = text_of(body, "command");
  spec.concurrent = flag_of(body, "concurrent", false);
  spec.empty_block = flag_of(body, "empty_block", false);
  spec.quiet_period = optional_ms(body, "quiet_period_ms");
  spec.parallel = flag_of(body, "parallel", false);
  if (body.contains("blocks") && body["blocks"].is_array()) {
    for (const Json& block : body["blocks"]) {
      if (!block.is_object()) return refuse("a block is an object");
      spec.blocks.push_back({text_of(block, "label"), text_of(block, "name"),
                             milliseconds(number_of(block, "duration_ms", 1000)), text_of(block, "command"),
                             flag_of(block, "empty_block", false)});
    }
  }
  hub.model().create_job(spec);
  return answer(200, {{"path", spec.path}});
}

HttpReply schedule(Hub& hub, const Json& body) {
  Parameters parameters;
  if (body.contains("parameters") && body["parameters"].is_object()) {
    for (const auto& [name, value] : body["parameters"].items()) {
      parameters.emplace_back(name, value.is_string() ? value.get<std::string>() : json::dump(value));
    }
  }
  const std::int64_t count = number_of(body, "count", 1);
  const bool distinct = flag_of(body, "distinct", count > 1);  // equal items fold into one
  Json ids = Json::array();
  for (std::int64_t i = 0; i < count; ++i) {
    Parameters own = parameters;
    if (distinct)
      own.emplace_back("SIM_NUMBER",
                       std::to_string(to_ms(steady_now().time_since_epoch())) + "-" + std::to_string(i));
    const auto id =
        hub.model().schedule(text_of(body, "path"), steady_now(), own, optional_ms(body, "quiet_period_ms"));
    if (!id) return answer(404, {{"error", "no such job: " + text_of(body, "path")}});
    ids.push_back(*id);
  }
  return answer(200, {{"ids", ids}});
}

HttpReply add_fault(Hub& hub, const Json& body) {
  const auto kind = parse_fault_kind(text_of(body, "kind"));
  if (!kind) return refuse("unknown kind of fault: " + text_of(body, "kind"));
  Fault fault;
  fault.path_prefix = text_of(body, "path_prefix");
  fault.kind = *kind;
  fault.value = number_of(body, "value", 0);
  if (const auto count = json::get_int64(body, "count")) fault.remaining = static_cast<int>(*count);
  hub.model().misbehave(fault);
  return answer(200, Json::object());
}

HttpReply set_permissions(Hub& hub, const Json& body) {
  if (!body.contains("permissions") || !body["permissions"].is_array())
    return refuse("permissions is a list");
  std::set<std::string, std::less<>> granted;
  for (const Json& each : body["permissions"]) {
    if (!each.is_string()) return refuse("a permission is a text such as \"Job/Read\"");
    granted.insert(each.get<std::string>());
  }
  hub.model().set_permissions(text_of(body, "user"), granted);
  return answer(200, Json::object());
}

HttpReply truth(Hub& hub) {
  const ControllerModel& model = hub.model();
  const auto ms = [](const std::optional<Instant>& at) -> Json {
    if (!at) return nullptr;
    return to_ms(at->time_since_epoch());
  };
  Json builds = Json::array();
  std::map<std::string, int> per_node;
  for (const BuildRecord& build : model.builds()) {
    ++per_node[build.node];
    builds.push_back({{"id", build.id},
                      {"job", build.job},
                      {"number", build.number},
                      {"block", build.block},
                      {"queue_id", build.queue_id},
                      {"node", build.node},
                      {"queued_at_ms", ms(build.queued_at)},
                      {"buildable_at_ms", ms(build.buildable_at)},
                      {"assigned_at_ms", ms(build.assigned_at)},
                      {"started_at_ms", ms(build.started_at)},
                      {"ended_at_ms", ms(build.ended_at)},
                      {"result", build.result.empty() ? Json(nullptr) : Json(build.result)},
                      {"resumed", build.resumed}});
  }
  Json nodes = Json::array();
  for (const std::string& name : model.node_names())
    nodes.push_back({{"name", name}, {"online", model.agent_online(name)}});
  Json reused = Json::array();
  for (const auto& [node, count] : per_node) {
    if (count > 1) reused.push_back({{"node", node}, {"builds", count}});
  }
  return answer(200, {{"builds", builds},
                      {"nodes", nodes},
                      {"queue_length", model.queue_length()},
                      {"session", model.session()},
                      {"now_ms", to_ms(steady_now().time_since_epoch())},
                      {"nodes_with_more_than_one_build", reused}});
}

/// What a benchmark asks often: small, however long the stand-in has run.
HttpReply counts(Hub& hub) {
  const ControllerModel& model = hub.model();
  return answer(200, {{"builds", model.first_build() + model.builds().size()},
                      {"queue_length", model.queue_length()},
                      {"companion_events", model.companion_events()},
                      {"is_loaded", hub.load() && !hub.load()->is_over()}});
}

std::vector<std::string> texts_of(const Json& object, const char* key) {
  std::vector<std::string> texts;
  if (!object.contains(key) || !object[key].is_array()) return texts;
  for (const Json& each : object[key]) {
    if (each.is_string()) texts.push_back(each.get<std::string>());
  }
  return texts;
}

HttpReply start_load(Hub& hub, const Json& body) {
  LoadSpec spec;
  spec.jobs = texts_of(body, "jobs");
  spec.nodes = texts_of(body, "nodes");
  spec.standing = static_cast<std::size_t>(std::max<std::int64_t>(0, number_of(body, "standing", 100)));
  spec.events_per_second = number_of(body, "events_per_second", 100);
  spec.node_events_per_second = number_of(body, "node_events_per_second", 0);
  spec.length = milliseconds(number_of(body, "duration_ms", 10'000));
  if (spec.jobs.empty()) return refuse("a load needs jobs");
  hub.begin_load(std::move(spec));
  return answer(200, Json::object());
}

HttpReply post(Hub& hub, const std::string& verb, const Json& body) {
  ControllerModel& model = hub.model();
  const Instant now = steady_now();
  if (verb == "jobs") return create_job(hub, body);
  if (verb == "schedule") return schedule(hub, body);
  if (verb == "faults") return add_fault(hub, body);
  if (verb == "load") return start_load(hub, body);
  if (verb == "kill") {
    return hub.cut_agent(text_of(body, "agent")) ? answer(200, Json::object())
                                                 : answer(404, {{"error", "no such agent connected"}});
  }
  if (verb == "permissions") return set_permissions(hub, body);
  if (verb == "block") {
    model.block_job(text_of(body, "path"), flag_of(body, "blocked", true), now);
  } else if (verb == "stop") {
    model.stop_build(text_of(body, "path"), static_cast<int>(number_of(body, "number", 0)), now);
  } else if (verb == "nodes") {
    model.create_permanent_node(text_of(body, "name"), text_of(body, "labels"),
                                flag_of(body, "exclusive", true),
                                static_cast<int>(number_of(body, "executors", 1)), now);
  } else if (verb == "quiet-down") {
    model.set_quieting_down(flag_of(body, "on", true), now);
  } else if (verb == "restart") {
    model.restart(flag_of(body, "keep_queue", true), now, milliseconds(number_of(body, "down_ms", 3500)),
                  milliseconds(number_of(body, "starting_ms", 2500)));
  } else {
    return answer(404, {{"error", "no such control: " + verb}});
  }
  return answer(200, Json::object());
}

}  // namespace

HttpReply handle_control(Hub& hub, const HttpRequest& request) {
  const std::size_t question = request.target.find('?');
  const std::string verb = request.target.substr(
      std::string_view(control_prefix).size(),
      question == std::string::npos ? question : question - std::string_view(control_prefix).size());
  if (request.method == "GET") {
    if (verb == "truth") return truth(hub);
    if (verb == "counts") return counts(hub);
    if (verb == "requests") return answer(200, Json(hub.counters()));
    return answer(404, {{"error", "no such control: " + verb}});
  }
  if (request.method == "DELETE") {
    if (verb == "faults") hub.model().clear_faults();
    if (verb == "requests") hub.clear_counters();
    if (verb == "jobs" && question != std::string::npos) {
      hub.model().delete_job(field_or(parse_form(request.target.substr(question + 1)), "path", ""),
                             steady_now());
    }
    return answer(200, Json::object());
  }
  const auto body = json::parse_strict(request.body.empty() ? "{}" : request.body);
  if (!body || !body->is_object()) return refuse("the body must be a JSON object");
  return post(hub, verb, *body);
}

}  // namespace skep::controller_sim
