// Downloads from peers that are slow, silent, strange or not who they should be.
#include <atomic>
#include <catch2/catch.hpp>
#include <future>

#include "common/http/download.h"
#include "tests/support/certificates.h"
#include "tests/support/raw_peer.h"

namespace download_test {

using namespace skep;
using namespace skep::test;
using http::Download;
using http::DownloadHead;

namespace {

struct Got {
  Result<void> result;
  std::string body;
};

http::DownloadOptions quick() {
  http::DownloadOptions options;
  options.head_timeout = milliseconds(300);
  options.rate_window = milliseconds(300);
  return options;
}

Got fetch(const std::string& url, http::DownloadOptions options = quick(), std::uint64_t max_bytes = 1000) {
  Download download(std::move(options));
  std::string body;
  auto result = download.get(
      {url, 0, "", max_bytes}, [](const DownloadHead&) { return Result<void>(); },
      [&body](std::string_view bytes) {
        body += bytes;
        return Result<void>();
      });
  return {std::move(result), std::move(body)};
}

Got answer_to(const std::string& bytes) {
  const RawServer server([bytes](RawConnection& connection) {
    connection.read_message();
    connection.write(bytes);
  });
  return fetch(server.url() + "f");
}

}  // namespace

TEST_CASE("download: what is asked, and what arrives", "[http]") {
  std::promise<std::string> asked;
  const RawServer server([&](RawConnection& connection) {
    asked.set_value(connection.read_message());
    connection.write(
        "HTTP/1.1 206 Partial\r\nContent-Length: 3\r\nContent-Range: bytes 4-6/7\r\nETag: \"e\"\r\n\r\nefg");
  });
  http::DownloadOptions options = quick();
  options.basic_user = "reader";
  options.basic_password = "p w";
  Download download(options);
  std::string body;
  const auto result = download.get(
      {server.url() + "raw/a%20b", 4, "\"e\"", 7},
      [](const DownloadHead& head) {
        CHECK(head.offset == 4);
        CHECK(head.total == 7);
        return Result<void>();
      },
      [&body](std::string_view bytes) {
        body += bytes;
        return Result<void>();
      });
  CHECK(result);
  CHECK(body == "efg");
  const std::string request = asked.get_future().get();
  CHECK(request.substr(0, request.find("\r\n")) == "GET /raw/a%20b HTTP/1.1");
  CHECK(request.find("\r\nRange: bytes=4-\r\n") != std::string::npos);
  CHECK(request.find("\r\nIf-Range: \"e\"\r\n") != std::string::npos);
  CHECK(request.find("\r\nAuthorization: Basic cmVhZGVyOnAgdw==\r\n") != std::string::npos);
}

TEST_CASE("download: bodies in chunks, and to the end of the connection", "[http]") {
  CHECK(answer_to("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            .body == "abcde");
  const Got open_end = answer_to("HTTP/1.1 200 OK\r\n\r\nabc");
  CHECK(open_end.result);
  CHECK(open_end.body == "abc");
}

TEST_CASE("download: what is cut, too long or no HTTP is an error", "[http]") {
  const auto code_of = [](const std::string& bytes) { return answer_to(bytes).result.error().code; };
  CHECK(code_of("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc") == ErrorCode::unavailable);
  CHECK(code_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n") ==
        ErrorCode::unavailable);
  CHECK(code_of("HTTP/1.1 200 OK\r\n\r\n" + std::string(1001, 'x')) == ErrorCode::too_large);
  CHECK(code_of("SSH-2.0-OpenSSH\r\n\r\n") == ErrorCode::malformed_reply);
  CHECK(code_of("HTTP/1.1 200 OK\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n") ==
        ErrorCode::malformed_reply);
  CHECK(code_of("") == ErrorCode::unavailable);
}

TEST_CASE("download: silence, slowness and a limit of time end it", "[http]") {
  std::atomic<bool> is_over{false};
  const auto serve = [&is_over](const std::string& first, bool drips) {
    return [&is_over, first, drips](RawConnection& connection) {
      connection.read_message();
      connection.write(first);
      while (!is_over && (!drips || connection.write("x")))
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    };
  };
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n";
  {
    const RawServer mute(serve("", false));
    CHECK(fetch(mute.url()).result.error().code == ErrorCode::timed_out);
    const RawServer silent(serve(head, false));
    const Got got = fetch(silent.url());
    CHECK(got.result.error().message.find("fell silent") != std::string::npos);
    const RawServer slow(serve(head, true));
    http::DownloadOptions options = quick();
    options.min_bytes_per_second = 1000;
    CHECK(fetch(slow.url(), options).result.error().message.find("too slow") != std::string::npos);
    options.min_bytes_per_second = 1;
    options.total_timeout = milliseconds(500);
    const Got late = fetch(slow.url(), options);
    CHECK(late.result.error().message.find("did not come whole") != std::string::npos);
    CHECK_FALSE(late.body.empty());
    is_over = true;
  }
}

TEST_CASE("download: cancelled from elsewhere, it ends at once and takes no more", "[http]") {
  std::promise<void> asked;
  const RawServer server([&asked](RawConnection& connection) {
    connection.read_message();
    asked.set_value();
    connection.read_message();  // until the peer goes away
  });
  http::DownloadOptions options;  // patient ones
  Download download(options);
  const auto get = [&] {
    return download.get(
        {server.url(), 0, "", 10}, [](const DownloadHead&) { return Result<void>(); },
        [](std::string_view) { return Result<void>(); });
  };
  auto running = std::async(std::launch::async, get);
  asked.get_future().wait();
  download.cancel();
  REQUIRE(running.wait_for(seconds(10)) == std::future_status::ready);
  const Error error = running.get().error();
  CHECK(error.code == ErrorCode::unavailable);
  CHECK(error.message.find("was stopped") != std::string::npos);
  CHECK_FALSE(get());
}

TEST_CASE("download: only from who the certificate authority vouches for", "[http][tls]") {
  const TempFolder folder;
  const Certificate good = make_certificate(folder, "good", "DNS:localhost,IP:127.0.0.1");
  const Certificate other = make_certificate(folder, "other", "DNS:elsewhere.example");
  std::atomic<int> asked{0};
  const auto serve = [&asked](RawConnection& connection) {
    if (connection.read_message().empty()) return;
    ++asked;
    connection.write(http_reply("abc"));
  };
  http::DownloadOptions options = quick();
  options.head_timeout = seconds(10);
  const RawServer server(serve, &good), impostor(serve, &other);
  options.ca_file = good.ca_file;
  for (const char* host : {"127.0.0.1", "localhost"}) {
    const Got got = fetch(server.url(host), options);
    INFO((got.result ? "" : got.result.error().message));
    CHECK(got.result);
    CHECK(got.body == "abc");
  }
  CHECK(asked == 2);
  const auto check_refused = [&](const RawServer& peer, const std::string& ca_file) {
    options.ca_file = ca_file;
    const Got got = fetch(peer.url(), options);
    REQUIRE_FALSE(got.result);
    CHECK(got.result.error().outcome == Outcome::try_again);
    CHECK(got.body.empty());
  };
  check_refused(impostor, other.ca_file);              // another name
  check_refused(server, "");                           // not the system's
  check_refused(server, folder.file("no-such-file"));  // no authority at all
  check_refused(server, folder.write("junk", "junk\n"));
  CHECK(asked == 2);
}

}  // namespace download_test
