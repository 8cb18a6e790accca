// What goes through an executor's control folder between a driver and skep-join: the ticket in, the status
// out. Pure.
#pragma once

#include <string>

#include "core/protocol/agentd_api.h"
#include "drivers/api/driver.h"

namespace skep::drivers {

constexpr std::size_t max_status_bytes = 64 * 1024;

/// The text of control/ticket, as skep-join reads it.
std::string encode(const Ticket& ticket);
/// Puts what control/status says into `instance`; text that is not what skep-join writes is ignored: it is a
/// hint only.
void apply_status(const std::string& text, Instance& instance);

}  // namespace skep::drivers
