// Looks at a node: once, or as the watch of an open gate, which runs on a thread of its own so that neither
// the strand nor a record on its way to the disk can come between two looks, or between the sight of a build
// and the close. Blocking.
#pragma once

#include <atomic>

#include "scheduler/core/actions.h"
#include "scheduler/jenkins/jenkins_controller.h"

namespace skep::scheduler {

NodePolled poll_node(JenkinsController& controller, const PollNode& order);

/// As PollNode says. Ends within watch_for and one answer; `is_stopping` ends it after the next look.
NodePolled watch_gate(JenkinsController& controller, const PollNode& order,
                      const std::atomic<bool>& is_stopping);

/// An opening that is overtaken by `is_stopping` is closed again.
GateOpened open_gate(JenkinsController& controller, const OpenGate& order,
                     const std::atomic<bool>& is_stopping);

}  // namespace skep::scheduler
