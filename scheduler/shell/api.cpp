// The scheduler's API: routes of Daemon. Every question is answered on the strand, where the logic lives.
//
//   GET  /v1/status|hosts|executors|queue|templates|config|history?limit=N&before=NUMBER
//   GET  /v1/queue/{item}?controller=C
//   POST /v1/hosts/{host}/drain|undrain {"reason"}  /v1/hosts/{host}/forget {"reason","dry_run"}
//   POST /v1/executors/{id}/hold {"for_ms","reason"}  /v1/executors/{id}/retire {"reason","even_if_busy"}
//   POST /v1/controllers/{controller}/companion {"action": "install" or "remove"}
//   GET  /v1/images  POST /v1/images/{image}/rollout|rollback (rollouts_api.cpp)
//   GET  /v1/hosts/{host}/images  POST /v1/hosts/{host}/images/{image}/pull|verify (images_relay.cpp)
//   POST /v1/pause {"reason"}  /v1/resume  /v1/config/reload {"yes"}
//   GET  /healthz  /metrics
#include <algorithm>
#include <charconv>
#include <limits>

#include "common/json/agentd_codec.h"
#include "common/shell/clock.h"
#include "core/version.h"
#include "scheduler/shell/api_body.h"
#include "scheduler/shell/api_codec.h"
#include "scheduler/shell/daemon.h"
#include "scheduler/shell/records.h"

namespace skep::scheduler {

using http::Responder;
using http::ServerReply;
using http::ServerRequest;
using json::Json;

namespace {

Error no_such(const char* noun, const std::string& name) {
  return Error::failed(ErrorCode::not_found, std::string("no ") + noun + " is called " + name,
                       std::string("see skep ") + noun + "s");
}

Result<void> is_known_executor(const SchedulerLogic& logic, const std::string& id) {
  const StatusSnapshot status = logic.status(shell::now(), shell::wall_now());
  const bool is_known = std::any_of(status.executors.begin(), status.executors.end(),
                                    [&](const ExecutorStatus& e) { return e.record.id.text == id; });
  return is_known ? Result<void>() : no_such("executor", id);
}

Result<void> may_hold(const SchedulerLogic& logic, const std::string& id) {
  return logic.may_hold(ExecutorId(id));
}

Result<void> is_known_host(const SchedulerLogic& logic, const std::string& host) {
  const StatusSnapshot status = logic.status(shell::now(), shell::wall_now());
  const bool is_known = std::any_of(status.hosts.begin(), status.hosts.end(),
                                    [&](const HostStatus& h) { return h.report.host.text == host; });
  return is_known ? Result<void>() : no_such("host", host);
}

/// Numbers of items are a controller's own: two controllers may use the same one.
ServerReply explain_reply(const SchedulerLogic& logic, std::int64_t item, const std::string& controller) {
  const Instant now = shell::now();
  std::optional<Explanation> found;
  bool is_controller_known = controller.empty();
  for (const ControllerStatus& c : logic.status(now, shell::wall_now()).controllers) {
    if (!controller.empty() && c.config.name.text != controller) continue;
    is_controller_known = true;
    auto explanation = logic.explain(c.config.name, item, now, shell::wall_now());
    if (explanation && found)
      return error_reply(Error::failed(ErrorCode::invalid_input,
                                       "item " + std::to_string(item) +
                                           " waits on more than one controller: " + found->controller.text +
                                           ", " + c.config.name.text,
                                       "say --controller " + found->controller.text));
    if (explanation) found = std::move(explanation);
  }
  if (found) return json_reply(to_json(*found));
  if (!is_controller_known)
    return error_reply(Error::failed(ErrorCode::not_found, "no controller is called " + controller,
                                     "skep status lists them"));
  return error_reply(Error::failed(ErrorCode::not_found,
                                   "no item " + std::to_string(item) + " waits in the queue",
                                   "it may have started; see skep queue"));
}

}  // namespace

void Daemon::ask(Responder responder, Ask question) {
  const bool is_posted =
      strand_->post([this, responder, question = std::move(question)] { responder(question(*logic_)); });
  if (!is_posted)
    responder({503,
               R"({"error":{"code":"unavailable","message":"the scheduler is overloaded or stopping"}})",
               "application/json",
               {}});
}

void Daemon::order(Responder responder, Event event, std::string message) {
  ask(std::move(responder), [this, event = std::move(event), message = std::move(message)](SchedulerLogic&) {
    handle(event);
    return json_reply({{"message", message}});
  });
}

void Daemon::add_routes() {
  add_read_routes();
  add_order_routes();
  add_forget_route();
  add_companion_route();
  add_image_routes();
  add_rollout_routes();
  server_->route("GET", "/healthz", [this](const ServerRequest&, const Responder& responder) {
    ask(responder, [this](SchedulerLogic&) {
      return json_reply(
          {{"status", has_failed_ ? "failed" : "ok"}, {"version", skep_version}, {"epoch", epoch_}});
    });
  });
  server_->route("GET", "/metrics", [this](const ServerRequest&, const Responder& responder) {
    ask(responder, [this](SchedulerLogic& logic) { return metrics_reply(logic); });
  });
}

void Daemon::add_read_routes() {
  const auto view = [this](const char* path, Json (*make)(const StatusSnapshot&)) {
    server_->route("GET", path, [this, make](const ServerRequest&, const Responder& responder) {
      ask(responder, [make](SchedulerLogic& logic) {
        return json_reply(make(logic.status(shell::now(), shell::wall_now())));
      });
    });
  };
  server_->route("GET", "/v1/status", [this](const ServerRequest&, const Responder& responder) {
    ask(responder, [this](SchedulerLogic& logic) {
      Json status = to_json(logic.status(shell::now(), shell::wall_now()));
      status["registry"] = {{"type", registry_->kind()}, {"problem", registry_->problem()}};
      status["configuration"] = configuration_status();
      return json_reply(status);
    });
  });
  view("/v1/hosts", [](const StatusSnapshot& s) { return list_to_json(s.hosts); });
  view("/v1/executors", [](const StatusSnapshot& s) { return list_to_json(s.executors); });
  view("/v1/queue", [](const StatusSnapshot& s) { return list_to_json(s.queue); });
  view("/v1/templates", [](const StatusSnapshot& s) { return list_to_json(s.templates); });
  view("/v1/config", [](const StatusSnapshot& s) {
    return Json{{"farm", s.farm},
                {"controllers", list_to_json(s.controllers)},
                {"templates", list_to_json(s.templates)}};
  });

  server_->route("GET", "/v1/queue/{item}", [this](const ServerRequest& request, const Responder& responder) {
    const std::string& text = request.captures.at("item");
    std::int64_t item = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), item);
    if (failure != std::errc{} || end != text.data() + text.size()) {
      return responder(
          error_reply(Error::failed(ErrorCode::invalid_input, "\"" + text + "\" is no item number")));
    }
    const auto wanted = request.query.find("controller");
    const std::string controller = wanted == request.query.end() ? "" : wanted->second;
    ask(responder,
        [item, controller](SchedulerLogic& logic) { return explain_reply(logic, item, controller); });
  });

  server_->route("GET", "/v1/history", [this](const ServerRequest& request, const Responder& responder) {
    const auto limit = number_in(request, "limit", 50, 10'000);
    if (!limit) return responder(error_reply(limit.error()));
    constexpr std::int64_t newest = std::numeric_limits<std::int64_t>::max();
    const auto before = number_in(request, "before", newest, newest);
    if (!before) return responder(error_reply(before.error()));
    ask(responder, [this, limit = *limit, before = *before](SchedulerLogic&) {
      const auto entries = store_->read_history(static_cast<std::size_t>(limit), "executor", before);
      if (!entries) return error_reply(entries.error());
      Json list = Json::array();
      for (const journal::HistoryEntry& entry : *entries) {
        auto value = json::parse_strict(entry.value);
        if (!value) continue;
        (*value)["ended_at_ms"] = entry.at.ms_since_epoch;
        (*value)["number"] = entry.number;
        list.push_back(std::move(*value));
      }
      return json_reply(list);
    });
  });
}

void Daemon::add_order_routes() {
  using Make = std::function<Result<std::pair<Event, std::string>>(const ServerRequest&, const Json& body)>;
  const auto route = [this](const char* path, std::vector<std::string> keys,
                            Result<void> (*check)(const SchedulerLogic&, const std::string&), Make make) {
    server_->route("POST", path, [=, this](const ServerRequest& request, const Responder& responder) {
      const auto body = body_of(request);
      if (!body) return responder(error_reply(body.error()));
      if (auto checked = only_keys(*body, keys); !checked) return responder(error_reply(checked.error()));
      auto made = make(request, *body);
      if (!made) return responder(error_reply(made.error()));
      const std::string name = request.captures.empty() ? "" : request.captures.begin()->second;
      ask(responder, [=, this, made = std::move(*made)](SchedulerLogic& logic) {
        if (check != nullptr) {
          if (auto checked = check(logic, name); !checked) return error_reply(checked.error());
        }
        handle(made.first);
        return json_reply({{"message", made.second}});
      });
    });
  };
  using Made = Result<std::pair<Event, std::string>>;
  route("/v1/hosts/{host}/drain", {"reason"}, is_known_host,
        [](const ServerRequest& request, const Json& body) -> Made {
          auto reason = reason_of(body);
          if (!reason) return reason.error();
          return std::pair{Event(DrainHost{HostId(request.captures.at("host")), *reason}),
                           "draining " + request.captures.at("host")};
        });
  route("/v1/hosts/{host}/undrain", {"reason"}, is_known_host,
        [](const ServerRequest& request, const Json&) -> Made {
          return std::pair{Event(UndrainHost{HostId(request.captures.at("host"))}),
                           request.captures.at("host") + " takes work again"};
        });
  route("/v1/executors/{id}/hold", {"reason", "for_ms"}, may_hold,
        [](const ServerRequest& request, const Json& body) -> Made {
          auto reason = reason_of(body);
          if (!reason) return reason.error();
          const auto for_ms = json::get_int64(body, "for_ms");
          if (!for_ms || *for_ms < 1000 || *for_ms > 30LL * 86'400'000)
            return Error::failed(ErrorCode::invalid_input,
                                 "\"for_ms\" is no time from one second to 30 days");
          const ExecutorId id(request.captures.at("id"));
          return std::pair{Event(HoldExecutor{id, WallTime{shell::wall_now().ms_since_epoch + *for_ms},
                                              milliseconds(*for_ms), *reason}),
                           "held: " + id.text};
        });
  route("/v1/executors/{id}/retire", {"reason", "even_if_busy"}, is_known_executor,
        [](const ServerRequest& request, const Json& body) -> Made {
          auto reason = reason_of(body);
          if (!reason) return reason.error();
          const auto even_if_busy = flag_of(body, "even_if_busy");
          if (!even_if_busy) return even_if_busy.error();
          const ExecutorId id(request.captures.at("id"));
          return std::pair{Event(RetireExecutor{id, *reason, *even_if_busy}), "retired: " + id.text};
        });
  route("/v1/pause", {"reason"}, nullptr, [](const ServerRequest&, const Json& body) -> Made {
    auto reason = reason_of(body);
    if (!reason) return reason.error();
    return std::pair{Event(PauseLaunching{*reason}), std::string("launching is paused")};
  });
  route("/v1/resume", {"reason"}, nullptr, [](const ServerRequest&, const Json&) -> Made {
    return std::pair{Event(ResumeLaunching{}), std::string("launching goes on")};
  });

  server_->route(
      "POST", "/v1/config/reload", [this](const ServerRequest& request, const Responder& responder) {
        const auto body = body_of(request);
        if (!body) return responder(error_reply(body.error()));
        if (auto checked = only_keys(*body, {"yes"}); !checked)
          return responder(error_reply(checked.error()));
        const auto yes = flag_of(*body, "yes");
        if (!yes) return responder(error_reply(yes.error()));
        // reload() waits for the strand: not on the server's thread.
        const bool is_taken = host_calls_->submit([this, yes = *yes, responder] {
          const auto done = reload(yes);
          responder(done ? json_reply({{"message", *done}}) : error_reply(done.error()));
        });
        if (!is_taken)
          responder(error_reply(Error::try_again(ErrorCode::unavailable, "the scheduler is overloaded")));
      });
}

/// Unlike other orders it is answered with what came of it: it may be refused, and what is given up is told.
void Daemon::add_forget_route() {
  server_->route(
      "POST", "/v1/hosts/{host}/forget", [this](const ServerRequest& request, const Responder& responder) {
        const auto body = body_of(request);
        if (!body) return responder(error_reply(body.error()));
        if (auto checked = only_keys(*body, {"reason", "dry_run"}); !checked)
          return responder(error_reply(checked.error()));
        const auto reason = reason_of(*body);
        if (!reason) return responder(error_reply(reason.error()));
        const auto is_dry = flag_of(*body, "dry_run");
        if (!is_dry) return responder(error_reply(is_dry.error()));
        ask(responder, [this, order = ForgetHost{HostId(request.captures.at("host")), *reason},
                        is_dry = *is_dry](SchedulerLogic&) {
          const auto given_up = forget_host(order, is_dry);
          if (!given_up) return error_reply(given_up.error());
          Json names = Json::array();
          for (const ExecutorId& id : *given_up) names.push_back(id.text);
          return json_reply({{"message", (is_dry ? "would forget " : "forgotten: ") + order.host.text},
                             {"executors", std::move(names)},
                             {"dry_run", is_dry}});
        });
      });
}

void Daemon::add_companion_route() {
  server_->route(
      "POST", "/v1/controllers/{controller}/companion",
      [this](const ServerRequest& request, const Responder& responder) {
        const auto body = body_of(request);
        if (!body) return responder(error_reply(body.error()));
        if (auto checked = only_keys(*body, {"action"}); !checked)
          return responder(error_reply(checked.error()));
        const auto action = json::get_string(*body, "action");
        if (!action || (*action != "install" && *action != "remove"))
          return responder(error_reply(
              Error::failed(ErrorCode::invalid_input, "\"action\" is neither install nor remove")));
        const ControllerId name(request.captures.at("controller"));
        const bool is_posted = strand_->post(
            [this, name, action = *action, responder] { order_companion(name, action, responder); });
        if (!is_posted)
          responder(error_reply(Error::try_again(ErrorCode::unavailable, "the scheduler is overloaded")));
      });
}

void Daemon::order_companion(const ControllerId& name, const std::string& action,
                             const Responder& responder) {
  const auto configured = std::find_if(config_.logic.controllers.begin(), config_.logic.controllers.end(),
                                       [&](const ControllerConfig& c) { return c.name == name; });
  const auto found = controllers_.find(name);
  if (configured == config_.logic.controllers.end() || found == controllers_.end())
    return responder(error_reply(Error::failed(ErrorCode::not_found, "no controller is called " + name.text,
                                               "skep controller status lists them")));
  CompanionLine* line = found->second.companion.get();
  if (action == "install") {
    if (line == nullptr)
      return responder(error_reply(Error::failed(
          ErrorCode::invalid_input, "controller " + name.text + " is configured without a companion",
          "set companion: true under this controller, then restart skep-scheduler")));
    if (const auto resumed = line->resume(); !resumed) return responder(error_reply(resumed.error()));
    log::write(log::Level::info, "an operator has the companion put in", {{"controller", name.text}});
    return responder(json_reply(
        {{"message", name.text + ": the companion is put in and asked for the whole queue, within half a "
                                 "minute; skep controller status shows whether it tells"}}));
  }
  // The hook goes in before the companion goes out, and this farm wants nothing in its controller.
  if (configured->one_build == ControllerConfig::OneBuild::gate)
    return responder(error_reply(Error::failed(
        ErrorCode::invalid_input,
        "controller " + name.text + " has one_build: gate, with which nothing is ever put into it",
        "what is in it from before: skep controller companion --print remove, for its script console")));
  log::write(log::Level::info, "an operator has the companion removed", {{"controller", name.text}});
  JenkinsController& controller = *found->second.controller;
  const bool is_taken = found->second.calls->submit([name, line, &controller, responder] {
    const auto removed = line != nullptr ? line->remove() : controller.remove_companion();
    if (removed)
      return responder(json_reply(
          {{"message", name.text + ": the companion is removed, the one-build hook is in its place"}}));
    log::write_error("the companion was not removed", removed.error());
    Error error = removed.error();
    error.hint += std::string(error.hint.empty() ? "" : "; ") +
                  "it is asked no more: say it again, or paste what skep controller companion --print remove "
                  "prints into Manage Jenkins, Script Console";
    responder(error_reply(error));
  });
  if (!is_taken)
    responder(error_reply(
        Error::try_again(ErrorCode::unavailable, "too many calls to this controller are waiting")));
}

ServerReply Daemon::metrics_reply(SchedulerLogic& logic) {
  const StatusSnapshot status = logic.status(shell::now(), shell::wall_now());
  std::map<std::pair<std::string, std::string>, int> executors;
  for (const Template& made : status.templates) {
    for (const char* state : {"planned", "ordered", "creating", "booting", "joining", "idle", "busy",
                              "finished", "destroying", "failed", "held", "unknown"}) {
      executors[{made.name.text, state}] = 0;
    }
  }
  for (const ExecutorStatus& e : status.executors)
    ++executors[{e.record.template_name.text, std::string(to_string(e.state))}];
  for (const auto& [key, count] : executors)
    metrics_.set_gauge("skep_executors", "executors by template and state",
                       {{"template", key.first}, {"state", key.second}}, count);
  std::map<std::string, int> waiting;
  for (WaitReason reason :
       {WaitReason::quiet_period, WaitReason::blocked, WaitReason::stopping, WaitReason::label_unresolved,
        WaitReason::no_template, WaitReason::template_limit, WaitReason::no_room, WaitReason::backoff,
        WaitReason::paused, WaitReason::frozen, WaitReason::executor_coming, WaitReason::gate_opening,
        WaitReason::resume, WaitReason::resume_lost, WaitReason::served_elsewhere}) {
    waiting[std::string(to_string(reason))] = 0;
  }
  for (const Explanation& item : status.queue) ++waiting[std::string(to_string(item.reason))];
  for (const auto& [reason, count] : waiting)
    metrics_.set_gauge("skep_items_waiting", "queue items by the reason why they wait", {{"reason", reason}},
                       count);
  for (const HostStatus& host : status.hosts)
    metrics_.set_gauge("skep_host_up", "1 while the host's reports are fresh",
                       {{"host", host.report.host.text}}, host.is_known ? 1 : 0);
  for (const ControllerStatus& c : status.controllers) {
    metrics_.set_gauge("skep_controller_up", "1 while queue and nodes are fresh",
                       {{"controller", c.config.name.text}}, c.is_known ? 1 : 0);
    if (!c.config.companion) continue;
    metrics_.set_gauge("skep_companion_up", "1 while the controller's companion tells, 0 while it is polled",
                       {{"controller", c.config.name.text}}, c.is_told ? 1 : 0);
  }
  set_rollout_metrics(status);
  const Json counters = to_json(status.counters);
  for (const auto& [name, value] : counters.items())
    metrics_.set_counter("skep_" + name + "_total", "since this process started", {}, value.get<double>());
  metrics_.set_gauge("skep_registry_up", "1 while the registry of hosts answers",
                     {{"type", registry_->kind()}}, registry_->problem().empty() ? 1 : 0);
  metrics_.set_gauge("skep_paused", "1 while an operator paused launching", {}, status.is_paused ? 1 : 0);
  metrics_.set_gauge("skep_configuration_refused", "1 while the last reload was refused", {},
                     refusal_.empty() ? 0 : 1);
  metrics_.set_gauge("skep_epoch", "number of this leader's term", {}, static_cast<double>(status.epoch));
  return {200, metrics_.to_text(), "text/plain; version=0.0.4", {}};
}

}  // namespace skep::scheduler
