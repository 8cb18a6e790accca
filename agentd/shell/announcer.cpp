#include "agentd/shell/announcer.h"

#include <algorithm>
#include <utility>

#include "common/json/agentd_codec.h"
#include "common/shell/clock.h"
#include "common/shell/files.h"
#include "common/shell/worker_pool.h"

namespace skep::agentd {
namespace {
constexpr Duration retry = seconds(1);
constexpr Duration call_limit = seconds(3);
}  // namespace

Result<std::unique_ptr<Announcer>> Announcer::make(const RegistryConfig& registry,
                                                   HostAnnouncement announcement) {
  http::ClientOptions options;
  options.base_url = registry.scheduler_url;
  if (!options.base_url.empty() && options.base_url.back() != '/') options.base_url += '/';
  options.ca_file = registry.scheduler_ca_file;
  options.user_agent = "skep-agentd";
  options.total_timeout = call_limit;
  options.max_reply_bytes = bounds::max_request_body_bytes;
  if (!registry.scheduler_token_file.empty()) {
    auto token = shell::read_secret_file(registry.scheduler_token_file);
    if (!token) return token.error();
    options.bearer_token = std::move(*token);
  }
  auto client = http::make_client(std::move(options));
  if (!client) return client.error();
  return std::unique_ptr<Announcer>(
      new Announcer(std::move(*client), std::move(announcement), registry.scheduler_url));
}

Announcer::Announcer(std::unique_ptr<http::Client> client, HostAnnouncement announcement, std::string peer)
    : client_(std::move(client)), announcement_(std::move(announcement)), peer_(std::move(peer)) {}

Announcer::~Announcer() {
  stop();
}

void Announcer::start() {
  thread_ = std::thread([this] { shell::run_guarded("announcer", [this] { run(); }); });
}

void Announcer::stop() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  client_->cancel();
  if (thread_.joinable()) thread_.join();
}

std::optional<Error> Announcer::announce() {
  http::Request request;
  request.method = "PUT";
  request.target = "v1/hosts/" + http::percent_encode(announcement_.host.text);
  request.body = json::dump(json::encode(announcement_));
  request.content_type = "application/json";
  const auto reply = client_->call(request);
  if (!reply) return reply.error();
  if (reply->status >= 200 && reply->status < 300) return std::nullopt;
  std::string text = "status " + std::to_string(reply->status);
  if (const auto body = json::parse_strict(reply->body)) {
    if (const auto error = json::decode_error(*body)) text += ": " + error->message;
  }
  return Error::try_again(ErrorCode::unavailable, text);
}

void Announcer::run() {
  bool is_known = false;
  for (;;) {
    const std::optional<Error> error = announce();
    if (error) {
      is_known = false;
      std::uint64_t held_back = 0;
      if (limiter_.allows(error->message, shell::now(), held_back)) {
        log::write(
            log::Level::warning,
            "cannot announce this host to " + peer_ + ": " + error->message + "; tried again every second",
            {{"host", announcement_.host.text}});
      }
    } else if (!std::exchange(is_known, true)) {
      log::write(log::Level::info, "announced to " + peer_, {{"host", announcement_.host.text}});
    }
    std::unique_lock<std::mutex> guard(lock_);
    const Duration pause = error ? std::min<Duration>(retry, announcement_.ttl / 3) : announcement_.ttl / 3;
    if (wake_.wait_for(guard, pause, [this] { return is_stopping_; })) return;
  }
}

}  // namespace skep::agentd
