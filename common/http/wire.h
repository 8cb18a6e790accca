// The bytes under our server: accepts peers, reads requests, writes answers, with limits on size and time.
// Boost.Beast; docs/adr/0010 says why. What a request means is http_server.cpp's.
//
// Every connection has a strand: nothing touches a socket but its own handlers, also when the server stops.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/http/http_server.h"

namespace skep::http {

struct WireOptions {
  std::string host;  // a name, or an address without brackets
  int port = 0;      // 0: the system picks
  std::string tls_cert_file, tls_key_file;
  std::size_t max_body_bytes = bounds::max_request_body_bytes;
};

/// Called on the wire's threads.
struct WireHandlers {
  /// Before the body is read: a reply refuses the request, and its body is not read. `request.path` comes as
  /// it was sent.
  std::function<std::optional<ServerReply>(ServerRequest&)> admit;
  /// A whole request. Not called once close() has begun.
  Handler serve;
};

class Wire {
 public:
  virtual ~Wire() = default;  // closes
  /// The port. Throws boost::system::system_error when it cannot listen.
  virtual int open() = 0;
  /// Takes no more, answers what is served with 503, and cuts after a second who does not read. Afterwards no
  /// handler runs, and responders are ignored. Never from a handler.
  virtual void close() = 0;
};

std::unique_ptr<Wire> make_wire(WireOptions options, WireHandlers handlers);

/// Throws boost::system::system_error when the files are no certificate chain and its key.
void check_certificate(const std::string& cert_file, const std::string& key_file);

ServerReply error_reply(int status, const std::string& code, const std::string& message,
                        const std::string& hint = {});

}  // namespace skep::http
