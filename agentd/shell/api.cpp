// The HTTP API of core/protocol/agentd_api.h: decode, ask the logic, encode. Every bad request gets one error
// that names the place and changes nothing.
#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "agentd/shell/daemon_impl.h"
#include "common/json/agentd_codec.h"
#include "common/shell/clock.h"

namespace skep::agentd {
namespace {

using http::Responder;
using http::ServerRequest;
using json::Json;

constexpr Duration longest_wait = seconds(60);
constexpr std::size_t max_waiters = 1000;

Error bad(std::string message) {
  return Error::failed(ErrorCode::invalid_input, std::move(message));
}

/// A whole number of the query; `fallback` nullopt: it is required.
Result<std::uint64_t> query_number(const ServerRequest& request, const std::string& key,
                                   std::optional<std::uint64_t> fallback) {
  const auto found = request.query.find(key);
  if (found == request.query.end()) {
    if (fallback) return *fallback;
    return bad("query parameter \"" + key + "\" is missing");
  }
  std::uint64_t value = 0;
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return bad("query parameter \"" + key + "\" is no whole number: \"" + text.substr(0, 80) + "\"");
  }
  return value;
}

Result<std::string> path_id(const ServerRequest& request) {
  const auto found = request.captures.find("id");
  const std::string id = found == request.captures.end() ? std::string{} : found->second;
  if (!is_valid_name(id))
    return bad("\"" + id.substr(0, 80) + "\" in the path is no executor id: [a-z0-9-], 1 to 60 characters");
  return id;
}

Result<ExecutorOrder> read_order(const ServerRequest& request) {
  auto id = path_id(request);
  if (!id) return id.error();
  const auto body = json::parse_strict(request.body);
  if (!body) return bad("the body is no JSON: " + body.error().message);
  auto order = json::decode_executor_order(*body);
  if (!order) return order.error();
  if (order->spec.id.text != *id) {
    return bad("the body is for executor \"" + order->spec.id.text.substr(0, 80) + "\", the path for \"" +
               *id + "\"");
  }
  return order;
}

Result<LeaseRenewal> read_renewal(const ServerRequest& request) {
  const auto body = json::parse_strict(request.body);
  if (!body) return bad("the body is no JSON: " + body.error().message);
  return json::decode_lease_renewal(*body);
}

Result<std::string> read_reason(const ServerRequest& request) {
  if (request.body.empty()) return std::string{};
  const auto body = json::parse_strict(request.body);
  if (!body) return bad("the body is no JSON: " + body.error().message);
  if (!body->is_object()) return bad("the body is no object");
  if (!body->contains("reason")) return std::string{};
  return json::get_string(*body, "reason");
}

std::string encode_body(const Reply& reply) {
  if (const auto* executor = std::get_if<ExecutorReport>(&reply.body))
    return json::dump(json::encode(*executor));
  if (const auto* host = std::get_if<HostReport>(&reply.body)) return json::dump(json::encode(*host));
  if (const auto* leases = std::get_if<LeaseReply>(&reply.body)) return json::dump(json::encode(*leases));
  return json::dump(json::encode_error(std::get<Error>(reply.body), reply.epoch_seen));
}

void answer_error(const Responder& respond, int status, const Error& error) {
  respond({status, json::dump(json::encode_error(error)), "application/json", {}});
}

const Error is_ending = Error::try_again(ErrorCode::unavailable, "agentd is ending or has too much to do");

}  // namespace

void Daemon::Impl::ask(Responder respond, std::function<Event(RequestId)> make_event) {
  const bool is_posted = strand.post([this, respond, make_event = std::move(make_event)] {
    const RequestId request = ++last_request;
    requests.emplace(request, respond);
    handle(make_event(request));
  });
  if (!is_posted) answer_error(respond, 503, is_ending);
}

void Daemon::Impl::send(const Reply& reply) {
  const auto found = requests.find(reply.request);
  if (found == requests.end()) return;
  found->second({reply.status, encode_body(reply), "application/json", {}});
  requests.erase(found);
}

void Daemon::Impl::wake_waiters() {
  const HostReport& report = logic.report();
  if (report.index == announced_index) return;
  announced_index = report.index;
  encoded_report = json::dump(json::encode(report));
  for (auto it = waiters.begin(); it != waiters.end();) {
    if (it->second.index == report.index) {
      ++it;
      continue;
    }
    it->second.respond({200, encoded_report, "application/json", {}});
    it = waiters.erase(it);
  }
}

void Daemon::Impl::get_executors(const ServerRequest& request, Responder respond) {
  const auto index = query_number(request, "index", 0);
  if (!index) return answer_error(respond, 400, index.error());
  Duration wait = Duration::zero();
  if (const auto found = request.query.find("wait"); found != request.query.end()) {
    const auto parsed = parse_duration(found->second);
    if (!parsed)
      return answer_error(respond, 400, bad("query parameter \"wait\": " + parsed.error().message));
    wait = std::min(*parsed, longest_wait);
  }
  const bool is_blocking = request.query.count("index") != 0 && wait > Duration::zero();
  const bool is_posted = strand.post([this, respond, is_blocking, wait, since = *index] {
    if (!is_blocking || logic.report().index != since)
      return respond({200, encoded_report, "application/json", {}});
    if (waiters.size() >= max_waiters) return answer_error(respond, 503, is_ending);
    const std::uint64_t number = ++last_waiter;
    waiters.emplace(number, Waiter{since, respond});
    const bool is_timed = strand.post_at(shell::now() + wait, [this, number] {
      const auto found = waiters.find(number);
      if (found == waiters.end()) return;
      found->second.respond({200, encoded_report, "application/json", {}});
      waiters.erase(found);
    });
    if (is_timed) return;
    waiters.erase(number);
    answer_error(respond, 503, is_ending);
  });
  if (!is_posted) answer_error(respond, 503, is_ending);
}

std::string Daemon::Impl::metrics_text() {
  const HostReport& report = logic.report();
  const Counters& counters = logic.counters();
  const std::vector<std::pair<const char*, std::uint64_t>> totals{
      {"orders_accepted", counters.orders_accepted}, {"orders_refused", counters.orders_refused},
      {"starts_failed", counters.starts_failed},     {"executors_destroyed", counters.destroyed},
      {"leases_ended", counters.leases_ended},       {"orphans_destroyed", counters.orphans_destroyed},
      {"executors_adopted", counters.adopted},       {"driver_failures", counters.driver_failures},
      {"record_failures", counters.record_failures}, {"tickets_delivered", counters.tickets_delivered}};
  for (const auto& [name, value] : totals) {
    metrics.set_counter(std::string("skep_agentd_") + name + "_total", "Since the start of agentd", {},
                        static_cast<double>(value));
  }
  std::map<std::string, int> in_state;
  for (std::size_t i = 0; i < executor_state_count; ++i)
    in_state[std::string(to_string(static_cast<ExecutorState>(i)))] = 0;
  for (const ExecutorReport& executor : report.executors) ++in_state[std::string(to_string(executor.state))];
  for (const auto& [state, count] : in_state) {
    metrics.set_gauge("skep_agentd_executors_count", "Executors by state", {{"state", state}}, count);
  }
  metrics.set_gauge("skep_agentd_draining_count", "1 while this host takes no new work", {},
                    report.is_draining ? 1 : 0);
  metrics.set_gauge("skep_agentd_epoch_count", "Highest epoch seen", {},
                    static_cast<double>(report.epoch_seen));
  if (announcer) {
    metrics.set_gauge("skep_agentd_registry_up", "1 while the registry of hosts takes our announcements", {},
                      announcer->is_known() ? 1 : 0);
  }
  metrics.set_gauge("skep_agentd_waiting_queries_count", "Blocking queries that wait", {},
                    static_cast<double>(waiters.size()));
  return metrics.to_text();
}

void Daemon::Impl::add_routes() {
  server->route("PUT", "/v1/executors/{id}", [this](ServerRequest request, Responder respond) {
    auto order = read_order(request);
    if (!order) return answer_error(respond, 400, order.error());
    ask(std::move(respond), [order = std::move(*order)](RequestId number) {
      return Event(OrderArrived{number, order});
    });
  });
  server->route("DELETE", "/v1/executors/{id}", [this](ServerRequest request, Responder respond) {
    const auto id = path_id(request);
    if (!id) return answer_error(respond, 400, id.error());
    const auto epoch = query_number(request, "epoch", std::nullopt);
    if (!epoch) return answer_error(respond, 400, epoch.error());
    ask(std::move(respond), [id = ExecutorId(*id), epoch = *epoch](RequestId number) {
      return Event(DestroyArrived{number, id, epoch});
    });
  });
  server->route("GET", "/v1/executors", [this](ServerRequest request, Responder respond) {
    get_executors(request, std::move(respond));
  });
  server->route("GET", "/v1/host", [this](ServerRequest, Responder respond) {
    const bool is_posted = strand.post([this, respond] {
      HostReport report = logic.report();
      report.executors.clear();
      respond({200, json::dump(json::encode(report)), "application/json", {}});
    });
    if (!is_posted) answer_error(respond, 503, is_ending);
  });
  server->route("POST", "/v1/leases", [this](ServerRequest request, Responder respond) {
    auto renewal = read_renewal(request);
    if (!renewal) return answer_error(respond, 400, renewal.error());
    ask(std::move(respond), [renewal = std::move(*renewal)](RequestId number) {
      return Event(LeasesArrived{number, renewal});
    });
  });
  for (const bool is_draining : {true, false}) {
    server->route("POST", is_draining ? "/v1/drain" : "/v1/undrain",
                  [this, is_draining](ServerRequest request, Responder respond) {
                    auto reason = read_reason(request);
                    if (!reason) return answer_error(respond, 400, reason.error());
                    ask(std::move(respond), [is_draining, reason = std::move(*reason)](RequestId number) {
                      return Event(DrainSet{number, is_draining, reason});
                    });
                  });
  }
  server->route("GET", "/healthz", [this](ServerRequest, Responder respond) {
    const bool is_posted = strand.post([this, respond] {
      const Json body{{"status", "ok"}, {"host", config.logic.host.text}, {"version", config.logic.version}};
      respond({200, json::dump(body), "application/json", {}});
    });
    if (!is_posted) answer_error(respond, 503, is_ending);
  });
  server->route("GET", "/metrics", [this](ServerRequest, Responder respond) {
    const auto answer = [this, respond] {
      const bool is_posted = strand.post([this, respond] {
        respond({200, metrics_text(), "text/plain; version=0.0.4", {}});
      });
      if (!is_posted) answer_error(respond, 503, is_ending);
    };
    if (images == nullptr) return answer();
    images->status([this, answer](const Result<images::StoreStatus>& status) {
      if (status) set_image_metrics(*status);
      answer();
    });
  });
  add_image_routes();
}

}  // namespace skep::agentd
