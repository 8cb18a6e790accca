#include "core/url.h"

#include <algorithm>

namespace skep {

std::optional<UrlParts> split_url(const std::string& url) {
  UrlParts parts;
  const auto is_odd = [](unsigned char c) { return c <= 0x20 || c == 0x7f; };
  if (std::any_of(url.begin(), url.end(), is_odd)) return std::nullopt;
  const std::size_t scheme_end = url.find("://");
  if (scheme_end == std::string::npos) return std::nullopt;
  parts.scheme = url.substr(0, scheme_end);
  if (parts.scheme != "http" && parts.scheme != "https") return std::nullopt;
  std::string place = url.substr(scheme_end + 3);
  place = place.substr(0, place.find_first_of("/?#"));
  if (place.find('@') != std::string::npos) return std::nullopt;
  std::string port;
  if (!place.empty() && place.front() == '[') {
    const std::size_t end = place.find(']');
    if (end == std::string::npos) return std::nullopt;
    parts.host = place.substr(1, end - 1);
    if (parts.host.find(':') == std::string::npos) return std::nullopt;  // brackets hold IPv6
    port = place.substr(end + 1);
  } else {
    const std::size_t colon = std::min(place.find(':'), place.size());
    parts.host = place.substr(0, colon);
    port = place.substr(colon);
  }
  if (parts.host.empty()) return std::nullopt;
  parts.port = parts.scheme == "http" ? 80 : 443;
  if (port.empty()) return parts;
  const bool is_number =
      port.size() >= 2 && port.size() <= 6 && port.find_first_not_of("0123456789", 1) == std::string::npos;
  if (port.front() != ':' || !is_number) return std::nullopt;
  parts.port = std::stoi(port.substr(1));
  if (parts.port < 1 || parts.port > 65535) return std::nullopt;
  return parts;
}

bool is_loopback_host(std::string_view host) {
  if (host == "localhost" || host == "[::1]" || host == "::1") return true;
  if (host.substr(0, 4) != "127.") return false;
  // Four numbers of an address and nothing else: what is not one is looked up as a name.
  int parts = 0;
  while (true) {
    const std::size_t end = std::min(host.find('.'), host.size());
    const std::string_view part = host.substr(0, end);
    if (part.empty() || part.size() > 3 || part.find_first_not_of("0123456789") != std::string_view::npos)
      return false;
    const bool is_octal = part.size() > 1 && part.front() == '0';
    if (is_octal || (part.size() == 3 && part > "255")) return false;
    ++parts;
    if (end == host.size()) return parts == 4;
    host.remove_prefix(end + 1);
  }
}

}  // namespace skep
