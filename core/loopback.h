// Which host names mean this machine. Pure; nothing is looked up, so that a name cannot pass itself off as
// local.
#pragma once

#include <string_view>

namespace skep {

/// "localhost", "[::1]" or "::1", and 127.a.b.c; "127.evil.example" is none.
inline bool is_loopback_host(std::string_view host) {
  if (host == "localhost" || host == "[::1]" || host == "::1") return true;
  if (host.substr(0, 4) != "127.") return false;
  int points = 0;
  char last = 'x';
  for (const char c : host.substr(3)) {
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_digit && (c != '.' || last == '.')) return false;
    points += is_digit ? 0 : 1;
    last = c;
  }
  return points == 3 && last != '.';
}

}  // namespace skep
