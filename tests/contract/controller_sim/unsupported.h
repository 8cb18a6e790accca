// What the stand-in deliberately does not answer as a real controller does. Checked in both directions: what
// is listed and matches all the same is an error, and so is what is not listed and differs.
#pragma once

#include <string>

#include "tests/contract/support/recordings.h"

namespace skep::controller_sim {

/// "" if the exchange must match.
std::string why_unsupported(const recordings::Recording& recording, const recordings::Exchange& exchange);
std::size_t count_of_unsupported();

}  // namespace skep::controller_sim
