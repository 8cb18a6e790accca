#include "join/guest_texts.h"

#include <limits>

#include "common/json/json.h"
#include "core/ids.h"

namespace skep::join {
namespace {

using json::Json;

Error broken(const std::string& why) {
  return Error::failed(ErrorCode::malformed_reply, "the host said what cannot be used: " + why);
}

Result<HostTicket> read_ticket(const Json& object) {
  const auto found = object.find("ticket");
  if (found == object.end() || !found->is_object()) return broken("there is no ticket");
  const auto attempt = json::get_int64(*found, "attempt");
  if (!attempt || *attempt < 0 || *attempt > std::numeric_limits<std::uint32_t>::max())
    return broken("the ticket has no attempt");
  return HostTicket{json::dump(*found), static_cast<std::uint32_t>(*attempt)};
}

std::string bytes_of(const std::string& hex) {
  const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(value(hex[i]) * 16 + value(hex[i + 1]));
  return out;
}

bool is_hex(const std::string& text) {
  return text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

bool read_map(const Json& object, const char* key, std::map<std::string, std::string>& out) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) return false;
  for (const auto& [name, value] : found->items()) {
    if (!value.is_string()) return false;
    out[name] = value.get<std::string>();
  }
  return true;
}

/// One line of /etc/hosts is one name and one address, whatever was sent.
bool is_host_entry(const std::string& name, const std::string& address) {
  return !name.empty() && name.find_first_of(" \t\r\n#") == std::string::npos && !address.empty() &&
         address.find_first_not_of("0123456789.") == std::string::npos;
}

Result<HostWord> read_start(const Json& object) {
  HostStarts start;
  const auto version = json::get_int64(object, "version");
  if (!version || *version != 1) return broken("its version is not 1");
  auto name = json::get_string(object, "name"), machine_id = json::get_string(object, "machine_id");
  const auto entropy = json::get_string(object, "entropy");
  const auto time = json::get_int64(object, "time_ms");
  auto ticket = read_ticket(object);
  if (!ticket) return ticket.error();
  if (!name || !is_valid_name(*name)) return broken("its name is no name");
  if (!machine_id || machine_id->size() != 32 || !is_hex(*machine_id))
    return broken("its machine id is none");
  if (!entropy || !is_hex(*entropy) || entropy->size() % 2 != 0) return broken("its randomness is none");
  if (!time || *time < 0) return broken("its time is none");
  if (!read_map(object, "hosts", start.hosts) || !read_map(object, "environment", start.environment))
    return broken("hosts or environment are no texts");
  for (const auto& [host, address] : start.hosts) {
    if (!is_host_entry(host, address)) return broken("a host is no name and address");
  }
  const auto argv = object.find("argv");
  if (argv == object.end() || !argv->is_array() || argv->empty()) return broken("it has no command");
  for (const Json& word : *argv) {
    if (!word.is_string()) return broken("its command is no list of words");
    start.argv.push_back(word.get<std::string>());
  }
  start.name = std::move(*name);
  start.machine_id = std::move(*machine_id);
  start.entropy = bytes_of(*entropy);
  start.time_ms = *time;
  start.ticket = std::move(*ticket);
  return HostWord(std::move(start));
}

}  // namespace

Result<HostWord> read_host_line(const std::string& line) {
  if (line.size() > max_host_line) return broken("it is too long");
  const auto parsed = json::parse_strict(line);
  if (!parsed || !parsed->is_object()) return broken("it is no JSON object");
  const auto type = json::get_string(*parsed, "type");
  if (!type) return broken("it has no type");
  if (*type == "hello") return HostWord(HostAsks{});
  if (*type == "stop") return HostWord(HostStops{});
  if (*type == "start") return read_start(*parsed);
  if (*type != "ticket") return broken("its type is unknown");
  auto ticket = read_ticket(*parsed);
  if (!ticket) return ticket.error();
  return HostWord(std::move(*ticket));
}

std::string hello_text(bool waits) {
  return json::dump(Json{{"type", "hello"}, {"version", 1}, {"waits", waits}});
}

std::string taken_text(bool is_start, std::uint32_t attempt) {
  return json::dump(Json{{"type", "taken"}, {"what", is_start ? "start" : "ticket"}, {"attempt", attempt}});
}

std::string status_text(const std::string& status) {
  return json::dump(Json{{"type", "status"}, {"text", status}});
}

}  // namespace skep::join
