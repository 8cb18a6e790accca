// Who may answer: certificates of a private CA.
#include <openssl/ssl.h>

#include <catch2/catch.hpp>

#include "common/http/http_client.h"
#include "tests/support/raw_peer.h"

using namespace skep;
using namespace skep::test;

namespace {

Result<http::Reply> call(const std::string& url, const std::string& ca_file) {
  http::ClientOptions options;
  options.base_url = url;
  options.ca_file = ca_file;
  options.bearer_token = "MARKED";
  auto client = http::make_client(options);
  REQUIRE(client);
  http::Request request;
  request.method = "POST";
  request.target = "x";
  return (*client)->call(request);
}

/// Answers, and tells whether a single byte of a request came through.
struct Peer {
  explicit Peer(const Certificate& certificate, int max_tls_version = 0)
      : server(
            [this](RawConnection& connection) {
              if (connection.read_message().empty()) return;
              is_asked = true;
              connection.write(http_reply("{}"));
            },
            &certificate, max_tls_version) {}
  std::atomic<bool> is_asked{false};
  RawServer server;
};

void check_refused(const Peer& peer, const Result<http::Reply>& reply) {
  REQUIRE_FALSE(reply);
  CHECK(reply.error().outcome == Outcome::try_again);
  CHECK_FALSE(peer.is_asked);
}

}  // namespace

TEST_CASE("the right CA and the right name") {
  const TempFolder folder;
  const Certificate certificate = make_certificate(folder, "peer", "DNS:localhost,IP:127.0.0.1");
  Peer peer(certificate);
  for (const std::string host : {"127.0.0.1", "localhost"}) {
    const auto reply = call(peer.server.url(host), certificate.ca_file);
    INFO(host << (reply ? "" : reply.error().message));
    REQUIRE(reply);
    CHECK(reply->body == "{}");
  }
}

TEST_CASE("another CA, no CA, another name, an old certificate: refused before anything is sent") {
  const TempFolder folder;
  const Certificate good = make_certificate(folder, "good", "DNS:localhost,IP:127.0.0.1");
  const Certificate other = make_certificate(folder, "other", "DNS:localhost,IP:127.0.0.1");
  Peer peer(good);
  check_refused(peer, call(peer.server.url(), other.ca_file));
  check_refused(peer, call(peer.server.url(), ""));
  const Certificate named = make_certificate(folder, "named", "DNS:elsewhere.example,IP:127.0.0.2");
  Peer wrong_name(named);
  check_refused(wrong_name, call(wrong_name.server.url("127.0.0.1"), named.ca_file));
  check_refused(wrong_name, call(wrong_name.server.url("localhost"), named.ca_file));
  const Certificate old = make_certificate(folder, "old", "DNS:localhost,IP:127.0.0.1", true);
  Peer expired(old);
  check_refused(expired, call(expired.server.url(), old.ca_file));
}

TEST_CASE("a peer that only speaks TLS 1.1 is refused") {
  const TempFolder folder;
  const Certificate certificate = make_certificate(folder, "peer", "IP:127.0.0.1");
  Peer peer(certificate, TLS1_1_VERSION);
  check_refused(peer, call(peer.server.url(), certificate.ca_file));
}

TEST_CASE("a CA file that is none is refused when the client is made") {
  const TempFolder folder;
  for (const std::string& file :
       {folder.file("absent"), folder.write("empty", ""), folder.write("text", "no PEM\n")}) {
    http::ClientOptions options;
    options.base_url = "https://127.0.0.1:1/";
    options.ca_file = file;
    const auto made = http::make_client(options);
    REQUIRE_FALSE(made);
    CHECK(made.error().message.find(file) != std::string::npos);
  }
}
