// The ticket as agentd writes it: bytes from outside, so nothing of it is believed before it is checked.
#pragma once

#include <cstddef>
#include <string_view>

#include "core/result.h"
#include "join/core/join_logic.h"

namespace skep::join {

inline constexpr std::size_t max_ticket_bytes = 64 * 1024;
inline constexpr std::size_t max_url_chars = 2048;
inline constexpr std::size_t max_secret_chars = 4096;
inline constexpr std::size_t max_command_words = 1000;

/// The address gets a trailing slash when it has none. invalid_input names what is wrong and never holds the
/// secret.
Result<TicketArrived> parse_ticket(std::string_view text);

}  // namespace skep::join
