#include "simulation/controller/text.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace skep::controller_sim {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char hex_digit(unsigned value) {
  return "0123456789abcdef"[value & 15U];
}
char hex_digit_upper(unsigned value) {
  return "0123456789ABCDEF"[value & 15U];
}

/// UTF-16 code units, as Java sees a string. Broken UTF-8 becomes U+FFFD.
std::vector<std::uint16_t> utf16_units(std::string_view text) {
  std::vector<std::uint16_t> units;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    std::size_t length = lead < 0x80 ? 1 : lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 0;
    std::uint32_t code = 0xFFFD;
    if (length != 0 && i + length <= text.size()) {
      code = length == 1 ? lead : lead & (0x7FU >> length);
      for (std::size_t k = 1; k < length; ++k)
        code = (code << 6) | (static_cast<unsigned char>(text[i + k]) & 0x3FU);
    }
    i += std::max<std::size_t>(length, 1);
    if (code >= 0x10000) {
      units.push_back(static_cast<std::uint16_t>(0xD800 + ((code - 0x10000) >> 10)));
      units.push_back(static_cast<std::uint16_t>(0xDC00 + ((code - 0x10000) & 0x3FF)));
    } else {
      units.push_back(static_cast<std::uint16_t>(code));
    }
  }
  return units;
}

std::string properties_escape(std::string_view text, bool is_key) {
  std::string out;
  bool first = true;
  for (const std::uint16_t unit : utf16_units(text)) {
    if (unit == ' ') {
      if (first || is_key) out += '\\';
      out += ' ';
    } else if (unit == '\t') {
      out += "\\t";
    } else if (unit == '\n') {
      out += "\\n";
    } else if (unit == '\r') {
      out += "\\r";
    } else if (unit == '=' || unit == ':' || unit == '#' || unit == '!' || unit == '\\') {
      out += '\\';
      out += static_cast<char>(unit);
    } else if (unit < 0x20 || unit > 0x7E) {
      out += "\\u";
      for (int shift = 12; shift >= 0; shift -= 4)
        out += hex_digit_upper(static_cast<unsigned>(unit >> shift));
    } else {
      out += static_cast<char>(unit);
    }
    first = false;
  }
  return out;
}

struct CivilTime {
  std::int64_t year = 1970;
  unsigned month = 1, day = 1, hour = 0, minute = 0, second = 0, weekday = 4;
};

/// Howard Hinnant's civil_from_days.
CivilTime civil_time(WallTime time) {
  std::int64_t total = time.ms_since_epoch / 1000;
  if (time.ms_since_epoch % 1000 < 0) --total;
  std::int64_t days = total / 86400;
  std::int64_t rest = total % 86400;
  if (rest < 0) {
    rest += 86400;
    --days;
  }
  CivilTime out;
  out.hour = static_cast<unsigned>(rest / 3600);
  out.minute = static_cast<unsigned>(rest / 60 % 60);
  out.second = static_cast<unsigned>(rest % 60);
  out.weekday = static_cast<unsigned>(((days % 7) + 11) % 7);
  const std::int64_t shifted = days + 719468;
  const std::int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const auto day_of_era = static_cast<unsigned>(shifted - era * 146097);
  const unsigned year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted_month = (5 * day_of_year + 2) / 153;
  out.day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
  out.month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  out.year = static_cast<std::int64_t>(year_of_era) + era * 400 + (out.month <= 2 ? 1 : 0);
  return out;
}

std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace

std::string percent_decode(std::string_view text, bool plus_is_blank) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else if (text[i] == '+' && plus_is_blank) {
      out += ' ';
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       std::string_view("-_.~()!*'$,;:@&=+").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += hex_digit_upper(byte >> 4U);
      out += hex_digit_upper(byte);
    }
  }
  return out;
}

Fields parse_form(std::string_view text) {
  Fields fields;
  for (const std::string& part : split(text, '&')) {
    if (part.empty()) continue;
    const std::size_t equals = part.find('=');
    const std::string_view view = part;
    const std::string_view name = view.substr(0, equals);
    const std::string_view value = equals == std::string::npos ? std::string_view() : view.substr(equals + 1);
    fields.emplace_back(percent_decode(name, true), percent_decode(value, true));
  }
  return fields;
}

std::optional<std::string> find_field(const Fields& fields, std::string_view name) {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::string field_or(const Fields& fields, std::string_view name, std::string_view fallback) {
  return find_field(fields, name).value_or(std::string(fallback));
}

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  std::size_t start = 0;
  while (true) {
    const std::size_t end = text.find(separator, start);
    parts.emplace_back(text.substr(start, end == std::string_view::npos ? end : end - start));
    if (end == std::string_view::npos) return parts;
    start = end + 1;
  }
}

std::vector<std::string> split_blanks(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
    } else {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

std::string leaf_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::string> base64_decode(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    const std::size_t value =
        std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/").find(c);
    if (value == std::string_view::npos) return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>((bits >> count) & 0xFFU);
    }
  }
  return out;
}

std::string java_date(WallTime time) {
  static constexpr std::array<const char*, 7> days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const CivilTime t = civil_time(time);
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%s %s %02u %02u:%02u:%02u UTC %lld", days[t.weekday],
                months[t.month - 1], t.day, t.hour, t.minute, t.second, static_cast<long long>(t.year));
  return buffer.data();
}

std::string java_properties(const Fields& fields, WallTime time) {
  std::string out = "#\n#" + java_date(time) + "\n";
  for (const auto& [key, value] : fields) {
    out += properties_escape(key, true) + "=" + properties_escape(value, false) + "\n";
  }
  return out;
}

std::string xml_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&apos;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::optional<std::string> xml_element(std::string_view xml, std::string_view element) {
  const std::string opening = "<" + std::string(element);
  for (std::size_t at = 0; (at = xml.find(opening, at)) != std::string_view::npos; ++at) {
    const char next = at + opening.size() < xml.size() ? xml[at + opening.size()] : '\0';
    if (next != '>' && next != ' ' && next != '/') continue;
    const std::size_t end_of_tag = xml.find('>', at);
    if (end_of_tag == std::string_view::npos) return std::nullopt;
    if (xml[end_of_tag - 1] == '/') return std::string();
    const std::size_t closing = xml.find("</" + std::string(element) + ">", end_of_tag);
    if (closing == std::string_view::npos) return std::nullopt;
    std::string text(xml.substr(end_of_tag + 1, closing - end_of_tag - 1));
    text = replace_all(std::move(text), "&lt;", "<");
    text = replace_all(std::move(text), "&gt;", ">");
    text = replace_all(std::move(text), "&quot;", "\"");
    text = replace_all(std::move(text), "&apos;", "'");
    return replace_all(std::move(text), "&amp;", "&");
  }
  return std::nullopt;
}

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
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
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += hex_digit(static_cast<unsigned char>(c) >> 4U);
          out += hex_digit(static_cast<unsigned char>(c));
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::optional<std::string> json_string_field(std::string_view json, std::string_view key) {
  const std::string quoted = "\"" + std::string(key) + "\"";
  for (std::size_t at = 0; (at = json.find(quoted, at)) != std::string_view::npos; at += quoted.size()) {
    std::size_t i = json.find_first_not_of(" \t\r\n", at + quoted.size());
    if (i == std::string_view::npos || json[i] != ':') continue;
    i = json.find_first_not_of(" \t\r\n", i + 1);
    if (i == std::string_view::npos || json[i] != '"') continue;
    std::string out;
    for (++i; i < json.size() && json[i] != '"'; ++i) {
      if (json[i] == '\\' && i + 1 < json.size()) ++i;
      out += json[i];
    }
    return out;
  }
  return std::nullopt;
}

std::string time_span(std::int64_t ms) {
  const std::int64_t total_seconds = ms / 1000;
  const auto pair = [](std::int64_t big, const char* big_name, std::int64_t small, const char* small_name) {
    std::string text = std::to_string(big) + big_name;
    if (big < 10) text += " " + std::to_string(small) + small_name;
    return text;
  };
  const std::int64_t days = total_seconds / 86400, hours = total_seconds / 3600 % 24;
  const std::int64_t mins = total_seconds / 60 % 60, secs = total_seconds % 60;
  if (days > 0) return pair(days, days == 1 ? " day" : " days", hours, " hr");
  if (hours > 0) return pair(hours, " hr", mins, " min");
  if (mins > 0) return pair(mins, " min", secs, " sec");
  if (secs >= 10) return std::to_string(secs) + " sec";
  std::array<char, 32> buffer{};
  if (secs >= 1) {
    const std::int64_t tenths = ms % 1000 / 100;
    if (tenths == 0) return std::to_string(secs) + " sec";
    std::snprintf(buffer.data(), buffer.size(), "%lld.%lld sec", static_cast<long long>(secs),
                  static_cast<long long>(tenths));
    return buffer.data();
  }
  if (ms >= 100) {
    std::int64_t hundredths = ms / 10;
    const bool one_digit = hundredths % 10 == 0;
    if (one_digit) hundredths /= 10;
    std::snprintf(buffer.data(), buffer.size(), one_digit ? "0.%lld sec" : "0.%02lld sec",
                  static_cast<long long>(hundredths));
    return buffer.data();
  }
  return std::to_string(ms) + " ms";
}

std::string html_page(std::string_view title, std::string_view heading, std::string_view text,
                      std::size_t size) {
  std::string page = "<!DOCTYPE html><html lang=\"en\"><head><title>" + xml_escape(title) + "</title>";
  const std::string tail = "</head><body><div id=\"main-panel\"><h1>" + std::string(heading) + "</h1><p>" +
                           std::string(text) + "</p></div></body></html>";
  if (page.size() + tail.size() + 16 < size) {
    // Real pages are long because of their navigation and scripts; only the length matters to a client.
    page += "<!-- " + std::string(size - page.size() - tail.size() - 9, 'x') + " -->";
  }
  return page + tail;
}

std::string digest64(std::uint64_t seed, std::string_view purpose, std::string_view text) {
  std::uint64_t hash = mix(seed);
  for (const std::string_view part : {purpose, text}) {
    for (const char c : part) hash = mix(hash ^ static_cast<unsigned char>(c));
    hash = mix(hash ^ 0x100U);
  }
  std::string out;
  for (std::uint64_t word = 0; word < 4; ++word) {
    const std::uint64_t bits = mix(hash + word * 0x632BE59BD9B4E019ULL);
    for (int shift = 60; shift >= 0; shift -= 4) out += hex_digit(static_cast<unsigned>(bits >> shift));
  }
  return out;
}

std::vector<std::string> java_set_order(const std::vector<std::string>& insertion_order) {
  std::size_t capacity = 16;
  while (insertion_order.size() * 4 > capacity * 3) capacity *= 2;
  std::vector<std::pair<std::uint32_t, std::string>> keyed;
  for (const std::string& text : insertion_order) {
    std::uint32_t hash = 0;
    for (const std::uint16_t unit : utf16_units(text)) hash = hash * 31 + unit;
    keyed.emplace_back((hash ^ (hash >> 16)) & static_cast<std::uint32_t>(capacity - 1), text);
  }
  std::stable_sort(keyed.begin(), keyed.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> out;
  for (auto& [bucket, text] : keyed) {
    if (std::find(out.begin(), out.end(), text) == out.end()) out.push_back(std::move(text));
  }
  return out;
}

}  // namespace skep::controller_sim
