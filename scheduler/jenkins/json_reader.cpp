#include "scheduler/jenkins/json_reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/bounds.h"
#include "scheduler/jenkins/texts.h"

namespace skep::scheduler {
namespace {

constexpr std::size_t max_keys_per_object = 256;  // duplicates are looked for one by one

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

constexpr std::uint64_t every_byte = 0x0101010101010101u;

std::uint64_t eight_bytes(std::string_view text, std::size_t at) {
  std::uint64_t eight = 0;
  std::memcpy(&eight, text.data() + at, 8);
  return eight;
}

/// Not zero if one of the bytes is zero.
std::uint64_t zero_byte(std::uint64_t eight) {
  return (eight - every_byte) & ~eight & (every_byte << 7);
}

/// Offset of the first byte from `at` on that a text does not hold as it is: quote, backslash or control.
std::size_t find_special(std::string_view text, std::size_t at) {
  for (; at + 8 <= text.size(); at += 8) {
    const std::uint64_t eight = eight_bytes(text, at);
    const std::uint64_t control = (eight - every_byte * 0x20) & ~eight & (every_byte << 7);
    if ((control | zero_byte(eight ^ (every_byte * '"')) | zero_byte(eight ^ (every_byte * '\\'))) != 0)
      break;
  }
  while (at < text.size() && text[at] != '"' && text[at] != '\\' &&
         static_cast<unsigned char>(text[at]) >= 0x20)
    ++at;
  return at;
}

/// Offset of the first byte that is not part of valid UTF-8, or npos.
std::size_t find_broken_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  std::size_t i = 0;
  while (i < text.size()) {
    if (i + 8 <= text.size() && (eight_bytes(text, i) & (every_byte << 7)) == 0) {
      i += 8;
      continue;
    }
    const unsigned char lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const std::size_t more = lead >= 0xC2 && lead <= 0xDF   ? 1
                             : (lead & 0xF0) == 0xE0        ? 2
                             : lead >= 0xF0 && lead <= 0xF4 ? 3
                                                            : 0;
    if (more == 0 || i + more >= text.size()) return i;
    for (std::size_t k = 1; k <= more; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return i;
    }
    const unsigned char second = byte(i + 1);
    const bool is_overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
    const bool is_outside = (lead == 0xED && second > 0x9F) || (lead == 0xF4 && second > 0x8F);
    if (is_overlong || is_outside) return i;
    i += more + 1;
  }
  return std::string_view::npos;
}

}  // namespace

JsonReader::JsonReader(std::string_view text) : text_(text) {
  if (const std::size_t broken = find_broken_utf8(text); broken != std::string_view::npos) {
    at_ = broken;
    refuse("broken UTF-8");
  }
}

void JsonReader::refuse(const std::string& what) {
  if (problem_.empty()) problem_ = what + " (byte " + std::to_string(at_) + ")";
  at_ = text_.size();
}

void JsonReader::enter(char bracket, bool is_object) {
  if (!is_good()) return;
  if (!take(bracket)) return refuse(is_object ? "an object was expected" : "a list was expected");
  if (levels_.size() >= static_cast<std::size_t>(bounds::max_json_depth)) return refuse("nested too deeply");
  levels_.push_back({is_object, true, keys_.size()});
}

void JsonReader::enter_object() {
  enter('{', true);
}
void JsonReader::enter_array() {
  enter('[', false);
}

void JsonReader::leave() {
  keys_.resize(levels_.back().first_key);
  levels_.pop_back();
}

/// True if another member follows.
bool JsonReader::next(char closing) {
  if (!is_good() || levels_.empty()) return false;
  Level& level = levels_.back();
  if (take(closing)) {
    leave();
    return false;
  }
  if (!level.is_first && !take(',')) {
    refuse(at_ >= text_.size() ? "it ends too early" : "a comma was expected");
    return false;
  }
  level.is_first = false;
  return true;
}

bool JsonReader::next_element() {
  return next(']');
}

bool JsonReader::next_key(std::string_view& key) {
  if (!next('}')) return false;
  bool has_escapes = false;
  key = string_token(has_escapes);
  if (has_escapes) {
    decoded_keys_.push_back(unescaped(key));
    key = decoded_keys_.back();
  }
  if (!is_good()) return false;
  const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(levels_.back().first_key);
  // Lengths and last letters differ nearly always: most pairs need no call.
  const bool is_twice = std::any_of(first, keys_.end(), [key](std::string_view other) {
    return other.size() == key.size() && (key.empty() || (other.back() == key.back() && other == key));
  });
  if (is_twice) {
    refuse("the key \"" + std::string(key.substr(0, 60)) + "\" twice");
  } else if (static_cast<std::size_t>(keys_.end() - first) >= max_keys_per_object) {
    refuse("too many keys");
  } else if (!take(':')) {
    refuse("a colon was expected");
  }
  keys_.push_back(key);
  return is_good();
}

bool JsonReader::take_null() {
  return is_good() && take_word("null");
}

/// What stands between the quotes, escapes not yet resolved.
std::string_view JsonReader::string_token(bool& has_escapes) {
  has_escapes = false;
  if (!is_good()) return {};
  if (!take('"')) {
    refuse("a text was expected");
    return {};
  }
  const std::size_t start = at_;
  for (at_ = find_special(text_, at_); at_ < text_.size(); at_ = find_special(text_, at_)) {
    const char c = text_[at_];
    if (c == '"') return text_.substr(start, at_++ - start);
    if (c != '\\') break;
    has_escapes = true;
    at_ = std::min(at_ + 2, text_.size());
  }
  refuse(at_ >= text_.size() ? "it ends in a text" : "a control character in a text");
  return {};
}

unsigned JsonReader::hex4(std::string_view token, std::size_t at) {
  unsigned code = 0;
  if (at + 4 > token.size()) {
    refuse("a cut \\u escape");
    return 0;
  }
  const auto [end, failure] = std::from_chars(token.data() + at, token.data() + at + 4, code, 16);
  if (failure != std::errc{} || end != token.data() + at + 4) refuse("a wrong \\u escape");
  return code;
}

std::string JsonReader::unescaped(std::string_view token) {
  constexpr std::string_view names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
  std::string out;
  out.reserve(token.size());
  for (std::size_t i = 0; i < token.size() && is_good(); ++i) {
    if (token[i] != '\\') {
      out += token[i];
      continue;
    }
    const char kind = ++i < token.size() ? token[i] : '\0';
    if (const std::size_t simple = names.find(kind); simple != std::string_view::npos && kind != '\0') {
      out += values[simple];
    } else if (kind == 'u') {
      unsigned code = hex4(token, i + 1);
      i += 4;
      if (code >= 0xD800 && code <= 0xDBFF &&
          token.substr(std::min(i + 1, token.size())).starts_with("\\u")) {
        const unsigned low = hex4(token, i + 3);
        i += 6;
        code = low >= 0xDC00 && low <= 0xDFFF ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : 0xD800;
      }
      if (code >= 0xD800 && code <= 0xDFFF) refuse("half a surrogate pair");
      if (is_good()) append_utf8(out, code);
    } else {
      refuse("an unknown escape");
    }
  }
  return is_good() ? out : std::string();
}

std::string JsonReader::text() {
  bool has_escapes = false;
  const std::string_view token = string_token(has_escapes);
  return has_escapes ? unescaped(token) : std::string(token);
}

bool JsonReader::flag() {
  if (!is_good()) return false;
  if (take_word("true")) return true;
  if (!take_word("false")) refuse("true or false was expected");
  return false;
}

std::string_view JsonReader::number_token(bool& is_whole) {
  skip_blanks();
  const std::size_t start = at_;
  const auto digits = [&] {
    const std::size_t first = at_;
    while (is_digit(peek())) ++at_;
    return at_ > first;
  };
  is_whole = true;
  if (peek() == '-') ++at_;
  const bool is_leading_zero = peek() == '0';
  const std::size_t first_digit = at_;
  bool is_fine = digits() && !(is_leading_zero && at_ - first_digit > 1);
  if (is_fine && peek() == '.') {
    ++at_;
    is_whole = false;
    is_fine = digits();
  }
  if (is_fine && (peek() == 'e' || peek() == 'E')) {
    ++at_;
    is_whole = false;
    if (peek() == '+' || peek() == '-') ++at_;
    is_fine = digits();
  }
  if (!is_fine) {
    refuse("a number was expected");
    return {};
  }
  return text_.substr(start, at_ - start);
}

std::int64_t JsonReader::number() {
  if (!is_good()) return 0;
  bool is_whole = true;
  const std::string_view token = number_token(is_whole);
  if (!is_good()) return 0;
  std::int64_t value = 0;
  const auto [end, failure] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (!is_whole || failure != std::errc{}) {
    refuse("a whole number of 64 bits was expected");
    return 0;
  }
  return value;
}

void JsonReader::check_number() {
  bool is_whole = true;
  const std::string_view token = number_token(is_whole);
  if (!is_good()) return;
  const char* const end = token.data() + token.size();
  std::errc failure{};
  if (is_whole) {
    std::int64_t negative = 0;
    std::uint64_t positive = 0;
    failure = token.front() == '-' ? std::from_chars(token.data(), end, negative).ec
                                   : std::from_chars(token.data(), end, positive).ec;
  } else {
    double value = 0;
    failure = std::from_chars(token.data(), end, value).ec;
  }
  if (failure != std::errc{}) refuse("a number that overflows");
}

void JsonReader::skip() {
  // A loop, not a recursion: the depth is bounded, but other people's input should not choose our stack.
  const std::size_t outer = levels_.size();
  bool is_value_due = true;
  while (is_good()) {
    if (is_value_due) {
      skip_blanks();
      const char c = peek();
      bool has_escapes = false;
      if (c == '{') {
        enter_object();
      } else if (c == '[') {
        enter_array();
      } else if (c == '"') {
        if (const std::string_view token = string_token(has_escapes); has_escapes) unescaped(token);
      } else if (c == 't' || c == 'f') {
        flag();
      } else if (!take_null()) {
        check_number();
      }
    }
    if (levels_.size() <= outer) return;
    std::string_view key;
    is_value_due = levels_.back().is_object ? next_key(key) : next_element();
  }
}

bool JsonReader::finish() {
  skip_blanks();
  if (is_good() && !levels_.empty()) refuse("it ends too early");
  if (is_good() && at_ < text_.size()) refuse("text follows after the end");
  return is_good();
}

}  // namespace skep::scheduler
