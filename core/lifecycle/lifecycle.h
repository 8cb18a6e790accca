// Life of an executor: the one table of legal steps. Pure.
//
//   planned -> ordered -> creating -> booting -> joining -> idle -> busy -> finished -> destroying -> gone
// beside it: failed, held, unknown. A slot is free only when its executor was SEEN gone.
#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace skep {

enum class ExecutorState {
  planned,     // decided and recorded; nothing touched yet
  ordered,     // node created where the join is brokered; order sent to agentd
  creating,    // agentd is making the sandbox
  booting,     // the sandbox runs; its agent process has not started
  joining,     // the agent process runs; the controller does not show it connected yet
  idle,        // connected; takes no work unless its gate is open
  busy,        // a build was seen on it
  finished,    // its build is over, or it ended unused
  destroying,  // node deletion and sandbox destruction under way
  gone,        // seen gone, on the host and on the controller
  failed,      // broke; on its way to destroying
  held,        // an operator keeps it for debugging until a time
  unknown,     // its host or controller cannot be seen; counts as existing
};
inline constexpr std::size_t executor_state_count = 13;

std::string_view to_string(ExecutorState state);
std::optional<ExecutorState> executor_state_from(std::string_view text);

/// Legal single steps. Staying where one is, is not a step.
bool is_legal_step(ExecutorState from, ExecutorState to);

/// Planned to joining: on its way, counts as capacity for waiting items so that nothing is launched twice.
bool is_coming(ExecutorState state);

/// Everything but gone: takes room on its host.
bool occupies_slot(ExecutorState state);

}  // namespace skep
