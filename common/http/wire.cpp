#include "common/http/wire.h"

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace skep::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using beast::error_code;
using std::chrono::seconds;
namespace wire = beast::http;

constexpr int thread_count = 2;  // handlers do not block
constexpr std::size_t max_head_bytes = 64 * 1024;
constexpr seconds silence_may_take(120);  // of a peer between two requests, and while it reads an answer
constexpr seconds request_may_take(60);   // from its head to the end of its body
constexpr seconds farewell_may_take(2);   // of a peer that was refused and still sends
constexpr seconds answers_may_take(1);    // of a close
constexpr seconds accept_pause(1);        // when the system has no more descriptors

ServerReply stopping_reply() {
  return error_reply(503, "unavailable", "this daemon is stopping");
}

class Session {
 public:
  virtual ~Session() = default;
  /// Any thread. Ignored unless `turn` is the request that waits for its answer.
  virtual void answer(std::uint64_t turn, ServerReply reply) = 0;
  /// Any thread: sends 503 to who waits, lets an answer that is being written go out, cuts all others.
  virtual void finish() = 0;
  virtual void cut() = 0;  // any thread
};

/// What the wire shares with its sessions, which a kept responder may let live longer.
struct Shared {
  Shared(WireOptions given, WireHandlers called) : options(std::move(given)), handlers(std::move(called)) {}

  asio::io_context io{thread_count};
  WireOptions options;
  WireHandlers handlers;
  std::mutex lock;  // guards what follows
  std::condition_variable changed;
  std::map<Session*, std::weak_ptr<Session>> open;
  bool is_closing = false;
  bool is_over = false;  // nobody runs `io` any more
  int handlers_running = 0;

  template <class Executor, class Task>
  void post(const Executor& executor, Task task) {
    const std::lock_guard<std::mutex> guard(lock);
    if (!is_over) asio::post(executor, std::move(task));
  }

  bool add(const std::shared_ptr<Session>& session) {
    const std::lock_guard<std::mutex> guard(lock);
    if (!is_closing) open.emplace(session.get(), session);
    return !is_closing;
  }
  void remove(Session* session) {
    const std::lock_guard<std::mutex> guard(lock);
    open.erase(session);
    changed.notify_all();
  }
  std::vector<std::shared_ptr<Session>> sessions() {
    const std::lock_guard<std::mutex> guard(lock);
    std::vector<std::shared_ptr<Session>> out;
    for (const auto& [key, session] : open) {
      if (auto held = session.lock()) out.push_back(std::move(held));
    }
    return out;
  }

  /// Not once it closes: what handlers work on is then about to go.
  bool serve(ServerRequest request, Responder responder) {
    {
      const std::lock_guard<std::mutex> guard(lock);
      if (is_closing) return false;
      ++handlers_running;
    }
    try {
      handlers.serve(std::move(request), std::move(responder));
    } catch (const std::exception&) {  // the responder is gone with it, which answers 500
    }
    const std::lock_guard<std::mutex> guard(lock);
    if (--handlers_running == 0) changed.notify_all();
    return true;
  }
};

/// What a Responder holds: when the last copy goes unanswered, the peer still gets its answer.
class Answer {
 public:
  Answer(std::shared_ptr<Session> session, std::uint64_t turn) : session_(std::move(session)), turn_(turn) {}
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;
  ~Answer() { give(error_reply(500, "generic", "the request was dropped without an answer")); }
  void give(ServerReply reply) {
    if (!is_given_.exchange(true)) session_->answer(turn_, std::move(reply));
  }

 private:
  std::shared_ptr<Session> session_;
  std::uint64_t turn_;
  std::atomic<bool> is_given_{false};
};

using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;

template <class Stream>
class SessionOver final : public Session, public std::enable_shared_from_this<SessionOver<Stream>> {
 public:
  /// `context` is null without TLS.
  SessionOver(std::shared_ptr<Shared> shared, tcp::socket socket, std::shared_ptr<asio::ssl::context> context)
      : shared_(std::move(shared)), context_(std::move(context)), stream_(make(std::move(socket))) {}
  ~SessionOver() override { shared_->remove(this); }
  SessionOver(const SessionOver&) = delete;
  SessionOver& operator=(const SessionOver&) = delete;

  void start() {
    post([](SessionOver& me) { me.greet(); });
  }

  void answer(std::uint64_t turn, ServerReply reply) override {
    post([turn, reply = std::move(reply)](SessionOver& me) {
      if (me.turn_ == turn && me.state_ == State::served) me.write(reply);
    });
  }
  void finish() override {
    post([](SessionOver& me) {
      me.is_last_ = true;
      if (me.state_ == State::served) {
        me.write(stopping_reply());
      } else if (me.state_ == State::reading) {
        me.cut_now();
      }
    });
  }
  void cut() override {
    post([](SessionOver& me) { me.cut_now(); });
  }

 private:
  static constexpr bool has_tls = std::is_same_v<Stream, TlsStream>;
  enum class State { reading, served, writing, over };

  auto self() { return this->shared_from_this(); }
  auto& socket() { return beast::get_lowest_layer(stream_); }
  Stream make(tcp::socket socket) {
    if constexpr (has_tls) {
      return Stream(PlainStream(std::move(socket)), *context_);
    } else {
      return Stream(std::move(socket));
    }
  }
  template <class Task>
  void post(Task task) {
    shared_->post(stream_.get_executor(), [self = self(), task = std::move(task)] { task(*self); });
  }

  void cut_now() {
    state_ = State::over;
    error_code ignored;
    socket().socket().shutdown(tcp::socket::shutdown_both, ignored);
    socket().close();
    shared_->remove(this);
  }

  void greet() {
    if (state_ != State::reading) return;
    if constexpr (has_tls) {
      socket().expires_after(request_may_take);
      stream_.async_handshake(asio::ssl::stream_base::server, [self = self()](error_code error) {
        error ? self->cut_now() : self->read_head();
      });
    } else {
      read_head();
    }
  }

  void read_head() {
    if (is_last_) return cut_now();
    state_ = State::reading;
    parser_.emplace();
    parser_->header_limit(max_head_bytes);
    // Refused by us, once it is known who asks. Beast 1.74 takes "none" for 0.
    parser_->body_limit(std::numeric_limits<std::uint64_t>::max());
    socket().expires_after(silence_may_take);
    wire::async_read_header(stream_, buffer_, *parser_,
                            [self = self()](error_code error, std::size_t) { self->on_head(error); });
  }

  void on_head(error_code error) {
    if (state_ != State::reading) return;
    if (error == wire::error::header_limit)
      return refuse(error_reply(431, "too_large", "the head of the request is too large"));
    if (error.category() == make_error_code(wire::error::bad_method).category() &&
        error != wire::error::end_of_stream && error != wire::error::partial_message) {
      return refuse(error_reply(400, "invalid_input", "this is no HTTP request: " + error.message()));
    }
    if (error) return cut_now();
    const auto& head = parser_->get();
    if (head.version() != 10 && head.version() != 11)
      return refuse(error_reply(400, "invalid_input", "HTTP/1.0 or HTTP/1.1 is needed"));
    request_ = {};
    request_.method = std::string(head.method_string());
    request_.path = std::string(head.target());
    for (const auto& field : head) request_.headers.emplace_back(field.name_string(), field.value());
    if (auto refusal = shared_->handlers.admit(request_)) return refuse(std::move(*refusal));
    if (parser_->chunked())
      return refuse(error_reply(413, "too_large", "a body without Content-Length is not taken"));
    const std::size_t most = shared_->options.max_body_bytes;
    if (parser_->content_length().value_or(0) > most) {
      return refuse(
          error_reply(413, "too_large", "the body is larger than " + std::to_string(most) + " bytes"));
    }
    parser_->body_limit(most);
    socket().expires_after(request_may_take);
    wire::async_read(stream_, buffer_, *parser_,
                     [self = self()](error_code failure, std::size_t) { self->on_request(failure); });
  }

  void on_request(error_code error) {
    if (state_ != State::reading) return;
    if (error) return cut_now();
    request_.body = std::move(parser_->get().body());
    socket().expires_never();
    state_ = State::served;
    ++turn_;
    auto given = std::make_shared<Answer>(self(), turn_);
    const auto respond = [given](ServerReply reply) { given->give(std::move(reply)); };
    if (!shared_->serve(std::move(request_), respond)) given->give(stopping_reply());
  }

  /// What is left of the request is not read as one.
  void refuse(ServerReply reply) {
    is_last_ = true;
    is_unread_ = true;
    write(reply);
  }

  void write(const ServerReply& reply) {
    state_ = State::writing;
    response_.emplace(static_cast<wire::status>(reply.status), 11);
    for (const auto& [name, value] : reply.headers) response_->insert(name, value);
    response_->set(wire::field::content_type, reply.content_type);
    response_->set(wire::field::cache_control, "no-store");
    const bool is_head = parser_->get().method() == wire::verb::head;
    response_->content_length(reply.body.size());
    if (!is_head) response_->body() = reply.body;
    if (!parser_->get().keep_alive()) is_last_ = true;
    response_->keep_alive(!is_last_);
    socket().expires_after(silence_may_take);
    wire::async_write(stream_, *response_,
                      [self = self()](error_code error, std::size_t) { self->on_written(error); });
  }

  void on_written(error_code error) {
    if (state_ != State::writing) return;
    if (error) return cut_now();
    if (!is_last_) return read_head();
    if (!is_unread_) return say_goodbye();
    // Closing now would take the answer away from a peer that still sends.
    if constexpr (!has_tls) {
      error_code ignored;
      socket().socket().shutdown(tcp::socket::shutdown_send, ignored);
    }
    socket().expires_after(farewell_may_take);
    drain();
  }

  void drain() {
    buffer_.clear();
    stream_.async_read_some(buffer_.prepare(max_head_bytes), [self = self()](error_code error, std::size_t) {
      if (self->state_ != State::writing) return;
      error ? self->cut_now() : self->drain();
    });
  }

  void say_goodbye() {
    if constexpr (has_tls) {
      socket().expires_after(farewell_may_take);
      stream_.async_shutdown([self = self()](error_code) { self->cut_now(); });
    } else {
      cut_now();
    }
  }

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<asio::ssl::context> context_;
  Stream stream_;
  beast::flat_buffer buffer_;
  std::optional<wire::request_parser<wire::string_body>> parser_;
  std::optional<wire::response<wire::string_body>> response_;
  ServerRequest request_;
  State state_ = State::reading;
  std::uint64_t turn_ = 0;  // of the request that is served
  bool is_last_ = false;    // the connection ends with this answer
  bool is_unread_ = false;
};

void use_certificate(asio::ssl::context& context, const std::string& cert, const std::string& key) {
  using Context = asio::ssl::context;
  context.set_options(Context::default_workarounds | Context::no_sslv2 | Context::no_sslv3 |
                      Context::no_tlsv1 | Context::no_tlsv1_1);
  context.use_certificate_chain_file(cert);
  context.use_private_key_file(key, Context::pem);
}

class BeastWire final : public Wire {
 public:
  BeastWire(WireOptions options, WireHandlers handlers)
      : shared_(std::make_shared<Shared>(std::move(options), std::move(handlers))),
        acceptor_(asio::make_strand(shared_->io)),
        pause_(acceptor_.get_executor()) {}
  ~BeastWire() override { close(); }
  BeastWire(const BeastWire&) = delete;
  BeastWire& operator=(const BeastWire&) = delete;

  int open() override {
    const WireOptions& options = shared_->options;
    const auto found = tcp::resolver(shared_->io)
                           .resolve(options.host, std::to_string(options.port), tcp::resolver::flags());
    const tcp::endpoint endpoint = *found.begin();
    acceptor_.open(endpoint.protocol());
    acceptor_.set_option(asio::socket_base::reuse_address(true));
    acceptor_.bind(endpoint);
    acceptor_.listen();
    accept();
    for (int i = 0; i < thread_count; ++i) threads_.emplace_back([shared = shared_] { shared->io.run(); });
    return acceptor_.local_endpoint().port();
  }

  void close() override {
    {
      const std::lock_guard<std::mutex> guard(shared_->lock);
      if (shared_->is_closing) return;
      shared_->is_closing = true;
    }
    shared_->post(acceptor_.get_executor(), [this] {
      acceptor_.close();
      pause_.cancel();
    });
    for (const auto& session : shared_->sessions()) session->finish();
    {
      std::unique_lock<std::mutex> guard(shared_->lock);
      shared_->changed.wait(guard, [this] { return shared_->handlers_running == 0; });
      shared_->changed.wait_for(guard, answers_may_take, [this] { return shared_->open.empty(); });
    }
    for (const auto& session : shared_->sessions()) session->cut();
    {
      const std::lock_guard<std::mutex> guard(shared_->lock);
      shared_->is_over = true;
    }
    stay_.reset();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void accept() {
    acceptor_.async_accept(asio::make_strand(shared_->io), [this](error_code error, tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (!error) {
        take(std::move(socket));
        return accept();
      }
      pause_.expires_after(accept_pause);
      pause_.async_wait([this](error_code) {
        if (acceptor_.is_open()) accept();
      });
    });
  }

  void take(tcp::socket socket) {
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const WireOptions& options = shared_->options;
    if (options.tls_cert_file.empty()) return begin<PlainStream>(std::move(socket), nullptr);
    auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
    try {  // for each anew: certificates are replaced while we run
      use_certificate(*context, options.tls_cert_file, options.tls_key_file);
    } catch (const boost::system::system_error&) {  // by a bad one: then no handshake succeeds
    }
    begin<TlsStream>(std::move(socket), std::move(context));
  }

  template <class Stream>
  void begin(tcp::socket socket, std::shared_ptr<asio::ssl::context> context) {
    auto session = std::make_shared<SessionOver<Stream>>(shared_, std::move(socket), std::move(context));
    if (shared_->add(session)) session->start();
  }

  std::shared_ptr<Shared> shared_;
  asio::executor_work_guard<asio::io_context::executor_type> stay_ = asio::make_work_guard(shared_->io);
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::vector<std::thread> threads_;
};

std::string json_text(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

}  // namespace

ServerReply error_reply(int status, const std::string& code, const std::string& message,
                        const std::string& hint) {
  ServerReply reply;
  reply.status = status;
  reply.body = R"({"error":{"code":)" + json_text(code) + R"(,"outcome":"failed","message":)" +
               json_text(message) + R"(,"hint":)" + json_text(hint) + "}}";
  return reply;
}

void check_certificate(const std::string& cert_file, const std::string& key_file) {
  asio::ssl::context context(asio::ssl::context::tls_server);
  use_certificate(context, cert_file, key_file);
}

std::unique_ptr<Wire> make_wire(WireOptions options, WireHandlers handlers) {
  return std::make_unique<BeastWire>(std::move(options), std::move(handlers));
}

}  // namespace skep::http
