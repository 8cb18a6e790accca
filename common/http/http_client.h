// Blocking HTTP client for one peer: keep-alive, no redirects followed, no cookies kept, gzip asked for.
//
// call() returns a Reply for EVERY complete HTTP answer, whatever its status; an Error only when there is
// none:
//   unavailable/try_again   nothing was sent (refused, name not found, TLS refused)
//   unavailable/unknown     sent, and the connection broke before the answer was complete; what may be
//                           repeated (all but POSTs that do not say so) was tried on a new one, too
//   timed_out/unknown       the total deadline passed, connecting included
//   too_large/unknown       the decompressed body is over max_reply_bytes
// Thread-safe: calls may run concurrently, each on its own connection. Bodies and headers never reach a log.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "common/http/http_types.h"

namespace skep::http {

struct ClientOptions {
  std::string base_url;    // http(s)://host:port/prefix/ ; a path prefix is kept
  std::string ca_file;     // PEM of a private CA; empty: the system's
  std::string basic_user;  // with basic_password: sent with every request, unasked
  std::string basic_password;
  std::string bearer_token;
  std::string user_agent = "skep";
  Duration total_timeout = seconds(30);
  std::size_t max_reply_bytes = bounds::max_reply_bytes;
  bool ask_for_gzip = true;
  Duration fresh_connection_after =
      seconds(25);  // orders after longer silence use a new connection (Jenkins closes at 30 s)
};

class Client {
 public:
  virtual ~Client() = default;
  virtual Result<Reply> call(const Request& request,
                             std::optional<Duration> total_timeout = std::nullopt) = 0;
  /// Ends every running call (unavailable/unknown) and refuses later ones at once: for a stop that does not
  /// wait.
  virtual void cancel() = 0;
};

/// Error invalid_input for an unusable base address or CA file.
Result<std::unique_ptr<Client>> make_client(ClientOptions options);

}  // namespace skep::http
