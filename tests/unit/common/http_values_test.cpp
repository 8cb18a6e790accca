#include <zlib.h>

#include <catch2/catch.hpp>

#include "common/http/gunzip.h"
#include "common/http/http_types.h"
#include "core/url.h"

namespace http_values_test {

using namespace skep;

TEST_CASE("only unreserved characters stay as they are") {
  CHECK(http::percent_encode("aZ09-._~") == "aZ09-._~");
  CHECK(http::percent_encode("a b/c?d&e=f+\xc3\xa9%") == "a%20b%2Fc%3Fd%26e%3Df%2B%C3%A9%25");
  CHECK(http::percent_encode(std::string("\0\r\n", 3)) == "%00%0D%0A");
  CHECK(http::form_encode({{"a", "1&2"}, {"b=", ""}}) == "a=1%262&b%3D=");
}

TEST_CASE("names of headers compare without case; the first one counts") {
  const http::Headers headers{{"X-Jenkins", "1"}, {"x-jenkins", "2"}, {"Empty", ""}};
  CHECK(http::header_value(headers, "X-JENKINS") == "1");
  CHECK(http::header_value(headers, "X-Jenkin").empty());
}

TEST_CASE("which hosts are this machine") {
  for (const char* host : {"localhost", "127.0.0.1", "127.1.2.3", "[::1]", "::1"})
    CHECK(is_loopback_host(host));
  for (const char* host :
       {"", "127", "127.", "127.0.0", "127.0.0.", "127.0.0.1.", "127..0.1", "127.0.0.1.example", "1270.0.0.1",
        "localhost.example", "0.0.0.0", "[::]", "[::2]", "LOCALHOST.example", "127.0.0.x"}) {
    INFO(host);
    CHECK_FALSE(is_loopback_host(host));
  }
  CHECK(split_url("http://a.example:80/b@c")->host == "a.example");
  CHECK(split_url("https://[::1]:80/")->host == "::1");
  CHECK(split_url("https://a?b:c")->host == "a");
  for (const char* url : {"", "a.example", "http://", "http:///a", "https://[::1"})
    CHECK_FALSE(split_url(url));
}

TEST_CASE("gunzip: whole bodies only, and no more than the limit") {
  const auto packed = [](const std::string& text) {
    std::string out(compressBound(text.size()) + 64, '\0');
    auto size = static_cast<uLongf>(out.size());
    REQUIRE(compress(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
                     text.size()) == Z_OK);
    out.resize(size);
    return out;
  };
  const std::string text(100'000, 'x');
  CHECK(*http::gunzip(packed(text), text.size()) == text);
  CHECK(http::gunzip(packed(text), text.size() - 1).error().code == ErrorCode::too_large);
  CHECK(http::gunzip(packed(""), 0)->empty());
  for (const std::string& broken : {std::string(), std::string("not gzip"), packed(text).substr(0, 20)}) {
    const auto out = http::gunzip(broken, 1'000'000);
    REQUIRE_FALSE(out);
    CHECK(out.error().code == ErrorCode::malformed_reply);
    CHECK(out.error().outcome == Outcome::unknown);
  }
}

}  // namespace http_values_test
