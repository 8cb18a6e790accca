// HTTP server for our own APIs: routes, deferred replies (for blocking queries), token check, TLS.
//
// Handlers run on the server's threads and must not block; they may keep the Responder and answer later from
// any thread. Loopback unless told otherwise; any other address without a token is refused at start
// (invalid_input).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/http/http_types.h"

namespace skep::http {

struct ServerRequest {
  std::string method;
  std::string path;                          // decoded, "/v1/executors/x"
  std::map<std::string, std::string> query;  // decoded
  Headers headers;
  std::string body;  // at most max_request_body_bytes; larger is answered 413 by the server
  std::map<std::string, std::string> captures;  // from {name} in the route's pattern
};

struct ServerReply {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  Headers headers;
};

/// Answers exactly once; later calls are ignored. Dropping it unanswered answers 500.
using Responder = std::function<void(ServerReply)>;
using Handler = std::function<void(ServerRequest, Responder)>;

struct ServerOptions {
  std::string listen = "127.0.0.1:0";       // host:port, port 0: the system picks
  std::string token_file;                   // 0600; "Authorization: Bearer"; compared in constant time
  std::string tls_cert_file, tls_key_file;  // PEM; both or none
  std::size_t max_body_bytes = bounds::max_request_body_bytes;
};

class Server {
 public:
  virtual ~Server() = default;  // stops
  /// pattern: "/v1/executors/{id}". Call before start(). Unknown path: 404 JSON; wrong method: 405 with
  /// Allow.
  virtual void route(std::string method, std::string pattern, Handler handler) = 0;
  virtual Result<void> start() = 0;
  virtual std::string url() const = 0;  // "http://127.0.0.1:41234/", after start()
  /// Answers what is pending with 503. When it returns no handler runs, and none will: what they work on may
  /// go. Never from a handler.
  virtual void stop() = 0;
};

Result<std::unique_ptr<Server>> make_server(ServerOptions options);

}  // namespace skep::http
