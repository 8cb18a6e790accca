#include "tests/support/script_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "linux/linux_host_facts.h"

namespace skep::test {

ScriptProcess::ScriptProcess(const std::string& script, const std::vector<std::string>& arguments) {
  const char* given = std::getenv("SKEP_SOURCE_DIR");
  const std::string programs = posix_host::program_folder();
  const std::string source = given != nullptr ? given : programs + "/../../..";
  std::vector<std::string> words{"python3", source + "/tests/support/" + script};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int in[2] = {-1, -1}, out[2] = {-1, -1};
  if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) return;
  pid_ = ::fork();
  if (pid_ == 0) {
    ::setsid();  // lives on to clean up when we are killed with our group
    ::dup2(in[0], 0);
    ::dup2(out[1], 1);
    ::setenv("SKEP_BIN_DIR", programs.c_str(), 0);
    ::setenv("PYTHONDONTWRITEBYTECODE", "1", 0);
    ::execvp("python3", argv.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  end_ = in[1];
  for (char c = 0; ::read(out[0], &c, 1) == 1 && c != '\n';) answer_ += c;
  ::close(out[0]);
}

ScriptProcess::~ScriptProcess() {
  ::close(end_);
  if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
}

}  // namespace skep::test
