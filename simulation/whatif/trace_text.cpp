#include "simulation/whatif/trace_text.h"

#include <charconv>

#include "core/resources.h"

namespace skep::simulation::whatif {
namespace {

constexpr std::int64_t most_seconds = std::int64_t{100} * 365 * 86'400;  // since 1970: until 2069
constexpr std::size_t most_fields = 64;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::string one_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (byte >= 0x20 && byte < 0x7F) return std::string("'") + c + "'";
  constexpr const char* hex = "0123456789abcdef";
  return std::string("the byte 0x") + hex[byte >> 4] + hex[byte & 15];
}

/// A cursor over one line. Nothing recurses: nested values are refused where they begin.
class Cursor {
 public:
  explicit Cursor(std::string_view line) : line_(line) {}
  std::size_t column() const { return at_ + 1; }
  bool at_end() const { return at_ >= line_.size(); }
  char peek() const { return at_end() ? '\0' : line_[at_]; }
  char take() { return at_end() ? '\0' : line_[at_++]; }
  std::string found() const { return at_end() ? std::string("the end of the line") : one_byte(line_[at_]); }
  LineProblem problem(const std::string& allowed) const {
    return {column(), "found " + found() + "; allowed: " + allowed};
  }
  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\r') ++at_;
  }
  bool take_if(char c) {
    if (at_end() || line_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take_word(std::string_view word) {
    if (line_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }
  std::string_view take_number() {
    const std::size_t start = at_;
    while (!at_end() && (is_digit(peek()) || peek() == '-' || peek() == '+' || peek() == '.' ||
                         peek() == 'e' || peek() == 'E'))
      ++at_;
    return line_.substr(start, at_ - start);
  }

 private:
  std::string_view line_;
  std::size_t at_ = 0;
};

void append_utf8(std::uint32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::optional<LineProblem> read_hex4(Cursor& in, std::uint32_t& out) {
  out = 0;
  for (int i = 0; i < 4; ++i) {
    const char c = in.peek();
    const int digit = is_digit(c)            ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return in.problem("four hexadecimal digits after \\u");
    out = out * 16 + static_cast<std::uint32_t>(digit);
    in.take();
  }
  return std::nullopt;
}

std::optional<LineProblem> read_unicode(Cursor& in, std::string& out) {
  std::uint32_t c = 0;
  if (auto problem = read_hex4(in, c)) return problem;
  if (c >= 0xDC00 && c < 0xE000) return in.problem("the first half of a pair before the second");
  if (c >= 0xD800 && c < 0xDC00) {
    std::uint32_t low = 0;
    if (!in.take_word("\\u")) return in.problem("the second half of a pair (\\udc00 to \\udfff)");
    if (auto problem = read_hex4(in, low)) return problem;
    if (low < 0xDC00 || low >= 0xE000) return in.problem("the second half of a pair (\\udc00 to \\udfff)");
    c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
  }
  append_utf8(c, out);
  return std::nullopt;
}

std::optional<LineProblem> read_escape(Cursor& in, std::string& out) {
  constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
  if (in.take_if('u')) return read_unicode(in, out);
  const std::size_t found = in.at_end() ? std::string_view::npos : letters.find(in.peek());
  if (found == std::string_view::npos) return in.problem("one of \" \\ / b f n r t u after a backslash");
  out += meanings[found];
  in.take();
  return std::nullopt;
}

/// What follows the opening quote, up to and with the closing one.
std::optional<LineProblem> read_json_text(Cursor& in, std::string& out) {
  while (!in.at_end()) {
    if (in.take_if('"')) return std::nullopt;
    if (in.take_if('\\')) {
      if (auto problem = read_escape(in, out)) return problem;
      continue;
    }
    if (static_cast<unsigned char>(in.peek()) < 0x20) return in.problem("control characters as \\u....");
    out += in.take();
  }
  return in.problem("a closing quote");
}

std::optional<LineProblem> read_json_value(Cursor& in, TraceField& field) {
  field.column = in.column();
  if (in.take_if('"')) return read_json_text(in, field.text);
  for (const std::string_view word : {"true", "false"}) {
    if (!in.take_word(word)) continue;
    field.text = word;
    return std::nullopt;
  }
  if (in.take_word("null")) return std::nullopt;
  if (!is_digit(in.peek()) && in.peek() != '-') return in.problem("a text, a number, true, false or null");
  field.text = in.take_number();
  return std::nullopt;
}

std::optional<std::int64_t> fixed_digits(std::string_view text, std::size_t at, std::size_t count) {
  if (text.size() < at + count) return std::nullopt;
  std::int64_t value = 0;
  for (std::size_t i = at; i < at + count; ++i) {
    if (!is_digit(text[i])) return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  return value;
}

/// "Z", "", "+01:00", "-0530"; what has to be added to reach UTC.
std::optional<Duration> parse_zone(std::string_view text) {
  if (text.empty() || text == "Z" || text == "z") return Duration::zero();
  if (text[0] != '+' && text[0] != '-') return std::nullopt;
  const bool has_colon = text.size() == 6 && text[3] == ':';
  if (!has_colon && text.size() != 5) return std::nullopt;
  const auto hour = fixed_digits(text, 1, 2), minute = fixed_digits(text, has_colon ? 4 : 3, 2);
  if (!hour || !minute || *hour > 14 || *minute > 59) return std::nullopt;
  const Duration offset = hours(*hour) + minutes(*minute);
  return text[0] == '+' ? -offset : offset;
}

std::optional<Duration> parse_iso(std::string_view text) {
  const auto year = fixed_digits(text, 0, 4), month = fixed_digits(text, 5, 2),
             day = fixed_digits(text, 8, 2);
  const auto hour = fixed_digits(text, 11, 2), minute = fixed_digits(text, 14, 2);
  const auto second = fixed_digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (text[7] != '-' || (text[10] != 'T' && text[10] != ' ') || text[13] != ':' || text[16] != ':')
    return std::nullopt;
  if (*year < 1970 || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(*year)),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  std::size_t end = 19;
  Duration fraction{};
  if (end < text.size() && text[end] == '.') {
    const std::size_t start = end++;
    while (end < text.size() && is_digit(text[end])) ++end;
    const auto parsed = parse_count("0" + std::string(text.substr(start, end - start)), seconds(1));
    if (!parsed || end == start + 1) return std::nullopt;
    fraction = *parsed;
  }
  const auto zone = parse_zone(text.substr(end));
  const auto days = std::chrono::sys_days(date).time_since_epoch();
  if (!zone || days.count() * 86'400 > most_seconds) return std::nullopt;
  const Duration at = days + hours(*hour) + minutes(*minute) + seconds(*second) + fraction + *zone;
  if (at < Duration::zero()) return std::nullopt;
  return at;
}

}  // namespace

std::optional<LineProblem> split_csv(std::string_view line, std::vector<TraceField>& out) {
  out.clear();
  Cursor in(line);
  do {
    if (out.size() >= most_fields) return LineProblem{in.column(), "more than 64 fields"};
    TraceField field;
    field.column = in.column();
    if (in.take_if('"')) {
      for (;;) {
        if (in.at_end()) return LineProblem{field.column, "a quoted field without a closing quote"};
        const char c = in.take();
        if (c == '"' && !in.take_if('"')) break;
        field.text += c;
      }
      if (!in.at_end() && in.peek() != ',')
        return in.problem("a comma, or the end of the line, after a quote");
    } else {
      while (!in.at_end() && in.peek() != ',') field.text += in.take();
    }
    out.push_back(std::move(field));
  } while (in.take_if(','));
  return std::nullopt;
}

std::optional<LineProblem> split_json_object(std::string_view line, std::vector<TraceField>& out) {
  out.clear();
  Cursor in(line);
  in.skip_blanks();
  if (!in.take_if('{')) return in.problem("one JSON object a line");
  in.skip_blanks();
  bool is_first = true;
  while (!in.take_if('}')) {
    if (!is_first && !in.take_if(',')) return in.problem("a comma or }");
    is_first = false;
    in.skip_blanks();
    TraceField field;
    const std::size_t key_column = in.column();
    if (!in.take_if('"')) return in.problem("a key in quotes");
    if (auto problem = read_json_text(in, field.name)) return problem;
    for (const TraceField& other : out) {
      if (other.name == field.name) return LineProblem{key_column, "the key \"" + field.name + "\" again"};
    }
    in.skip_blanks();
    if (!in.take_if(':')) return in.problem("a colon");
    in.skip_blanks();
    if (auto problem = read_json_value(in, field)) return problem;
    if (out.size() >= most_fields) return LineProblem{key_column, "more than 64 keys"};
    out.push_back(std::move(field));
    in.skip_blanks();
  }
  in.skip_blanks();
  if (!in.at_end()) return in.problem("nothing after the object");
  return std::nullopt;
}

std::optional<Duration> parse_count(std::string_view text, Duration unit) {
  std::int64_t whole = 0, fraction = 0, scale = 1'000'000'000;
  std::size_t at = 0;
  for (; at < text.size() && is_digit(text[at]); ++at) {
    whole = whole * 10 + (text[at] - '0');
    if (whole > most_seconds * 1000) return std::nullopt;
  }
  if (at == 0) return std::nullopt;
  if (at < text.size() && text[at] == '.') {
    const std::size_t start = ++at;
    for (; at < text.size() && is_digit(text[at]); ++at) {
      if (scale > 1) fraction += (text[at] - '0') * (scale /= 10);
    }
    if (at == start) return std::nullopt;
  }
  if (at != text.size() || whole > most_seconds * (seconds(1) / unit)) return std::nullopt;
  return whole * unit + Duration(fraction * (unit / milliseconds(1)) / 1000);
}

std::optional<Duration> parse_arrival(std::string_view text) {
  return text.size() > 4 && text[4] == '-' ? parse_iso(text) : parse_count(text, seconds(1));
}

std::optional<Duration> parse_length(std::string_view text) {
  if (auto length = parse_count(text, seconds(1))) return length;
  const auto length = parse_duration(text);
  return length ? std::optional(*length) : std::nullopt;
}

}  // namespace skep::simulation::whatif
