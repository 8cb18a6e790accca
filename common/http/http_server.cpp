#include "common/http/http_server.h"

#include <cpprest/base_uri.h>

#include <optional>

#include "common/http/wire.h"
#include "common/shell/files.h"
#include "core/url.h"

namespace skep::http {
namespace {

/// Takes the same time wherever the texts differ.
bool is_equal_in_constant_time(const std::string& a, const std::string& b) {
  unsigned difference = a.size() == b.size() ? 0u : 1u;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference |=
        static_cast<unsigned char>(a.empty() ? 0 : a[i % a.size()]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

struct Route {
  std::string method;
  std::vector<std::string> pattern;
  Handler handler;

  bool matches(const std::vector<std::string>& path, std::map<std::string, std::string>& captures) const {
    if (path.size() != pattern.size()) return false;
    for (std::size_t i = 0; i < path.size(); ++i) {
      const std::string& want = pattern[i];
      if (want.size() > 2 && want.front() == '{' && want.back() == '}') {
        captures[want.substr(1, want.size() - 2)] = path[i];
      } else if (want != path[i]) {
        return false;
      }
    }
    return true;
  }
};

bool may_enter(const std::string& token, const ServerRequest& request) {
  return token.empty() ||
         is_equal_in_constant_time(header_value(request.headers, "Authorization"), "Bearer " + token);
}

/// Nothing but the token is looked at before it is found right.
std::optional<ServerReply> admit(const std::string& token, ServerRequest& request) {
  if (!may_enter(token, request)) {
    ServerReply reply =
        error_reply(401, "unauthenticated", "a token is needed", "send it as Authorization: Bearer");
    reply.headers.emplace_back("WWW-Authenticate", "Bearer");
    return reply;
  }
  try {
    const web::uri target(request.path);
    for (const auto& [key, value] : web::uri::split_query(target.query()))
      request.query[web::uri::decode(key)] = web::uri::decode(value);
    request.path = web::uri::decode(target.path());
  } catch (const std::exception& e) {
    return error_reply(400, "invalid_input", std::string("the request cannot be read: ") + e.what());
  }
  return std::nullopt;
}

/// Answers by the route that fits.
void dispatch(const std::vector<Route>& routes, ServerRequest request, const Responder& respond) {
  const std::vector<std::string> path = web::uri::split_path(request.path);
  std::string allowed;
  for (const Route& route : routes) {
    std::map<std::string, std::string> captures;
    if (!route.matches(path, captures)) continue;
    if (route.method != request.method) {
      allowed += (allowed.empty() ? "" : ", ") + route.method;
      continue;
    }
    request.captures = std::move(captures);
    return route.handler(std::move(request), respond);
  }
  if (allowed.empty()) return respond(error_reply(404, "not_found", "nothing is at " + request.path));
  ServerReply reply = error_reply(405, "unsupported", request.method + " is not possible at " + request.path);
  reply.headers.emplace_back("Allow", allowed);
  respond(reply);
}

class RoutedServer : public Server {
 public:
  RoutedServer(ServerOptions options, WireOptions wire)
      : options_(std::move(options)), wire_options_(std::move(wire)) {}
  ~RoutedServer() override { stop(); }
  RoutedServer(const RoutedServer&) = delete;
  RoutedServer& operator=(const RoutedServer&) = delete;

  void route(std::string method, std::string pattern, Handler handler) override {
    routes_.push_back({std::move(method), web::uri::split_path(pattern), std::move(handler)});
  }

  Result<void> start() override {
    std::string token;
    if (!options_.token_file.empty()) {
      auto text = shell::read_secret_file(options_.token_file);
      if (!text) return text.error();
      token = *text;
    }
    if (auto checked = look_at_certificate(); !checked) return checked;
    wire_ = make_wire(wire_options_, {[token](ServerRequest& request) { return admit(token, request); },
                                      [this](ServerRequest request, const Responder& respond) {
                                        dispatch(routes_, std::move(request), respond);
                                      }});
    try {
      const int port = wire_->open();
      const std::string host = options_.listen.substr(0, options_.listen.rfind(':'));
      url_ = std::string(options_.tls_cert_file.empty() ? "http" : "https") + "://" + host + ":" +
             std::to_string(port) + "/";
      return {};
    } catch (const std::exception& e) {
      return Error::failed(ErrorCode::unavailable, "cannot listen on " + options_.listen + ": " + e.what(),
                           "is the port taken? choose another in the configuration");
    }
  }

  std::string url() const override { return url_; }

  void stop() override {
    if (wire_) wire_->close();
  }

 private:
  Result<void> look_at_certificate() const {
    if (options_.tls_cert_file.empty()) return {};
    if (auto text = shell::read_secret_file(options_.tls_key_file); !text) return text.error();
    try {
      check_certificate(options_.tls_cert_file, options_.tls_key_file);
      return {};
    } catch (const std::exception& e) {
      return Error::failed(ErrorCode::invalid_input,
                           "the TLS certificate " + options_.tls_cert_file + " with the key " +
                               options_.tls_key_file + " cannot be used: " + e.what(),
                           "both are PEM files, and the key belongs to the certificate");
    }
  }

  ServerOptions options_;
  WireOptions wire_options_;
  std::vector<Route> routes_;
  std::string url_;
  std::unique_ptr<Wire> wire_;  // last: its handlers use the rest
};

}  // namespace

Result<std::unique_ptr<Server>> make_server(ServerOptions options) {
  const std::size_t colon = options.listen.rfind(':');
  const std::string host = options.listen.substr(0, colon);
  const std::string port_text = colon == std::string::npos ? "" : options.listen.substr(colon + 1);
  const bool is_number = !port_text.empty() && port_text.size() <= 5 &&
                         port_text.find_first_not_of("0123456789") == std::string::npos;
  const int port = is_number ? std::stoi(port_text) : -1;
  if (host.empty() || port < 0 || port > 65535) {
    return Error::failed(ErrorCode::invalid_input, "\"" + options.listen + "\" is no address to listen on",
                         "give host:port, such as 127.0.0.1:7070");
  }
  if (!is_loopback_host(host) && options.token_file.empty()) {
    return Error::failed(ErrorCode::invalid_input,
                         "refusing to listen on " + options.listen + " without a token file",
                         "set token_file (mode 0600), or listen on 127.0.0.1");
  }
  if (options.tls_cert_file.empty() != options.tls_key_file.empty()) {
    return Error::failed(ErrorCode::invalid_input, "TLS needs both a certificate and a key file");
  }
  WireOptions wire;
  wire.host = host.front() == '[' ? host.substr(1, host.size() - 2) : host;
  wire.port = port;
  wire.tls_cert_file = options.tls_cert_file;
  wire.tls_key_file = options.tls_key_file;
  wire.max_body_bytes = options.max_body_bytes;
  return std::unique_ptr<Server>(std::make_unique<RoutedServer>(std::move(options), std::move(wire)));
}

}  // namespace skep::http
