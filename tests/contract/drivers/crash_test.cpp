// kill -9 of a process that runs the process driver, before each system call of start() and destroy() that
// changes something (the calls are counted in a first run by ptrace, so none is forgotten when the driver
// changes). A new driver then lists and destroys: nothing is left, and nothing foreign was touched.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstddef>
#include <iostream>
#include <map>

#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"
#include "tests/contract/drivers/subject.h"

namespace crash_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace {

const std::string owner = "owner-a";
const std::string agent_script = "(setsid sleep 1001 &) ; exec sleep 1001";

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
      return true;
    default:
      return false;
  }
}

struct Run {
  int changes = 0;         // system calls that change something, seen before the end
  bool has_ended = false;  // the verb came to its end
};

/// One run of skep-driver-once; killed before change number `kill_at` (0: never).
class OnceRun {
 public:
  OnceRun(ProcessSubject& subject, const std::string& verb, const std::string& id) {
    const std::vector<std::string> argv{
        bin("skep-driver-once"),      verb, subject.root(), owner, bin("skep-join"),
        subject.folder.path("image"), id};
    std::vector<char*> pointers;
    for (const std::string& word : argv) pointers.push_back(const_cast<char*>(word.c_str()));
    pointers.push_back(nullptr);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execv(pointers[0], pointers.data());
      ::_exit(127);
    }
  }
  ~OnceRun() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  OnceRun(const OnceRun&) = delete;
  OnceRun& operator=(const OnceRun&) = delete;

  /// False: this machine does not let us trace.
  bool begin() {
    int status = 0;
    if (::waitpid(pid_, &status, 0) != pid_ || !WIFSTOPPED(status)) return gone();
    return ::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0;
  }

  Run run(int kill_at) {
    Run run;
    int signal = 0, status = 0;
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
      if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !changes_something(info)) continue;
      if (++run.changes == kill_at) return run;  // the destructor kills
    }
  }

 private:
  bool gone() {
    pid_ = 0;
    return false;
  }
  pid_t pid_ = -1;
};

/// Things beside our executors that no recovery may touch.
struct Foreign {
  explicit Foreign(ProcessSubject& subject) : driver(subject.make_driver("owner-b")) {
    std::filesystem::create_directories(subject.root() + "/not-an-executor");
    std::ofstream(subject.root() + "/not-an-executor/file") << "precious";
    REQUIRE(driver->start(subject.request("theirs")));
    posix_host::LaunchRequest launch;
    launch.argv = {"/bin/sleep", "1000"};
    launch.environment = {{"SKEP_EXECUTOR", "owner-b/e1@" + subject.root()}};  // a near miss
    sleeper = *posix_host::launch(launch);
  }
  ~Foreign() {
    posix_host::send_signal(sleeper, SIGKILL);
    posix_host::wait_for_end(sleeper, seconds(10));
    static_cast<void>(driver->destroy(ExecutorId("theirs")));
  }
  Foreign(const Foreign&) = delete;
  Foreign& operator=(const Foreign&) = delete;
  bool is_untouched(const ProcessSubject& subject) const {
    return posix_host::is_alive(sleeper) &&
           driver->inspect(ExecutorId("theirs"))->state == InstanceState::running &&
           content_of(subject.root() + "/not-an-executor/file") == "precious";
  }
  std::unique_ptr<Driver> driver;
  posix_host::ProcessIdentity sleeper;
};

/// What is not the foreigners'.
std::vector<std::string> our_residue(ProcessSubject& subject) {
  std::vector<std::string> ours;
  for (const std::string& line : subject.residue()) {
    const bool is_theirs = line.find("theirs") != std::string::npos || line == "entry not-an-executor" ||
                           line.find("sleep 1000 ") != std::string::npos;
    if (!is_theirs) ours.push_back(line);
  }
  return ours;
}

/// Sleepers whose environment says that they are of this executor.
std::size_t processes_of(const ProcessSubject& subject, const std::string& id) {
  posix_host::ProcessMarks marks;
  marks.cookie =
      "SKEP_EXECUTOR=" + owner + "/" + id + "@" + std::filesystem::weakly_canonical(subject.root()).string();
  return posix_host::find_processes(marks).size();
}

/// A driver that comes after the crash: what does it see, and does it get rid of it?
void expect_recovery(ProcessSubject& subject, const std::string& verb, const std::string& id,
                     bool has_ended) {
  const auto driver = subject.make_driver(owner);
  const auto listed = driver->list();
  REQUIRE(listed);
  const auto instance = driver->inspect(ExecutorId(id));
  REQUIRE(instance);
  CHECK(listed->size() == (instance->state == InstanceState::absent ? 0u : 1u));
  if (has_ended) CHECK(instance->state == (verb == "start" ? InstanceState::running : InstanceState::absent));
  if (verb == "start" && instance->state == InstanceState::running) {
    CHECK(driver->recover(instance->handle)->state == InstanceState::running);
  }
  if (verb == "start" && instance->state == InstanceState::creating) {
    // The same order again after a look: one sandbox, made whole.
    const auto again = driver->start(subject.script_request(id, agent_script));
    if (!again) FAIL(again.error().message);
    CHECK(again->state == InstanceState::running);
  }
  const auto destroyed = driver->destroy(ExecutorId(id));
  if (!destroyed) FAIL(destroyed.error().message);
  CHECK(driver->inspect(ExecutorId(id))->state == InstanceState::absent);
  CHECK(driver->list()->empty());
  CHECK(processes_of(subject, id) == 0);
}

}  // namespace

TEST_CASE("process driver: killed before every change that start and destroy make",
          "[contract][drivers][crash]") {
  const std::string verb = GENERATE("start", "destroy");
  ProcessSubject subject;
  REQUIRE(subject.make_driver(owner)->probe()->is_usable);
  const Foreign foreign(subject);
  int step = 0;
  bool has_ended = false;
  for (; !has_ended; ++step) {
    REQUIRE(step < 2000);
    const std::string id = verb.substr(0, 1) + std::to_string(step);
    INFO(verb << ", killed before change " << step);
    if (verb == "destroy")
      REQUIRE(subject.make_driver(owner)->start(subject.script_request(id, agent_script)));
    {
      OnceRun once(subject, verb, id);
      if (!once.begin()) {
        std::cout << "SKIPPED: this machine does not allow ptrace" << std::endl;
        return;
      }
      has_ended = once.run(step + 1).has_ended;
    }
    expect_recovery(subject, verb, id, has_ended);
  }
  std::cout << "killed " << verb << " before each of " << step - 1 << " changes" << std::endl;
  CHECK(step > 10);
  CHECK(foreign.is_untouched(subject));
  INFO(joined(our_residue(subject)));
  CHECK(our_residue(subject).empty());
}

}  // namespace crash_test
