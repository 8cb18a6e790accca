// skep-controller-sim: a stand-in Jenkins controller on loopback, for tests and the demo. Prints one line of
// JSON with its address when it listens. Ends on SIGTERM or SIGINT.
#include <CLI/CLI.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/ssl/context.hpp>
#include <fstream>
#include <iostream>
#include <sstream>

#include "common/json/json.h"
#include "tests/controller_sim/shell/control_api.h"
#include "tests/controller_sim/shell/serve.h"

namespace skep::controller_sim {
namespace {

using boost::asio::ip::tcp;

class Server {
 public:
  Server(boost::asio::io_context& io, std::uint16_t port, std::string prefix,
         std::optional<boost::asio::ssl::context> tls)
      : acceptor_(io),
        prefix_(std::move(prefix)),
        tls_(std::move(tls)),
        wanted_(boost::asio::ip::address_v4::loopback(), port) {
    open();
    wanted_.port(acceptor_.local_endpoint().port());
  }

  std::uint16_t port() const { return wanted_.port(); }
  std::string url() const {
    return std::string(tls_ ? "https" : "http") + "://127.0.0.1:" + std::to_string(port()) + prefix_ + "/";
  }

  void run(Hub& hub) {
    hub_ = &hub;
    hub.on_listening_changed([this](bool listening) { listening ? open() : close(); });
    accept();
  }

 private:
  void open() {
    acceptor_.open(wanted_.protocol());
    acceptor_.set_option(tcp::acceptor::reuse_address(true));
    acceptor_.bind(wanted_);
    acceptor_.listen();
    if (hub_ != nullptr) accept();
  }

  /// A stopped controller refuses connections and drops those it has.
  void close() {
    acceptor_.close();
    for (const auto& cut : open_sessions_) cut();
    open_sessions_.clear();
  }

  void accept() {
    acceptor_.async_accept([this](const boost::system::error_code& error, tcp::socket socket) {
      if (error) return;
      boost::system::error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
      if (open_sessions_.size() > 1000)
        open_sessions_.clear();  // they end by themselves; only a restart looks here
      open_sessions_.push_back(tls_ ? serve_tls(*hub_, std::move(socket), *tls_, prefix_)
                                    : serve_plain(*hub_, std::move(socket), prefix_));
      accept();
    });
  }

  tcp::acceptor acceptor_;
  std::string prefix_;
  std::optional<boost::asio::ssl::context> tls_;
  tcp::endpoint wanted_;
  Hub* hub_ = nullptr;
  std::vector<Cut> open_sessions_;
};

/// [{"name":"admin","token":"...","password":"...","permissions":["Overall/Administer"]}]
Result<std::vector<User>> read_users(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) return Error::failed(ErrorCode::invalid_input, "cannot read the users file " + path);
  const auto parsed = json::parse_strict(text.str());
  if (!parsed) return parsed.error();
  if (!parsed->is_array()) return Error::failed(ErrorCode::invalid_input, path + " is no JSON array");
  std::vector<User> users;
  for (const json::Json& entry : *parsed) {
    const auto name = json::get_string(entry, "name");
    if (!name) return Error::failed(ErrorCode::invalid_input, path + ": a user has no name");
    User user;
    user.name = *name;
    if (const auto token = json::get_string(entry, "token")) user.token = *token;
    if (const auto password = json::get_string(entry, "password")) user.password = *password;
    if (entry.contains("permissions") && entry["permissions"].is_array()) {
      user.permissions.clear();
      for (const json::Json& permission : entry["permissions"]) {
        if (permission.is_string()) user.permissions.insert(permission.get<std::string>());
      }
    }
    users.push_back(std::move(user));
  }
  return users;
}

int run(int argc, char** argv) {
  CLI::App app{"A stand-in Jenkins controller for tests and the demo"};
  Options options;
  std::uint16_t port = 0;
  std::string users_file, certificate, key;
  std::int64_t quiet_seconds = 0;
  app.add_option("--core-version", options.core_version, "2.479.3 or 2.528.3")
      ->check(CLI::IsMember({"2.479.3", "2.528.3"}));
  app.add_option("--prefix", options.path_prefix, "path prefix, such as /jenkins");
  app.add_option("--root-url", options.root_url, "Jenkins' own idea of its address (default: the real one)");
  app.add_option("--port", port, "0 chooses one");
  app.add_option("--users-file", users_file, "JSON array of {name, token, password, permissions}");
  app.add_option("--seed", options.seed, "seed of all that is drawn");
  app.add_option("--quiet-period", quiet_seconds, "default quiet period in seconds");
  app.add_option("--cert", certificate, "TLS certificate chain, PEM");
  app.add_option("--key", key, "TLS private key, PEM");
  CLI11_PARSE(app, argc, argv);
  options.default_quiet_period = seconds(quiet_seconds);
  while (!options.path_prefix.empty() && options.path_prefix.back() == '/') options.path_prefix.pop_back();
  if (!options.path_prefix.empty() && options.path_prefix.front() != '/') options.path_prefix.insert(0, "/");
  if (!users_file.empty()) {
    auto users = read_users(users_file);
    if (!users) {
      std::cerr << "skep-controller-sim: " << users.error().message << "\n";
      return 2;
    }
    options.users = std::move(*users);
  }
  std::optional<boost::asio::ssl::context> tls;
  if (!certificate.empty()) {
    tls.emplace(boost::asio::ssl::context::tls_server);
    tls->use_certificate_chain_file(certificate);
    tls->use_private_key_file(key, boost::asio::ssl::context::pem);
  }
  boost::asio::io_context io{1};
  Server server(io, port, options.path_prefix, std::move(tls));
  if (options.root_url.empty()) options.root_url = server.url();
  Hub hub(io, ControllerModel(options, steady_now(), wall_now()));
  server.run(hub);
  hub.pump();
  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code&, int) { io.stop(); });
  const std::string origin = server.url().substr(0, server.url().find('/', 8));
  std::cout << json::dump(
                   {{"url", server.url()}, {"control", origin + control_prefix}, {"port", server.port()}})
            << std::endl;
  io.run();
  return 0;
}

}  // namespace
}  // namespace skep::controller_sim

int main(int argc, char** argv) {
  try {
    return skep::controller_sim::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "skep-controller-sim: " << error.what() << "\n";
    return 1;
  }
}
