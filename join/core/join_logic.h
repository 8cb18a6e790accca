// The decisions of skep-join: one ticket, one agent process, and what is done when it ends. Facts in, actions out; pure.
//
// agent.jar's exit code says neither "build over" nor "connected" and differs between remoting versions, so it is only
// passed on. An agent that ended is not the end of the build: the sandbox waits for a new ticket (the same node joins
// again after a controller restart) until it is asked to end or has lingered too long.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/protocol/agentd_api.h"
#include "core/time.h"

namespace skep::join {

enum ExitCode { exit_asked = 0, exit_bad_ticket = 3, exit_not_started = 4, exit_no_jar = 5, exit_lingered = 6 };

struct Options {
  std::vector<std::string> agent_command;  // {url} {name} {secret_file} {work_dir} {agent_jar}; empty: agent.jar by java
  std::string work_dir;
  std::string secret_file;                 // written 0600 by the shell before the agent starts
  std::string agent_jar;                   // where the fetched jar lies
  Duration linger = minutes(10);
  int quick_retries = 2;                   // of an agent that ended without ever connecting
};

struct TicketArrived { Ticket ticket; };
struct TicketBroken { std::string message; };
struct JarFetched { bool is_there = false; std::string message; };
struct AgentStarted { bool has_started = false; std::string message; };
struct AgentSaid { std::string line; };
struct AgentEnded { int exit_code = 0; };
struct EndAsked {};
struct Tick {};
using Event = std::variant<TicketArrived, TicketBroken, JarFetched, AgentStarted, AgentSaid, AgentEnded, EndAsked, Tick>;

struct FetchJar { std::string url; };
struct StartAgent { std::vector<std::string> argv; std::string secret; };
struct StopAgent { bool hard = false; };
struct RemoveSecret {};
struct WriteStatus { AgentPhase phase{}; std::uint32_t attempt = 0; std::optional<int> exit_code; std::string message; };
struct End { int exit_code = 0; };
using Action = std::variant<FetchJar, StartAgent, StopAgent, RemoveSecret, WriteStatus, End>;

class JoinLogic {
 public:
  explicit JoinLogic(Options options) : options_(std::move(options)) {}
  std::vector<Action> handle(const Event& event, Instant now);
  std::optional<Instant> next_deadline() const;

 private:
  std::vector<Action> begin(Instant now);
  std::vector<Action> on_ended(int exit_code, Instant now);
  std::vector<Action> on_tick(Instant now);
  StartAgent start_action() const;
  bool needs_jar() const;

  Options options_;
  Ticket ticket_;
  enum class Phase { waiting, fetching, starting, running, pausing, ended, ending } phase_ = Phase::waiting;
  bool has_connected_ = false;
  bool has_jar_ = false;
  int retries_used_ = 0;
  std::optional<Instant> deadline_;
  std::optional<Ticket> next_ticket_;  // arrived while the former agent still runs
};

/// The command with its placeholders filled in; the default where it is empty.
std::vector<std::string> agent_argv(const Options& options, const Ticket& ticket);

/// "INFO: Connected" as remoting prints it when the channel is made; a hint, not proof.
bool says_connected(const std::string& line);

}  // namespace skep::join
