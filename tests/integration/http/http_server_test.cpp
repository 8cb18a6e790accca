// The HTTP server against clients that are wrong, slow, many and hostile.
#include <openssl/ssl.h>
#include <atomic>

#include <catch2/catch.hpp>
#include <future>

#include "common/http/http_client.h"
#include "common/http/http_server.h"
#include "common/shell/clock.h"
#include "tests/support/certificates.h"
#include "tests/support/raw_peer.h"

namespace http_server_test {

using namespace skep;
using namespace skep::test;

namespace {

int port_of(const http::Server& server) {
  const std::string url = server.url();
  return std::stoi(url.substr(url.rfind(':') + 1));
}

/// "/v1/echo" answers with the body, "/v1/late" keeps its responder, "/v1/drop" loses it.
struct Subject {
  explicit Subject(http::ServerOptions options = {}, http::Handler slow = {}) {
    auto made = http::make_server(std::move(options));
    REQUIRE(made);
    server = std::move(*made);
    server->route("POST", "/v1/echo/{name}",
                  [](const http::ServerRequest& request, const http::Responder& responder) {
                    responder({200, request.captures.at("name") + ":" + request.body, "text/plain", {}});
                  });
    server->route("GET", "/v1/late", [this](const http::ServerRequest&, const http::Responder& responder) {
      const std::lock_guard<std::mutex> guard(lock);
      late.push_back(responder);
      is_late.notify_all();
    });
    if (slow) server->route("GET", "/v1/slow", std::move(slow));
    server->route("GET", "/v1/drop", [](const http::ServerRequest&, const http::Responder&) {});
    const auto started = server->start();
    INFO((started ? "" : started.error().message));
    REQUIRE(started);
    port = port_of(*server);
  }

  std::string ask(const std::string& request, const std::string& ca_file = {}) const {
    const auto peer = connect_raw(port, ca_file);
    if (!peer || !peer->write(request)) return "";
    peer->end_writing();
    return peer->read_message();
  }
  bool wait_for_late(std::size_t wanted) {
    std::unique_lock<std::mutex> guard(lock);
    return is_late.wait_for(guard, std::chrono::seconds(20), [&] { return late.size() >= wanted; });
  }

  std::unique_ptr<http::Server> server;
  int port = 0;
  std::mutex lock;  // guards late
  std::condition_variable is_late;
  std::vector<http::Responder> late;
};

std::string echo(const std::string& headers = {}, const std::string& body = "hi") {
  return "POST /v1/echo/a%20b HTTP/1.1\r\nHost: x\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

bool has_status(const std::string& reply, const std::string& status) {
  return reply.rfind("HTTP/1.1 " + status, 0) == 0;
}

}  // namespace

TEST_CASE("beyond loopback nothing listens without a token file") {
  for (const std::string listen :
       {"0.0.0.0:0", "[::]:0", "192.0.2.1:0", "127.evil.example:0", "host.example:7070"}) {
    http::ServerOptions options;
    options.listen = listen;
    const auto made = http::make_server(options);
    INFO(listen);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == ErrorCode::invalid_input);
    CHECK(made.error().message.find("without a token file") != std::string::npos);
  }
  for (const std::string listen :
       {"", ":0", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:x"}) {
    http::ServerOptions options;
    options.listen = listen;
    INFO(listen);
    CHECK_FALSE(http::make_server(options));
  }
}

TEST_CASE("a token file that others may read, that is empty or absent stops the start") {
  const TempFolder folder;
  for (const std::string& file : {folder.write("open", "t\n", 0644), folder.write("group", "t\n", 0640),
                                  folder.write("empty", ""), folder.file("absent")}) {
    http::ServerOptions options;
    options.token_file = file;
    auto server = http::make_server(options);
    REQUIRE(server);
    const auto started = (*server)->start();
    INFO(file);
    REQUIRE_FALSE(started);
    CHECK(started.error().message.find(file) != std::string::npos);
  }
}

TEST_CASE("only the whole token opens") {
  const TempFolder folder;
  http::ServerOptions options;
  options.token_file = folder.write("token", "right-token\n");
  const Subject subject(options);
  CHECK(has_status(subject.ask(echo("Authorization: Bearer right-token\r\n")), "200"));
  for (const std::string header :
       {"", "Authorization: Bearer \r\n", "Authorization: Bearer right-toke\r\n",
        "Authorization: Bearer right-token1\r\n", "Authorization: right-token\r\n",
        "Authorization: Bearer right-tokem\r\n", "Authorization: Basic right-token\r\n",
        "X-Authorization: Bearer right-token\r\n"}) {
    const std::string reply = subject.ask(echo(header));
    INFO(header);
    CHECK(has_status(reply, "401"));
    CHECK(reply.find("right-token") == std::string::npos);
  }
  // Also where nothing is: who has no token learns nothing.
  CHECK(has_status(subject.ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"), "401"));
}

TEST_CASE("what is not there, and what is not possible") {
  const Subject subject;
  const std::string reply = subject.ask(echo());
  CHECK(has_status(reply, "200"));
  CHECK(reply.find("a b:hi") != std::string::npos);
  CHECK(has_status(subject.ask("GET /v1/nowhere HTTP/1.1\r\nHost: x\r\n\r\n"), "404"));
  CHECK(has_status(subject.ask("GET /v1/drop HTTP/1.1\r\nHost: x\r\n\r\n"), "500"));
  const std::string refused = subject.ask("DELETE /v1/echo/a HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(has_status(refused, "405"));
  CHECK(refused.find("Allow: POST") != std::string::npos);
}

TEST_CASE("a body over the limit is refused by its length, and so is one without") {
  http::ServerOptions options;
  options.max_body_bytes = 1000;
  const Subject subject(options);
  CHECK(has_status(subject.ask(echo({}, std::string(1000, 'x'))), "200"));
  CHECK(has_status(subject.ask(echo({}, std::string(1001, 'x'))), "413"));
  CHECK(has_status(subject.ask("POST /v1/echo/a HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n"),
                   "413"));
  CHECK(has_status(
      subject.ask(
          "POST /v1/echo/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
      "413"));
}

TEST_CASE("what is no HTTP request is refused, and the next client is served") {
  const Subject subject;
  const std::string wrong[] = {"\r\n\r\n",
                               "nonsense\r\n\r\n",
                               "GET\r\n\r\n",
                               "GET / HTTP/9.9\r\n\r\n",
                               std::string("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 12),
                               "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
                               "GET /v1/echo/%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
                               "GET /v1/late?a=%z HTTP/1.1\r\nHost: x\r\n\r\n",
                               "GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
                               "GET /" + std::string(100'000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n",
                               "POST /v1/echo/a HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
                               "POST /v1/echo/a HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                               "POST /v1/echo/a HTTP/1.1\r\nno colon\r\n\r\n"};
  for (const std::string& request : wrong) {
    const std::string reply = subject.ask(request);
    INFO(request.substr(0, 80) << " -> " << reply.substr(0, 60));
    CHECK((reply.empty() || reply.rfind("HTTP/1.1 4", 0) == 0));
    CHECK(has_status(subject.ask(echo()), "200"));
  }
}

TEST_CASE("a head without an end is refused at its limit") {
  const Subject subject;
  const auto peer = connect_raw(subject.port);
  REQUIRE(peer);
  std::string head = "GET / HTTP/1.1\r\nHost: x\r\n";
  while (head.size() < 100'000) head += "X-More: " + std::string(1000, 'a') + "\r\n";
  REQUIRE(peer->write(head));
  CHECK(has_status(peer->read_message(), "431"));
  CHECK(peer->read_some().empty());
}

TEST_CASE("a connection is kept for HTTP/1.1 and when asked for, else closed") {
  const Subject subject;
  const std::pair<std::string, bool> cases[] = {{"GET /x HTTP/1.1\r\nHost: x\r\n\r\n", true},
                                                {"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n", false},
                                                {"GET /x HTTP/1.0\r\n\r\n", false},
                                                {"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true}};
  for (const auto& [request, is_kept] : cases) {
    const auto peer = connect_raw(subject.port);
    REQUIRE(peer);
    peer->write(request);
    INFO(request);
    CHECK(has_status(peer->read_message(), "404"));
    peer->write(echo());
    CHECK(has_status(peer->read_message(), "200") == is_kept);
  }
}

TEST_CASE("several requests sent at once are answered in their order, and a HEAD has no body") {
  const Subject subject;
  const auto peer = connect_raw(subject.port);
  REQUIRE(peer);
  peer->write(echo({}, "one") + echo({}, "two") + "HEAD /x HTTP/1.1\r\nConnection: close\r\n\r\n");
  CHECK(peer->read_message().find("a b:one") != std::string::npos);
  CHECK(peer->read_message().find("a b:two") != std::string::npos);
  const std::string head = peer->read_to_end();
  CHECK(has_status(head, "404"));
  CHECK(head.substr(head.find("\r\n\r\n")) == "\r\n\r\n");
}

TEST_CASE("many clients that never finish their request do not keep others waiting") {
  const Subject subject;
  std::vector<std::unique_ptr<RawConnection>> slow;
  for (int i = 0; i < 200; ++i) {
    slow.push_back(connect_raw(subject.port));
    REQUIRE(slow.back());
    slow.back()->write(i % 2 == 0 ? "POST /v1/echo/a HTT"
                                  : "POST /v1/echo/a HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf");
  }
  for (int i = 0; i < 20; ++i) CHECK(has_status(subject.ask(echo()), "200"));
}

TEST_CASE("hundreds of questions that wait for news are answered from another thread") {
  Subject subject;
  std::vector<std::unique_ptr<RawConnection>> waiting;
  for (int i = 0; i < 300; ++i) {
    waiting.push_back(connect_raw(subject.port));
    REQUIRE(waiting.back());
    waiting.back()->write("GET /v1/late HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  REQUIRE(subject.wait_for_late(300));
  CHECK(has_status(subject.ask(echo()), "200"));
  std::thread([&] {
    for (const http::Responder& responder : subject.late) responder({200, "news", "text/plain", {}});
  }).join();
  for (const auto& peer : waiting) CHECK(has_status(peer->read_message(), "200"));
}

TEST_CASE("a stop answers what waits, does not wait for slow clients, and ends in time") {
  Subject subject;
  const auto waiting = connect_raw(subject.port);
  waiting->write("GET /v1/late HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(subject.wait_for_late(1));
  std::vector<std::unique_ptr<RawConnection>> slow;
  for (int i = 0; i < 20; ++i) {
    slow.push_back(connect_raw(subject.port));
    slow.back()->write("POST /v1/echo/a HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf");
  }
  REQUIRE(has_status(subject.ask(echo()), "200"));
  const Instant started = shell::now();
  subject.server->stop();
  CHECK(shell::now() - started < seconds(10));
  CHECK(has_status(waiting->read_message(), "503"));
  subject.late.front()({200, "too late", "text/plain", {}});  // ignored, not a crash
  CHECK_FALSE(connect_raw(subject.port));
}

TEST_CASE("stops amid requests that arrive and bodies that are half there: whole answers or none") {
  for (int round = 0; round < 30; ++round) {
    Subject subject;
    std::vector<std::unique_ptr<RawConnection>> slow;
    for (int i = 0; i < 10; ++i) {
      slow.push_back(connect_raw(subject.port));
      slow.back()->write("POST /v1/echo/a HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf");
    }
    std::atomic<int> answered{0};
    std::atomic<bool> is_wrong{false};
    std::vector<std::thread> clients;
    for (int i = 0; i < 3; ++i) {
      clients.emplace_back([&] {
        const auto peer = connect_raw(subject.port);
        for (std::string reply; peer && peer->write(echo()); ++answered) {
          reply = peer->read_message();
          if (reply.empty()) break;
          if (!has_status(reply, "503") && reply.find("a b:hi") == std::string::npos) is_wrong = true;
        }
      });
    }
    while (answered < 5) std::this_thread::yield();
    subject.server->stop();
    for (std::thread& client : clients) client.join();
    CHECK_FALSE(is_wrong);
  }
}

/// Stays a moment longer than the caller asks, so that a stop that does not wait for it is seen to be over.
struct SlowHandler {
  http::Handler handler() {
    return [this](const http::ServerRequest&, const http::Responder& responder) {
      responder({200, "early", "text/plain", {}});
      entered.set_value();
      may_go.get_future().wait_for(seconds(20));
      is_stopped_while_running.set_value(stopped.get_future().wait_for(std::chrono::milliseconds(200)) ==
                                         std::future_status::ready);
    };
  }
  std::promise<void> entered, may_go, stopped;
  std::promise<bool> is_stopped_while_running;
};

TEST_CASE("a stop is over when no handler runs any more, also one that has answered") {
  SlowHandler slow;
  Subject subject({}, slow.handler());
  const auto peer = connect_raw(subject.port);
  peer->write("GET /v1/slow HTTP/1.1\r\nHost: x\r\n\r\n");
  REQUIRE(slow.entered.get_future().wait_for(seconds(20)) == std::future_status::ready);
  slow.may_go.set_value();
  subject.server->stop();
  slow.stopped.set_value();
  CHECK_FALSE(slow.is_stopped_while_running.get_future().get());
}

TEST_CASE("TLS: served to who speaks it, from 1.2 on; nothing is said in plain") {
  const TempFolder folder;
  const Certificate certificate = make_certificate(folder, "api", "IP:127.0.0.1");
  http::ServerOptions options;
  options.tls_cert_file = certificate.cert_file;
  options.tls_key_file = certificate.key_file;
  options.token_file = folder.write("token", "t\n");
  const Subject subject(options);
  CHECK(subject.server->url().rfind("https://127.0.0.1:", 0) == 0);
  CHECK(has_status(subject.ask(echo("Authorization: Bearer t\r\n"), certificate.ca_file), "200"));
  CHECK(has_status(subject.ask(echo(), certificate.ca_file), "401"));
  CHECK_FALSE(connect_raw(subject.port, certificate.ca_file, TLS1_1_VERSION));
  CHECK(connect_raw(subject.port, certificate.ca_file, TLS1_2_VERSION));
  CHECK(subject.ask(echo("Authorization: Bearer t\r\n")).find("HTTP/1.1 200") == std::string::npos);
}

TEST_CASE("a certificate or key that cannot be used stops the start and is named") {
  const TempFolder folder;
  const Certificate good = make_certificate(folder, "good", "IP:127.0.0.1");
  const Certificate other = make_certificate(folder, "other", "IP:127.0.0.1");
  const std::pair<std::string, std::string> wrong[] = {{folder.file("absent"), good.key_file},
                                                       {good.cert_file, folder.file("absent")},
                                                       {folder.write("text", "x\n"), good.key_file},
                                                       {good.cert_file, other.key_file}};
  for (const auto& [cert, key] : wrong) {
    http::ServerOptions options;
    options.tls_cert_file = cert;
    options.tls_key_file = key;
    auto server = http::make_server(options);
    REQUIRE(server);
    const auto started = (*server)->start();
    INFO(cert << " " << key);
    REQUIRE_FALSE(started);
    CHECK((started.error().message.find(cert) != std::string::npos ||
           started.error().message.find(key) != std::string::npos));
  }
  http::ServerOptions half;
  half.tls_cert_file = good.cert_file;
  CHECK_FALSE(http::make_server(half));
}

TEST_CASE("a port that is taken stops the start and is named") {
  const Subject first;
  http::ServerOptions options;
  options.listen = "127.0.0.1:" + std::to_string(first.port);
  auto second = http::make_server(options);
  REQUIRE(second);
  const auto started = (*second)->start();
  REQUIRE_FALSE(started);
  CHECK(started.error().message.find(options.listen) != std::string::npos);
}

}  // namespace http_server_test
