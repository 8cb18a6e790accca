// Fetches one large file over HTTP(S) to wherever the caller puts it, piece by piece: GET, resumed by Range
// and If-Range (RFC 9110, sections 13.1.5 and 14), no redirects, no compression, no proxy, a connection a
// file. Boost.Beast: docs/adr says why.
//
//   failed/not_found          404 or 410
//   failed/unauthenticated    401 or 403
//   failed/too_large          the file is larger than max_bytes
//   failed/unsupported        a redirect (its target is in the message), another status, an encoding
//   failed/malformed_reply    no HTTP, or a Content-Range that is not what was asked for
//   try_again/unavailable     refused, name not found, TLS refused, 408, 429 or 5xx, broken off, cancelled
//   try_again/timed_out       not connected, no head, too slow, or not done in time
// A GET changes nothing, so no outcome is unknown; what on_bytes got before an error stays good.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/time.h"

namespace skep::http {

struct DownloadOptions {
  std::string ca_file;  // PEM of a private CA; empty: the system's
  std::string basic_user, basic_password;
  Duration head_timeout = seconds(30);  // each of: connecting with TLS, and the head. Looking up a name is
                                        // the system's and takes as long as that takes
  Duration total_timeout = hours(4);
  std::int64_t min_bytes_per_second = 0;  // on average over rate_window; 0: none, but silence still ends it
  Duration rate_window = seconds(10);
};

struct DownloadRequest {
  std::string url;              // http(s)://host[:port]/path, percent-encoded
  std::uint64_t offset = 0;     // of the first byte that is missing
  std::string etag;             // strong, of the bytes that are there; empty: everything is asked for
  std::uint64_t max_bytes = 0;  // of the whole file
};

struct DownloadHead {
  std::uint64_t offset = 0;  // where the bytes that follow belong: as asked, or 0: start over
  std::optional<std::uint64_t> total;
  std::string etag;  // empty when there is none that may be used for a resume
};

class Download {
 public:
  explicit Download(DownloadOptions options);
  ~Download();
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;

  /// Blocks. `on_head` comes once, then `on_bytes`; an error of theirs ends it and is returned. Success: the
  /// whole file came. May be called again, one call at a time.
  Result<void> get(const DownloadRequest& request,
                   const std::function<Result<void>(const DownloadHead&)>& on_head,
                   const std::function<Result<void>(std::string_view)>& on_bytes);
  /// Any thread: ends the running call and refuses later ones.
  void cancel();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What a head says, against what was asked. Pure.
struct DownloadReply {
  int status = 0;
  std::string content_range, etag, location, content_encoding;
  std::optional<std::uint64_t> content_length;
};
Result<DownloadHead> judge_head(const DownloadRequest& request, const DownloadReply& reply);

}  // namespace skep::http
