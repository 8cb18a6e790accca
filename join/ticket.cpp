#include "join/ticket.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "common/json/json.h"

namespace skep::join {
namespace {

Error wrong(const std::string& what) {
  return Error::failed(ErrorCode::invalid_input, "the ticket is not usable: " + what);
}

/// Fit for an argument of a program: no blank, no control character, nothing beyond ASCII.
bool is_plain(const std::string& text, std::size_t most) {
  return !text.empty() && text.size() <= most &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

Result<std::vector<std::string>> read_command(const json::Json& in) {
  if (!in.is_array() || in.size() > max_command_words) return wrong("\"agent_command\" is no list of words");
  std::vector<std::string> words;
  for (const json::Json& word : in) {
    if (!word.is_string()) return wrong("\"agent_command\" is no list of words");
    words.push_back(word.get<std::string>());
    if (words.back().find('\0') != std::string::npos) return wrong("\"agent_command\" holds a zero byte");
  }
  if (!words.empty() && words.front().empty()) return wrong("\"agent_command\" names no program");
  return words;
}

}  // namespace

Result<TicketArrived> parse_ticket(std::string_view text) {
  if (text.size() > max_ticket_bytes) return wrong("it is longer than 64 KiB");
  const auto parsed = json::parse_strict(text);
  // The parser's message may quote what it read, which may be the secret.
  if (!parsed || !parsed->is_object()) return wrong("it is no JSON object");
  const auto url = json::get_string(*parsed, "url");
  if (!url) return wrong(url.error().message);
  const auto name = json::get_string(*parsed, "node_name");
  if (!name) return wrong(name.error().message);
  const auto secret = json::get_string(*parsed, "secret");
  if (!secret) return wrong(secret.error().message);
  const auto attempt = json::get_int64(*parsed, "attempt");
  if (!attempt) return wrong(attempt.error().message);
  const bool is_address =
      (url->starts_with("http://") && url->size() > 7) || (url->starts_with("https://") && url->size() > 8);
  if (!is_address || !is_plain(*url, max_url_chars)) return wrong("\"url\" is no http or https address");
  if (!is_valid_name(*name))
    return wrong("\"node_name\" is no name of a node: [a-z0-9-], 1 to 60 characters");
  if (!is_plain(*secret, max_secret_chars)) return wrong("\"secret\" is empty, too long, or not printable");
  if (*attempt < 1 || *attempt > std::numeric_limits<std::uint32_t>::max())
    return wrong("\"attempt\" is not from 1 to 4294967295");
  TicketArrived arrived;
  arrived.ticket =
      Ticket{url->back() == '/' ? *url : *url + "/", *name, *secret, static_cast<std::uint32_t>(*attempt)};
  if (parsed->contains("agent_command") && !parsed->at("agent_command").is_null()) {
    auto command = read_command(parsed->at("agent_command"));
    if (!command) return command.error();
    arrived.agent_command = std::move(*command);
  }
  return arrived;
}

}  // namespace skep::join
