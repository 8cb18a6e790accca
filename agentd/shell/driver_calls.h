// Carries out CallDriver: one blocking driver verb, its answer as an event. Any thread; one call per executor
// at a time (the logic sees to that).
#pragma once

#include "agentd/core/actions.h"
#include "drivers/api/driver.h"

namespace skep::agentd {

DriverFact describe(drivers::Driver& driver);
Event run_call(drivers::Driver& driver, const CallDriver& action);
/// The answer of a call that was not carried out.
Event refuse_call(const CallDriver& action, const Error& error);

}  // namespace skep::agentd
