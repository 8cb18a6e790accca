#include "core/protocol/agentd_api.h"

#include <array>
#include <utility>

namespace skep {
namespace {
constexpr std::array<std::pair<AgentPhase, std::string_view>, 4> phase_names{
    {{AgentPhase::none, "none"},
     {AgentPhase::started, "started"},
     {AgentPhase::connected, "connected"},
     {AgentPhase::ended, "ended"}}};
}  // namespace

std::string_view to_string(AgentPhase phase) {
  return phase_names[static_cast<std::size_t>(phase)].second;
}

std::string_view to_string(StartMode mode) {
  return mode == StartMode::warm_clone ? "warm_clone" : "cold";
}

std::optional<StartMode> start_mode_from(std::string_view text) {
  for (const StartMode mode : {StartMode::cold, StartMode::warm_clone}) {
    if (to_string(mode) == text) return mode;
  }
  return std::nullopt;
}

std::optional<AgentPhase> agent_phase_from(std::string_view text) {
  for (const auto& [phase, name] : phase_names) {
    if (name == text) return phase;
  }
  return std::nullopt;
}

}  // namespace skep
