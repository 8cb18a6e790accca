#include "cli/table.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "core/resources.h"

namespace skep::cli {
namespace {

constexpr char32_t replacement = 0xFFFD;

/// The character at `at`, which moves behind it; U+FFFD for one byte that is no UTF-8.
char32_t next_character(const std::string& text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at++);
  if (first < 0x80) return first;
  const std::size_t more = first >= 0xF0 && first < 0xF5 ? 3 : first >= 0xE0 ? 2 : first >= 0xC2 ? 1 : 0;
  if (more == 0 || first >= 0xF5 || at + more > text.size()) return replacement;
  char32_t c = first & (0x3Fu >> more);
  for (std::size_t i = 0; i < more; ++i) {
    if ((byte(at + i) & 0xC0u) != 0x80u) return replacement;
    c = (c << 6) | (byte(at + i) & 0x3Fu);
  }
  at += more;
  return c;
}

bool is_in(char32_t c, char32_t first, char32_t last) {
  return c >= first && c <= last;
}

/// What a terminal obeys instead of showing it.
bool is_command(char32_t c) {
  return c < 0x20 || is_in(c, 0x7F, 0x9F) || is_in(c, 0x200B, 0x200F) || is_in(c, 0x2028, 0x202E) ||
         is_in(c, 0x2060, 0x206F) || c == 0xFEFF;
}

std::size_t columns_of(char32_t c) {
  if (is_in(c, 0x0300, 0x036F) || is_in(c, 0x20D0, 0x20FF) || is_in(c, 0xFE00, 0xFE0F)) return 0;
  const bool is_wide = is_in(c, 0x1100, 0x115F) || is_in(c, 0x2E80, 0xA4CF) || is_in(c, 0xAC00, 0xD7A3) ||
                       is_in(c, 0xF900, 0xFAFF) || is_in(c, 0xFE30, 0xFE6F) || is_in(c, 0xFF00, 0xFF60) ||
                       is_in(c, 0xFFE0, 0xFFE6) || is_in(c, 0x1F300, 0x1F64F) || is_in(c, 0x1F900, 0x1F9FF) ||
                       is_in(c, 0x20000, 0x3FFFD);
  return is_wide ? 2 : 1;
}

/// At most `width` columns of a printable text.
std::string cut(const std::string& text, std::size_t width) {
  if (text_width(text) <= width) return text;
  std::string out;
  std::size_t used = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    used += columns_of(next_character(text, at));
    if (used + 1 > width) break;
    out.append(text, start, at - start);
  }
  return out + "…";
}

std::string coloured(const std::string& cell) {
  static const std::map<std::string, const char*> colour_of{
      {"UNKNOWN", "31"},     {"unknown", "31"},        {"failed", "31"}, {"YES", "31"},
      {"no_template", "31"}, {"resume_lost", "31"},    {"frozen", "31"}, {"label_unresolved", "31"},
      {"held", "33"},        {"ok,draining", "33"},    {"paused", "33"}, {"backoff", "33"},
      {"no_room", "33"},     {"template_limit", "33"}, {"busy", "32"}};
  const auto found = colour_of.find(cell);
  return found == colour_of.end() ? cell : std::string("\x1b[") + found->second + "m" + cell + "\x1b[0m";
}

}  // namespace

std::size_t text_width(const std::string& text) {
  std::size_t width = 0;
  for (std::size_t at = 0; at < text.size();) width += columns_of(next_character(text, at));
  return width;
}

std::string printable(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t start = at;
    const char32_t c = next_character(text, at);
    if (is_command(c)) {
      out += ' ';
    } else if (c == replacement) {
      out += "\xEF\xBF\xBD";
    } else {
      out.append(text, start, at - start);
    }
  }
  return out;
}

std::string ago_text(std::int64_t ms) {
  return ms < 0 ? "never" : duration_to_text(milliseconds(ms));
}

std::vector<std::size_t> Table::widths_for(std::size_t width) const {
  constexpr std::size_t least = 5, least_of_names = 12;
  std::vector<std::size_t> widths;
  for (const std::string& cell : header_) widths.push_back(text_width(cell));
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], text_width(row[i]));
  }
  if (width == 0 || widths.empty()) return widths;
  const auto total = [&] {
    return std::accumulate(widths.begin(), widths.end(), std::size_t{0}) + 2 * (widths.size() - 1);
  };
  while (total() > width) {
    auto widest = widths.size() > 1 ? std::max_element(widths.begin() + 1, widths.end()) : widths.begin();
    if (*widest <= least) widest = widths.begin();
    if (*widest <= least_of_names && widest == widths.begin()) break;
    --*widest;
  }
  return widths;
}

std::string Table::to_text(std::size_t width, bool has_colours) const {
  const std::vector<std::size_t> widths = widths_for(width);
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells, bool is_title) {
    std::string text;
    std::size_t gap = 0;  // blanks are written before the next cell only: no line ends with them
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = cut(printable(i < cells.size() ? cells[i] : ""), widths[i]);
      if (!cell.empty()) {
        text += std::string(gap, ' ') + (has_colours && !is_title ? coloured(cell) : cell);
        gap = 0;
      }
      gap += widths[i] - std::min(widths[i], text_width(cell)) + 2;
    }
    out += (has_colours && is_title ? "\x1b[1m" + text + "\x1b[0m" : text) + "\n";
  };
  line(header_, true);
  for (const auto& row : rows_) line(row, false);
  return out;
}

bool matches_glob(const std::string& pattern, const std::string& text) {
  std::size_t p = 0, t = 0, star = std::string::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace skep::cli
