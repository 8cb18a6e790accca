#include "scheduler/shell/host_link.h"

#include <algorithm>

#include "common/json/agentd_codec.h"
#include "common/json/json.h"
#include "common/shell/clock.h"
#include "common/shell/worker_pool.h"

namespace skep::scheduler {
namespace {

constexpr Duration report_wait = seconds(30);
constexpr Duration call_timeout = seconds(10);
constexpr Duration look_timeout = seconds(5);

/// agentd's answer to a call, as an error that keeps its three outcomes apart.
Error error_of(const http::Reply& reply, const HostId& host) {
  const std::string prefix = "agentd on " + host.text + ": ";
  if (auto body = json::parse_strict(reply.body)) {
    if (auto error = json::decode_error(*body)) {
      error->message = prefix + error->message;
      return *error;
    }
  }
  const std::string message = prefix + "answered " + std::to_string(reply.status);
  if (reply.status == 401 || reply.status == 403)
    return Error::failed(ErrorCode::unauthenticated, message, "check agentd.token_file");
  if (reply.status >= 500) return Error::unknown(ErrorCode::unavailable, message);
  return Error::failed(ErrorCode::generic, message);
}

template <typename T, typename Decode>
Result<T> decoded(const Result<http::Reply>& reply, const HostId& host, Decode decode) {
  if (!reply) {
    Error error = reply.error();
    error.message = "agentd on " + host.text + ": " + error.message;
    return error;
  }
  if (reply->status >= 300) return error_of(*reply, host);
  auto body = json::parse_strict(reply->body);
  if (!body)
    return Error::unknown(ErrorCode::malformed_reply, "agentd on " + host.text + ": " + body.error().message);
  Result<T> value = decode(*body);
  if (!value)
    return Error::unknown(ErrorCode::malformed_reply,
                          "agentd on " + host.text + ": " + value.error().message);
  return value;
}

}  // namespace

Result<std::unique_ptr<HostLink>> HostLink::create(HostLinkOptions options, OnEvent on_event) {
  http::ClientOptions client;
  client.base_url = options.agentd_url;
  client.ca_file = options.ca_file;
  client.bearer_token = options.bearer_token;
  client.total_timeout = call_timeout;
  client.fresh_connection_after = minutes(5);
  auto made = http::make_client(std::move(client));
  if (!made) return made.error();
  return std::unique_ptr<HostLink>(new HostLink(std::move(options), std::move(*made), std::move(on_event)));
}

HostLink::HostLink(HostLinkOptions options, std::unique_ptr<http::Client> client, OnEvent on_event)
    : options_(std::move(options)), client_(std::move(client)), on_event_(std::move(on_event)) {
  thread_ = std::thread([this] { shell::run_guarded("host " + options_.host.text, [this] { watch(); }); });
}

HostLink::~HostLink() {
  stop();
}

void HostLink::stop() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  client_->cancel();
  if (thread_.joinable()) thread_.join();
}

bool HostLink::pause_for(Duration time) {
  std::unique_lock<std::mutex> guard(lock_);
  wake_.wait_for(guard, time, [this] { return is_stopping_.load(); });
  return !is_stopping_;
}

void HostLink::watch() {
  std::uint64_t index = 0;
  Duration pause = milliseconds(250);
  while (!is_stopping_) {
    const Instant asked = shell::now();
    auto report = checked(read_report(index, index == 0 ? Duration::zero() : report_wait, call_timeout));
    if (is_stopping_) return;
    if (report) {
      const bool is_same = report->index == index;
      index = report->index;
      pause = milliseconds(250);
      on_event_(HostReported{std::move(*report), asked});
      // A peer that answers at once without news must not make us spin.
      if (is_same && shell::now() - asked < milliseconds(50) && !pause_for(milliseconds(200))) return;
    } else {
      index = 0;
      on_event_(HostUnseen{options_.host, report.error()});
      if (!pause_for(pause)) return;
      pause = std::min<Duration>(pause * 2, seconds(5));
    }
  }
}

Result<HostReport> HostLink::checked(Result<HostReport> report) const {
  if (!report || report->host == options_.host) return report;
  return Error::failed(ErrorCode::conflict, "the agentd at " + options_.agentd_url + " says it is " +
                                                report->host.text + ", not " + options_.host.text);
}

Event HostLink::look() {
  const Instant asked = shell::now();
  auto report = checked(read_report(0, Duration::zero(), look_timeout));
  if (!report) return HostUnseen{options_.host, report.error()};
  return HostReported{std::move(*report), asked};
}

Result<HostReport> HostLink::read_report(std::uint64_t index, Duration wait, Duration limit) {
  http::Request request;
  request.target =
      "v1/executors?index=" + std::to_string(index) + "&wait=" + std::to_string(to_ms(wait) / 1000) + "s";
  return decoded<HostReport>(client_->call(request, wait + limit), options_.host, json::decode_host_report);
}

Result<ExecutorReport> HostLink::order(const ExecutorOrder& order) {
  http::Request request;
  request.method = "PUT";
  request.target = "v1/executors/" + http::percent_encode(order.spec.id.text);
  request.body = json::dump(json::encode(order));
  request.content_type = "application/json";
  return decoded<ExecutorReport>(client_->call(request), options_.host, json::decode_executor_report);
}

Result<ExecutorReport> HostLink::destroy(const ExecutorId& executor, Epoch epoch) {
  http::Request request;
  request.method = "DELETE";
  request.target = "v1/executors/" + http::percent_encode(executor.text) + "?epoch=" + std::to_string(epoch);
  return decoded<ExecutorReport>(client_->call(request), options_.host, json::decode_executor_report);
}

Result<json::Json> HostLink::images(const std::string& method, const std::string& target) {
  http::Request request;
  request.method = method;
  request.target = "v1/" + target;
  request.is_repeatable = true;
  return decoded<json::Json>(client_->call(request), options_.host, [](const json::Json& body) {
    return body.is_object() ? Result<json::Json>(body)
                            : Error::failed(ErrorCode::malformed_reply, "the answer is no object");
  });
}

Result<std::string> HostLink::pull(const std::string& reference) {
  const auto image = images("POST", "images/" + http::percent_encode(reference) + "/pull");
  if (!image) return image.error();
  const auto problem = json::get_string(*image, "problem");
  return problem ? *problem : std::string();
}

Result<LeaseReply> HostLink::renew(const LeaseRenewal& renewal) {
  http::Request request;
  request.method = "POST";
  request.target = "v1/leases";
  request.body = json::dump(json::encode(renewal));
  request.content_type = "application/json";
  return decoded<LeaseReply>(client_->call(request), options_.host, json::decode_lease_reply);
}

}  // namespace skep::scheduler
