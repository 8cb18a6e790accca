// A host in memory around AgentdLogic: what is durable and what runs survive restart(), the logic does not.
// Time stands still unless a test moves it. Every action and every effect of a driver call is one step;
// crash_at cuts the process off after that many steps.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agentd/core/logic.h"

namespace skep::agentd {

/// One sandbox on the host.
struct Box {
  SandboxState state = SandboxState::running;
  Epoch epoch = 0;
  AgentPhase agent = AgentPhase::none;
  std::uint32_t attempt = 1;
  std::optional<int> exit_code;
};

class World {
 public:
  explicit World(LogicConfig config = default_config());
  static LogicConfig default_config();

  // Life of the process.
  void start();
  void crash();  // calls under way are lost; what they did stays
  void restart();
  bool is_up() const { return logic != nullptr; }

  // Asking. The reply of the last request is returned, if there was one yet.
  std::optional<Reply> order(const ExecutorOrder& order);
  std::optional<Reply> destroy(const std::string& id, Epoch epoch);
  std::optional<Reply> renew(const std::vector<LeaseRenewal::Entry>& entries, Epoch epoch = 1,
                             Duration lease = seconds(60), std::uint64_t number = 0);
  std::optional<Reply> drain(bool is_draining, const std::string& reason);
  void send(const Event& event);

  // Driver calls: asked for, not carried out yet.
  bool run_one_call();
  void settle();              // until none is left
  void advance(Duration by);  // in the steps that the logic asks for

  void set_agent(const std::string& id, AgentPhase phase, std::optional<int> exit_code = std::nullopt);
  void end_sandbox(const std::string& id, int exit_code);

  std::optional<ExecutorReport> seen(const std::string& id) const;
  ExecutorState state(const std::string& id) const;  // `gone` when it is not reported
  bool has_call(const std::string& id, const char* verb) const;
  int count_calls(const std::string& verb) const;  // carried out so far

  std::unique_ptr<AgentdLogic> logic;
  LogicConfig config;
  Instant now{seconds(1000)};
  WallTime wall{1'700'000'000'000};
  std::vector<DriverFact> drivers{{"fake", true, true}};

  // Survive.
  Epoch epoch = 0;
  std::map<std::string, IntentRecord> intents;
  bool is_draining = false;
  std::string drain_reason;
  std::map<std::string, Box> boxes;
  std::map<std::string, int> starts;  // effects of start by id: more than 1 is a double

  // How the driver behaves: the next answer to a verb, once.
  std::map<std::string, std::deque<Error>> errors;  // nothing happens, or (unknown) see effects
  std::set<std::string> effects_despite_error;  // verbs whose effect happens although an error is answered
  bool is_usable = true;
  bool are_records_failing = false;
  std::optional<int> crash_at;

  int steps = 0;
  std::vector<std::string> trace;  // "record creating a1", "start a1", "reply 202"
  std::vector<Action> actions;     // all of them
  std::deque<CallDriver> calls;

 private:
  void perform(const std::vector<Action>& list);
  bool record(const Action& action);
  Event carry_out(const CallDriver& call);
  Result<Sandbox> look(const std::string& id) const;
  bool step();
  std::optional<Reply> take_reply();

  RequestId last_request_ = 0;
  std::map<RequestId, Reply> replies_;
  std::map<std::string, int> performed_;
};

ExecutorOrder make_order(const std::string& id, Epoch epoch = 1);
const Error* error_of(const std::optional<Reply>& reply);
std::string message_of(const std::optional<Reply>& reply);

}  // namespace skep::agentd
