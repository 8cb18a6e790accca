#include "core/labels/quoted_text.h"

#include <cstdint>
#include <optional>

namespace skep {
namespace {

constexpr std::string_view blanks = " \t\n\r";
constexpr std::string_view escapable = "\\\"' ";

bool contains(std::string_view set, char c) {
  return set.find(c) != std::string_view::npos;
}

char resolve_escape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'f':
      return '\f';
    case 'b':
      return '\b';
    default:
      return c;
  }
}

/// ISO control characters: U+0000..U+001F and U+007F..U+009F.
bool has_control(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7f) return true;
    if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) return true;
  }
  return false;
}

/// Length of the UTF-8 sequence at `i`; 1 for what is none.
std::size_t sequence_length(std::string_view text, std::size_t i) {
  const auto lead = static_cast<unsigned char>(text[i]);
  const std::size_t length = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  return i + length <= text.size() ? length : 1;
}

/// Value of a hexadecimal digit, 0 for anything else. Jenkins looks at the low byte of the character only.
std::uint32_t hex_value(std::string_view sequence) {
  std::uint32_t low = static_cast<unsigned char>(sequence.back());
  if (sequence.size() > 1) {
    low = (low & 0x3fu) | ((static_cast<unsigned char>(sequence[sequence.size() - 2]) & 3u) << 6);
  }
  if (low >= '0' && low <= '9') return low - '0';
  if (low >= 'a' && low <= 'f') return low - 'a' + 10;
  if (low >= 'A' && low <= 'F') return low - 'A' + 10;
  return 0;
}

/// `code` up to U+FFFF.
void append_utf8(std::string& out, std::uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3f));
  } else {
    out += static_cast<char>(0xe0 | (code >> 12));
    out += static_cast<char>(0x80 | ((code >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code & 0x3f));
  }
}

/// Reads the escape whose `u` is at `i`; returns the position after it, nullopt where Jenkins throws. Jenkins
/// shifts the `u` itself and three digits by 24, 16, 8 and 0 bits and keeps 16 bits, then steps over the
/// fourth digit. It may read the closing quote as a digit.
std::optional<std::size_t> read_unicode_escape(std::string_view text, std::size_t i, std::string& out) {
  std::uint32_t code = 0;
  for (int digit = 0; digit < 4; ++digit) {
    if (i >= text.size()) return std::nullopt;
    const std::size_t length = sequence_length(text, i);
    code = (code << 8) + hex_value(text.substr(i, length));
    i += length;
  }
  append_utf8(out, code & 0xffff);
  return i < text.size() ? i + sequence_length(text, i) : i;
}

}  // namespace

std::string unquote(std::string_view text) {
  if (text.size() < 2 || text.front() != text.back() || !contains("\"'", text.front()))
    return std::string(text);
  std::string out;
  out.reserve(text.size());
  std::size_t i = 1;
  while (i + 1 < text.size()) {
    if (text[i] != '\\') {
      out += text[i++];
    } else if (++i + 1 >= text.size()) {
      break;  // a backslash before the closing quote is dropped
    } else if (text[i] == 'u') {
      const auto after = read_unicode_escape(text, i, out);
      if (!after) return std::string(text);
      i = *after;
    } else {
      out += resolve_escape(text[i++]);
    }
  }
  return out;
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\b':
        out += "\\b";
        break;
      default:
        out += c;
    }
  }
  return out + "\"";
}

bool needs_escape(std::string_view label) {
  if (label.empty() || label.back() == '.') return true;
  return has_control(label) || label.find_first_of("?*/\\%!@#$^&|<>[]:; ()") != std::string_view::npos;
}

std::string escape_label(std::string_view label) {
  return needs_escape(label) ? quote(label) : std::string(label);
}

std::vector<std::string> split_quoted(std::string_view text) {
  std::vector<std::string> tokens;
  std::string token;
  bool has_token = false, is_escaped = false;
  char open_quote = 0;
  for (char c : text) {
    const bool is_first = !has_token && open_quote == 0;
    if (is_escaped) {
      if (!contains(escapable, c)) token += '\\';
      token += c;
      is_escaped = false;
    } else if (open_quote == 0 && contains(blanks, c)) {
      if (has_token) tokens.push_back(std::move(token));
      token.clear();
      has_token = false;
    } else if (open_quote == 0 && contains("\"'", c)) {
      open_quote = c;  // alone it is no token yet: an unclosed quote at the very end is nothing
    } else {
      has_token = true;
      if (open_quote != 0 && c == open_quote) {
        open_quote = 0;
      } else if (c == '\\' && !is_first) {
        is_escaped = true;
      } else {
        token += c;
      }
    }
  }
  if (has_token) tokens.push_back(std::move(token));
  return tokens;
}

}  // namespace skep
