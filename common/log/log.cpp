#include "common/log/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

namespace skep::log {
namespace {

constexpr std::size_t max_causes = 10'000;
std::atomic<bool> is_json{false};

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warning:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

/// Length of the UTF-8 sequence at `at`, 0 when the bytes there are none.
std::size_t utf8_length(const std::string& text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(at);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = byte(at + 1);
  const bool is_bad = (first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
                      (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f);
  return is_bad ? 0 : length;
}

/// Texts of controllers and hosts come into our logs: nothing in them may end a line or break a collector.
std::string escaped(const std::string& text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const auto byte = static_cast<unsigned char>(c);
    if (const std::size_t length = utf8_length(text, at); length != 1) {
      out += length == 0 ? "\\ufffd" : text.substr(at, length);
      at += length == 0 ? 0 : length - 1;
      continue;
    }
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> instance = [] {
    auto made = std::make_shared<spdlog::logger>("skep", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %-5l %v", spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

}  // namespace

void initialize(const std::string& level, const std::string& format) {
  is_json = format == "json";
  if (is_json)
    logger().set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})",
                         spdlog::pattern_time_type::utc);
  logger().set_level(level == "debug"     ? spdlog::level::debug
                     : level == "warning" ? spdlog::level::warn
                     : level == "error"   ? spdlog::level::err
                                          : spdlog::level::info);
}

void write(Level level, const std::string& message, const Fields& fields) {
  std::string line;
  if (is_json) {
    line = "\"message\":\"" + escaped(message) + "\"";
    for (const auto& [name, value] : fields) line += ",\"" + escaped(name) + "\":\"" + escaped(value) + "\"";
  } else {
    line = escaped(message);
    for (const auto& [name, value] : fields)
      line += " " + name + "=" +
              (value.find(' ') == std::string::npos ? escaped(value) : "\"" + escaped(value) + "\"");
  }
  logger().log(to_spdlog(level), "{}", line);
}

void write_error(const std::string& what, const Error& error) {
  write(Level::error, what + ": " + error.message + (error.hint.empty() ? "" : " (" + error.hint + ")"),
        {{"outcome", to_string(error.outcome)}});
}

bool OncePerMinute::allows(const std::string& cause, Instant now, std::uint64_t& held_back) {
  const std::lock_guard<std::mutex> guard(lock_);
  if (entries_.size() >= max_causes) entries_.clear();
  const auto [entry, is_new] = entries_.try_emplace(cause, Entry{now, 0});
  held_back = entry->second.held_back;
  if (is_new) return true;
  if (now - entry->second.last < minutes(1)) {
    ++entry->second.held_back;
    return false;
  }
  entry->second = {now, 0};
  return true;
}

}  // namespace skep::log
