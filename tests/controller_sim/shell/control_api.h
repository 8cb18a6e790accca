// The control API below /_sim/: what a person does with a mouse, for tests and the demo. JSON in, JSON out.
//
//   POST jobs {"path","kind":"freestyle|pipeline","label","duration_ms","command","concurrent","empty_block",
//                     "quiet_period_ms","parallel","blocks":[{"label","name","duration_ms","command","empty_block"}]}
//   DELETE jobs?path=P
//   POST schedule    {"path","parameters":{},"quiet_period_ms","count","distinct"} -> {"ids":[...]}
//   POST block       {"path","blocked"}          POST stop {"path","number"}
//   POST nodes       {"name","labels","exclusive","executors"}     a permanent node
//   POST quiet-down  {"on"}                      POST restart {"keep_queue","down_ms","starting_ms"}
//   POST faults      {"path_prefix","kind","value","count"}        DELETE faults
//   POST permissions {"user","permissions":["Job/Read",...]}       those of a user from now on
//   POST kill        {"agent"}: cuts the agent's connection
//   GET  truth       builds, nodes, queue length, nodes with more than one build
//   GET  requests    counters by kind            DELETE requests
#pragma once

#include "tests/controller_sim/shell/hub.h"

namespace skep::controller_sim {

inline constexpr const char* control_prefix = "/_sim/";

HttpReply handle_control(Hub& hub, const HttpRequest& request);

}  // namespace skep::controller_sim
