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

std::string escaped(const std::string& text) {
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
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
