#include "common/http/http_server.h"

#include <cpprest/http_listener.h>
#include <pplx/threadpool.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>

#include "common/http/threads.h"
#include "common/shell/files.h"
#include "core/url.h"

namespace skep::http {
namespace {

using web::http::experimental::listener::http_listener;
using web::http::experimental::listener::http_listener_config;

constexpr auto answers_may_take = std::chrono::seconds(1);  // of a stop

std::string json_text(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

ServerReply error_reply(int status, const std::string& code, const std::string& message,
                        const std::string& hint = {}) {
  ServerReply reply;
  reply.status = status;
  reply.body = R"({"error":{"code":)" + json_text(code) + R"(,"outcome":"failed","message":)" +
               json_text(message) + R"(,"hint":)" + json_text(hint) + "}}";
  return reply;
}

/// Takes the same time wherever the texts differ.
bool is_equal_in_constant_time(const std::string& a, const std::string& b) {
  unsigned difference = a.size() == b.size() ? 0u : 1u;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference |=
        static_cast<unsigned char>(a.empty() ? 0 : a[i % a.size()]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

/// One request until it is answered; shared by the handler's Responder and the server's list of what is
/// pending.
class Pending {
 public:
  explicit Pending(const web::http::http_request& request) : request_(request) {}

  void answer(const ServerReply& reply) noexcept {
    if (is_answered_.exchange(true)) return;
    try {
      web::http::http_response response(static_cast<web::http::status_code>(reply.status));
      for (const auto& [name, value] : reply.headers) response.headers().add(name, value);
      response.headers().add("Cache-Control", "no-store");
      response.set_body(reply.body, reply.content_type);
      // The peer may be gone: nobody is left to tell.
      request_.reply(response).then([over = over_](pplx::task<void> sent) {
        try {
          sent.get();
        } catch (const std::exception&) {
        }
        over->set_value();
      });
    } catch (const std::exception&) {
      over_->set_value();
    }
  }

  /// Until the answer is out, or cannot be delivered.
  void wait_until_sent(std::chrono::steady_clock::time_point end) { over_->get_future().wait_until(end); }

 private:
  web::http::http_request request_;
  std::atomic<bool> is_answered_{false};
  std::shared_ptr<std::promise<void>> over_ = std::make_shared<std::promise<void>>();
};

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> parts;
  for (const auto& part : web::uri::split_path(path)) parts.push_back(web::uri::decode(part));
  return parts;
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

/// A port that was free a moment ago; cpprest cannot say which one the system picked, so we pick and try.
int free_port(const std::string& host) {
  boost::asio::io_context context;
  const std::string plain = host == "localhost"   ? "127.0.0.1"
                            : host.front() == '[' ? host.substr(1, host.size() - 2)
                                                  : host;
  boost::asio::ip::tcp::acceptor acceptor(context, {boost::asio::ip::make_address(plain), 0});
  return acceptor.local_endpoint().port();
}

/// What the listener's callbacks share with the server: they may run on after it was stopped.
struct Shared {
  std::vector<Route> routes;
  std::string token;
  std::size_t max_body_bytes = 0;
  std::mutex lock;  // guards pending, is_stopping and handlers_running
  std::condition_variable idle;
  std::set<std::shared_ptr<Pending>> pending;
  bool is_stopping = false;
  int handlers_running = 0;

  bool add(const std::shared_ptr<Pending>& request) {
    const std::lock_guard<std::mutex> guard(lock);
    if (is_stopping) return false;
    pending.insert(request);
    return true;
  }
  void remove(const std::shared_ptr<Pending>& request) {
    const std::lock_guard<std::mutex> guard(lock);
    pending.erase(request);
  }

  /// Not once the server stops: a body may arrive after that, and what the handler works on is then gone.
  void run(const Handler& handler, ServerRequest request, Responder responder) {
    {
      const std::lock_guard<std::mutex> guard(lock);
      if (is_stopping) return;
      ++handlers_running;
    }
    const struct Leaving {
      Shared& shared;
      ~Leaving() {
        const std::lock_guard<std::mutex> guard(shared.lock);
        if (--shared.handlers_running == 0) shared.idle.notify_all();
      }
    } leaving{*this};
    handler(std::move(request), std::move(responder));
  }
  void wait_for_handlers() {
    std::unique_lock<std::mutex> guard(lock);
    idle.wait(guard, [this] { return handlers_running == 0; });
  }
};

/// What a Responder holds: when the last copy goes unanswered, the peer still gets its answer.
struct Guard {
  std::shared_ptr<Shared> shared;
  std::shared_ptr<Pending> pending;
  Guard(std::shared_ptr<Shared> s, std::shared_ptr<Pending> p)
      : shared(std::move(s)), pending(std::move(p)) {}
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() {
    pending->answer(error_reply(500, "generic", "the request was dropped without an answer"));
    shared->remove(pending);
  }
};

void dispatch(const std::shared_ptr<Shared>& shared, const std::shared_ptr<Pending>& pending,
              ServerRequest request) {
  const std::vector<std::string> path = split_path(request.path);
  std::string allowed;
  for (const Route& route : shared->routes) {
    std::map<std::string, std::string> captures;
    if (!route.matches(path, captures)) continue;
    if (route.method != request.method) {
      allowed += (allowed.empty() ? "" : ", ") + route.method;
      continue;
    }
    request.captures = std::move(captures);
    auto responder = [guard = std::make_shared<Guard>(shared, pending)](const ServerReply& reply) {
      guard->pending->answer(reply);
      guard->shared->remove(guard->pending);
    };
    shared->run(route.handler, std::move(request), std::move(responder));
    return;
  }
  ServerReply reply = allowed.empty() ? error_reply(404, "not_found", "nothing is at " + request.path)
                                      : error_reply(405, "unsupported",
                                                    request.method + " is not possible at " + request.path);
  if (!allowed.empty()) reply.headers.emplace_back("Allow", allowed);
  pending->answer(reply);
  shared->remove(pending);
}

void use_certificate(boost::asio::ssl::context& context, const std::string& cert, const std::string& key) {
  using Context = boost::asio::ssl::context;
  context.set_options(Context::default_workarounds | Context::no_sslv2 | Context::no_sslv3 |
                      Context::no_tlsv1 | Context::no_tlsv1_1);
  context.use_certificate_chain_file(cert);
  context.use_private_key_file(key, Context::pem);
}

/// cpprest looks at the files at the first connection only.
Result<void> check_certificate(const std::string& cert, const std::string& key) {
  if (auto text = shell::read_secret_file(key); !text) return text.error();
  try {
    boost::asio::ssl::context context(boost::asio::ssl::context::tls_server);
    use_certificate(context, cert, key);
    return {};
  } catch (const std::exception& e) {
    return Error::failed(
        ErrorCode::invalid_input,
        "the TLS certificate " + cert + " with the key " + key + " cannot be used: " + e.what(),
        "both are PEM files, and the key belongs to the certificate");
  }
}

bool is_digits(const std::string& text) {
  return !text.empty() && text.size() <= 15 && text.find_first_not_of("0123456789") == std::string::npos;
}

/// cpprest answers only when it has taken in the whole body, however large. A closed buffer makes it stop at
/// the next piece; what follows of the body must then not be read as a request. Little more than is allowed
/// is taken in all the same: a peer that still sends when the connection is closed may never see the answer.
void leave_body(const web::http::http_request& message, std::size_t max_body_bytes, ServerReply& reply) {
  const auto& headers = message.headers();
  const auto length = headers.find("Content-Length");
  const bool is_chunked = headers.has("Transfer-Encoding");
  if (!is_chunked && length == headers.end()) return;
  if (!is_chunked && is_digits(length->second) && std::stoull(length->second) <= 2 * max_body_bytes) return;
  auto buffer = message.body().streambuf();
  buffer.close(std::ios_base::out, std::make_exception_ptr(std::runtime_error("the body is not wanted")));
  reply.headers.emplace_back("Connection", "close");
}

bool may_enter(const Shared& shared, const web::http::http_request& request) {
  if (shared.token.empty()) return true;
  const auto found = request.headers().find("Authorization");
  return found != request.headers().end() &&
         is_equal_in_constant_time(found->second, "Bearer " + shared.token);
}

/// The answer to a request whose head alone says that it is not taken.
std::optional<ServerReply> refusal_of(const Shared& shared, const web::http::http_request& message) {
  if (!may_enter(shared, message)) {
    ServerReply reply =
        error_reply(401, "unauthenticated", "a token is needed", "send it as Authorization: Bearer");
    reply.headers.emplace_back("WWW-Authenticate", "Bearer");
    return reply;
  }
  if (message.headers().has("Transfer-Encoding"))
    return error_reply(413, "too_large", "a body without Content-Length is not taken");
  const auto length = message.headers().find("Content-Length");
  if (length == message.headers().end()) return std::nullopt;
  if (!is_digits(length->second)) return error_reply(400, "invalid_input", "Content-Length is no number");
  if (std::stoull(length->second) > shared.max_body_bytes) {
    return error_reply(413, "too_large",
                       "the body is larger than " + std::to_string(shared.max_body_bytes) + " bytes");
  }
  return std::nullopt;
}

/// Without the body. Throws for what cannot be decoded.
ServerRequest read_head(const web::http::http_request& message) {
  ServerRequest request;
  request.method = message.method();
  request.path = web::uri::decode(message.relative_uri().path());
  for (const auto& [key, value] : web::uri::split_query(message.relative_uri().query()))
    request.query[web::uri::decode(key)] = web::uri::decode(value);
  for (const auto& [name, value] : message.headers()) request.headers.emplace_back(name, value);
  return request;
}

void receive(const std::shared_ptr<Shared>& shared, const web::http::http_request& message) {
  const auto pending = std::make_shared<Pending>(message);
  ServerRequest request;
  std::optional<ServerReply> refusal = refusal_of(*shared, message);
  if (!shared->add(pending)) refusal = error_reply(503, "unavailable", "this daemon is stopping");
  try {
    if (!refusal) request = read_head(message);
  } catch (const std::exception& e) {
    refusal = error_reply(400, "invalid_input", std::string("the request cannot be read: ") + e.what());
  }
  if (refusal) {
    leave_body(message, shared->max_body_bytes, *refusal);
    pending->answer(*refusal);
    shared->remove(pending);
    return;
  }
  message.extract_vector().then(
      [shared, pending, request = std::move(request)](pplx::task<std::vector<unsigned char>> body) mutable {
        try {
          const std::vector<unsigned char> bytes = body.get();
          request.body.assign(bytes.begin(), bytes.end());
          dispatch(shared, pending, std::move(request));
        } catch (const std::exception& e) {
          pending->answer(
              error_reply(400, "invalid_input", std::string("the request cannot be read: ") + e.what()));
          shared->remove(pending);
        }
      });
}

class CpprestServer : public Server {
 public:
  explicit CpprestServer(ServerOptions options, std::string host, int port)
      : options_(std::move(options)), host_(std::move(host)), port_(port) {
    shared_->max_body_bytes = options_.max_body_bytes;
  }
  ~CpprestServer() override { stop(); }

  void route(std::string method, std::string pattern, Handler handler) override {
    shared_->routes.push_back({std::move(method), split_path(pattern), std::move(handler)});
  }

  Result<void> start() override {
    initialize_threads();
    if (!options_.token_file.empty()) {
      auto token = shell::read_secret_file(options_.token_file);
      if (!token) return token.error();
      shared_->token = *token;
    }
    if (!options_.tls_cert_file.empty()) {
      if (auto checked = check_certificate(options_.tls_cert_file, options_.tls_key_file); !checked)
        return checked;
    }
    std::string why;
    for (int attempt = 0; attempt < (port_ == 0 ? 20 : 1); ++attempt) {
      try {
        const int port = port_ == 0 ? free_port(host_) : port_;
        if (open(port)) return {};
      } catch (const std::exception& e) {
        why = e.what();
      }
    }
    return Error::failed(ErrorCode::unavailable, "cannot listen on " + options_.listen + ": " + why,
                         "is the port taken? choose another in the configuration");
  }

  std::string url() const override { return url_; }

  void stop() override {
    std::set<std::shared_ptr<Pending>> pending;
    {
      const std::lock_guard<std::mutex> guard(shared_->lock);
      if (shared_->is_stopping) return;
      shared_->is_stopping = true;
      pending.swap(shared_->pending);
    }
    for (const auto& request : pending)
      request->answer(error_reply(503, "unavailable", "this daemon is stopping"));
    // Closing cuts what is under way; who does not read is not waited for.
    const auto end = std::chrono::steady_clock::now() + answers_may_take;
    for (const auto& request : pending) request->wait_until_sent(end);
    pending.clear();
    shared_->wait_for_handlers();
    if (!listener_) return;
    try {
      listener_->close().wait();
    } catch (const std::exception&) {  // closing twice, or a socket that is gone: closed either way
    }
  }

 private:
  bool open(int port) {
    const bool has_tls = !options_.tls_cert_file.empty();
    http_listener_config config;
    config.set_timeout(std::chrono::seconds(120));
    if (has_tls) {
      config.set_ssl_context_callback([cert = options_.tls_cert_file,
                                       key = options_.tls_key_file](boost::asio::ssl::context& context) {
        try {
          use_certificate(context, cert, key);
        } catch (
            const std::exception&) {  // replaced by a bad one meanwhile: without any, no handshake succeeds
        }
      });
    }
    const std::string address =
        std::string(has_tls ? "https" : "http") + "://" + host_ + ":" + std::to_string(port) + "/";
    auto listener = std::make_unique<http_listener>(web::uri(address), config);
    listener->support(
        [shared = shared_](const web::http::http_request& request) { receive(shared, request); });
    listener->open().wait();
    listener_ = std::move(listener);
    url_ = address;
    return true;
  }

  ServerOptions options_;
  std::string host_;
  int port_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::unique_ptr<http_listener> listener_;
  std::string url_;
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
  return std::unique_ptr<Server>(std::make_unique<CpprestServer>(std::move(options), host, port));
}

}  // namespace skep::http
