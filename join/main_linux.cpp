// skep-join on Linux: one loop over poll(). The ticket comes from a file, the secret goes to a 0600 file:
// neither is ever in argv or the environment. agent.jar is fetched by a program of its own, skep-join-fetch:
// what HTTP and TLS need to be loaded would cost every executor milliseconds, in an emulated machine a tenth
// of a second, and not every agent needs it.
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <iostream>

#include "common/json/json.h"
#include "common/shell/clock.h"
#include "common/shell/files.h"
#include "core/version.h"
#include "join/core/join_logic.h"
#include "join/fetch_codes.h"
#include "join/ticket.h"
#include "linux/linux_files.h"
#include "linux/linux_host_facts.h"
#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"
#include "linux/linux_signals.h"

namespace skep::join {
namespace {

constexpr Duration look_interval = seconds(1);  // for file systems without inotify, and to reap orphans
constexpr std::size_t max_line = 64 * 1024;
constexpr std::size_t max_log_bytes = 16u << 20;  // of what the agent says; then it is read but not kept

constexpr Duration ticket_limit = seconds(60);  // for one that comes through a pipe
constexpr Duration descendants_deadline = seconds(5);
constexpr const char* standard_input = "-";

struct Files {
  std::string ticket, status, ca;
};

/// Closed with its scope; may be given up early.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

class Shell {
 public:
  Shell(Options options, Files files)
      : options_(options), files_(std::move(files)), logic_(std::move(options)) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    folder_watch_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    const std::string folder = std::filesystem::path(options_.secret_file).parent_path().string();
    ::inotify_add_watch(folder_watch_.get(), folder.c_str(), IN_MOVED_TO | IN_CLOSE_WRITE);
  }

  int run() {
    look_at_ticket(true);
    while (!exit_code_) {
      wait();
      if (!exit_code_) look_at_children();
      if (!exit_code_) look_at_ticket(false);
      if (!exit_code_) feed(Tick{});
    }
    remove_secret();
    end_descendants();
    return *exit_code_;
  }

 private:
  void feed(const Event& event) {
    for (const Action& action : logic_.handle(event, shell::now())) {
      if (exit_code_) return;
      std::visit([this](const auto& each) { carry_out(each); }, action);
    }
  }

  void carry_out(const FetchJar& action) {
    const std::string program = posix_host::program_folder() + "/" + fetch_program;
    std::vector<std::string> argv{program, action.url, options_.agent_jar};
    if (!files_.ca.empty()) argv.insert(argv.end(), {"--ca-file", files_.ca});
    fetch_said_.clear();
    auto launched = launch(std::move(argv), "", fetch_output_);
    if (!launched) {
      const std::string why = launched.error().message +
                              "; put it beside skep-join, or give an agent command with a jar of the image";
      std::cerr << "skep-join: " << why << std::endl;
      return feed(JarFetched{false, false, why});
    }
    fetch_ = *launched;
    fetch_end_.reset(posix_host::open_pidfd(*fetch_));
  }
  void carry_out(const StartAgent& action) { feed(start_agent(action)); }
  void carry_out(const StopAgent& action) {
    if (agent_) posix_host::send_signal(*agent_, action.is_hard ? SIGKILL : SIGTERM);
  }
  void carry_out(const RemoveSecret&) { remove_secret(); }
  void carry_out(const WriteStatus& action) { write_status(action); }
  void carry_out(const End& action) { exit_code_ = action.exit_code; }

  /// The ticket is taken away, so that the build cannot read its secret later; where the folder cannot be
  /// written, it is read in place whenever it changes.
  void look_at_ticket(bool is_first) {
    if (is_pipe()) {
      if (is_first) read_ticket_from_pipe();
      return;
    }
    char events[4096];
    while (::read(folder_watch_.get(), events, sizeof events) > 0) {
    }
    const std::string taken = files_.ticket + ".taken";
    const bool is_taken = ::rename(files_.ticket.c_str(), taken.c_str()) == 0;
    const std::string path = is_taken ? taken : files_.ticket;
    struct stat info {};
    const bool is_there = ::stat(path.c_str(), &info) == 0;
    if (!is_there && is_first) return refuse_ticket("there is no ticket " + files_.ticket);
    if (!is_there) return;
    const bool is_same = !is_taken && info.st_ino == ticket_inode_ &&
                         info.st_mtim.tv_sec == ticket_time_.tv_sec &&
                         info.st_mtim.tv_nsec == ticket_time_.tv_nsec;
    ticket_inode_ = info.st_ino;
    ticket_time_ = info.st_mtim;
    if (is_same) return;
    auto ticket = read_ticket(path);
    if (is_taken) ::unlink(taken.c_str());
    ticket ? feed(*ticket) : refuse_ticket(ticket.error().message);
  }

  bool is_pipe() const {
    struct stat info {};
    return files_.ticket == standard_input ||
           (::stat(files_.ticket.c_str(), &info) == 0 && S_ISFIFO(info.st_mode));
  }

  void obey_signals() {
    const auto signal = signals_.wait_for(Duration::zero());
    if (signal && *signal != posix_host::Signal::hang_up) feed(EndAsked{});
  }

  void refuse_ticket(const std::string& why) {
    std::cerr << "skep-join: " << why << std::endl;
    feed(TicketBroken{why});
  }

  Result<TicketArrived> read_ticket(const std::string& path) const {
    const auto text = shell::read_secret_file(path);
    if (!text) return text.error();
    return parse_ticket(*text);
  }

  /// A pipe brings one ticket, which ends with the pipe. Whoever sends a signal meanwhile is obeyed.
  void read_ticket_from_pipe() {
    const Descriptor pipe(files_.ticket == standard_input
                              ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                              : ::open(files_.ticket.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (pipe.get() < 0) return refuse_ticket("cannot read the ticket from " + files_.ticket);
    const Instant limit = shell::now() + ticket_limit;
    std::string text;
    while (text.size() <= max_ticket_bytes && !exit_code_) {
      pollfd fds[] = {{pipe.get(), POLLIN, 0}, {signals_.descriptor(), POLLIN, 0}};
      const Duration left = limit - shell::now();
      if (left <= Duration::zero() || ::poll(fds, 2, static_cast<int>(to_ms(left)) + 1) == 0)
        return refuse_ticket("no ticket came through " + files_.ticket);
      obey_signals();
      if (exit_code_ || fds[0].revents == 0) continue;
      char chunk[4096];
      const ssize_t count = ::read(pipe.get(), chunk, sizeof chunk);
      if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (count < 0) return refuse_ticket("cannot read the ticket from " + files_.ticket);
      if (count == 0) break;
      text.append(chunk, static_cast<std::size_t>(count));
    }
    if (exit_code_) return;
    const auto ticket = parse_ticket(text);
    ticket ? feed(*ticket) : refuse_ticket(ticket.error().message);
  }

  void read_fetch() {
    char chunk[4096];
    ssize_t count = 0;
    while (fetch_output_.get() >= 0 && (count = ::read(fetch_output_.get(), chunk, sizeof chunk)) >= 0) {
      if (count == 0) return fetch_output_.reset();
      if (fetch_said_.size() < max_line) fetch_said_.append(chunk, static_cast<std::size_t>(count));
    }
  }

  Event end_of_fetch(int exit_code) {
    read_fetch();
    fetch_output_.reset();
    fetch_end_.reset();
    fetch_.reset();
    if (exit_code == fetched) return JarFetched{true, false, ""};
    while (!fetch_said_.empty() && fetch_said_.back() == '\n') fetch_said_.pop_back();
    if (fetch_said_.empty())
      fetch_said_ = std::string(fetch_program) + " ended with exit code " + std::to_string(exit_code);
    std::cerr << "skep-join: " << fetch_said_ << std::endl;
    return JarFetched{false, exit_code == fetch_may_be_tried_again, fetch_said_};
  }

  /// With our environment; what it says comes to `output`.
  static Result<posix_host::ProcessIdentity> launch(std::vector<std::string> argv, const std::string& folder,
                                                    Descriptor& output) {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0)
      return Error::failed(ErrorCode::generic, "no pipe for what " + argv.front() + " says");
    output.reset(ends[0]);
    const Descriptor write_end(ends[1]);
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
    posix_host::LaunchRequest request;
    request.argv = std::move(argv);
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string text = *entry;
      const std::size_t equal = text.find('=');
      if (equal != std::string::npos) request.environment[text.substr(0, equal)] = text.substr(equal + 1);
    }
    request.working_directory = folder;
    request.output_fd = write_end.get();
    request.is_new_session = false;
    auto launched = posix_host::launch(request);
    if (!launched) output.reset();
    return launched;
  }

  Event start_agent(const StartAgent& start) {
    if (auto written = posix_host::write_file_atomically(options_.secret_file, start.secret, 0600);
        !written) {
      return AgentStarted{false, written.error().message};
    }
    auto launched = launch(start.argv, options_.work_dir, agent_output_);
    if (!launched) {
      std::cerr << "skep-join: " << launched.error().message << std::endl;
      return AgentStarted{false, launched.error().message};
    }
    agent_ = *launched;
    agent_end_.reset(posix_host::open_pidfd(*agent_));
    return AgentStarted{true, ""};
  }

  void read_output() {
    char chunk[4096];
    while (agent_output_.get() >= 0) {
      const ssize_t count = ::read(agent_output_.get(), chunk, sizeof chunk);
      if (count < 0) return;  // nothing more for now
      if (count == 0) return agent_output_.reset();
      keep_log(chunk, static_cast<std::size_t>(count));
      line_.append(chunk, static_cast<std::size_t>(count));
      for (std::size_t end = 0; (end = line_.find('\n')) != std::string::npos; line_.erase(0, end + 1)) {
        feed(AgentSaid{line_.substr(0, end)});
      }
      if (line_.size() > max_line) line_.clear();
    }
  }

  void keep_log(const char* text, std::size_t size) {
    if (logged_ > max_log_bytes) return;
    std::cerr.write(text, static_cast<std::streamsize>(size)).flush();
    logged_ += size;
    if (logged_ > max_log_bytes) std::cerr << "\nskep-join: the agent said more than is kept" << std::endl;
  }

  /// Also reaps what was orphaned to us: the build's own processes may outlive the agent.
  void look_at_children() {
    read_output();
    read_fetch();
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      if (fetch_ && pid == fetch_->pid) {
        feed(end_of_fetch(code));
        if (exit_code_) return;
      }
      if (!agent_ || pid != agent_->pid) continue;
      read_output();
      agent_output_.reset();
      agent_end_.reset();
      line_.clear();
      agent_.reset();
      feed(AgentEnded{code});
      if (exit_code_) return;
    }
  }

  void write_status(const WriteStatus& status) const {
    json::Json out{{"phase", std::string(to_string(status.phase))},
                   {"attempt", status.attempt},
                   {"message", status.message}};
    if (agent_) out["pid"] = agent_->pid;
    if (status.exit_code) out["exit_code"] = *status.exit_code;
    const auto written = posix_host::write_file_atomically(files_.status, json::dump(out), 0600);
    if (!written) std::cerr << "skep-join: " << written.error().message << std::endl;
  }

  void remove_secret() const { ::unlink(options_.secret_file.c_str()); }

  /// Until something happened, or a deadline is near.
  void wait() {
    Duration time = look_interval;
    if (const auto deadline = logic_.next_deadline())
      time = std::clamp<Duration>(*deadline - shell::now(), Duration(0), time);
    pollfd fds[] = {{signals_.descriptor(), POLLIN, 0}, {folder_watch_.get(), POLLIN, 0},
                    {agent_output_.get(), POLLIN, 0},   {agent_end_.get(), POLLIN, 0},
                    {fetch_output_.get(), POLLIN, 0},   {fetch_end_.get(), POLLIN, 0}};
    ::poll(fds, std::size(fds), static_cast<int>(to_ms(time + milliseconds(1) - Duration(1))));
    obey_signals();
  }

  /// What the build left running ends with the sandbox, also what has left its session and environment: such
  /// orphans became our children, and after us nobody could tell them from others.
  static void end_descendants() {
    posix_host::ProcessMarks marks;
    marks.root = posix_host::identify(::getpid());
    if (const auto ended = posix_host::kill_all(marks, descendants_deadline); !ended)
      std::cerr << "skep-join: " << ended.error().message << std::endl;
  }

  Options options_;
  Files files_;
  JoinLogic logic_;
  posix_host::SignalWaiter signals_;
  Descriptor folder_watch_;
  ino_t ticket_inode_ = 0;
  timespec ticket_time_{};
  std::optional<posix_host::ProcessIdentity> agent_, fetch_;
  Descriptor agent_output_, agent_end_, fetch_output_, fetch_end_;
  std::string line_, fetch_said_;
  std::size_t logged_ = 0;
  std::optional<int> exit_code_;
};

constexpr const char* footer =
    R"(The ticket is a JSON object:
  {"url": "https://ci.example/", "node_name": "n1", "secret": "...", "attempt": 1}
It may also hold "agent_command", a list of words that replaces the command of the command line. A ticket file must be readable by its owner only (0600) and is taken away when it was read; another one under the same name with a higher attempt lets the node join again. Through a pipe comes one ticket.

An agent that ends, or is without a connection for too long and says so, is not the end: skep-join waits for another ticket (--linger). When skep-join ends, whatever was started in this executor is ended too.

Exit codes:
  0  asked to end (SIGTERM, SIGINT); the agent was ended first
  2  the command line is not usable
  3  the ticket is missing or broken
  4  the agent could not be started
  5  agent.jar could not be fetched
  6  no new ticket came in time after the agent ended

Examples:
  skep-join --ticket /run/skep/ticket --status /run/skep/status --work-dir /home/agent
  skep-join --ticket t --status s -- java -Xmx256m -jar {agent_jar} -url {url} -secret @{secret_file} -name {name} -workDir {work_dir} -webSocket -noReconnect)";

}  // namespace
}  // namespace skep::join

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  CLI::App app{"skep-join: lets this executor join its controller by a ticket"};
  skep::join::Options options;
  std::string ticket, status;
  options.work_dir = ".";
  std::uint32_t linger_s = 600;
  std::string ca_file;
  std::uint32_t connect_s = 180, grace_s = 5;
  app.add_option("--ticket", ticket,
                 "ticket file, written by agentd; or a named pipe; or - for standard input")
      ->required();
  app.add_option("--status", status, "where to write what the agent does, as JSON")->required();
  app.add_option("--work-dir", options.work_dir, "the agent's work directory")->capture_default_str();
  app.add_option("--agent-jar", options.agent_jar, "where to keep agent.jar (default: beside the ticket)");
  app.add_option("--linger", linger_s, "seconds to wait for a new ticket after the agent ended")
      ->capture_default_str();
  app.add_option("--connect-limit", connect_s,
                 "seconds after which an agent is ended that tries to connect in vain")
      ->capture_default_str();
  app.add_option("--stop-grace", grace_s, "seconds from asking the agent to end until it is killed")
      ->capture_default_str();
  app.add_option(
         "--ca-file", ca_file,
         "PEM of the CA to trust when agent.jar is fetched (default: the system's); the agent itself uses "
         "the trust store of its java")
      ->envname("SKEP_CA_FILE");
  app.add_option(
      "agent_command", options.agent_command,
      "after --: a command instead of java -jar agent.jar; {url} {name} {secret_file} {work_dir} {agent_jar} "
      "are filled in, agent.jar is fetched only when {agent_jar} occurs");
  app.set_version_flag("--version", skep::skep_version);
  app.footer(skep::join::footer);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  const bool is_standard_input = ticket == skep::join::standard_input;
  const fs::path folder = fs::absolute(is_standard_input ? status : ticket).parent_path();
  options.secret_file = (folder / "secret").string();
  if (options.agent_jar.empty()) options.agent_jar = (folder / "agent.jar").string();
  options.agent_jar = fs::absolute(options.agent_jar).string();
  options.work_dir = fs::absolute(options.work_dir).string();
  options.linger = skep::seconds(linger_s);
  options.connect_limit = skep::seconds(connect_s);
  options.stop_grace = skep::seconds(grace_s);
  if (!is_standard_input) ticket = fs::absolute(ticket).string();
  return skep::join::Shell(options, {ticket, fs::absolute(status).string(), ca_file}).run();
}
