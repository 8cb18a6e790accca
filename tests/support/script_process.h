// A Python script of tests/support that makes something for a test program: it answers with one line of JSON
// and takes everything away when its standard input ends, so also when the test program is killed.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace skep::test {

class ScriptProcess {
 public:
  /// Waits for the answer.
  ScriptProcess(const std::string& script, const std::vector<std::string>& arguments);
  /// Waits until it has cleaned up.
  ~ScriptProcess();
  ScriptProcess(const ScriptProcess&) = delete;
  ScriptProcess& operator=(const ScriptProcess&) = delete;

  /// Empty when it did not answer.
  const std::string& answer() const { return answer_; }

 private:
  pid_t pid_ = -1;
  int end_ = -1;
  std::string answer_;
};

}  // namespace skep::test
