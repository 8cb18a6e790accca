#include "scheduler/shell/embedded_registry.h"

#include "common/json/agentd_codec.h"

namespace skep::scheduler {

EmbeddedRegistry::EmbeddedRegistry(http::Server& server) {
  server.route("PUT", "/v1/hosts/{host}",
               [shared = shared_](const http::ServerRequest& request, const http::Responder& responder) {
                 const auto refuse = [&](const Error& error) {
                   responder({400, json::dump(json::encode_error(error)), "application/json", {}});
                 };
                 const auto body = json::parse_strict(request.body);
                 if (!body) return refuse(body.error());
                 const auto announcement = json::decode_host_announcement(*body);
                 if (!announcement) return refuse(announcement.error());
                 if (announcement->host.text != request.captures.at("host") ||
                     !is_valid_name(announcement->host.text)) {
                   return refuse(Error::failed(ErrorCode::invalid_input,
                                               "the announced host \"" + announcement->host.text +
                                                   "\" is not the one in the address, or no valid name"));
                 }
                 std::function<void(const HostEndpoint&)> on_host;
                 {
                   const std::lock_guard<std::mutex> guard(shared->lock);
                   on_host = shared->on_host;
                 }
                 if (on_host) on_host({announcement->host, announcement->agentd_url});
                 responder({200, "{}", "application/json", {}});
               });
}

void EmbeddedRegistry::start(Listener listener) {
  const std::lock_guard<std::mutex> guard(shared_->lock);
  shared_->on_host = std::move(listener.on_host);
}

void EmbeddedRegistry::stop() {
  const std::lock_guard<std::mutex> guard(shared_->lock);
  shared_->on_host = nullptr;
}

}  // namespace skep::scheduler
