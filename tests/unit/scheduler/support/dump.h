// What the world looks like, as text: printed when a condition is not reached.
#pragma once

#include <string>

#include "tests/unit/scheduler/support/world.h"

namespace skep::scheduler::testing {
std::string dump(const World& world);
}  // namespace skep::scheduler::testing
