#include "scheduler/jenkins/texts.h"

#include <algorithm>
#include <array>

namespace skep::scheduler {
namespace {

struct Quotes {
  std::string_view opening, closing;
};
constexpr std::array<Quotes, 4> quotes{{{"‘", "’"}, {"“", "”"}, {"'", "'"}, {"\"", "\""}}};

/// Takes one pair of quotes off. ASCII quotes inside mean that the outer ones are not a pair: `"a b"||"c d"`.
std::string_view unquoted(std::string_view text) {
  for (const Quotes& pair : quotes) {
    if (text.size() < pair.opening.size() + pair.closing.size() || !text.starts_with(pair.opening) ||
        !text.ends_with(pair.closing))
      continue;
    const std::string_view inner =
        text.substr(pair.opening.size(), text.size() - pair.opening.size() - pair.closing.size());
    const bool is_one_pair =
        pair.opening != pair.closing || inner.find(pair.opening) == std::string_view::npos;
    return is_one_pair ? inner : text;
  }
  return text;
}

/// What stands between `before` and `after`, quotes removed; a label may itself hold a closing quote, so only
/// the outer ones go.
std::optional<std::string> between(std::string_view text, std::string_view before, std::string_view after) {
  if (text.ends_with('.')) text.remove_suffix(1);
  if (!text.starts_with(before) || !text.ends_with(after) || text.size() < before.size() + after.size())
    return std::nullopt;
  const std::string_view inner =
      unquoted(text.substr(before.size(), text.size() - before.size() - after.size()));
  if (inner.empty()) return std::nullopt;
  return std::string(inner);
}

/// The label in one "‘node’ doesn’t have label ‘L’" clause of a composite text.
std::optional<std::string> missing_label(std::string_view why) {
  struct Form {
    std::string_view phrase, opening, closing;
  };
  constexpr std::array<Form, 4> forms{{{"’ doesn’t have label ‘", "‘", "’"},
                                       {"' doesn't have label '", "'", "'"},
                                       {" doesn’t have label ", "", ""},
                                       {" doesn't have label ", "", ""}}};
  for (const Form& form : forms) {
    const std::size_t at = why.find(form.phrase);
    if (at == std::string_view::npos) continue;
    const std::string_view clause = why.substr(at + form.phrase.size());
    // Clauses are sorted: what follows this one begins with a quoted name, too, or is the "... and 3 more" at
    // the end. A label may hold "; ", even behind a closing quote.
    const std::string separator = std::string(form.closing) + "; ";
    std::size_t end =
        std::min(clause.find(separator + std::string(form.opening)), clause.find(separator + "... and "));
    if (end == std::string_view::npos && clause.ends_with(form.closing))
      end = clause.size() - form.closing.size();
    if (end == std::string_view::npos) end = clause.find(separator);
    if (end == std::string_view::npos || end == 0) return std::nullopt;
    return std::string(clause.substr(0, end));
  }
  return std::nullopt;
}

/// A resumed pipeline block wants its old node: the label of the item is that node's own name.
std::optional<std::string> pinned_node(std::string_view why) {
  constexpr std::string_view before = "Must run on ", middle = " not ";
  std::size_t at = why.starts_with(before) ? 0 : why.find("; Must run on ");
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view clause = why.substr(at == 0 ? before.size() : at + 2 + before.size());
  clause = clause.substr(0, clause.find("; "));
  const std::size_t end = clause.rfind(middle);
  if (end == std::string_view::npos || end == 0) return std::nullopt;
  return std::string(clause.substr(0, end));
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The number after "\\u"; `at` is left on its last digit. Nothing if these are not four hex digits.
std::optional<unsigned> read_code_unit(std::string_view line, std::size_t& at) {
  if (at + 4 >= line.size()) return std::nullopt;
  unsigned code = 0;
  for (std::size_t i = at + 1; i <= at + 4; ++i) {
    const int digit = hex_digit(line[i]);
    if (digit < 0) return std::nullopt;
    code = code * 16 + static_cast<unsigned>(digit);
  }
  at += 4;
  return code;
}

/// One "\\uXXXX", or the two of a surrogate pair; `at` stands on the "u".
void append_escaped_unicode(std::string& out, std::string_view line, std::size_t& at) {
  auto code = read_code_unit(line, at);
  if (!code) {
    out += 'u';
    return;
  }
  if (*code >= 0xD800 && *code <= 0xDBFF && line.substr(at + 1).starts_with("\\u")) {
    std::size_t low_at = at + 2;
    const auto low = read_code_unit(line, low_at);
    if (low && *low >= 0xDC00 && *low <= 0xDFFF) {
      code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
      at = low_at;
    }
  }
  const bool is_half_a_pair = *code >= 0xD800 && *code <= 0xDFFF;
  append_utf8(out, is_half_a_pair ? 0xFFFD : *code);
}

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\f';
}

/// Reads key or value up to an unescaped end character; `at` is left on it.
std::string read_escaped(std::string_view line, std::size_t& at, bool is_key) {
  std::string out;
  for (; at < line.size(); ++at) {
    const char c = line[at];
    if (is_key && (c == '=' || c == ':' || is_blank(c))) break;
    if (c != '\\') {
      append_utf8(out, static_cast<unsigned char>(c));
      continue;
    }
    if (++at >= line.size()) break;
    const char escaped = line[at];
    if (escaped == 'u') {
      append_escaped_unicode(out, line, at);
    } else {
      append_utf8(out, escaped == 'n'   ? '\n'
                       : escaped == 't' ? '\t'
                       : escaped == 'r' ? '\r'
                       : escaped == 'f' ? '\f'
                                        : static_cast<unsigned char>(escaped));
    }
  }
  return out;
}

bool is_continued(std::string_view line) {
  std::size_t backslashes = 0;
  while (backslashes < line.size() && line[line.size() - 1 - backslashes] == '\\') ++backslashes;
  return backslashes % 2 == 1;
}

}  // namespace

WhyFacts read_why(std::string_view why) {
  using Kind = WhyFacts::Kind;
  if (why.starts_with("Jenkins is about to shut down") || why.starts_with("Stopping part of "))
    return {Kind::stopping, ""};
  if (auto label = between(why, "There are no nodes with the label ", "")) return {Kind::label, *label};
  if (auto label = between(why, "All nodes of label ", " are offline")) return {Kind::label, *label};
  if (why == "Waiting for next available executor" || why == "Waiting for next available executor.")
    return {Kind::any_node, ""};
  if (auto name = between(why, "Waiting for next available executor on ", ""))
    return {Kind::label_or_node, *name};
  if (auto label = missing_label(why)) return {Kind::label, *label};
  if (auto node = pinned_node(why)) return {Kind::label, *node};
  // Only an item without label is refused so.
  if (why.find(" is reserved for jobs with matching label expression") != std::string_view::npos)
    return {Kind::no_label, ""};
  if (why.find("; ") == std::string_view::npos) {
    if (auto node = between(why, "", " is offline")) return {Kind::node, *node};
    if (auto node = between(why, "", " is not accepting tasks")) return {Kind::node, *node};
  }
  return {};
}

std::map<std::string, std::string> parse_properties(std::string_view text) {
  std::map<std::string, std::string> out;
  while (!text.empty()) {
    std::string logical;
    for (bool is_more = true; is_more && !text.empty();) {
      const std::size_t end = std::min(text.find_first_of("\r\n"), text.size());
      std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(text.size(), end + (text.substr(end).starts_with("\r\n") ? 2 : 1)));
      while (!line.empty() && is_blank(line.front())) line.remove_prefix(1);
      if (logical.empty() && (line.empty() || line.front() == '#' || line.front() == '!')) break;
      is_more = is_continued(line);
      if (is_more) line.remove_suffix(1);
      logical += line;
    }
    if (logical.empty()) continue;
    std::size_t at = 0;
    const std::string key = read_escaped(logical, at, true);
    while (at < logical.size() && is_blank(logical[at])) ++at;
    if (at < logical.size() && (logical[at] == '=' || logical[at] == ':')) ++at;
    while (at < logical.size() && is_blank(logical[at])) ++at;
    out[key] = read_escaped(logical, at, false);
  }
  return out;
}

std::string build_path(std::string_view url) {
  if (url.starts_with("job/")) return std::string(url);
  const std::size_t at = url.find("/job/");
  return at == std::string_view::npos ? "" : std::string(url.substr(at + 1));
}

std::string permission_name(std::string_view id) {
  struct Prefix {
    std::string_view id, name;
  };
  constexpr Prefix prefixes[] = {{"hudson.model.Computer.", "Agent/"},
                                 {"hudson.model.Hudson.", "Overall/"},
                                 {"hudson.model.Item.", "Job/"},
                                 {"jenkins.model.Jenkins.", "Overall/"}};
  for (const Prefix& prefix : prefixes) {
    if (id.starts_with(prefix.id)) return std::string(prefix.name) + std::string(id.substr(prefix.id.size()));
  }
  return std::string(id);
}

void append_utf8(std::string& out, unsigned code) {
  const auto add = [&out](unsigned byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    add(code);
  } else if (code < 0x800) {
    add(0xC0 | (code >> 6));
    add(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    add(0xE0 | (code >> 12));
    add(0x80 | ((code >> 6) & 0x3F));
    add(0x80 | (code & 0x3F));
  } else {
    add(0xF0 | (code >> 18));
    add(0x80 | ((code >> 12) & 0x3F));
    add(0x80 | ((code >> 6) & 0x3F));
    add(0x80 | (code & 0x3F));
  }
}

}  // namespace skep::scheduler
