// The text messages between skep-controller-sim and skep-agent-sim over the wsagents/ WebSocket. They stand
// for the remoting protocol, of which Skep needs nothing but that builds run and that the channel can close.
//
//   controller -> agent
//   {"type":"run","build":7,"remote_fs":".","duration_ms":1000,"command":"true","durable":false,"resume":false}
//                         {"type":"stop","build":7}
//   agent -> controller   {"type":"done","build":7,"success":true}
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace skep::controller_sim {

struct RunMessage {
  std::uint64_t build = 0;
  std::string remote_fs;  // the node's root; a relative one counts from the agent's own directory
  std::int64_t duration_ms = 0;
  std::string command;
  bool durable = false;  // the body goes on when the agent process ends
  bool resume = false;   // it was started before: wait for it
};

struct AgentMessage {
  enum class Type { run, stop, done } type = Type::run;
  RunMessage run;       // of run; `build` of all
  bool success = true;  // of done
};

std::string to_text(const AgentMessage& message);
std::optional<AgentMessage> parse_agent_message(std::string_view text);

}  // namespace skep::controller_sim
