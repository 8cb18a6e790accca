#include "tests/contract/drivers/once_run.h"

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <random>

#include <csignal>

namespace skep::test {
namespace {

int number_in_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atoi(text);
}

}  // namespace

CrashSteps crash_steps(int stride) {
  CrashSteps steps;
  steps.stride = stride * std::max(1, number_in_environment("SKEP_CRASH_SHARE", 1));
  const int drawn = static_cast<int>(std::random_device()() % static_cast<unsigned>(steps.stride));
  steps.first = number_in_environment("SKEP_CRASH_FIRST", drawn);
  std::cout << "killed at every change number " << steps.first << " + n * " << steps.stride
            << "; again: SKEP_CRASH_SHARE=" << steps.stride / stride << " SKEP_CRASH_FIRST=" << steps.first
            << std::endl;
  return steps;
}
namespace {

/// What a killed process may have changed before: the rest only looks.
bool changes_something(const __ptrace_syscall_info& info) {
  switch (info.entry.nr) {
    case SYS_openat:
      return (info.entry.args[2] & O_CREAT) != 0;
#ifdef SYS_open
    case SYS_open:
      return (info.entry.args[1] & O_CREAT) != 0;
    case SYS_mkdir:
    case SYS_rmdir:
    case SYS_unlink:
    case SYS_rename:
    case SYS_chmod:
    case SYS_symlink:
    case SYS_fork:
    case SYS_vfork:
#endif
    case SYS_mkdirat:
    case SYS_unlinkat:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_fchmod:
    case SYS_fchmodat:
    case SYS_symlinkat:
    case SYS_write:
    case SYS_clone:
    case SYS_kill:
    case SYS_pidfd_send_signal:
    case SYS_sendmsg:
    case SYS_sendto:
      return true;
    default:
      return false;
  }
}

bool reads_an_answer(const __ptrace_syscall_info& info) {
  return info.entry.nr == SYS_recvmsg || info.entry.nr == SYS_recvfrom;
}

}  // namespace

OnceRun::OnceRun(const std::vector<std::string>& argv) {
  std::vector<char*> pointers;
  for (const std::string& word : argv) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }
}

OnceRun::~OnceRun() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

bool OnceRun::begin() {
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status)) return gone();
  return ::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0;
}

OnceRun::Run OnceRun::run(int kill_at) {
  Run run;
  int signal = 0, status = 0;
  bool has_sent = false;
  for (;;) {
    if (::ptrace(PTRACE_SYSCALL, pid_, nullptr, signal) != 0) return run;
    signal = 0;
    if (::waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status)) {
      gone();
      return run;
    }
    if (WSTOPSIG(status) == SIGSTOP) {
      run.has_ended = true;
      return run;
    }
    if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
      signal = WSTOPSIG(status);
      continue;
    }
    __ptrace_syscall_info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof info, &info);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) continue;
    const bool is_answer = has_sent && reads_an_answer(info);
    if (!is_answer && !changes_something(info)) continue;
    has_sent = info.entry.nr == SYS_sendmsg || info.entry.nr == SYS_sendto;
    if (++run.changes == kill_at) return run;  // the destructor kills
  }
}

bool OnceRun::gone() {
  pid_ = 0;
  return false;
}

}  // namespace skep::test
