// skep-join on Linux: one thread, one poll loop. The ticket comes from a file, the secret goes to a 0600 file: neither is
// ever in argv or the environment.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <filesystem>
#include <iostream>

#include "common/http/http_client.h"
#include "common/json/json.h"
#include "common/shell/clock.h"
#include "common/shell/files.h"
#include "core/version.h"
#include "join/core/join_logic.h"
#include "linux/linux_files.h"
#include "linux/linux_process_launcher.h"
#include "linux/linux_signals.h"

namespace skep::join {
namespace {

constexpr Duration look_interval = milliseconds(100);
constexpr std::size_t max_line = 64 * 1024;

struct Files {
  std::string ticket, status;
};

class Shell {
 public:
  Shell(Options options, Files files) : options_(options), files_(std::move(files)), logic_(std::move(options)) {}

  int run() {
    while (!exit_code_) {
      look_at_ticket();
      look_at_agent();
      feed(Tick{});
      if (exit_code_) break;
      wait();
    }
    remove_secret();
    return *exit_code_;
  }

 private:
  void feed(const Event& event) {
    for (const Action& action : logic_.handle(event, shell::now())) {
      if (exit_code_) return;
      run_action(action);
    }
  }

  void run_action(const Action& action) {
    if (const auto* fetch = std::get_if<FetchJar>(&action)) {
      feed(fetch_jar(fetch->url));
    } else if (const auto* start = std::get_if<StartAgent>(&action)) {
      feed(start_agent(*start));
    } else if (const auto* stop = std::get_if<StopAgent>(&action)) {
      if (agent_) posix_host::send_signal(*agent_, stop->hard ? SIGKILL : SIGTERM);
    } else if (std::holds_alternative<RemoveSecret>(action)) {
      remove_secret();
    } else if (const auto* status = std::get_if<WriteStatus>(&action)) {
      write_status(*status);
    } else if (const auto* end = std::get_if<End>(&action)) {
      exit_code_ = end->exit_code;
    }
  }

  void look_at_ticket() {
    struct stat info {};
    if (::stat(files_.ticket.c_str(), &info) != 0) {
      if (!has_looked_) feed(TicketBroken{"no ticket file"});
      has_looked_ = true;
      return;
    }
    const bool is_same = has_looked_ && info.st_ino == ticket_inode_ && info.st_mtim.tv_nsec == ticket_time_.tv_nsec && info.st_mtim.tv_sec == ticket_time_.tv_sec;
    if (is_same) return;
    has_looked_ = true;
    ticket_inode_ = info.st_ino;
    ticket_time_ = info.st_mtim;
    auto ticket = read_ticket();
    if (!ticket) std::cerr << "skep-join: " << ticket.error().message << "\n";
    ticket ? feed(TicketArrived{*ticket}) : feed(TicketBroken{ticket.error().message});
  }

  Result<Ticket> read_ticket() const {
    const auto text = shell::read_secret_file(files_.ticket);
    if (!text) return text.error();
    const auto parsed = json::parse_strict(*text);
    if (!parsed) return Error::failed(ErrorCode::invalid_input, "the ticket " + files_.ticket + " is not what agentd writes");
    const auto url = json::get_string(*parsed, "url"), name = json::get_string(*parsed, "node_name"), secret = json::get_string(*parsed, "secret");
    const auto attempt = json::get_int64(*parsed, "attempt");
    if (!url || !name || !secret || !attempt || *attempt < 1) return Error::failed(ErrorCode::invalid_input, "the ticket " + files_.ticket + " lacks a field");
    return Ticket{*url, *name, *secret, static_cast<std::uint32_t>(*attempt)};
  }

  Event fetch_jar(const std::string& url) const {
    http::ClientOptions client_options;
    client_options.base_url = url.substr(0, url.rfind('/') + 1);
    client_options.max_reply_bytes = 64u << 20;
    const auto client = http::make_client(client_options);
    if (!client) return JarFetched{false, client.error().message};
    http::Request request;
    request.target = url.substr(url.rfind('/') + 1);
    const auto reply = (*client)->call(request);
    if (!reply) return JarFetched{false, reply.error().message};
    if (reply->status != 200) return JarFetched{false, url + " answered " + std::to_string(reply->status)};
    const auto written = posix_host::write_file_atomically(options_.agent_jar, reply->body, 0600);
    return written ? Event(JarFetched{true, ""}) : Event(JarFetched{false, written.error().message});
  }

  Event start_agent(const StartAgent& start) {
    if (auto written = posix_host::write_file_atomically(options_.secret_file, start.secret, 0600); !written) return AgentStarted{false, written.error().message};
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) return AgentStarted{false, "no pipe for the agent's messages"};
    posix_host::LaunchRequest request;
    request.argv = start.argv;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string text = *entry;
      const std::size_t equal = text.find('=');
      if (equal != std::string::npos) request.environment[text.substr(0, equal)] = text.substr(equal + 1);
    }
    request.working_directory = options_.work_dir;
    request.output_file = "";
    request.stderr_fd = ends[1];
    request.is_new_session = false;
    auto launched = posix_host::launch(request);
    ::close(ends[1]);
    if (!launched) {
      ::close(ends[0]);
      return AgentStarted{false, launched.error().message};
    }
    agent_ = *launched;
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    agent_output_ = ends[0];
    return AgentStarted{true, ""};
  }

  void read_output() {
    char chunk[4096];
    for (;;) {
      const ssize_t count = agent_output_ < 0 ? 0 : ::read(agent_output_, chunk, sizeof chunk);
      if (count <= 0) return;
      std::cerr.write(chunk, count);
      line_.append(chunk, static_cast<std::size_t>(count));
      std::size_t end = 0;
      while ((end = line_.find('\n')) != std::string::npos) {
        const std::string line = line_.substr(0, end);
        line_.erase(0, end + 1);
        feed(AgentSaid{line});
      }
      if (line_.size() > max_line) line_.clear();
    }
  }

  /// Also reaps what was orphaned to us: the build's own processes may outlive the agent.
  void look_at_agent() {
    read_output();
    int status = 0;
    for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG)) {
      if (!agent_ || pid != agent_->pid) continue;
      read_output();
      if (agent_output_ >= 0) ::close(agent_output_);
      agent_output_ = -1;
      line_.clear();
      agent_.reset();
      feed(AgentEnded{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)});
      if (exit_code_) return;
    }
  }

  void write_status(const WriteStatus& status) const {
    json::Json out{{"phase", std::string(to_string(status.phase))}, {"attempt", status.attempt}, {"message", status.message}, {"pid", ::getpid()}};
    if (status.exit_code) out["exit_code"] = *status.exit_code;
    const auto written = posix_host::write_file_atomically(files_.status, json::dump(out), 0600);
    if (!written) std::cerr << "skep-join: " << written.error().message << "\n";
  }

  void remove_secret() const { ::unlink(options_.secret_file.c_str()); }

  void wait() {
    Duration time = look_interval;
    if (const auto deadline = logic_.next_deadline()) time = std::max<Duration>(milliseconds(1), std::min<Duration>(time, *deadline - shell::now()));
    pollfd output{agent_output_, POLLIN, 0};
    // While the agent speaks its pipe wakes us; a signal is looked for after every wake-up.
    if (agent_output_ >= 0) {
      ::poll(&output, 1, static_cast<int>(to_ms(time)));
      if ((output.revents & POLLHUP) != 0 && (output.revents & POLLIN) == 0) ::poll(nullptr, 0, 5);
    }
    const auto signal = signals_.wait_for(agent_output_ >= 0 ? Duration::zero() : time);
    if (signal && *signal != posix_host::Signal::hang_up) feed(EndAsked{});
  }

  Options options_;
  Files files_;
  JoinLogic logic_;
  posix_host::SignalWaiter signals_;
  bool has_looked_ = false;
  ino_t ticket_inode_ = 0;
  timespec ticket_time_{};
  std::optional<posix_host::ProcessIdentity> agent_;
  int agent_output_ = -1;
  std::string line_;
  std::optional<int> exit_code_;
};

}  // namespace
}  // namespace skep::join

int main(int argc, char** argv) {
  CLI::App app{"skep-join: lets this executor join its controller once, by a ticket"};
  skep::join::Options options;
  std::string ticket, status;
  std::int64_t linger_s = 600;
  app.add_option("--ticket", ticket, "ticket file (0600), written by agentd")->required();
  app.add_option("--status", status, "where to write what the agent does")->required();
  app.add_option("--work-dir", options.work_dir, "the agent's work directory")->required();
  app.add_option("--agent-jar", options.agent_jar, "where to keep agent.jar (default: beside the ticket)");
  app.add_option("--linger", linger_s, "seconds to wait for a new ticket after the agent ended")->capture_default_str();
  app.add_option("agent_command", options.agent_command, "after --: command instead of java -jar agent.jar; {url} {name} {secret_file} {work_dir} {agent_jar}");
  app.set_version_flag("--version", skep::skep_version);
  app.footer("Exit codes: 0 asked to end, 3 bad ticket, 4 agent not started, 5 agent.jar not fetched, 6 lingered without a new ticket.\n"
             "Example:\n  skep-join --ticket /run/skep/ticket --status /run/skep/status --work-dir /home/agent");
  CLI11_PARSE(app, argc, argv);
  const std::filesystem::path folder = std::filesystem::absolute(ticket).parent_path();
  options.secret_file = (folder / "secret").string();
  if (options.agent_jar.empty()) options.agent_jar = (folder / "agent.jar").string();
  options.work_dir = std::filesystem::absolute(options.work_dir).string();
  options.linger = skep::seconds(linger_s);
  return skep::join::Shell(options, {ticket, status}).run();
}
