// What the tests of agentd's shell share: an API client and orders.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/http/http_client.h"
#include "common/json/agentd_codec.h"
#include "tests/support/temp_folder.h"

namespace skep::test {

/// agentd's API as a test speaks it. Status 0: no answer.
class Api {
 public:
  explicit Api(const std::string& url, const std::string& token = {}) {
    http::ClientOptions options;
    options.base_url = url;
    options.bearer_token = token;
    options.total_timeout = seconds(70);
    auto made = http::make_client(options);
    if (made) client_ = std::move(*made);
  }

  http::Reply call(const std::string& method, const std::string& target, const std::string& body = {}) const {
    http::Request request;
    request.method = method;
    request.target = target;
    request.body = body;
    if (!body.empty()) request.content_type = "application/json";
    auto reply = client_->call(request);
    return reply ? *reply : http::Reply{};
  }

  http::Reply put(const ExecutorOrder& order) const {
    return call("PUT", "v1/executors/" + order.spec.id.text, json::dump(json::encode(order)));
  }
  http::Reply destroy(const std::string& id, Epoch epoch) const {
    return call("DELETE", "v1/executors/" + id + "?epoch=" + std::to_string(epoch));
  }

  std::optional<HostReport> report(const std::string& query = {}) const {
    const http::Reply reply = call("GET", "v1/executors" + query);
    if (reply.status != 200) return std::nullopt;
    const auto body = json::parse_strict(reply.body);
    if (!body) return std::nullopt;
    auto decoded = json::decode_host_report(*body);
    if (!decoded) return std::nullopt;
    return *decoded;
  }

  /// `gone` when it is not reported, `unknown` when nothing answers.
  ExecutorState state(const std::string& id) const {
    const auto host = report();
    if (!host) return ExecutorState::unknown;
    for (const ExecutorReport& executor : host->executors) {
      if (executor.id.text == id) return executor.state;
    }
    return ExecutorState::gone;
  }

 private:
  std::unique_ptr<http::Client> client_;
};

inline std::optional<Error> error_in(const http::Reply& reply) {
  const auto body = json::parse_strict(reply.body);
  if (!body) return std::nullopt;
  return json::decode_error(*body);
}

inline ExecutorOrder make_order(const std::string& id, const std::string& driver, Epoch epoch = 1) {
  ExecutorOrder order;
  order.epoch = epoch;
  order.spec.id = ExecutorId(id);
  order.spec.template_name = TemplateName("t1");
  order.spec.driver = driver;
  order.spec.resources = Resources{100, 64 << 20, 0, {}};
  order.ticket = Ticket{"http://127.0.0.1:1/", id, "secret-of-" + id, 1};
  return order;
}

}  // namespace skep::test
