// Peers that speak bytes, not HTTP: what a broken or hostile controller, proxy or client sends. TCP on
// loopback, with TLS when certificates are given, or a unix socket. Every wait has a deadline.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace skep::test {

struct Certificate;

class RawConnection {
 public:
  RawConnection(int socket, void* tls);  // takes both over
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  bool write(const std::string& bytes);
  /// "" at the end of the stream, and when nothing came within the deadline.
  std::string read_some();
  std::string read_to_end();
  /// Head and body (by Content-Length) of one message, or what came of it.
  std::string read_message();
  void end_writing();  // plain connections: the peer sees the end, and may still answer
  void shut();         // any thread; reads and writes end

 private:
  int socket_;
  void* tls_;
  std::string kept_;
};

class RawServer {
 public:
  /// `serve` runs on a thread for each connection; the connection is closed when it returns.
  using Serve = std::function<void(RawConnection&)>;
  explicit RawServer(Serve serve, const Certificate* certificate = nullptr, int max_tls_version = 0);
  /// On a unix socket, without TLS.
  RawServer(Serve serve, const std::string& unix_path);
  ~RawServer();
  RawServer(const RawServer&) = delete;
  RawServer& operator=(const RawServer&) = delete;

  int port() const { return port_; }
  std::string url(const std::string& host = "127.0.0.1") const;
  int connections() const { return connections_; }

 private:
  void accept_all();
  Serve serve_;
  bool has_tls_;
  std::shared_ptr<void> tls_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::atomic<bool> is_stopping_{false};
  std::mutex lock_;  // guards what follows
  std::vector<std::shared_ptr<RawConnection>> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

/// nullptr when nothing listens, or the TLS handshake fails. `ca_file` empty: no TLS.
std::unique_ptr<RawConnection> connect_raw(int port, const std::string& ca_file = {},
                                           int max_tls_version = 0);

/// "HTTP/1.1 200 OK", Content-Length, the body.
std::string http_reply(const std::string& body, const std::string& headers = {},
                       const std::string& status = "200 OK");

}  // namespace skep::test
