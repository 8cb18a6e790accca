#include "core/labels/label_tokens.h"

#include <algorithm>
#include <array>

#include "core/labels/quoted_text.h"

namespace skep {
namespace {

struct Sign {
  std::string_view text;
  LabelTokenKind kind;
};
constexpr std::array<Sign, 7> signs{{{"!", LabelTokenKind::negation},
                                     {"&&", LabelTokenKind::conjunction},
                                     {"||", LabelTokenKind::disjunction},
                                     {"->", LabelTokenKind::implication},
                                     {"<->", LabelTokenKind::equivalence},
                                     {"(", LabelTokenKind::open},
                                     {")", LabelTokenKind::close}}};

/// A label goes on through line ends, other control characters and everything beyond ASCII. A '-' belongs to
/// it unless it begins an arrow: a->b, but a-b and a-->b (the label a-, then an arrow).
bool is_label_char(std::string_view text, std::size_t i) {
  if (text[i] == '-') return i + 1 >= text.size() || text[i + 1] != '>';
  return std::string_view("&|!<>() \t\"'").find(text[i]) == std::string_view::npos;
}

std::size_t label_length(std::string_view text, std::size_t start) {
  std::size_t end = start;
  while (end < text.size() && is_label_char(text, end)) ++end;
  return end - start;
}

/// Length of the string literal that starts at `start`, quotes included; 0 when it is not well formed.
std::size_t literal_length(std::string_view text, std::size_t start) {
  for (std::size_t i = start + 1; i < text.size(); ++i) {
    if (text[i] == '"') return i + 1 - start;
    if (text[i] == '\r' || text[i] == '\n') return 0;
    if (text[i] != '\\') continue;
    ++i;
    if (i >= text.size() || std::string_view("btnfr\"'\\").find(text[i]) == std::string_view::npos) return 0;
  }
  return 0;
}

std::string_view reason_against(char c) {
  switch (c) {
    case '"':
      return "a quoted label that is not closed, runs over a line or has an unknown escape";
    case '\'':
      return "a ' (labels are quoted with \")";
    case '&':
      return "a single & (and is &&)";
    case '|':
      return "a single | (or is ||)";
    default:
      return "a < or > that is part of no arrow";
  }
}

}  // namespace

std::string_view sign_of(LabelTokenKind kind) {
  const auto found =
      std::find_if(signs.begin(), signs.end(), [&](const Sign& sign) { return sign.kind == kind; });
  return found == signs.end() ? std::string_view{} : found->text;
}

Error label_syntax_error(std::string_view text, std::size_t offset, std::string_view what) {
  const auto starts_character = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  const std::string_view before = text.substr(0, offset);
  const auto column = std::count_if(before.begin(), before.end(), starts_character) + 1;
  return Error::failed(ErrorCode::invalid_input, std::string(what) + " at column " + std::to_string(column));
}

Result<std::vector<LabelToken>> tokenize_label(std::string_view text) {
  std::vector<LabelToken> tokens;
  std::size_t i = 0;
  while (i < text.size()) {
    if (text[i] == ' ' || text[i] == '\t') {
      ++i;
      continue;
    }
    const auto begins_here = [&](const Sign& sign) { return text.substr(i, sign.text.size()) == sign.text; };
    const auto sign = std::find_if(signs.begin(), signs.end(), begins_here);
    std::size_t length = 0;
    if (sign != signs.end()) {
      length = sign->text.size();
      tokens.push_back({sign->kind, {}, i});
    } else if (text[i] == '"') {
      length = literal_length(text, i);
      if (length != 0) tokens.push_back({LabelTokenKind::atom, unquote(text.substr(i, length)), i});
    } else {
      length = label_length(text, i);
      if (length != 0) tokens.push_back({LabelTokenKind::atom, std::string(text.substr(i, length)), i});
    }
    if (length == 0) return label_syntax_error(text, i, reason_against(text[i]));
    i += length;
  }
  return tokens;
}

}  // namespace skep
