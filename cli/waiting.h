// Waiting for what a command began, with progress on standard error.
#pragma once

#include <functional>
#include <string>

#include "cli/commands.h"

namespace skep::cli {

/// What still has to happen, as text; "" when nothing. An error ends the waiting, but for one that may pass.
using WhatIsLeft = std::function<Result<std::string>(ApiClient&)>;

/// The same call may be answered later: the scheduler is away, or slow.
bool may_pass(const Error& error);

/// Polls until nothing is left, with progress on stderr; exit_timed_out after the limit. A scheduler that is
/// away for a while is waited for, too.
int wait_until_done(const Context& context, const std::string& timeout, const WhatIsLeft& what_is_left);

}  // namespace skep::cli
