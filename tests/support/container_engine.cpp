#include "tests/support/container_engine.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>

#include "common/json/json.h"
#include "linux/linux_host_facts.h"

namespace skep::test {
namespace {

class EngineProcess {
 public:
  explicit EngineProcess(const std::string& kind) {
    const char* given = std::getenv("SKEP_SOURCE_DIR");
    const std::string programs = posix_host::program_folder();
    const std::string source = given != nullptr ? given : programs + "/../../..";
    const std::string script = source + "/tests/support/container_engine.py";
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::setsid();  // lives on to clean up when we are killed with our group
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::setenv("SKEP_BIN_DIR", programs.c_str(), 0);
      ::setenv("PYTHONDONTWRITEBYTECODE", "1", 0);
      ::execlp("python3", "python3", script.c_str(), kind.c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    end_ = in[1];
    std::string line;
    for (char c = 0; ::read(out[0], &c, 1) == 1 && c != '\n';) line += c;
    ::close(out[0]);
    read(line);
  }
  ~EngineProcess() {
    ::close(end_);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }
  EngineProcess(const EngineProcess&) = delete;
  EngineProcess& operator=(const EngineProcess&) = delete;

  TestEngine engine;

 private:
  void read(const std::string& line) {
    engine.skipped = "container_engine.py did not answer";
    const auto answer = json::parse_strict(line);
    if (!answer || !answer->is_object()) return;
    engine.skipped.clear();
    for (const auto& [name, place] : std::map<std::string, std::string*>{{"socket", &engine.socket},
                                                                         {"image", &engine.image},
                                                                         {"folder", &engine.folder},
                                                                         {"version", &engine.version},
                                                                         {"skipped", &engine.skipped}}) {
      if (const auto text = json::get_string(*answer, name)) *place = *text;
    }
  }

  pid_t pid_ = -1;
  int end_ = -1;
};

}  // namespace

const TestEngine& test_engine(const std::string& kind) {
  static std::map<std::string, std::unique_ptr<EngineProcess>> running;
  auto& process = running[kind];
  if (!process) process = std::make_unique<EngineProcess>(kind);
  return process->engine;
}

}  // namespace skep::test
