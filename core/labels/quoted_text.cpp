#include "core/labels/quoted_text.h"

namespace skep {
namespace {

char resolve_escape(char c) {
  switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'f': return '\f';
    case 'b': return '\b';
    default: return c;
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

}  // namespace

std::string unquote(std::string_view text) {
  if (text.size() < 2 || text.front() != text.back() || (text.front() != '"' && text.front() != '\'')) return std::string(text);
  std::string out;
  bool is_escaped = false;
  for (char c : text.substr(1, text.size() - 2)) {
    if (is_escaped) {
      out += resolve_escape(c);
      is_escaped = false;
    } else if (c == '\\') {
      is_escaped = true;
    } else {
      out += c;
    }
  }
  return out;
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      case '\f': out += "\\f"; break;
      case '\b': out += "\\b"; break;
      default: out += c;
    }
  }
  return out + "\"";
}

bool needs_escape(std::string_view label) {
  if (label.empty() || label == "." || label == ".." || label.back() == '.') return true;
  return has_control(label) || label.find_first_of("?*/\\%!@#$^&|<>[]:; ()") != std::string_view::npos;
}

std::string escape_label(std::string_view label) { return needs_escape(label) ? quote(label) : std::string(label); }

std::vector<std::string> split_quoted(std::string_view text) {
  std::vector<std::string> tokens;
  std::string token;
  bool has_token = false, is_escaped = false;
  char open_quote = 0;
  for (char c : text) {
    if (is_escaped) {
      token += resolve_escape(c);
      is_escaped = false;
    } else if (c == '\\') {
      has_token = is_escaped = true;
    } else if (open_quote != 0) {
      if (c == open_quote) {
        open_quote = 0;
      } else {
        token += c;
      }
    } else if (c == '"' || c == '\'') {
      open_quote = c;
      has_token = true;
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      if (has_token) tokens.push_back(std::move(token));
      token.clear();
      has_token = false;
    } else {
      token += c;
      has_token = true;
    }
  }
  if (has_token) tokens.push_back(std::move(token));
  return tokens;
}

}  // namespace skep
