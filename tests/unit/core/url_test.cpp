#include "core/url.h"

#include <catch2/catch.hpp>

namespace url_test {

using skep::is_loopback_host;
using skep::split_url;

TEST_CASE("url: scheme, host and port", "[unit][core][url]") {
  struct Case {
    std::string url, scheme, host;
    int port;
  };
  for (const Case& c : {Case{"http://ci.example", "http", "ci.example", 80},
                        {"https://ci.example", "https", "ci.example", 443},
                        {"https://ci.example:8443/jenkins/", "https", "ci.example", 8443},
                        {"http://h:1", "http", "h", 1},
                        {"http://h:65535", "http", "h", 65535},
                        {"http://h:00080", "http", "h", 80},
                        {"http://h/x:9", "http", "h", 80},
                        {"http://h?x:9", "http", "h", 80},
                        {"http://h#x:9", "http", "h", 80},
                        {"http://h/?q=a@b", "http", "h", 80},
                        {"http://h#@evil.example", "http", "h", 80},
                        {"http://h/http://evil.example:9/", "http", "h", 80},
                        {"http://[::1]", "http", "::1", 80},
                        {"http://[::1]:7071/", "http", "::1", 7071},
                        {"https://[2001:db8::7]/x", "https", "2001:db8::7", 443},
                        {"http://127.0.0.1:0123", "http", "127.0.0.1", 123}}) {
    CAPTURE(c.url);
    const auto parts = split_url(c.url);
    REQUIRE(parts);
    CHECK(parts->scheme == c.scheme);
    CHECK(parts->host == c.host);
    CHECK(parts->port == c.port);
  }
}

TEST_CASE("url: what is none is refused", "[unit][core][url]") {
  for (const std::string& url : std::vector<std::string>{"",
                                                         "h",
                                                         "h:80",
                                                         "//h",
                                                         "http:/h",
                                                         "http:h",
                                                         "ftp://h",
                                                         "HTTP://h",
                                                         "Https://h",
                                                         " http://h",
                                                         "://h",
                                                         "xhttp://h",
                                                         "http://",
                                                         "http:///x",
                                                         "http://:80",
                                                         "http://?h",
                                                         "http://u@h",
                                                         "http://u:p@h",
                                                         "http://127.0.0.1@evil.example",
                                                         "http://localhost:80@evil.example/",
                                                         "http://h:",
                                                         "http://h:/",
                                                         "http://h:0",
                                                         "http://h:65536",
                                                         "http://h:000080",
                                                         "http://h:123456",
                                                         "http://h:-1",
                                                         "http://h:+80",
                                                         "http://h:8x",
                                                         "http://h:80:90",
                                                         "http://::1/",
                                                         "http://[::1",
                                                         "http://[]",
                                                         "http://[]:80",
                                                         "http://[::1]80",
                                                         "http://[::1]x:80",
                                                         "http://[localhost]/",
                                                         "http://[127.0.0.1]/",
                                                         "http://h ",
                                                         "http://h/a b",
                                                         "http://h\t",
                                                         "http://h/\n",
                                                         "http://h/\r\nHost: x",
                                                         "http://h/\x7f",
                                                         std::string("http://h\0.example", 17)}) {
    CAPTURE(url);
    CHECK_FALSE(split_url(url));
  }
}

TEST_CASE("url: only what is surely this machine is loopback", "[unit][core][url]") {
  for (const char* host :
       {"localhost", "127.0.0.1", "127.1.2.3", "127.255.255.255", "127.0.0.0", "::1", "[::1]"}) {
    CAPTURE(host);
    CHECK(is_loopback_host(host));
  }
  // Whatever is no address would be looked up as a name, and somebody could own that name.
  for (const std::string& host : std::vector<std::string>{"",
                                                          "127",
                                                          "127.",
                                                          "127.1",
                                                          "127.0.0",
                                                          "127.0.0.",
                                                          "127.0.0.1.",
                                                          "127..0.1",
                                                          "127...",
                                                          "127.0.0.1.1",
                                                          "127.evil.example",
                                                          "127.0.0.1.evil.example",
                                                          "127.0.0.x",
                                                          "127.0.0.256",
                                                          "127.0.999.1",
                                                          "127.0.0.4294967297",
                                                          "127.0.0.09",
                                                          "127.0.0.00",
                                                          "127.0.0.1 ",
                                                          " 127.0.0.1",
                                                          "127.0.0.-1",
                                                          "0127.0.0.1",
                                                          "128.0.0.1",
                                                          "1.127.0.0",
                                                          "0.0.0.0",
                                                          "user@127.0.0.1",
                                                          "127.0.0.1:80",
                                                          "localhost:80",
                                                          "localhost.evil.example",
                                                          "localhost.",
                                                          "LOCALHOST",
                                                          "xlocalhost",
                                                          "::",
                                                          "[::]",
                                                          "::2",
                                                          "[::1",
                                                          "::1]",
                                                          "[[::1]]",
                                                          "[localhost]",
                                                          "[127.0.0.1]",
                                                          "::1.evil.example",
                                                          std::string("127.0.0.1\0", 10)}) {
    CAPTURE(host);
    CHECK_FALSE(is_loopback_host(host));
  }
}

TEST_CASE("url: an address that only looks local is not", "[unit][core][url]") {
  for (const char* url :
       {"http://127.evil.example/", "http://localhost.evil.example/", "http://evil.example/127.0.0.1",
        "http://evil.example#127.0.0.1", "http://localhost\\evil.example/"}) {
    CAPTURE(url);
    const auto parts = split_url(url);
    REQUIRE(parts);
    CHECK_FALSE(is_loopback_host(parts->host));
  }
  for (const char* url : {"http://127.0.0.1/", "http://localhost:80/", "http://[::1]:80/"})
    CHECK(is_loopback_host(split_url(url).value().host));
}

}  // namespace url_test
