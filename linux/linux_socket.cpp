#include "linux/linux_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

namespace skep::posix_host {
namespace {

constexpr std::size_t max_chunk = 64 * 1024;

Error socket_error(const std::string& what, int code) {
  const bool is_missing = code == ENOENT;
  const ErrorCode error_code = is_missing                               ? ErrorCode::not_found
                               : code == ECONNREFUSED || code == EAGAIN ? ErrorCode::unavailable
                               : code == EACCES || code == EPERM        ? ErrorCode::permission_denied
                               : code == EMFILE || code == ENFILE || code == ENOMEM
                                   ? ErrorCode::out_of_resources
                                   : ErrorCode::generic;
  return Error::try_again(error_code, what + ": " + std::strerror(code));
}

}  // namespace

Result<UnixStream> UnixStream::connect(const std::string& path) {
  const std::string what = "cannot connect to " + path;
  UnixStream stream(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (stream.fd_ < 0) return socket_error(what, errno);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  int folder = -1;
  std::string reachable = path;
  if (path.size() >= sizeof address.sun_path) {
    // Its folder as a descriptor makes any path short.
    const std::size_t slash = path.rfind('/');
    folder = ::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return socket_error(what, errno);
    reachable = "/proc/self/fd/" + std::to_string(folder) + path.substr(slash);
  }
  int code = ENAMETOOLONG;
  if (reachable.size() < sizeof address.sun_path) {
    std::memcpy(address.sun_path, reachable.c_str(), reachable.size() + 1);
    const bool is_connected =
        ::connect(stream.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    code = is_connected ? 0 : errno;
  }
  if (folder >= 0) ::close(folder);
  if (code != 0) return socket_error(what, code);
  return stream;
}

UnixStream::~UnixStream() {
  if (fd_ >= 0) ::close(fd_);
}

UnixStream::UnixStream(UnixStream&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

UnixStream& UnixStream::operator=(UnixStream&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Result<void> UnixStream::wait(short events, Duration deadline) const {
  const auto limit = std::chrono::steady_clock::now() + deadline;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    pollfd poll_for{fd_, events, 0};
    const int ready = ::poll(&poll_for, 1, static_cast<int>(std::clamp<long long>(left.count(), 0, 600'000)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return socket_error("cannot wait for a socket", errno);
    if (ready == 0 && left.count() <= 0)
      return Error::unknown(ErrorCode::timed_out, "the peer of a socket did not answer in time");
  }
}

Result<void> UnixStream::send(const std::string& bytes, Duration deadline) {
  const auto limit = std::chrono::steady_clock::now() + deadline;
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t count = ::send(fd_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (count > 0) {
      at += static_cast<std::size_t>(count);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) {
      return Error::unknown(ErrorCode::unavailable,
                            std::string("the peer of a socket went away: ") + std::strerror(errno));
    }
    const auto left = limit - std::chrono::steady_clock::now();
    if (auto waited = wait(POLLOUT, std::chrono::duration_cast<Duration>(left)); !waited) return waited;
  }
  return {};
}

Result<std::size_t> UnixStream::send_some(const std::string& bytes) {
  for (;;) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN) return std::size_t{0};
    if (errno != EINTR) return socket_error("cannot write to a socket", errno);
  }
}

Result<void> UnixStream::send_with_file(const std::string& bytes, int file, Duration deadline) {
  if (bytes.empty()) return Error::failed(ErrorCode::invalid_input, "a file is handed over with a byte");
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char first = bytes.front();
  iovec data{&first, 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &file, sizeof file);
  if (auto waited = wait(POLLOUT, deadline); !waited) return waited;
  if (::sendmsg(fd_, &message, MSG_NOSIGNAL) != 1) {
    return Error::unknown(ErrorCode::unavailable,
                          std::string("cannot hand over a file: ") + std::strerror(errno));
  }
  return send(bytes.substr(1), deadline);
}

Result<std::string> UnixStream::receive(Duration deadline) {
  std::string bytes(max_chunk, '\0');
  for (;;) {
    const ssize_t count = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (count >= 0) {
      bytes.resize(static_cast<std::size_t>(count));
      return bytes;
    }
    if (errno == EINTR) continue;
    if (errno == ECONNRESET) return std::string();
    if (errno != EAGAIN) return socket_error("cannot read from a socket", errno);
    if (auto waited = wait(POLLIN, deadline); !waited) return waited.error();
  }
}

Result<std::vector<std::string>> resolve_ipv4(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (code != 0) {
    const std::string message = "cannot find the address of " + host + ": " + ::gai_strerror(code);
    if (code == EAI_NONAME || code == EAI_NODATA || code == EAI_ADDRFAMILY)
      return Error::failed(ErrorCode::not_found, message);
    return Error::try_again(ErrorCode::unavailable, message);
  }
  std::vector<std::string> addresses;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    char text[INET_ADDRSTRLEN] = {};
    const auto* address = reinterpret_cast<const sockaddr_in*>(each->ai_addr);
    if (::inet_ntop(AF_INET, &address->sin_addr, text, sizeof text) == nullptr) continue;
    if (std::find(addresses.begin(), addresses.end(), text) == addresses.end()) addresses.emplace_back(text);
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) return Error::failed(ErrorCode::not_found, host + " has no IPv4 address");
  return addresses;
}

}  // namespace skep::posix_host
