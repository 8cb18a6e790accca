// Addresses: their parts, and which hosts mean this machine. Pure; nothing is looked up, so that a name
// cannot pass itself off as local. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace skep {

struct UrlParts {
  std::string scheme;  // "http" or "https"
  std::string host;    // without the brackets of IPv6
  int port = 0;        // 1..65535; 80 or 443 when the text has none
};

/// nullopt: not http:// or https://, no host, a user name, or a port that is none.
std::optional<UrlParts> split_url(const std::string& url);

/// "localhost", "[::1]" or "::1", and 127.a.b.c of numbers up to 255; "127.evil.example" is none.
bool is_loopback_host(std::string_view host);

}  // namespace skep
