// One run of skep-driver-once under ptrace, killed where the test wants it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace skep::test {

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
