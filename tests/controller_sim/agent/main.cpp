// skep-agent-sim: stands for `java -jar agent.jar` with skep-controller-sim. Same arguments, same lines on
// stderr, same exit statuses (0 channel closed with -noReconnect, 255 refused, 143 on SIGTERM, usage and 0
// for a bad command line). Arguments of a JVM (-Xmx..., -D..., -jar FILE) are skipped, so that it can be put
// in the place of java.
#include <boost/asio/connect.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <thread>

#include "tests/controller_sim/agent/build_runner.h"
#include "tests/controller_sim/tls_tunnel.h"

namespace skep::controller_sim {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using Stream = beast::basic_stream<asio::generic::stream_protocol>;

constexpr int exit_refused = 255;
constexpr int exit_terminated = 143;
constexpr std::chrono::seconds reconnect_delay{10};

struct Arguments {
  std::string url, secret, name, work_directory = ".";
  bool web_socket = false, no_reconnect = false, no_certificate_check = false;
};

void log(const std::string& text) {
  std::cerr << "hudson.remoting.Launcher$CuiListener status\n" << text << std::endl;
}

std::optional<std::string> argument_value(const std::string& given) {
  if (given.empty() || given[0] != '@') return given;
  std::ifstream file(given.substr(1));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  return line;
}

std::optional<Arguments> parse(int argc, char** argv) {
  Arguments out;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if (option == "-webSocket") {
      out.web_socket = true;
    } else if (option == "-noReconnect") {
      out.no_reconnect = true;
    } else if (option == "-noCertificateCheck") {
      out.no_certificate_check = true;
    } else if (option.rfind("-X", 0) == 0 || option.rfind("-D", 0) == 0) {
      continue;
    } else if (i + 1 < argc) {
      const auto value = argument_value(argv[++i]);
      if (!value) return std::nullopt;
      if (option == "-url") {
        out.url = *value;
      } else if (option == "-secret") {
        out.secret = *value;
      } else if (option == "-name") {
        out.name = *value;
      } else if (option == "-workDir") {
        out.work_directory = *value;
      } else if (option != "-jar" && option != "-internalDir" && option != "-jar-cache") {
        return std::nullopt;
      }
    } else {
      return std::nullopt;
    }
  }
  if (out.url.empty() || out.secret.empty() || out.name.empty()) return std::nullopt;
  if (out.url.back() != '/') out.url += '/';
  return out;
}

struct Address {
  bool tls = false;
  std::string host, port, path;  // path ends in '/'
};

std::optional<Address> parse_url(const std::string& url) {
  Address out;
  const std::size_t scheme = url.find("://");
  if (scheme == std::string::npos) return std::nullopt;
  out.tls = url.compare(0, scheme, "https") == 0;
  const std::size_t start = scheme + 3;
  const std::size_t slash = url.find('/', start);
  const std::string authority = url.substr(start, slash - start);
  out.path = slash == std::string::npos ? "/" : url.substr(slash);
  const std::size_t colon = authority.rfind(':');
  out.host = authority.substr(0, colon);
  out.port = colon == std::string::npos ? (out.tls ? "443" : "80") : authority.substr(colon + 1);
  return out;
}

class Channel {
 public:
  Channel(asio::io_context& io, Stream stream, BuildRunner& runner)
      : socket_(std::move(stream)), timer_(io), runner_(runner), io_(io) {}

  /// Throws boost::system::system_error when refused.
  void open(const Arguments& arguments, const Address& address) {
    socket_.set_option(beast::websocket::stream_base::decorator([&](beast::websocket::request_type& request) {
      request.set("Node-Name", arguments.name);
      request.set("Secret-Key", arguments.secret);
      request.set("X-Remoting-Capability", "rO0ABXNyABpodWRzb24ucmVtb3RpbmcuQ2FwYWJpbGl0eQ==");
    }));
    socket_.handshake(address.host + ":" + address.port, address.path + "wsagents/");
    beast::get_lowest_layer(socket_).expires_never();
  }

  /// Until the channel closes.
  void serve() {
    read();
    watch();
    io_.restart();
    io_.run();
    beast::get_lowest_layer(socket_).close();
    timer_.cancel();
    while (outstanding_ > 0) {  // no handler may outlive this object
      io_.restart();
      io_.run_one();
    }
  }

 private:
  void read() {
    ++outstanding_;
    socket_.async_read(buffer_, [this](beast::error_code error, std::size_t) {
      --outstanding_;
      if (error) {
        closed_ = true;
        return io_.stop();
      }
      const auto message = parse_agent_message(beast::buffers_to_string(buffer_.data()));
      buffer_.consume(buffer_.size());
      if (message && message->type == AgentMessage::Type::run) runner_.run(message->run);
      if (message && message->type == AgentMessage::Type::stop) runner_.stop(message->run.build);
      read();
    });
  }

  void watch() {
    for (const auto& [build, success] : runner_.poll()) {
      AgentMessage message;
      message.type = AgentMessage::Type::done;
      message.run.build = build;
      message.success = success;
      outbox_.push_back(to_text(message));
    }
    write();
    timer_.expires_after(std::chrono::milliseconds(10));
    ++outstanding_;
    timer_.async_wait([this](const boost::system::error_code& error) {
      --outstanding_;
      if (!error && !closed_) watch();
    });
  }

  void write() {
    if (writing_ || outbox_.empty() || closed_) return;
    writing_ = true;
    socket_.text(true);
    ++outstanding_;
    socket_.async_write(asio::buffer(outbox_.front()), [this](beast::error_code error, std::size_t) {
      --outstanding_;
      writing_ = false;
      outbox_.pop_front();
      if (!error) write();
    });
  }

  beast::websocket::stream<Stream> socket_;
  asio::steady_timer timer_;
  BuildRunner& runner_;
  asio::io_context& io_;
  beast::flat_buffer buffer_;
  std::deque<std::string> outbox_;
  int outstanding_ = 0;
  bool writing_ = false, closed_ = false;
};

/// Runs tunnels, while the agent waits in blocking calls.
struct Tunnels {
  Tunnels() : thread([this] { context.run(); }) {}
  ~Tunnels() {
    context.stop();
    thread.join();
  }
  Tunnels(const Tunnels&) = delete;
  Tunnels& operator=(const Tunnels&) = delete;

  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> stay = asio::make_work_guard(context);
  std::thread thread;
};

class Agent {
 public:
  Agent(Arguments arguments, Address address)
      : arguments_(std::move(arguments)), address_(std::move(address)), runner_(arguments_.work_directory) {}

  int run() {
    asio::signal_set signals(io_, SIGTERM, SIGINT);
    signals.async_wait([this](const boost::system::error_code& error, int) {
      if (error) return;
      terminated_ = true;
      io_.stop();
    });
    while (true) {
      bool connected = false;
      try {
        connected = attempt();
      } catch (const std::exception& error) {
        log("SEVERE: " + std::string(error.what()));
      }
      runner_.kill_plain_builds();
      if (terminated_) return exit_terminated;
      if (arguments_.no_reconnect) return connected ? 0 : exit_refused;
      asio::steady_timer pause(io_, reconnect_delay);
      pause.async_wait([this](const boost::system::error_code&) { io_.stop(); });
      io_.restart();
      io_.run();
      if (terminated_) return exit_terminated;
    }
  }

 private:
  bool attempt() {
    if (!login_answers()) {
      log("SEVERE: " + arguments_.url + "login is not ready");
      return false;
    }
    Channel channel(io_, connect(), runner_);
    channel.open(arguments_, address_);
    log("INFO: WebSocket connection open");
    log("INFO: Connected");
    channel.serve();
    log("INFO: Terminated");
    return true;
  }

  Stream connect() {
    const auto endpoints = tcp::resolver(io_).resolve(address_.host, address_.port);
    if (!address_.tls) {
      tcp::socket socket(io_);
      asio::connect(socket, endpoints);
      return Stream(std::move(socket));
    }
    tcp::socket socket(tunnels_.context);
    asio::connect(socket, endpoints);
    asio::ssl::context tls = tls_context();
    return Stream(std::make_shared<TlsTunnel>(std::move(socket), tls)->connect(io_));
  }

  asio::ssl::context tls_context() const {
    asio::ssl::context tls(asio::ssl::context::tls_client);
    tls.set_default_verify_paths();
    tls.set_verify_mode(arguments_.no_certificate_check ? asio::ssl::verify_none : asio::ssl::verify_peer);
    return tls;
  }

  bool login_answers() {
    namespace http = beast::http;
    Stream stream = connect();
    http::request<http::empty_body> request(http::verb::get, address_.path + "login", 11);
    request.set(http::field::host, address_.host + ":" + address_.port);
    http::write(stream, request);
    beast::flat_buffer buffer;
    http::response<http::string_body> reply;
    http::read(stream, buffer, reply);
    return reply.result_int() == 200;
  }

  Arguments arguments_;
  Address address_;
  Tunnels tunnels_;
  asio::io_context io_{1};
  BuildRunner runner_;
  bool terminated_ = false;
};

}  // namespace
}  // namespace skep::controller_sim

int main(int argc, char** argv) {
  using namespace skep::controller_sim;
  try {
    const auto arguments = parse(argc, argv);
    const auto address = arguments ? parse_url(arguments->url) : std::nullopt;
    if (!address) {
      std::cerr << "usage: skep-agent-sim -url URL -secret SECRET|@FILE -name NAME -workDir DIR [-webSocket] "
                   "[-noReconnect]\n";
      return 0;
    }
    return Agent(*arguments, *address).run();
  } catch (const std::exception& error) {
    std::cerr << "skep-agent-sim: " << error.what() << "\n";
    return 1;
  }
}
