#include "core/ids.h"

#include <algorithm>

#include "core/bounds.h"

namespace skep {

bool is_valid_name(const std::string& text) {
  const auto is_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (text.empty() || text.size() > bounds::max_name_chars) return false;
  if (!is_word(text.front()) || !is_word(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return is_word(c) || c == '-'; });
}

}  // namespace skep
