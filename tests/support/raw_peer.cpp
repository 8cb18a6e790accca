#include "tests/support/raw_peer.h"

#include "tests/support/certificates.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace skep::test {
namespace {

constexpr int deadline_s = 20;

SSL* tls_of(void* tls) {
  return static_cast<SSL*>(tls);
}

void set_deadline(int socket) {
  timeval limit{deadline_s, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

std::shared_ptr<SSL_CTX> make_context(const SSL_METHOD* method, int max_version) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(method), SSL_CTX_free);
  if (max_version != 0) {
    SSL_CTX_set_security_level(context.get(), 0);
    SSL_CTX_set_min_proto_version(context.get(), TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context.get(), max_version);
  }
  return context;
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

}  // namespace

RawConnection::RawConnection(int socket, void* tls) : socket_(socket), tls_(tls) {
  set_deadline(socket);
}

RawConnection::~RawConnection() {
  if (tls_ != nullptr) SSL_free(tls_of(tls_));
  ::close(socket_);
}

void RawConnection::end_writing() {
  if (tls_ == nullptr) ::shutdown(socket_, SHUT_WR);
}

void RawConnection::shut() {
  ::shutdown(socket_, SHUT_RDWR);
}

bool RawConnection::write(const std::string& bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const int left = static_cast<int>(std::min<std::size_t>(bytes.size() - at, 1u << 20));
    const auto sent = tls_ != nullptr
                          ? static_cast<ssize_t>(SSL_write(tls_of(tls_), bytes.data() + at, left))
                          : ::send(socket_, bytes.data() + at, static_cast<std::size_t>(left), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += static_cast<std::size_t>(sent);
  }
  return true;
}

std::string RawConnection::read_some() {
  if (!kept_.empty()) return std::exchange(kept_, {});
  std::array<char, 65536> chunk{};
  const auto got =
      tls_ != nullptr
          ? static_cast<ssize_t>(SSL_read(tls_of(tls_), chunk.data(), static_cast<int>(chunk.size())))
          : ::recv(socket_, chunk.data(), chunk.size(), 0);
  return got <= 0 ? std::string() : std::string(chunk.data(), static_cast<std::size_t>(got));
}

std::string RawConnection::read_to_end() {
  std::string all;
  for (std::string part = read_some(); !part.empty(); part = read_some()) all += part;
  return all;
}

std::string RawConnection::read_message() {
  std::string all;
  std::size_t wanted = std::string::npos;
  while (all.size() < wanted) {
    const std::string part = read_some();
    if (part.empty()) return all;
    all += part;
    const std::size_t head = all.find("\r\n\r\n");
    if (head == std::string::npos || wanted != std::string::npos) continue;
    std::string lower = all.substr(0, head);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return static_cast<char>(std::tolower(c)); });
    const std::size_t length = lower.find("content-length:");
    wanted =
        head + 4 + (length == std::string::npos ? 0 : std::strtoul(lower.c_str() + length + 15, nullptr, 10));
  }
  kept_ = all.substr(wanted);
  return all.substr(0, wanted);
}

RawServer::RawServer(Serve serve, const Certificate* certificate, int max_tls_version)
    : serve_(std::move(serve)), has_tls_(certificate != nullptr) {
  if (has_tls_) {
    auto context = make_context(TLS_server_method(), max_tls_version);
    if (SSL_CTX_use_certificate_chain_file(context.get(), certificate->cert_file.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context.get(), certificate->key_file.c_str(), SSL_FILETYPE_PEM) != 1)
      throw std::runtime_error("the test's certificate cannot be used");
    tls_ = context;
  }
  std::signal(SIGPIPE, SIG_IGN);  // SSL_write has no MSG_NOSIGNAL
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 128) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("the test cannot listen");
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

RawServer::RawServer(Serve serve, const std::string& unix_path) : serve_(std::move(serve)), has_tls_(false) {
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (unix_path.size() >= sizeof address.sun_path)
    throw std::runtime_error("the path of the socket is too long");
  unix_path.copy(address.sun_path, unix_path.size());
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_, 128) != 0)
    throw std::runtime_error("the test cannot listen");
  acceptor_ = std::thread([this] { accept_all(); });
}

RawServer::~RawServer() {
  is_stopping_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  ::close(listener_);
  {
    const std::lock_guard<std::mutex> guard(lock_);
    for (const auto& connection : open_) connection->shut();
  }
  for (std::thread& thread : threads_) thread.join();
}

std::string RawServer::url(const std::string& host) const {
  return std::string(has_tls_ ? "https" : "http") + "://" + host + ":" + std::to_string(port_) + "/";
}

void RawServer::accept_all() {
  while (!is_stopping_) {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket < 0) continue;
    SSL* tls = nullptr;
    if (has_tls_) {
      tls = SSL_new(static_cast<SSL_CTX*>(tls_.get()));
      SSL_set_fd(tls, socket);
    }
    auto connection = std::make_shared<RawConnection>(socket, tls);
    const std::lock_guard<std::mutex> guard(lock_);
    open_.push_back(connection);
    threads_.emplace_back([this, connection, tls] {
      if (tls == nullptr || SSL_accept(tls) == 1) {
        ++connections_;
        serve_(*connection);
      }
      connection->shut();
    });
  }
}

std::unique_ptr<RawConnection> connect_raw(int port, const std::string& ca_file, int max_tls_version) {
  std::signal(SIGPIPE, SIG_IGN);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(socket);
    return nullptr;
  }
  if (ca_file.empty()) return std::make_unique<RawConnection>(socket, nullptr);
  const auto context = make_context(TLS_client_method(), max_tls_version);
  SSL_CTX_load_verify_locations(context.get(), ca_file.c_str(), nullptr);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  SSL* tls = SSL_new(context.get());
  SSL_set_fd(tls, socket);
  auto connection = std::make_unique<RawConnection>(socket, tls);
  if (SSL_connect(tls) != 1) return nullptr;
  return connection;
}

std::string http_reply(const std::string& body, const std::string& headers, const std::string& status) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers +
         "\r\n" + body;
}

}  // namespace skep::test
