#include "core/resources.h"

#include <array>
#include <charconv>
#include <cstdlib>
#include <limits>

namespace skep {
namespace {

std::int64_t saturating_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return b > 0 ? std::numeric_limits<std::int64_t>::max() : std::numeric_limits<std::int64_t>::min();
}

std::int64_t saturating_subtract(std::int64_t a, std::int64_t b) {
  std::int64_t difference = 0;
  if (!__builtin_sub_overflow(a, b, &difference)) return difference;
  return b < 0 ? std::numeric_limits<std::int64_t>::max() : std::numeric_limits<std::int64_t>::min();
}

/// value/unit with at most one decimal, "1.5".
std::string tenths(std::int64_t value, std::int64_t unit) {
  const std::int64_t whole = value / unit;
  const std::int64_t tenth = value % unit * 10 / unit;
  std::string out = std::to_string(whole);
  if (tenth > 0) out += "." + std::to_string(tenth);
  return out;
}

std::string cpu_to_text(std::int64_t millis) {
  std::string out = (millis < 0 ? "-" : "") + std::to_string(std::abs(millis / 1000));
  const std::int64_t rest = std::abs(millis % 1000);
  if (rest == 0) return out;
  std::string digits = std::to_string(1000 + rest).substr(1);
  while (digits.back() == '0') digits.pop_back();
  return out + "." + digits;
}

/// Decimal number with at most `places` digits after the point, times 10^places.
std::optional<std::int64_t> parse_decimal(std::string_view text, int places) {
  const std::size_t point = text.find('.');
  const std::string_view whole = text.substr(0, point);
  const std::string_view part = point == std::string_view::npos ? std::string_view{} : text.substr(point + 1);
  if (whole.empty() || whole.size() > 15 || part.size() > 15) return std::nullopt;
  if (point != std::string_view::npos && part.empty()) return std::nullopt;
  std::string digits(whole);
  for (int i = 0; i < places; ++i)
    digits += static_cast<std::size_t>(i) < part.size() ? part[static_cast<std::size_t>(i)] : '0';
  for (char c : std::string(whole) + std::string(part)) {
    if (c < '0' || c > '9') return std::nullopt;
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

Error bad(std::string_view text, const char* wanted) {
  return Error::failed(ErrorCode::invalid_input,
                       "\"" + std::string(text.substr(0, 80)) + "\" is not " + wanted);
}

}  // namespace

Resources& Resources::operator+=(const Resources& other) {
  cpu_millis = saturating_add(cpu_millis, other.cpu_millis);
  memory_bytes = saturating_add(memory_bytes, other.memory_bytes);
  disk_bytes = saturating_add(disk_bytes, other.disk_bytes);
  for (const auto& [name, count] : other.countable) countable[name] = saturating_add(countable[name], count);
  return *this;
}

Resources& Resources::operator-=(const Resources& other) {
  cpu_millis = saturating_subtract(cpu_millis, other.cpu_millis);
  memory_bytes = saturating_subtract(memory_bytes, other.memory_bytes);
  disk_bytes = saturating_subtract(disk_bytes, other.disk_bytes);
  for (const auto& [name, count] : other.countable)
    countable[name] = saturating_subtract(countable[name], count);
  return *this;
}

std::optional<Shortage> Resources::shortage_in(const Resources& available) const {
  if (cpu_millis > 0 && cpu_millis > available.cpu_millis)
    return Shortage{"cpu", cpu_millis, available.cpu_millis};
  if (memory_bytes > 0 && memory_bytes > available.memory_bytes)
    return Shortage{"memory", memory_bytes, available.memory_bytes};
  if (disk_bytes > 0 && disk_bytes > available.disk_bytes)
    return Shortage{"disk", disk_bytes, available.disk_bytes};
  for (const auto& [name, count] : countable) {
    const auto found = available.countable.find(name);
    const std::int64_t there = found == available.countable.end() ? 0 : found->second;
    if (count > 0 && count > there) return Shortage{name, count, there};
  }
  return std::nullopt;
}

Resources operator+(Resources a, const Resources& b) {
  return a += b;
}
Resources operator-(Resources a, const Resources& b) {
  return a -= b;
}

std::string bytes_to_text(std::int64_t bytes) {
  if (bytes < 0)
    return "-" + bytes_to_text(bytes == std::numeric_limits<std::int64_t>::min()
                                   ? std::numeric_limits<std::int64_t>::max()
                                   : -bytes);
  constexpr std::array<std::pair<std::int64_t, const char*>, 4> units{{{std::int64_t{1} << 40, "TiB"},
                                                                       {std::int64_t{1} << 30, "GiB"},
                                                                       {std::int64_t{1} << 20, "MiB"},
                                                                       {std::int64_t{1} << 10, "KiB"}}};
  for (const auto& [size, name] : units) {
    if (bytes >= size) return tenths(bytes, size) + " " + name;
  }
  return std::to_string(bytes) + " B";
}

std::string duration_to_text(Duration d) {
  const std::int64_t ms = to_ms(d);
  if (ms < 0) return "-" + duration_to_text(d == Duration::min() ? Duration::max() : -d);
  if (ms < 1000) return std::to_string(ms) + " ms";
  if (ms < 60'000) return tenths(ms, 1000) + " s";
  const std::int64_t s = ms / 1000;
  if (s < 3600) return std::to_string(s / 60) + "m" + (s % 60 != 0 ? " " + std::to_string(s % 60) + "s" : "");
  if (s < 86'400)
    return std::to_string(s / 3600) + "h" +
           (s % 3600 / 60 != 0 ? " " + std::to_string(s % 3600 / 60) + "m" : "");
  return std::to_string(s / 86'400) + "d" +
         (s % 86'400 / 3600 != 0 ? " " + std::to_string(s % 86'400 / 3600) + "h" : "");
}

std::string to_string(const Resources& resources) {
  std::string out;
  const auto add = [&](const std::string& text) { out += (out.empty() ? "" : ", ") + text; };
  if (resources.cpu_millis != 0) add(cpu_to_text(resources.cpu_millis) + " cpu");
  if (resources.memory_bytes != 0) add(bytes_to_text(resources.memory_bytes) + " memory");
  if (resources.disk_bytes != 0) add(bytes_to_text(resources.disk_bytes) + " disk");
  for (const auto& [name, count] : resources.countable) {
    if (count != 0) add(std::to_string(count) + " " + name);
  }
  return out.empty() ? "nothing" : out;
}

std::string to_string(const Shortage& shortage) {
  const auto text = [&](std::int64_t value) {
    if (shortage.what == "cpu") return cpu_to_text(value < 0 ? 0 : value) + " cpu";
    if (shortage.what == "memory" || shortage.what == "disk")
      return bytes_to_text(value < 0 ? 0 : value) + " " + shortage.what;
    return std::to_string(value < 0 ? 0 : value) + " " + shortage.what;
  };
  return "needs " + text(shortage.wanted) + ", " + text(shortage.available) + " free";
}

Result<std::int64_t> parse_bytes(std::string_view text) {
  const char* wanted = "a size (such as 512MiB, 20GiB or 10GB)";
  std::size_t digits = 0;
  while (digits < text.size() && ((text[digits] >= '0' && text[digits] <= '9') || text[digits] == '.'))
    ++digits;
  const auto thousandths = parse_decimal(text.substr(0, digits), 3);
  if (!thousandths) return bad(text, wanted);
  std::string_view unit = text.substr(digits);
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 14> units{{{"", 1},
                                                                             {"B", 1},
                                                                             {"KiB", std::int64_t{1} << 10},
                                                                             {"MiB", std::int64_t{1} << 20},
                                                                             {"GiB", std::int64_t{1} << 30},
                                                                             {"TiB", std::int64_t{1} << 40},
                                                                             {"KB", 1'000},
                                                                             {"MB", 1'000'000},
                                                                             {"GB", 1'000'000'000},
                                                                             {"TB", 1'000'000'000'000},
                                                                             {"K", std::int64_t{1} << 10},
                                                                             {"M", std::int64_t{1} << 20},
                                                                             {"G", std::int64_t{1} << 30},
                                                                             {"T", std::int64_t{1} << 40}}};
  for (const auto& [name, size] : units) {
    if (name != unit) continue;
    std::int64_t product = 0;
    if (size == 1) {
      if (*thousandths % 1000 != 0) return bad(text, wanted);
      return *thousandths / 1000;
    }
    if (__builtin_mul_overflow(*thousandths, size / 1000 > 0 && size % 1000 == 0 ? size / 1000 : size,
                               &product))
      return bad(text, wanted);
    return size % 1000 == 0 ? product : product / 1000;
  }
  return bad(text, wanted);
}

Result<std::int64_t> parse_cpu(std::string_view text) {
  const char* wanted = "a number of processors (such as 2, 0.5 or 1500m)";
  if (!text.empty() && text.back() == 'm') {
    const auto millis = parse_decimal(text.substr(0, text.size() - 1), 0);
    if (!millis || text.find('.') != std::string_view::npos) return bad(text, wanted);
    return *millis;
  }
  const auto millis = parse_decimal(text, 3);
  if (!millis) return bad(text, wanted);
  return *millis;
}

Result<Duration> parse_duration(std::string_view text) {
  const char* wanted = "a duration (such as 500ms, 90s, 2m or 1h30m)";
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> units{
      {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
  if (text.empty()) return bad(text, wanted);
  std::int64_t total_ms = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::size_t digits = 0;
    while (digits < rest.size() && ((rest[digits] >= '0' && rest[digits] <= '9') || rest[digits] == '.'))
      ++digits;
    const auto thousandths = parse_decimal(rest.substr(0, digits), 3);
    if (!thousandths) return bad(text, wanted);
    rest.remove_prefix(digits);
    std::int64_t unit_ms = 0;
    for (const auto& [name, ms] : units) {
      if (rest.substr(0, name.size()) != name) continue;
      unit_ms = ms;
      rest.remove_prefix(name.size());
      break;
    }
    std::int64_t part = 0;
    if (unit_ms == 0 || __builtin_mul_overflow(*thousandths, unit_ms, &part)) return bad(text, wanted);
    total_ms = saturating_add(total_ms, part / 1000);
    if (total_ms > std::int64_t{100} * 365 * 86'400'000) return bad(text, wanted);
  }
  return Duration(milliseconds(total_ms));
}

}  // namespace skep
