// Blocking HTTP client for one peer behind a unix socket: a connection a call, no redirects, no compression.
//
// call() returns a Reply for EVERY complete HTTP answer, whatever its status; an Error only when there is
// none:
//   unavailable/try_again   nothing was sent (no such socket, refused, no right to connect)
//   unavailable/unknown     sent, and the connection broke before the answer was complete
//   timed_out/unknown       the total deadline passed, connecting included
//   malformed_reply/unknown what came is no HTTP
//   too_large/unknown       the body is over max_reply_bytes
// Thread-safe: calls may run concurrently. Nothing is repeated: the caller knows what may be.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/http/http_types.h"

namespace skep::http {

struct UnixClientOptions {
  std::string socket_path;
  Duration total_timeout = seconds(30);
  std::size_t max_reply_bytes = bounds::max_reply_bytes;
};

class UnixClient {
 public:
  explicit UnixClient(UnixClientOptions options) : options_(std::move(options)) {}
  Result<Reply> call(const Request& request, std::optional<Duration> timeout = {}) const;

 private:
  UnixClientOptions options_;
};

/// One answer that goes on and on, such as a stream of events. For one use.
class UnixStream {
 public:
  explicit UnixStream(UnixClientOptions options);
  ~UnixStream();
  UnixStream(const UnixStream&) = delete;
  UnixStream& operator=(const UnixStream&) = delete;

  /// Blocks until the answer ends, breaks or is cancelled. `on_head` has the status and whatever headers
  /// came, once; `on_text` each piece of the body. total_timeout is that of the head; the body may be silent
  /// for ever. Success: the peer ended the answer. Errors as of UnixClient::call; after cancel(),
  /// unavailable/try_again.
  Result<void> read(const Request& request, const std::function<void(const Reply&)>& on_head,
                    const std::function<void(std::string_view)>& on_text);
  /// Any thread, also before read(), which then ends at once.
  void cancel();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// One request whose body is too large for memory: sent in chunks as it is made. For one use.
class UnixUpload {
 public:
  explicit UnixUpload(UnixClientOptions options);
  ~UnixUpload();
  UnixUpload(const UnixUpload&) = delete;
  UnixUpload& operator=(const UnixUpload&) = delete;

  /// `next` gives the next piece of the body, in the caller's thread; empty: that was all; its error ends the
  /// call and is returned. A peer may answer before it took all: that is the answer. total_timeout is of
  /// everything; `silence`: how long it may take no byte while there are any. Errors as of
  /// UnixClient::call; after cancel(), unavailable/unknown.
  Result<Reply> send(const Request& request, const std::function<Result<std::string>()>& next,
                     Duration silence);
  /// Any thread, also before send(), which then ends at once.
  void cancel();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::http
