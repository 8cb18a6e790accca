#include "linux/linux_sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <vector>

#include "linux/linux_sandbox_parts.h"

namespace skep::posix_host {
namespace {

using sandbox::step_error;

constexpr int exit_no_program = 127;

int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

sigset_t awaited_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) ::sigaddset(&set, signal);
  return set;
}

Result<void> write_whole(const char* path, const std::string& text) {
  const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  const bool is_written =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int code = errno;
  if (fd >= 0) ::close(fd);
  if (is_written) return {};
  return step_error(std::string("write ") + path, code);
}

/// Waits for signals: passes them on to `child` until that has ended, and reaps whatever else ends.
int pass_on_until_end_of(pid_t child) {
  const sigset_t signals = awaited_signals();
  for (;;) {
    const int signal = ::sigwaitinfo(&signals, nullptr);
    if (signal == SIGTERM || signal == SIGINT) ::kill(child, signal);
    int status = 0;
    for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (ended == child) return code_of(status);
    }
  }
}

/// What goes from the inside to the outside before the program runs: nothing, or why it does not.
struct Report {
  int read = -1, write = -1;

  void tell(const Error& error) const {
    const std::string text = std::string(1, static_cast<char>('A' + static_cast<int>(error.code))) +
                             error.message + (error.hint.empty() ? "" : "; " + error.hint);
    if (::write(write, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF)) < 0)
      ::_exit(exit_no_program);
  }
  std::optional<Error> hear() const {
    std::string text;
    char chunk[PIPE_BUF];
    for (ssize_t count = 0; (count = ::read(read, chunk, sizeof chunk)) != 0;) {
      if (count < 0 && errno != EINTR) break;
      if (count > 0) text.append(chunk, static_cast<std::size_t>(count));
    }
    if (text.empty()) return std::nullopt;
    const Error error = Error::failed(static_cast<ErrorCode>(text[0] - 'A'), text.substr(1));
    return error;
  }
};

/// Our own user and group, and nobody else's. Only the group of one that may not be left can be mapped.
Result<void> map_user(uid_t user, gid_t group) {
  const auto line = [](auto id) { return std::to_string(id) + " " + std::to_string(id) + " 1"; };
  if (auto written = write_whole("/proc/self/setgroups", "deny"); !written) return written;
  if (auto written = write_whole("/proc/self/uid_map", line(user)); !written) return written;
  return write_whole("/proc/self/gid_map", line(group));
}

/// Of the process outside: it keeps the host's mounts, for a change of the root would take it along.
Result<void> part_processes() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare(CLONE_NEWPID | (user != 0 ? CLONE_NEWUSER : 0)) != 0)
    return step_error(user != 0 ? "make namespaces of users and processes" : "make a namespace of processes");
  return user == 0 ? Result<void>() : map_user(user, group);
}

Result<void> part_the_rest(const Sandbox& sandbox) {
  if (::unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | (sandbox.has_network ? 0 : CLONE_NEWNET)) != 0)
    return step_error("make namespaces");
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return step_error("part from the host's mounts");
  return {};
}

[[noreturn]] void become_program(const Sandbox& sandbox, const Report& report) {
  ::setsid();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  const sigset_t signals = awaited_signals();
  ::sigprocmask(SIG_UNBLOCK, &signals, nullptr);
  std::vector<char*> argv;
  for (const std::string& word : sandbox.program) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  if (::chdir(sandbox.work.c_str()) == 0) ::execve(argv.front(), argv.data(), environ);
  report.tell(step_error("start " + sandbox.program.front() + " inside"));
  ::_exit(exit_no_program);
}

Result<void> prepare_inside(const Sandbox& sandbox) {
  if (auto parted = part_the_rest(sandbox); !parted) return parted;
  if (auto entered = sandbox::enter_root(sandbox); !entered) return entered;
  if (!sandbox.has_network) {
    if (auto up = sandbox::bring_up_loopback(); !up) return up;
  }
  return sandbox::drop_rights(sandbox);
}

/// Process 1 inside. `alive`: hangs up when the process outside is gone.
[[noreturn]] void run_inside(const Sandbox& sandbox, const Report& report, int alive) {
  if (const auto prepared = prepare_inside(sandbox); !prepared) {
    report.tell(prepared.error());
    ::_exit(exit_no_program);
  }
  // After the change of the user, which would undo both: nobody inside looks into this process.
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  pollfd watch{alive, POLLIN, 0};
  if (::poll(&watch, 1, 0) != 0) ::_exit(exit_no_program);
  if (sandbox.program.empty()) ::_exit(0);
  const pid_t program = ::fork();
  if (program == 0) become_program(sandbox, report);
  if (program < 0) {
    report.tell(step_error("make a process inside"));
    ::_exit(exit_no_program);
  }
  ::close(report.write);
  ::_exit(pass_on_until_end_of(program));
}

}  // namespace

Result<int> run_sandbox(const Sandbox& sandbox, const std::function<void()>& on_running) {
  const sigset_t signals = awaited_signals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  Report report;
  int report_ends[2], alive_ends[2];
  if (::pipe2(report_ends, O_CLOEXEC) != 0 || ::pipe2(alive_ends, O_CLOEXEC) != 0)
    return step_error("make a pipe");
  report.read = report_ends[0];
  report.write = report_ends[1];
  if (auto parted = part_processes(); !parted) return parted.error();
  const pid_t inside = ::fork();
  if (inside < 0) return step_error("make a process");
  if (inside == 0) {
    ::close(report.read);
    ::close(alive_ends[1]);
    run_inside(sandbox, report, alive_ends[0]);
  }
  ::close(report.write);
  const auto problem = report.hear();
  ::close(report.read);
  if (!problem) on_running();
  const int code = pass_on_until_end_of(inside);
  if (problem) return *problem;
  return code;
}

}  // namespace skep::posix_host
