// Who may answer: certificates of a private CA.
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "common/http/http_client.h"
#include "tests/support/certificates.h"
#include "tests/support/raw_peer.h"

namespace http_client_tls_test {

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

struct SystemBundle {
  explicit SystemBundle(const std::string& file) { ::setenv("SSL_CERT_FILE", file.c_str(), 1); }
  ~SystemBundle() { ::unsetenv("SSL_CERT_FILE"); }
  SystemBundle(const SystemBundle&) = delete;
  SystemBundle& operator=(const SystemBundle&) = delete;
};

void copy_over(const std::string& from, const std::string& to) {
  std::ofstream(to, std::ios::binary) << std::ifstream(from, std::ios::binary).rdbuf();
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

TEST_CASE("without a CA file the system's authorities are believed; with one, nobody else") {
  const TempFolder folder;
  const Certificate system = make_certificate(folder, "system", "IP:127.0.0.1");
  const Certificate own = make_certificate(folder, "own", "IP:127.0.0.1");
  const SystemBundle bundle(system.ca_file);
  Peer peer(system);
  CHECK(call(peer.server.url(), ""));
  Peer again(system);
  check_refused(again, call(again.server.url(), own.ca_file));
}

TEST_CASE("a CA file that was changed is read again, and one that was not is not") {
  const TempFolder folder;
  const Certificate first = make_certificate(folder, "first", "IP:127.0.0.1");
  const Certificate second = make_certificate(folder, "second", "IP:127.0.0.1");
  const std::string file = folder.file("ca.pem");
  copy_over(first.ca_file, file);
  const auto written_at = std::filesystem::last_write_time(file);
  Peer before(first);
  CHECK(call(before.server.url(), file));
  copy_over(second.ca_file, file);
  std::filesystem::last_write_time(file, written_at + std::chrono::seconds(1));
  Peer changed(first);
  check_refused(changed, call(changed.server.url(), file));
  Peer after(second);
  CHECK(call(after.server.url(), file));
  std::filesystem::resize_file(file, 0);
  std::ofstream(file) << std::string(std::filesystem::file_size(second.ca_file), ' ');
  std::filesystem::last_write_time(file, written_at + std::chrono::seconds(1));
  Peer unread(second);
  CHECK(call(unread.server.url(), file));
}

TEST_CASE("cpprest reads no bundle of its own for a connection") {
  const TempFolder folder;
  const SystemBundle bundle(make_certificate(folder, "system", "IP:127.0.0.1").ca_file);
  // What a shared library of this process gets by that name.
  auto* const function =
      reinterpret_cast<int (*)(SSL_CTX*)>(::dlsym(RTLD_DEFAULT, "SSL_CTX_set_default_verify_paths"));
  REQUIRE(function != nullptr);
  SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
  CHECK(function(context) == 1);
  CHECK(sk_X509_OBJECT_num(X509_STORE_get0_objects(SSL_CTX_get_cert_store(context))) == 0);
  SSL_CTX_free(context);
}

}  // namespace http_client_tls_test
