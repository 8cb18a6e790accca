#include "join/core/join_logic.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace skep::join {
namespace {

constexpr int max_back_off_doublings = 5;

using Values = std::vector<std::pair<std::string, std::string>>;

/// One pass, so that a value that looks like a placeholder stays as it is.
std::string filled(const std::string& text, const Values& values) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto found = std::find_if(values.begin(), values.end(), [&](const auto& value) {
      return text.compare(at, value.first.size(), value.first) == 0;
    });
    if (found == values.end()) {
      out += text[at++];
    } else {
      out += found->second;
      at += found->first.size();
    }
  }
  return out;
}

/// The whole message: "INFO: Connected to ..." is another one. The level before it is in the JVM's language.
bool says_status(const std::string& line, std::string_view status) {
  std::string_view text = line;
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n')) text.remove_suffix(1);
  return text.ends_with(status);
}

bool is_from_remoting(const std::string& line) {
  return line.find("hudson.remoting.") != std::string::npos ||
         line.find("jenkinsci.remoting.") != std::string::npos;
}

}  // namespace

bool says_connected(const std::string& line) {
  return says_status(line, ": Connected");
}
bool says_terminated(const std::string& line) {
  return says_status(line, ": Terminated");
}

bool needs_jar(const Options& options) {
  return options.agent_command.empty() ||
         std::any_of(options.agent_command.begin(), options.agent_command.end(),
                     [](const std::string& word) { return word.find("{agent_jar}") != std::string::npos; });
}

std::vector<std::string> agent_argv(const Options& options, const Ticket& ticket) {
  std::vector<std::string> command = options.agent_command;
  if (command.empty()) {
    command = {"java",  "-jar",   "{agent_jar}", "-url",       "{url}",      "-secret",     "@{secret_file}",
               "-name", "{name}", "-workDir",    "{work_dir}", "-webSocket", "-noReconnect"};
  }
  const Values values{{"{url}", ticket.url},
                      {"{name}", ticket.node_name},
                      {"{secret_file}", options.secret_file},
                      {"{work_dir}", options.work_dir},
                      {"{agent_jar}", options.agent_jar}};
  for (std::string& word : command) word = filled(word, values);
  return command;
}

std::vector<Action> JoinLogic::handle(const Event& event, Instant now) {
  if (phase_ == Phase::over) return {};
  return std::visit([&](const auto& each) { return on(each, now); }, event);
}

std::vector<Action> JoinLogic::begin() {
  has_connected_ = is_connected_ = is_heard_ = is_asked_ = has_given_up_ = false;
  deadline_.reset();
  const std::string jar_url = ticket_.url + "jnlpJars/agent.jar";
  if (needs_jar(options_) && jar_url_ != jar_url) {
    phase_ = Phase::fetching;
    return {FetchJar{jar_url}};
  }
  phase_ = Phase::starting;
  return {StartAgent{agent_argv(options_, ticket_), ticket_.secret}};
}

std::vector<Action> JoinLogic::take(TicketArrived arrived) {
  ticket_ = std::move(arrived.ticket);
  if (!arrived.agent_command.empty()) options_.agent_command = std::move(arrived.agent_command);
  next_ticket_.reset();
  retries_used_ = 0;
  return begin();
}

std::vector<Action> JoinLogic::end(int exit_code, std::vector<Action> before) {
  phase_ = Phase::over;
  deadline_.reset();
  before.emplace_back(End{exit_code});
  return before;
}

StopAgent JoinLogic::ask_to_end(Instant now) {
  is_asked_ = true;
  deadline_ = now + options_.stop_grace;
  return StopAgent{false};
}

bool JoinLogic::retry_soon(Instant now, int most) {
  if (retries_used_ >= most) return false;
  phase_ = Phase::pausing;
  deadline_ = now + seconds(1) * (1 << std::min(retries_used_, max_back_off_doublings));
  ++retries_used_;
  return true;
}

std::vector<Action> JoinLogic::on(const TicketArrived& event, Instant now) {
  if (phase_ == Phase::ending) return {};
  if (phase_ != Phase::waiting &&
      event.ticket.attempt <= (next_ticket_ ? next_ticket_->ticket : ticket_).attempt)
    return {};
  const bool is_under_way =
      phase_ == Phase::fetching || phase_ == Phase::starting || phase_ == Phase::running;
  if (!is_under_way) return take(event);
  const bool is_first_to_wait = !next_ticket_;
  next_ticket_ = event;  // one agent at a time
  if (phase_ != Phase::running || !is_first_to_wait) return {};
  return {ask_to_end(now)};
}

std::vector<Action> JoinLogic::on(const TicketBroken&, Instant) {
  if (phase_ != Phase::waiting) return {};
  return end(exit_bad_ticket, {});
}

std::vector<Action> JoinLogic::on(const JarFetched& event, Instant now) {
  if (phase_ != Phase::fetching) return {};
  if (event.is_there) {
    jar_url_ = ticket_.url + "jnlpJars/agent.jar";
    retries_used_ = 0;
  }
  if (next_ticket_) return take(*next_ticket_);
  if (event.is_there) return begin();
  if (event.may_come_later && retry_soon(now, options_.jar_retries)) return {};
  return end(exit_no_jar, {WriteStatus{AgentPhase::ended, ticket_.attempt, std::nullopt, event.message}});
}

std::vector<Action> JoinLogic::on(const AgentStarted& event, Instant now) {
  if (phase_ != Phase::starting && phase_ != Phase::ending) return {};
  if (!event.has_started) {
    const bool is_asked = phase_ == Phase::ending;
    return end(
        is_asked ? exit_asked : exit_not_started,
        {RemoveSecret{}, WriteStatus{AgentPhase::ended, ticket_.attempt, std::nullopt, event.message}});
  }
  std::vector<Action> actions{WriteStatus{AgentPhase::started, ticket_.attempt, std::nullopt, ""}};
  deadline_ = now + options_.connect_limit;
  if (phase_ == Phase::ending || next_ticket_) actions.emplace_back(ask_to_end(now));
  if (phase_ == Phase::starting) phase_ = Phase::running;
  return actions;
}

std::vector<Action> JoinLogic::on(const AgentSaid& event, Instant now) {
  if (phase_ != Phase::running) return {};
  is_heard_ = is_heard_ || is_from_remoting(event.line);
  if (is_connected_ && says_terminated(event.line)) {
    is_connected_ = false;
    if (!is_asked_) deadline_ = now + options_.connect_limit;
    return {};
  }
  if (is_connected_ || !says_connected(event.line)) return {};
  is_connected_ = is_heard_ = true;
  if (!is_asked_) deadline_.reset();
  if (std::exchange(has_connected_, true)) return {};
  return {RemoveSecret{}, WriteStatus{AgentPhase::connected, ticket_.attempt, std::nullopt, ""}};
}

std::vector<Action> JoinLogic::on(const AgentEnded& event, Instant now) {
  if (phase_ == Phase::ending) {
    return end(exit_asked, {RemoveSecret{}, WriteStatus{AgentPhase::ended, ticket_.attempt, event.exit_code,
                                                        "asked to end"}});
  }
  if (phase_ != Phase::running) return {};
  deadline_.reset();
  if (next_ticket_) return take(*next_ticket_);
  if (!has_connected_ && !has_given_up_ && retry_soon(now, options_.quick_retries)) return {RemoveSecret{}};
  phase_ = Phase::ended;
  deadline_ = now + options_.linger;
  const std::string message = has_given_up_ ? "the agent was ended: it was without a connection for too long"
                              : has_connected_ ? "the agent's connection ended"
                                               : "the agent ended without connecting";
  return {RemoveSecret{}, WriteStatus{AgentPhase::ended, ticket_.attempt, event.exit_code, message}};
}

std::vector<Action> JoinLogic::end_unconnected(Instant now) {
  if (!is_heard_) return {};  // it may be connected without telling us
  has_given_up_ = true;
  return {ask_to_end(now)};
}

std::vector<Action> JoinLogic::on(const EndAsked&, Instant now) {
  if (phase_ == Phase::ending) return {StopAgent{true}};  // asked twice: somebody is in a hurry
  if (phase_ != Phase::running && phase_ != Phase::starting) return end(exit_asked, {RemoveSecret{}});
  const bool is_running = phase_ == Phase::running;
  phase_ = Phase::ending;
  if (!is_running) return {};
  return {ask_to_end(now)};
}

std::vector<Action> JoinLogic::on(const Tick&, Instant now) {
  if (!deadline_ || now < *deadline_) return {};
  deadline_.reset();
  switch (phase_) {
    case Phase::pausing:
      return begin();
    case Phase::ended:
      return end(exit_lingered, {});
    case Phase::running:
      if (!is_asked_) return end_unconnected(now);
      [[fallthrough]];
    case Phase::ending:
      return {StopAgent{true}};
    case Phase::waiting:
    case Phase::fetching:
    case Phase::starting:
    case Phase::over:
      return {};
  }
  return {};
}

}  // namespace skep::join
