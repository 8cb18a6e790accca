// Streams over unix sockets, with deadlines. Linux only. One object: one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace skep::posix_host {

class UnixStream {
 public:
  /// Any length of path. not_found: no such socket; unavailable: nobody listens. Never waits for long: the
  /// peer's queue of connections is full or not.
  static Result<UnixStream> connect(const std::string& path);
  ~UnixStream();
  UnixStream(UnixStream&& other) noexcept;
  UnixStream& operator=(UnixStream&& other) noexcept;
  UnixStream(const UnixStream&) = delete;
  UnixStream& operator=(const UnixStream&) = delete;

  /// All of it, or an error: timed_out or unavailable, outcome unknown, for a part may have arrived.
  Result<void> send(const std::string& bytes, Duration deadline);
  /// The same, and hands over an open file with the first byte.
  Result<void> send_with_file(const std::string& bytes, int file, Duration deadline);
  /// As much as goes without waiting: how many bytes went.
  Result<std::size_t> send_some(const std::string& bytes);
  /// What comes next, at least one byte and at most 64 KiB; empty: the peer closed. timed_out after
  /// `deadline`.
  Result<std::string> receive(Duration deadline);
  int descriptor() const { return fd_; }

 private:
  explicit UnixStream(int fd) : fd_(fd) {}
  Result<void> wait(short events, Duration deadline) const;
  int fd_ = -1;
};

/// IPv4 addresses of a name or address, as the system's resolver has them; takes as long as that takes.
/// not_found: there is none; try_again when the resolver could not tell.
Result<std::vector<std::string>> resolve_ipv4(const std::string& host);

}  // namespace skep::posix_host
