// What a server's head means for a download, and which entries of a tar stay inside.
#include <catch2/catch.hpp>

#include "common/archive/unpack.h"
#include "common/digest/sha256.h"
#include "common/http/download.h"

namespace download_head_test {

using namespace skep;
using namespace skep::http;

namespace {

const DownloadRequest whole{"http://x/f", 0, "", 100};
const DownloadRequest resumed{"http://x/f", 40, "\"a\"", 100};

DownloadReply reply_of(int status, std::optional<std::uint64_t> length, const std::string& range = {}) {
  DownloadReply reply;
  reply.status = status;
  reply.content_length = length;
  reply.content_range = range;
  reply.etag = "\"a\"";
  return reply;
}

}  // namespace

TEST_CASE("download head: where the bytes that follow belong", "[http]") {
  const auto fresh = judge_head(whole, reply_of(200, 100));
  REQUIRE(fresh);
  CHECK(fresh->offset == 0);
  CHECK(*fresh->total == 100);
  CHECK(fresh->etag == "\"a\"");
  const auto rest = judge_head(resumed, reply_of(206, 60, "bytes 40-99/100"));
  REQUIRE(rest);
  CHECK(rest->offset == 40);
  CHECK(*rest->total == 100);
  const auto over = judge_head(resumed, reply_of(200, 100));
  REQUIRE(over);
  CHECK(over->offset == 0);
  CHECK_FALSE(judge_head(whole, reply_of(200, {}))->total);
  DownloadReply weak = reply_of(200, 100);
  weak.etag = "W/\"a\"";
  CHECK(judge_head(whole, weak)->etag.empty());
}

TEST_CASE("download head: another range than was asked for is refused", "[http]") {
  for (const char* range : {"", "bytes 41-99/100", "bytes 40-98/100", "bytes 40-99/*", "bytes 40-100/100",
                            "40-99/100", "bytes 99-40/100", "bytes 40-99/100 ", "bytes -99/100"}) {
    INFO(range);
    const auto head = judge_head(resumed, reply_of(206, {}, range));
    REQUIRE_FALSE(head);
    CHECK(head.error().code == ErrorCode::malformed_reply);
  }
  CHECK_FALSE(judge_head(resumed, reply_of(206, 59, "bytes 40-99/100")));
  CHECK_FALSE(judge_head(whole, reply_of(206, 60, "bytes 40-99/100")));
  CHECK(judge_head(resumed, reply_of(206, 61, "bytes 40-100/101")).error().code == ErrorCode::too_large);
}

TEST_CASE("download head: each status has its outcome", "[http]") {
  const auto error_of = [](int status) { return judge_head(whole, reply_of(status, 0)).error(); };
  CHECK(error_of(404).code == ErrorCode::not_found);
  CHECK(error_of(401).code == ErrorCode::unauthenticated);
  CHECK(error_of(403).code == ErrorCode::unauthenticated);
  CHECK(error_of(302).code == ErrorCode::unsupported);
  CHECK(error_of(416).code == ErrorCode::unsupported);
  for (const int status : {301, 400, 401, 404, 416}) CHECK(error_of(status).outcome == Outcome::failed);
  for (const int status : {408, 429, 500, 502, 503}) CHECK(error_of(status).outcome == Outcome::try_again);
  DownloadReply moved = reply_of(302, 0);
  moved.location = "https://elsewhere/f?signature=secret";
  CHECK(judge_head(whole, moved).error().message ==
        "GET http://x/f was answered with 302: a redirect to https://elsewhere/f");
  DownloadReply packed = reply_of(200, 100);
  packed.content_encoding = "gzip";
  CHECK(judge_head(whole, packed).error().code == ErrorCode::unsupported);
  CHECK(judge_head(whole, reply_of(200, 101)).error().code == ErrorCode::too_large);
}

TEST_CASE("unpack: paths and links that lead out", "[archive]") {
  using archive::clean_path;
  using archive::is_link_inside;
  CHECK(clean_path("./a//b/").text == "a/b");
  CHECK(clean_path("./").is_inside);
  CHECK(clean_path("./").text.empty());
  for (const char* out : {"", "/a", "..", "a/../b", "../a", "a/.."}) CHECK_FALSE(clean_path(out).is_inside);
  CHECK(is_link_inside("", "a/b"));
  CHECK(is_link_inside("a", "../b"));
  CHECK(is_link_inside("a/b", "../../c"));
  CHECK(is_link_inside("", "."));
  for (const char* out : {"", "/etc", "../a", "a/../..", "./..", "a/../b"})
    CHECK_FALSE(is_link_inside("", out));
  CHECK_FALSE(is_link_inside("a", "../../b"));
  CHECK_FALSE(is_link_inside("a", "b/../../.."));
}

TEST_CASE("sha256: the examples of FIPS 180-4", "[digest]") {
  CHECK(digest::sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest::sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  digest::Sha256 pieces;
  pieces.update("a");
  CHECK(pieces.hex() == digest::sha256_hex("a"));
  pieces.update("bc");
  CHECK(pieces.hex() == digest::sha256_hex("abc"));
  CHECK(digest::is_sha256_hex(pieces.hex()));
  CHECK_FALSE(digest::is_sha256_hex("BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

}  // namespace download_head_test
