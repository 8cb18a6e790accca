// Addresses in configurations: what may stand there, and where they lead. Pure; thread-safe.
#pragma once

#include <optional>
#include <string>

namespace skep::config {

struct UrlParts {
  std::string scheme;  // "http" or "https"
  std::string host;    // without the brackets of IPv6
  int port = 0;        // 1..65535; 80 or 443 when the text has none
};

/// nullopt: not http:// or https://, no host, a user name, or a port that is none.
std::optional<UrlParts> split_url(const std::string& url);

}  // namespace skep::config
