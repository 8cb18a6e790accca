#include <algorithm>
#include <utility>

#include "agentd/shell/registry_line.h"
#include "common/http/http_client.h"
#include "common/json/agentd_codec.h"
#include "common/shell/files.h"

namespace skep::agentd {
namespace {

constexpr Duration call_limit = seconds(3);

class EmbeddedLine : public RegistryLine {
 public:
  EmbeddedLine(std::unique_ptr<http::Client> client, HostAnnouncement announcement, std::string peer)
      : client_(std::move(client)), announcement_(std::move(announcement)), peer_(std::move(peer)) {}

  Result<void> announce() override {
    http::Request request;
    request.method = "PUT";
    request.target = "v1/hosts/" + http::percent_encode(announcement_.host.text);
    request.body = json::dump(json::encode(announcement_));
    request.content_type = "application/json";
    const auto reply = client_->call(request);
    if (!reply) return reply.error();
    if (reply->status >= 200 && reply->status < 300) return {};
    std::string text = "status " + std::to_string(reply->status);
    if (const auto body = json::parse_strict(reply->body)) {
      if (const auto error = json::decode_error(*body)) text += ": " + error->message;
    }
    return Error::try_again(ErrorCode::unavailable, text);
  }
  /// The scheduler keeps the hosts that it knows; it sees by itself that this one is away.
  Result<void> withdraw() override { return {}; }
  void cancel() override { client_->cancel(); }
  Duration longest_pause(Duration ttl) const override { return std::min<Duration>(seconds(1), ttl / 3); }
  const std::string& peer() const override { return peer_; }

 private:
  std::unique_ptr<http::Client> client_;
  HostAnnouncement announcement_;
  std::string peer_;
};

}  // namespace

Result<std::unique_ptr<RegistryLine>> make_embedded_line(const RegistryConfig& registry,
                                                         const HostAnnouncement& announcement) {
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
  return std::unique_ptr<RegistryLine>(
      std::make_unique<EmbeddedLine>(std::move(*client), announcement, registry.scheduler_url));
}

}  // namespace skep::agentd
