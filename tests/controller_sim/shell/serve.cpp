// One connection to skep-controller-sim: HTTP with keep-alive, which may become an agent's WebSocket. A 30 s
// idle connection is closed without a word, as Jenkins' Jetty does.
#include "tests/controller_sim/shell/serve.h"

#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <deque>

#include "simulation/controller/text.h"
#include "tests/controller_sim/shell/control_api.h"
#include "tests/controller_sim/shell/wire.h"
#include "tests/controller_sim/tls_tunnel.h"

namespace skep::controller_sim {
namespace {

namespace beast = boost::beast;
using Stream = beast::basic_stream<boost::asio::generic::stream_protocol>;

class AgentSession : public AgentLink, public std::enable_shared_from_this<AgentSession> {
 public:
  AgentSession(Hub& hub, Stream stream, std::string name, std::uint64_t connection)
      : hub_(hub), socket_(std::move(stream)), name_(std::move(name)), connection_(connection) {}

  void start(const beast::http::request<beast::http::string_body>& request) {
    beast::get_lowest_layer(socket_).expires_never();
    socket_.set_option(beast::websocket::stream_base::decorator([](beast::websocket::response_type& reply) {
      reply.set("X-Remoting-Minimum-Version", "3107.v665000b_51092");
      reply.set("Connection-Cookie", std::string(64, '0'));
    }));
    hub_.add_agent(connection_, name_, weak_from_this());
    socket_.async_accept(request, [self = shared_from_this()](beast::error_code error) {
      if (error) return self->gone();
      self->accepted_ = true;
      self->write_next();
      self->read();
    });
  }

  void send(std::string text) override {
    outbox_.push_back(std::move(text));
    write_next();
  }

  void close() override {
    closing_ = true;
    if (!writing_) start_close();
  }

  void cut() override { beast::get_lowest_layer(socket_).close(); }

 private:
  void read() {
    socket_.async_read(buffer_, [self = shared_from_this()](beast::error_code error, std::size_t) {
      if (error) return self->gone();
      const std::string text = beast::buffers_to_string(self->buffer_.data());
      self->buffer_.consume(self->buffer_.size());
      self->hub_.agent_said(self->name_, text);
      self->read();
    });
  }

  void write_next() {
    if (!accepted_ || writing_ || outbox_.empty()) return;
    writing_ = true;
    socket_.text(true);
    socket_.async_write(boost::asio::buffer(outbox_.front()),
                        [self = shared_from_this()](beast::error_code error, std::size_t) {
                          self->writing_ = false;
                          self->outbox_.pop_front();
                          if (error) return self->gone();
                          if (self->outbox_.empty() && self->closing_) return self->start_close();
                          self->write_next();
                        });
  }

  void start_close() {
    if (close_started_ || !accepted_) return cut();
    close_started_ = true;
    socket_.async_close(beast::websocket::close_code::normal,
                        [self = shared_from_this()](beast::error_code) { self->cut(); });
  }

  void gone() { hub_.agent_gone(name_, connection_); }

  Hub& hub_;
  beast::websocket::stream<Stream> socket_;
  std::string name_;
  std::uint64_t connection_;
  beast::flat_buffer buffer_;
  std::deque<std::string> outbox_;
  bool accepted_ = false, writing_ = false, closing_ = false, close_started_ = false;
};

class HttpSession : public ReplySink, public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(Hub& hub, Stream stream, std::string path_prefix)
      : hub_(hub),
        stream_(std::move(stream)),
        timer_(stream_.get_executor()),
        agent_path_(path_prefix + "/wsagents/") {}

  void start() { read(); }

  void deliver(HttpReply reply) override {
    reply_ = std::move(reply);
    const Duration delay = reply_.delivery.delay;
    if (delay <= Duration{}) return write();
    timer_.expires_after(std::chrono::duration_cast<std::chrono::steady_clock::duration>(delay));
    timer_.async_wait([self = shared_from_this()](beast::error_code) { self->write(); });
  }

  void cut() { beast::get_lowest_layer(stream_).close(); }

 private:
  static constexpr std::chrono::seconds idle_limit{30};
  static constexpr std::uint64_t body_limit = 64ULL << 20U;

  void read() {
    parser_.emplace();
    parser_->body_limit(body_limit);
    beast::get_lowest_layer(stream_).expires_after(idle_limit);
    beast::http::async_read(stream_, buffer_, *parser_,
                            [self = shared_from_this()](beast::error_code error, std::size_t) {
                              if (error) return self->cut();
                              self->handle();
                            });
  }

  void handle() {
    beast::get_lowest_layer(stream_).expires_never();
    const auto& message = parser_->get();
    HttpRequest request;
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    for (const auto& field : message)
      request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
    request.body = message.body();
    keep_alive_ = message.keep_alive();
    is_head_ = request.method == "HEAD";
    accept_encoding_ = std::string(message[beast::http::field::accept_encoding]);
    if (beast::websocket::is_upgrade(message) &&
        request.target.substr(0, request.target.find('?')) == agent_path_)
      return upgrade();
    const bool control = request.target.rfind(control_prefix, 0) == 0;
    HttpReply reply = control ? handle_control(hub_, request) : hub_.handle(request);
    if (reply.parked) {
      hub_.park(*reply.parked, weak_from_this());
      keeper_ = shared_from_this();
    } else {
      deliver(std::move(reply));
    }
    hub_.pump();
  }

  void upgrade() {
    const auto& message = parser_->get();
    const std::string name(message["Node-Name"]);
    const ConnectResult result =
        hub_.model().agent_connect(name, std::string(message["Secret-Key"]), steady_now());
    if (result.status != 101) {
      keep_alive_ = false;
      deliver({result.status, {{"Content-Type", "text/plain;charset=utf-8"}}, result.message});
      return hub_.pump();
    }
    auto agent = std::make_shared<AgentSession>(hub_, std::move(stream_), name, result.connection);
    agent->start(parser_->get());
    hub_.pump();
  }

  void write() {
    keeper_.reset();
    if (reply_.delivery.drop_connection) return cut();
    compress(reply_, accept_encoding_);
    bytes_ = to_bytes(reply_, keep_alive_, is_head_);
    if (reply_.delivery.slow_loris) return drip(0);
    boost::asio::async_write(stream_, boost::asio::buffer(bytes_),
                             [self = shared_from_this()](beast::error_code error, std::size_t) {
                               if (error || !self->keep_alive_ || self->reply_.delivery.cut_body_at)
                                 return self->cut();
                               self->read();
                             });
  }

  void drip(std::size_t position) {
    if (position >= bytes_.size()) return keep_alive_ ? read() : cut();
    boost::asio::async_write(
        stream_, boost::asio::buffer(&bytes_[position], 1),
        [self = shared_from_this(), position](beast::error_code error, std::size_t) {
          if (error) return self->cut();
          self->timer_.expires_after(std::chrono::milliseconds(50));
          self->timer_.async_wait([self, position](beast::error_code) { self->drip(position + 1); });
        });
  }

  Hub& hub_;
  Stream stream_;
  boost::asio::steady_timer timer_;
  std::string agent_path_;
  beast::flat_buffer buffer_;
  std::optional<beast::http::request_parser<beast::http::string_body>> parser_;
  HttpReply reply_;
  std::string bytes_;
  std::string accept_encoding_;
  bool keep_alive_ = true, is_head_ = false;
  std::shared_ptr<HttpSession> keeper_;  // while the reply is parked nothing else holds the session
};

Cut start_session(Hub& hub, Socket socket, const std::string& path_prefix) {
  const auto session = std::make_shared<HttpSession>(hub, Stream(std::move(socket)), path_prefix);
  session->start();
  return [weak = std::weak_ptr(session)] {
    if (const auto alive = weak.lock()) alive->cut();
  };
}

}  // namespace

Cut serve_plain(Hub& hub, boost::asio::ip::tcp::socket socket, const std::string& path_prefix) {
  return start_session(hub, std::move(socket), path_prefix);
}

Cut serve_tls(Hub& hub, boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& tls,
              const std::string& path_prefix) {
  const auto tunnel = std::make_shared<TlsTunnel>(std::move(socket), tls);
  tunnel->accept([&hub, path_prefix](Socket plain) { start_session(hub, std::move(plain), path_prefix); });
  return [weak = std::weak_ptr(tunnel)] {
    if (const auto alive = weak.lock()) alive->cut();
  };
}

}  // namespace skep::controller_sim
