// Images of hosts, for operators: each question is handed on to the agentd of that host, which decides.
//   GET  /v1/hosts/{host}/images
//   POST /v1/hosts/{host}/images/{image}/pull|verify
#include "common/json/agentd_codec.h"
#include "scheduler/shell/daemon.h"

namespace skep::scheduler {
namespace {

using http::Responder;
using http::ServerRequest;

void answer(const Responder& respond, const Result<json::Json>& result) {
  if (result) return respond({200, json::dump(*result), "application/json", {}});
  // What the host refuses to us is no refusal of ours.
  const ErrorCode code = result.error().code;
  const int status = code == ErrorCode::not_found ? 404 : code == ErrorCode::conflict ? 409 : 500;
  respond({status, json::dump(json::encode_error(result.error())), "application/json", {}});
}

}  // namespace

void Daemon::add_image_routes() {
  const auto relay = [this](const HostId& host, const std::string& method, const std::string& target,
                            const Responder& respond) {
    const Error overloaded = Error::try_again(ErrorCode::unavailable, "the scheduler is overloaded");
    const bool is_posted = strand_->post([this, host, method, target, respond, overloaded] {
      const auto found = hosts_.find(host);
      if (found == hosts_.end() || !found->second.link)
        return answer(respond, Error::failed(ErrorCode::not_found, "no host is called " + host.text,
                                             "skep hosts lists them"));
      const bool is_taken = host_calls_->submit([link = found->second.link, method, target, respond] {
        answer(respond, link->images(method, target));
      });
      if (!is_taken) answer(respond, overloaded);
    });
    if (!is_posted) answer(respond, overloaded);
  };
  server_->route("GET", "/v1/hosts/{host}/images",
                 [relay](const ServerRequest& request, const Responder& respond) {
                   relay(HostId(request.captures.at("host")), "GET", "images", respond);
                 });
  for (const char* verb : {"pull", "verify"}) {
    server_->route("POST", std::string("/v1/hosts/{host}/images/{image}/") + verb,
                   [relay, verb](const ServerRequest& request, const Responder& respond) {
                     const std::string image = http::percent_encode(request.captures.at("image"));
                     relay(HostId(request.captures.at("host")), "POST", "images/" + image + "/" + verb,
                           respond);
                   });
  }
}

}  // namespace skep::scheduler
