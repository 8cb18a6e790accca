#include "drivers/shared/control_texts.h"

#include <limits>

#include "common/json/json.h"

namespace skep::drivers {
namespace {

constexpr std::size_t max_message_chars = 1000;

}  // namespace

std::string encode(const Ticket& ticket) {
  return json::dump(json::Json{{"url", ticket.url},
                               {"node_name", ticket.node_name},
                               {"secret", ticket.secret},
                               {"attempt", ticket.attempt}});
}

void apply_status(const std::string& text, Instance& instance) {
  const auto parsed = json::parse_strict(text);
  if (!parsed) return;
  const auto phase = json::get_string(*parsed, "phase");
  const auto attempt = json::get_int64(*parsed, "attempt");
  if (!phase || !attempt || *attempt < 0 || *attempt > std::numeric_limits<std::uint32_t>::max()) return;
  const auto known = agent_phase_from(*phase);
  if (!known) return;
  instance.agent = *known;
  instance.ticket_attempt = static_cast<std::uint32_t>(*attempt);
  const auto code = json::get_int64(*parsed, "exit_code");
  if (code && *code >= 0 && *code < 1000) instance.exit_code = static_cast<int>(*code);
  if (const auto message = json::get_string(*parsed, "message"))
    instance.message = message->substr(0, max_message_chars);
}

}  // namespace skep::drivers
