#include "join/core/join_logic.h"

#include <utility>

namespace skep::join {
namespace {

constexpr Duration hard_stop_after = seconds(5);

std::string filled(std::string text, const std::vector<std::pair<std::string, std::string>>& values) {
  for (const auto& [name, value] : values) {
    std::size_t at = 0;
    while ((at = text.find(name, at)) != std::string::npos) {
      text.replace(at, name.size(), value);
      at += value.size();
    }
  }
  return text;
}

}  // namespace

bool says_connected(const std::string& line) { return line.find("INFO: Connected") != std::string::npos; }

std::vector<std::string> agent_argv(const Options& options, const Ticket& ticket) {
  std::vector<std::string> command = options.agent_command;
  if (command.empty()) {
    command = {"java", "-jar", "{agent_jar}", "-url", "{url}", "-secret", "@{secret_file}", "-name", "{name}", "-workDir", "{work_dir}", "-webSocket", "-noReconnect"};
  }
  const std::vector<std::pair<std::string, std::string>> values{{"{url}", ticket.url},
                                                                {"{name}", ticket.node_name},
                                                                {"{secret_file}", options.secret_file},
                                                                {"{work_dir}", options.work_dir},
                                                                {"{agent_jar}", options.agent_jar}};
  for (std::string& word : command) word = filled(std::move(word), values);
  return command;
}

bool JoinLogic::needs_jar() const {
  if (options_.agent_command.empty()) return true;
  for (const std::string& word : options_.agent_command) {
    if (word.find("{agent_jar}") != std::string::npos) return true;
  }
  return false;
}

StartAgent JoinLogic::start_action() const { return {agent_argv(options_, ticket_), ticket_.secret}; }

std::vector<Action> JoinLogic::begin(Instant) {
  has_connected_ = false;
  deadline_.reset();
  if (needs_jar() && !has_jar_) {
    phase_ = Phase::fetching;
    return {FetchJar{ticket_.url + "jnlpJars/agent.jar"}};
  }
  phase_ = Phase::starting;
  return {start_action()};
}

std::vector<Action> JoinLogic::on_ended(int exit_code, Instant now) {
  if (phase_ == Phase::ending) return {RemoveSecret{}, WriteStatus{AgentPhase::ended, ticket_.attempt, exit_code, "asked to end"}, End{exit_asked}};
  if (next_ticket_) {
    ticket_ = *std::exchange(next_ticket_, std::nullopt);
    retries_used_ = 0;
    return begin(now);
  }
  if (!has_connected_ && retries_used_ < options_.quick_retries) {
    phase_ = Phase::pausing;
    deadline_ = now + seconds(1) * (1 << retries_used_);
    ++retries_used_;
    return {RemoveSecret{}};
  }
  phase_ = Phase::ended;
  deadline_ = now + options_.linger;
  const std::string message = has_connected_ ? "the agent's connection ended" : "the agent ended without connecting";
  return {RemoveSecret{}, WriteStatus{AgentPhase::ended, ticket_.attempt, exit_code, message}};
}

std::vector<Action> JoinLogic::on_tick(Instant now) {
  if (!deadline_ || now < *deadline_) return {};
  deadline_.reset();
  if (phase_ == Phase::pausing) {
    phase_ = Phase::starting;
    return {start_action()};
  }
  if (phase_ == Phase::ended) return {End{exit_lingered}};
  if (phase_ == Phase::ending) return {StopAgent{true}};
  return {};
}

std::vector<Action> JoinLogic::handle(const Event& event, Instant now) {
  if (const auto* e = std::get_if<TicketArrived>(&event)) {
    if (phase_ == Phase::ending) return {};
    const bool is_first = phase_ == Phase::waiting;
    if (!is_first && e->ticket.attempt <= ticket_.attempt) return {};
    if (phase_ == Phase::starting || phase_ == Phase::running || phase_ == Phase::fetching) {
      next_ticket_ = e->ticket;  // one agent at a time
      return phase_ == Phase::running ? std::vector<Action>{StopAgent{false}} : std::vector<Action>{};
    }
    ticket_ = e->ticket;
    retries_used_ = 0;
    return begin(now);
  }
  if (std::holds_alternative<TicketBroken>(event)) return phase_ == Phase::waiting ? std::vector<Action>{End{exit_bad_ticket}} : std::vector<Action>{};
  if (const auto* e = std::get_if<JarFetched>(&event)) {
    if (phase_ != Phase::fetching) return {};
    if (!e->is_there) return {WriteStatus{AgentPhase::ended, ticket_.attempt, std::nullopt, e->message}, End{exit_no_jar}};
    has_jar_ = true;
    if (next_ticket_) ticket_ = *std::exchange(next_ticket_, std::nullopt);
    return begin(now);
  }
  if (const auto* e = std::get_if<AgentStarted>(&event)) {
    if (phase_ != Phase::starting) return {};
    if (!e->has_started) return {RemoveSecret{}, WriteStatus{AgentPhase::ended, ticket_.attempt, std::nullopt, e->message}, End{exit_not_started}};
    phase_ = Phase::running;
    std::vector<Action> actions{WriteStatus{AgentPhase::started, ticket_.attempt, std::nullopt, ""}};
    if (next_ticket_) actions.emplace_back(StopAgent{false});
    return actions;
  }
  if (const auto* e = std::get_if<AgentSaid>(&event)) {
    if (phase_ != Phase::running || has_connected_ || !says_connected(e->line)) return {};
    has_connected_ = true;
    return {WriteStatus{AgentPhase::connected, ticket_.attempt, std::nullopt, ""}, RemoveSecret{}};
  }
  if (const auto* e = std::get_if<AgentEnded>(&event)) return on_ended(e->exit_code, now);
  if (std::holds_alternative<EndAsked>(event)) {
    const bool has_agent = phase_ == Phase::running || phase_ == Phase::starting;
    phase_ = Phase::ending;
    if (!has_agent) return {RemoveSecret{}, End{exit_asked}};
    deadline_ = now + hard_stop_after;
    return {StopAgent{false}};
  }
  return on_tick(now);
}

std::optional<Instant> JoinLogic::next_deadline() const { return deadline_; }

}  // namespace skep::join
