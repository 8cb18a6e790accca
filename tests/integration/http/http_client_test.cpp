// The HTTP client against peers that break, cheat and dawdle.
#include <zlib.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <mutex>
#include <vector>

#include "common/http/http_client.h"
#include "common/shell/clock.h"
#include "tests/support/raw_peer.h"

namespace http_client_test {

using namespace skep;
using namespace skep::test;

namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  std::string in = text;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::unique_ptr<http::Client> client_of(http::ClientOptions options) {
  auto made = http::make_client(std::move(options));
  REQUIRE(made);
  return std::move(*made);
}

std::unique_ptr<http::Client> client_of(const std::string& url) {
  http::ClientOptions options;
  options.base_url = url;
  return client_of(std::move(options));
}

http::Request get(const std::string& target = "x") {
  http::Request request;
  request.target = target;
  return request;
}

http::Request post(const std::string& body) {
  http::Request request = get();
  request.method = "POST";
  request.body = body;
  return request;
}

/// Answers every request of a connection the same, and keeps what was asked.
class Answering {
 public:
  explicit Answering(std::string reply, const Certificate* certificate = nullptr)
      : server(
            [this, reply](RawConnection& peer) {
              for (std::string asked = peer.read_message(); !asked.empty(); asked = peer.read_message()) {
                {
                  const std::lock_guard<std::mutex> guard(lock_);
                  asked_.push_back(asked);
                }
                if (!peer.write(reply)) return;
              }
            },
            certificate) {}
  std::vector<std::string> asked() {
    const std::lock_guard<std::mutex> guard(lock_);
    return asked_;
  }

 private:
  std::mutex lock_;  // guards asked_
  std::vector<std::string> asked_;

 public:
  RawServer server;  // last: its threads use the above
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a redirect is an answer like any other and is never followed") {
  Answering peer(http_reply("gone", "Location: /elsewhere\r\n", "302 Found"));
  const auto client = client_of(peer.server.url());
  for (const http::Request& request : {get(), post("a=b")}) {
    const auto reply = client->call(request);
    REQUIRE(reply);
    CHECK(reply->status == 302);
    CHECK(http::header_value(reply->headers, "location") == "/elsewhere");
  }
  CHECK(peer.asked().size() == 2);
}

TEST_CASE("cookies are never sent back") {
  Answering peer(http_reply("{}", "Set-Cookie: JSESSIONID=1; Path=/\r\nSet-Cookie: other=2\r\n"));
  const auto client = client_of(peer.server.url());
  for (int i = 0; i < 3; ++i) REQUIRE(client->call(get()));
  for (const std::string& asked : peer.asked()) CHECK_FALSE(has(asked, "ookie"));
}

TEST_CASE("the path prefix of the base address is kept, with and without a trailing slash") {
  Answering peer(http_reply("{}"));
  for (const std::string prefix : {"jenkins/", "jenkins"}) {
    const auto client = client_of(peer.server.url() + prefix);
    REQUIRE(client->call(get("queue/api/json?tree=a%5Bb%5D")));
    CHECK(peer.asked().back().rfind("GET /jenkins/queue/api/json?tree=a%5Bb%5D HTTP/1.1\r\n", 0) == 0);
  }
}

TEST_CASE("credentials go out unasked, in one line, and nothing else is added") {
  Answering peer(http_reply("{}"));
  http::ClientOptions options;
  options.base_url = peer.server.url();
  options.basic_user = "skep";
  options.basic_password = std::string(100, 'p') + "\xc3\xa9:";
  REQUIRE(client_of(options)->call(get()));
  std::string expected = "Basic c2tlcDpw";
  INFO(peer.asked().back());
  CHECK(has(peer.asked().back(), "Authorization:" + expected));
  const std::string line = peer.asked().back().substr(peer.asked().back().find("Authorization"));
  CHECK(line.substr(0, line.find("\r\n")).size() > 150);
  options.basic_user.clear();
  options.bearer_token = "t0ken";
  REQUIRE(client_of(options)->call(get()));
  CHECK(has(peer.asked().back(), "Authorization:Bearer t0ken\r\n"));
}

TEST_CASE("gzip is asked for and unpacked, and what comes out is capped") {
  const std::string text(300'000, 'x');
  Answering good(http_reply(gzip(text), "Content-Encoding: gzip\r\n"));
  const auto reply = client_of(good.server.url())->call(get());
  REQUIRE(reply);
  CHECK(reply->body == text);
  CHECK(has(good.asked().back(), "Accept-Encoding:gzip"));

  Answering bomb(http_reply(gzip(std::string(200'000'000, '\0')), "Content-Encoding: gzip\r\n"));
  http::ClientOptions options;
  options.base_url = bomb.server.url();
  options.max_reply_bytes = 1 << 20;
  const auto refused = client_of(options)->call(get());
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::too_large);
  CHECK(refused.error().outcome == Outcome::unknown);

  Answering broken(http_reply(gzip(text).substr(0, 100), "Content-Encoding: gzip\r\n"));
  const auto cut = client_of(broken.server.url())->call(get());
  REQUIRE_FALSE(cut);
  CHECK(cut.error().code == ErrorCode::malformed_reply);
}

TEST_CASE("a body over the cap is refused, whether it has a length, chunks or no end") {
  const std::string heads[] = {"HTTP/1.1 200 OK\r\nContent-Length: 4000000000\r\n\r\n",
                               "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                               "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"};
  for (const std::string& head : heads) {
    const bool is_chunked = has(head, "chunked");
    RawServer peer([&](RawConnection& connection) {
      connection.read_message();
      connection.write(head);
      std::string part(65536, 'x');
      if (is_chunked) part = "10000\r\n" + part + "\r\n";
      while (connection.write(part)) {
      }
    });
    http::ClientOptions options;
    options.base_url = peer.url();
    options.max_reply_bytes = 1 << 20;
    const auto reply = client_of(options)->call(get());
    INFO(head);
    REQUIRE_FALSE(reply);
    CHECK(reply.error().code == ErrorCode::too_large);
  }
}

TEST_CASE("the deadline is for the whole answer: a byte now and then does not help") {
  std::atomic<bool> is_over{false};
  RawServer peer([&](RawConnection& connection) {
    connection.read_message();
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
    while (!is_over && connection.write("x"))
      std::this_thread::sleep_for(milliseconds(20));  // the pace is the attack
  });
  const auto client = client_of(peer.url());
  const Instant started = shell::now();
  const auto reply = client->call(get(), milliseconds(400));
  const Duration took = shell::now() - started;
  is_over = true;
  REQUIRE_FALSE(reply);
  CHECK(reply.error().code == ErrorCode::timed_out);
  CHECK(reply.error().outcome == Outcome::unknown);
  CHECK(took >= milliseconds(400));
  CHECK(took < seconds(10));
}

TEST_CASE("a peer that takes the connection and says nothing is left at the deadline") {
  RawServer peer([](RawConnection& connection) { connection.read_to_end(); });
  const auto reply = client_of(peer.url())->call(get(), milliseconds(300));
  REQUIRE_FALSE(reply);
  CHECK(reply.error().code == ErrorCode::timed_out);
}

TEST_CASE("an answer that is cut is no answer") {
  const std::string cut[] = {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"a\":",
                             "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
                             "HTTP/1.1 200 OK\r\nContent-Len",
                             "",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
                             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                             "no http at all\r\n\r\n",
                             std::string("\x16\x03\x01\x02\x00\x01\x00\x01", 8)};
  for (const std::string& bytes : cut) {
    RawServer peer([&](RawConnection& connection) {
      connection.read_message();
      connection.write(bytes);
    });
    const auto client = client_of(peer.url());
    for (const http::Request& request : {get(), post("a=b")}) {
      const auto reply = client->call(request, seconds(5));
      INFO(request.method << " " << bytes);
      REQUIRE_FALSE(reply);
      CHECK(reply.error().outcome == Outcome::unknown);
    }
  }
}

TEST_CASE("a length that lies never makes a whole answer out of a half one") {
  Answering longer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}garbage");
  const auto reply = client_of(longer.server.url())->call(get());
  REQUIRE(reply);
  CHECK(reply->body == "{}");
  for (const std::string length : {"-1", "99999999999999999999999", "two", "2, 3"}) {
    Answering odd("HTTP/1.1 200 OK\r\nContent-Length: " + length + "\r\nConnection: close\r\n\r\n{}");
    const auto got = client_of(odd.server.url())->call(get(), milliseconds(700));
    INFO(length);
    CHECK_FALSE(got);
  }
}

TEST_CASE("chunks come out as one body") {
  Answering peer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n");
  const auto reply = client_of(peer.server.url())->call(get());
  REQUIRE(reply);
  CHECK(reply->body == "abcde");
}

TEST_CASE("a connection is kept for reads, and not used again after a longer silence") {
  Answering peer(http_reply("{}"));
  http::ClientOptions options;
  options.base_url = peer.server.url();
  const auto kept = client_of(options);
  for (int i = 0; i < 20; ++i) REQUIRE(kept->call(get()));
  // An answer is told before its connection is back in the pool: a quick caller may get a second one.
  const int before = peer.server.connections();
  CHECK(before < 10);
  options.fresh_connection_after = Duration::zero();  // every silence is too long
  const auto fresh = client_of(options);
  for (int i = 0; i < 3; ++i) REQUIRE(fresh->call(get()));
  CHECK(peer.server.connections() == before + 3);
}

TEST_CASE("a read on a connection that the peer closed meanwhile is sent again on a new one") {
  RawServer peer([](RawConnection& connection) {
    connection.read_message();
    connection.write(http_reply("{}"));
  });
  const auto client = client_of(peer.url());
  for (int i = 0; i < 5; ++i) CHECK(client->call(get()));
}

TEST_CASE("a POST is sent at most once, whatever becomes of the connection") {
  std::atomic<int> posts{0};
  RawServer peer([&](RawConnection& connection) {
    const std::string asked = connection.read_message();
    if (asked.rfind("POST", 0) == 0) {
      ++posts;
      return;  // closes without an answer
    }
    connection.write(http_reply("{}"));
  });
  const auto client = client_of(peer.url());
  REQUIRE(client->call(get()));  // leaves a connection that is closed by the peer
  const auto reply = client->call(post("name=a"));
  REQUIRE_FALSE(reply);
  CHECK(reply.error().outcome == Outcome::unknown);
  CHECK(posts == 1);
}

TEST_CASE(
    "a POST that may be repeated is sent again, whole, when the peer closed the kept connection meanwhile") {
  std::mutex lock;
  std::vector<std::string> asked;
  RawServer peer([&](RawConnection& connection) {
    const std::string message = connection.read_message();
    const std::lock_guard<std::mutex> guard(lock);
    asked.push_back(message);
    connection.write(http_reply("{}"));  // and closes
  });
  const auto client = client_of(peer.url());
  http::Request repeatable = post("offlineMessage=busy");
  repeatable.is_repeatable = true;
  for (int i = 0; i < 5; ++i) CHECK(client->call(repeatable));
  const std::lock_guard<std::mutex> guard(lock);
  REQUIRE(asked.size() == 5);
  for (const std::string& message : asked) CHECK(message.find("offlineMessage=busy") != std::string::npos);
}

TEST_CASE("a POST that may be repeated goes over the kept connection, another one never does") {
  Answering peer(http_reply("{}"));
  const auto client = client_of(peer.server.url());
  http::Request repeatable = post("name=a");
  repeatable.is_repeatable = true;
  for (int i = 0; i < 20; ++i) REQUIRE(client->call(repeatable));
  const int kept = peer.server.connections();
  CHECK(kept < 10);  // see above: a quick caller may get a second one
  for (int i = 0; i < 5; ++i) REQUIRE(client->call(post("name=a")));
  CHECK(peer.server.connections() == kept + 5);
}

TEST_CASE("nothing listens: nothing was sent, so it may be tried again") {
  int port = 0;
  {
    RawServer gone([](RawConnection&) {});
    port = gone.port();
  }
  const auto reply = client_of("http://127.0.0.1:" + std::to_string(port) + "/")->call(post("x"));
  REQUIRE_FALSE(reply);
  CHECK(reply.error().code == ErrorCode::unavailable);
  CHECK(reply.error().outcome == Outcome::try_again);
  const auto no_name = client_of("http://no-such-host.invalid/")->call(post("x"));
  REQUIRE_FALSE(no_name);
  CHECK(no_name.error().outcome == Outcome::try_again);
}

TEST_CASE("cancel ends what runs and refuses what comes") {
  std::promise<void> asked;
  RawServer peer([&](RawConnection& connection) {
    connection.read_message();
    asked.set_value();
    connection.read_to_end();
  });
  const auto client = client_of(peer.url());
  auto running = std::async(std::launch::async, [&] { return client->call(get(), seconds(60)); });
  REQUIRE(asked.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready);
  client->cancel();
  REQUIRE(running.wait_for(std::chrono::seconds(10)) == std::future_status::ready);
  CHECK_FALSE(running.get());
  CHECK_FALSE(client->call(get()));
}

TEST_CASE("errors name the place and never a secret, a query or a body") {
  http::ClientOptions options;
  options.base_url = "http://127.0.0.1:1/jenkins/";
  options.basic_user = "skep";
  options.basic_password = "MARKED-SECRET";
  http::Request request = post("MARKED-BODY");
  request.target = "createSlave?secret=MARKED-QUERY";
  const auto reply = client_of(options)->call(request);
  REQUIRE_FALSE(reply);
  CHECK(has(reply.error().message, "POST http://127.0.0.1:1/jenkins/createSlave"));
  CHECK_FALSE(has(reply.error().message + reply.error().hint, "MARKED"));
}

TEST_CASE("an address that is none is refused when the client is made") {
  for (const std::string url :
       {"", "ftp://x/", "127.0.0.1:80", "http://", "http:///x", "https://[::1", "nonsense"}) {
    http::ClientOptions options;
    options.base_url = url;
    const auto made = http::make_client(options);
    INFO(url);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == ErrorCode::invalid_input);
  }
}

}  // namespace http_client_test
