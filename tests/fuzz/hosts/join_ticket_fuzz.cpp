// A ticket that is taken holds nothing that could be a path, an option or a second line, and fits an agent's
// command as it is.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/check.h"
#include "join/ticket.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace skep;
  const auto ticket = join::parse_ticket({reinterpret_cast<const char*>(data), size});
  if (!ticket) {
    SKEP_ASSERT(ticket.error().code == ErrorCode::invalid_input && ticket.error().message.size() < 1000);
    return 0;
  }
  const Ticket& taken = ticket->ticket;
  SKEP_ASSERT(is_valid_name(taken.node_name) && taken.attempt >= 1);
  SKEP_ASSERT(taken.url.rfind("http", 0) == 0 && taken.url.back() == '/');
  for (const std::string& text : {taken.url, taken.secret})
    SKEP_ASSERT(!text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c > ' '; }));
  join::Options options;
  options.agent_command = ticket->agent_command;
  const auto argv = join::agent_argv(options, taken);
  SKEP_ASSERT(!argv.empty() && !argv.front().empty());
  return 0;
}
