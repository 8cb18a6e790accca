// The client for unix sockets against peers that break, cheat and dawdle.
#include <atomic>
#include <catch2/catch.hpp>
#include <future>

#include "common/http/unix_client.h"
#include "tests/support/certificates.h"
#include "tests/support/raw_peer.h"

namespace unix_client_test {

using namespace skep;
using namespace skep::test;

namespace {

struct Peer {
  explicit Peer(RawServer::Serve serve) : server(std::move(serve), folder.file("socket")) {}
  http::UnixClientOptions options() const {
    http::UnixClientOptions options;
    options.socket_path = folder.file("socket");
    options.total_timeout = seconds(10);
    options.max_reply_bytes = 1000;
    return options;
  }
  TempFolder folder;
  RawServer server;
};

http::Request request_of(const std::string& method = "GET", const std::string& body = {}) {
  http::Request request;
  request.method = method;
  request.target = "v1/things?a=%7B%7D";
  request.body = body;
  request.content_type = body.empty() ? "" : "application/json";
  return request;
}

Result<http::Reply> answer_to(const std::string& bytes) {
  const Peer peer([bytes](RawConnection& connection) {
    connection.read_message();
    connection.write(bytes);
  });
  return http::UnixClient(peer.options()).call(request_of());
}

}  // namespace

TEST_CASE("unix client: request and reply arrive whole", "[http]") {
  std::promise<std::string> seen;
  const Peer peer([&](RawConnection& connection) {
    seen.set_value(connection.read_message());
    connection.write(http_reply("{\"a\":1}", "X-More: yes\r\n", "409 Conflict"));
  });
  const auto reply = http::UnixClient(peer.options()).call(request_of("POST", "{}"));
  REQUIRE(reply);
  CHECK(reply->status == 409);
  CHECK(reply->body == "{\"a\":1}");
  CHECK(http::header_value(reply->headers, "x-more") == "yes");
  const std::string message = seen.get_future().get();
  CHECK(message.rfind("POST /v1/things?a=%7B%7D HTTP/1.1\r\n", 0) == 0);
  CHECK(message.find("Content-Type: application/json\r\n") != std::string::npos);
  CHECK(message.ends_with("\r\n\r\n{}"));
}

TEST_CASE("unix client: chunks, no content and an answer that ends with the connection", "[http]") {
  const auto chunks =
      answer_to("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  REQUIRE(chunks);
  CHECK(chunks->body == "abcde");
  CHECK(answer_to("HTTP/1.1 204 No Content\r\n\r\n")->status == 204);
  CHECK(answer_to("HTTP/1.0 200 OK\r\n\r\nall of it")->body == "all of it");
}

TEST_CASE("unix client: what is no whole answer is an error that says whether it may have happened",
          "[http]") {
  struct Case {
    std::string bytes;
    ErrorCode code;
  };
  const Case bad = GENERATE(values<Case>({
      {"", ErrorCode::unavailable},
      {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ErrorCode::unavailable},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", ErrorCode::unavailable},
      {"HTTP/1.1 200 O", ErrorCode::unavailable},
      {"lorem ipsum\r\n\r\n", ErrorCode::malformed_reply},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ErrorCode::malformed_reply},
      {"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n", ErrorCode::malformed_reply},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + std::string(5000, 'x'), ErrorCode::too_large},
      {"HTTP/1.0 200 OK\r\n\r\n" + std::string(5000, 'x'), ErrorCode::too_large},
  }));
  INFO(bad.bytes.substr(0, 80));
  const auto reply = answer_to(bad.bytes);
  REQUIRE_FALSE(reply);
  INFO(reply.error().message);
  CHECK(reply.error().code == bad.code);
  CHECK(reply.error().outcome == Outcome::unknown);
}

TEST_CASE("unix client: nobody there, and nobody answers", "[http]") {
  http::UnixClientOptions options;
  options.socket_path = GENERATE("/nowhere/at/all", "/dev/null");
  if (options.socket_path == "/dev/null")
    options.socket_path = "/" + std::string(300, 'x');  // longer than may be
  const auto refused = http::UnixClient(options).call(request_of());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::unavailable);
  CHECK(refused.error().outcome == Outcome::try_again);
  CHECK(refused.error().message.find(options.socket_path) != std::string::npos);

  const Peer silent([](RawConnection& connection) { connection.read_to_end(); });
  const auto late = http::UnixClient(silent.options()).call(request_of(), milliseconds(50));
  REQUIRE_FALSE(late);
  CHECK(late.error().code == ErrorCode::timed_out);
  CHECK(late.error().outcome == Outcome::unknown);
}

TEST_CASE("unix stream: pieces come as they are sent, and it ends by the peer or by us", "[http]") {
  const bool is_cancelled = GENERATE(false, true);
  std::promise<void> has_read;
  auto until_read = has_read.get_future();
  const Peer peer([&](RawConnection& connection) {
    connection.read_message();
    connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n");
    until_read.wait_for(std::chrono::seconds(10));
    connection.write("4\r\ntwo\n\r\n");
    is_cancelled ? static_cast<void>(connection.read_to_end())
                 : static_cast<void>(connection.write("0\r\n\r\n"));
  });
  http::UnixStream stream(peer.options());
  int status = 0;
  std::string all;
  const auto ended = stream.read(
      request_of(), [&](const http::Reply& head) { status = head.status; },
      [&](std::string_view text) {
        if (all.empty()) has_read.set_value();
        all += text;
        if (is_cancelled && all == "one\ntwo\n") stream.cancel();
      });
  CHECK(status == 200);
  CHECK(all == "one\ntwo\n");
  CHECK(ended.has_value() == !is_cancelled);
}

TEST_CASE("unix stream: a cut is seen, and one that was cancelled before does not begin", "[http]") {
  const Peer peer([](RawConnection& connection) {
    connection.read_message();
    connection.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\non");
  });
  const auto nothing = [](auto) {};
  http::UnixStream stream(peer.options());
  const auto ended = stream.read(
      request_of(), [](const http::Reply&) {}, nothing);
  REQUIRE_FALSE(ended);
  CHECK(ended.error().code == ErrorCode::unavailable);
  http::UnixStream cancelled(peer.options());
  cancelled.cancel();
  CHECK_FALSE(cancelled.read(
      request_of(), [](const http::Reply&) {}, nothing));
  CHECK(peer.server.connections() == 1);
}

}  // namespace unix_client_test
