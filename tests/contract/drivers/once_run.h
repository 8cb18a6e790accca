// One run of skep-driver-once under ptrace, killed where the test wants it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace skep::test {

/// Before which changes a crash test kills: every `stride`-th from `first` on.
struct CrashSteps {
  int first = 0;
  int stride = 1;
};
/// `stride` as the test can afford, SKEP_CRASH_SHARE times as coarse where that is set (a run of all tests
/// sets it). The first step is drawn, so that many runs take all of them; SKEP_CRASH_FIRST repeats one.
CrashSteps crash_steps(int stride);

class OnceRun {
 public:
  struct Run {
    int changes = 0;         // system calls that change something, seen before the end
    bool has_ended = false;  // the verb came to its end
  };

  explicit OnceRun(const std::vector<std::string>& argv);
  ~OnceRun();
  OnceRun(const OnceRun&) = delete;
  OnceRun& operator=(const OnceRun&) = delete;

  /// False: this machine does not let us trace.
  bool begin();
  /// Killed (by the destructor) before change number `kill_at`; 0: never. A request to a peer counts twice:
  /// before it is sent, and before its answer is read.
  Run run(int kill_at);

 private:
  bool gone();
  pid_t pid_ = -1;
};

}  // namespace skep::test
