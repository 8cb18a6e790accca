// The decisions of skep-join: one ticket, one agent process, and what is done when it ends. Facts in, actions
// out; pure.
//
// agent.jar's exit code says neither "build over" nor "connected" and differs between remoting versions (0 or
// 255 for a refused connection), so it is only passed on. An agent that ended is not the end of the build:
// the sandbox waits for a new ticket (the same node joins again after a controller restart) until it is asked
// to end or has lingered too long.
//
// Newer remoting (3355) tries for ever to connect to a node that is not known or was deleted, also with
// -noReconnect, so an agent without a connection is ended after connect_limit. Whether it has one is read in
// what it says; an agent that says nothing that remoting says (its log goes elsewhere) may be connected and
// building, and is never ended for that: agentd's own deadline for joining goes by the controller's word.
//
// Not thread-safe: one thread calls handle(), in the order in which things happened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/protocol/agentd_api.h"
#include "core/time.h"

namespace skep::join {

enum ExitCode {
  exit_asked = 0,
  exit_bad_ticket = 3,
  exit_not_started = 4,
  exit_no_jar = 5,
  exit_lingered = 6
};

struct Options {
  std::vector<std::string> agent_command;  // with placeholders, see agent_argv(); empty: agent.jar by java
  std::string work_dir;
  std::string secret_file;  // written 0600 by the shell before the agent starts
  std::string agent_jar;    // where the fetched jar lies
  Duration linger = minutes(10);
  Duration stop_grace = seconds(5);     // from asking the agent to end until it is killed
  Duration connect_limit = minutes(3);  // how long a running agent may be without a connection
  int quick_retries = 2;  // of an agent that ended without ever connecting; after 1 s, 2 s, 4 s, ...
  int jar_retries = 4;    // of a jar that could not be fetched now; likewise
};

struct TicketArrived {
  Ticket ticket;
  std::vector<std::string> agent_command;  // instead of the one in Options, from now on; empty: no other
};
struct TicketBroken {
  std::string message;
};
struct JarFetched {
  bool is_there = false;
  bool may_come_later = false;  // the controller starts, or the network broke
  std::string message;
};
struct AgentStarted {
  bool has_started = false;
  std::string message;
};
struct AgentSaid {
  std::string line;
};
struct AgentEnded {
  int exit_code = 0;  // 128 + signal when it was killed
};
struct EndAsked {};
struct Tick {};
using Event = std::variant<TicketArrived, TicketBroken, JarFetched, AgentStarted, AgentSaid, AgentEnded,
                           EndAsked, Tick>;

struct FetchJar {
  std::string url;
};  // -> JarFetched
struct StartAgent {
  std::vector<std::string> argv;
  std::string secret;  // for the secret file
};                     // -> AgentStarted, AgentSaid, AgentEnded
struct StopAgent {
  bool is_hard = false;
};
struct RemoveSecret {};
struct WriteStatus {
  AgentPhase phase{};
  std::uint32_t attempt = 0;
  std::optional<int> exit_code;
  std::string message;
};
struct End {
  int exit_code = 0;
};
using Action = std::variant<FetchJar, StartAgent, StopAgent, RemoveSecret, WriteStatus, End>;

class JoinLogic {
 public:
  explicit JoinLogic(Options options) : options_(std::move(options)) {}
  std::vector<Action> handle(const Event& event, Instant now);
  std::optional<Instant> next_deadline() const { return deadline_; }

 private:
  enum class Phase {
    waiting,   // for the first ticket
    fetching,  // agent.jar
    starting,  // the agent was ordered
    running,   // the agent runs
    pausing,   // before a quick retry
    ended,     // waits for another ticket
    ending,    // asked to end; waits for the agent's end
    over,      // End was given out
  };
  std::vector<Action> on(const TicketArrived& event, Instant now);
  std::vector<Action> on(const TicketBroken& event, Instant now);
  std::vector<Action> on(const JarFetched& event, Instant now);
  std::vector<Action> on(const AgentStarted& event, Instant now);
  std::vector<Action> on(const AgentSaid& event, Instant now);
  std::vector<Action> on(const AgentEnded& event, Instant now);
  std::vector<Action> on(const EndAsked& event, Instant now);
  std::vector<Action> on(const Tick& event, Instant now);

  std::vector<Action> begin();
  std::vector<Action> take(TicketArrived arrived);
  std::vector<Action> end(int exit_code, std::vector<Action> before);
  StopAgent ask_to_end(Instant now);
  bool retry_soon(Instant now, int most);
  std::vector<Action> end_unconnected(Instant now);

  Options options_;
  Ticket ticket_;
  std::optional<TicketArrived> next_ticket_;  // came while the former agent was being made or still runs
  Phase phase_ = Phase::waiting;
  bool has_connected_ = false;  // at least once, this agent
  bool is_connected_ = false;
  bool is_heard_ = false;      // it says what remoting says, so silence about a connection means something
  bool is_asked_ = false;      // the running agent was asked to end
  bool has_given_up_ = false;  // because it was without a connection for too long
  std::string jar_url_;        // of the jar that we have
  int retries_used_ = 0;
  std::optional<Instant> deadline_;
};

/// The command with {url} {name} {secret_file} {work_dir} {agent_jar} filled in; where it is empty: java -jar
/// agent.jar over a web socket (flags of agent.jar: remoting's docs/inbound-agent.md).
std::vector<std::string> agent_argv(const Options& options, const Ticket& ticket);

/// True when the command names {agent_jar}, or is the default.
bool needs_jar(const Options& options);

/// "INFO: Connected" as remoting prints it on stderr when the channel is made, in any language of the level;
/// a hint, not proof.
bool says_connected(const std::string& line);
/// "INFO: Terminated": the channel has closed.
bool says_terminated(const std::string& line);

}  // namespace skep::join
