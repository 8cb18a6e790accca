// A short mark of a longer text, for names that have little room. Pure; no protection against who wants two
// texts to collide.
#pragma once

#include <cstdint>
#include <string>

namespace skep::drivers {

/// FNV-1a, 16 hex digits: short, and the same everywhere.
inline std::string short_hash(const std::string& text) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  std::string out;
  for (int i = 0; i < 16; ++i, hash >>= 4) out += "0123456789abcdef"[hash & 15];
  return out;
}

}  // namespace skep::drivers
