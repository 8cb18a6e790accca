#include "drivers/qemu/guest_texts.h"

#include <limits>

#include "common/json/json.h"
#include "core/url.h"

namespace skep::drivers::qemu {
namespace {

using json::Json;

std::optional<std::uint32_t> read_attempt(const Json& object) {
  const auto attempt = json::get_int64(object, "attempt");
  if (!attempt || *attempt < 0 || *attempt > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
  return static_cast<std::uint32_t>(*attempt);
}

}  // namespace

std::string encode(const GuestStart& start) {
  return json::dump(Json{{"type", "start"},
                         {"version", 1},
                         {"name", start.name},
                         {"machine_id", start.machine_id},
                         {"entropy", start.entropy},
                         {"hosts", start.hosts},
                         {"argv", start.argv},
                         {"environment", start.environment},
                         {"ticket",
                          {{"url", start.ticket.url},
                           {"node_name", start.ticket.node_name},
                           {"secret", start.ticket.secret},
                           {"attempt", start.ticket.attempt}}}});
}

std::string with_time(const std::string& start_text, std::int64_t wall_ms) {
  auto parsed = json::parse_strict(start_text);
  if (!parsed || !parsed->is_object()) return start_text;
  (*parsed)["time_ms"] = wall_ms;
  return json::dump(*parsed);
}

std::string ticket_line(const std::string& ticket_text) {
  auto parsed = json::parse_strict(ticket_text);
  if (!parsed) return "";
  return json::dump(Json{{"type", "ticket"}, {"ticket", std::move(*parsed)}});
}

std::string hello_line() {
  return R"({"type":"hello"})";
}

std::string stop_line() {
  return R"({"type":"stop"})";
}

Result<GuestWord> read_guest_line(const std::string& line) {
  const Error broken = Error::failed(ErrorCode::malformed_reply, "a guest said what skep-guest does not say");
  if (line.size() > max_guest_line) return broken;
  const auto parsed = json::parse_strict(line);
  if (!parsed || !parsed->is_object()) return broken;
  const auto type = json::get_string(*parsed, "type");
  if (!type) return broken;
  if (*type == "hello") {
    const auto waits = json::get_bool(*parsed, "waits");
    if (!waits) return broken;
    return GuestWord(GuestHello{*waits});
  }
  if (*type == "taken") {
    const auto what = json::get_string(*parsed, "what");
    const auto attempt = read_attempt(*parsed);
    if (!what || !attempt || (*what != "start" && *what != "ticket")) return broken;
    return GuestWord(GuestTook{*what == "start", *attempt});
  }
  if (*type == "status") {
    const auto text = json::get_string(*parsed, "text");
    if (!text) return broken;
    return GuestWord(GuestStatus{*text});
  }
  return broken;
}

std::uint32_t attempt_of(const std::string& text) {
  const auto parsed = json::parse_strict(text);
  if (!parsed || !parsed->is_object()) return 0;
  const auto ticket = parsed->find("ticket");
  if (ticket != parsed->end()) return ticket->is_object() ? read_attempt(*ticket).value_or(0) : 0;
  return read_attempt(*parsed).value_or(0);
}

std::string url_inside(const std::string& url) {
  const auto parts = split_url(url);
  if (!parts) return url;
  if (!is_loopback_host(parts->host)) return url;
  const bool is_bracketed = parts->host.find(':') != std::string::npos;
  const std::string host = is_bracketed ? "[" + parts->host + "]" : parts->host;
  const std::size_t at = url.find(host, url.find("://"));
  if (at == std::string::npos) return url;
  return url.substr(0, at) + host_inside + url.substr(at + host.size());
}

}  // namespace skep::drivers::qemu
