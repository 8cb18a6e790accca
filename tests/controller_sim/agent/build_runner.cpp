#include "tests/controller_sim/agent/build_runner.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

namespace skep::controller_sim {
namespace fs = std::filesystem;
namespace {

int read_number(const fs::path& file, int fallback) {
  std::ifstream in(file);
  int value = fallback;
  in >> value;
  return in ? value : fallback;
}

/// The shell does all the writing, so that the result is there even when nobody waits. $1 folder, $2 seconds,
/// $3 command.
constexpr const char* body_script =
    "echo $$ > \"$1/pid\"; date +%s > \"$1/started\"; ( eval \"$3\" ); code=$?; sleep \"$2\"; "
    "echo $code > \"$1/done.new\"; mv \"$1/done.new\" \"$1/done\"";

[[noreturn]] void become_body(const std::string& folder, const std::string& workspace,
                              const std::string& length, const std::string& command, bool durable) {
  setsid();
  if (!durable) prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (chdir(workspace.c_str()) != 0) _exit(126);
  const int log = open((folder + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(nothing, 0);
  dup2(log, 1);
  dup2(log, 2);
  for (int descriptor = 3; descriptor < 256; ++descriptor) close(descriptor);
  execl("/bin/sh", "sh", "-c", body_script, "sh", folder.c_str(), length.c_str(), command.c_str(),
        static_cast<char*>(nullptr));
  _exit(127);
}

}  // namespace

BuildRunner::~BuildRunner() {
  kill_plain_builds();
}

std::string BuildRunner::folder(std::uint64_t build) const {
  return root_ + "/remoting/sim-builds/" + std::to_string(build);
}

int BuildRunner::start(const RunMessage& message) {
  const std::string place = folder(message.build);
  const std::string workspace = (fs::absolute(message.remote_fs) / "workspace").lexically_normal().string();
  std::error_code error;
  fs::create_directories(place, error);
  fs::create_directories(workspace, error);
  if (error) return 0;
  std::array<char, 32> length{};
  std::snprintf(length.data(), length.size(), "%lld.%03lld",
                static_cast<long long>(message.duration_ms / 1000),
                static_cast<long long>(message.duration_ms % 1000));
  const std::string command = message.command.empty() ? "true" : message.command;
  const pid_t child = fork();
  if (child != 0) {
    if (child > 0 && message.durable) waitpid(child, nullptr, 0);  // only the middle one
    return child > 0 ? child : 0;
  }
  if (message.durable && fork() != 0) _exit(0);
  become_body(place, workspace, length.data(), command, message.durable);
}

void BuildRunner::run(const RunMessage& message) {
  Running running;
  running.durable = message.durable;
  // A resumed body is only waited for. Without its folder (work directory wiped) poll() reports it as failed.
  if (!message.resume) running.process = start(message);
  running_[message.build] = running;
}

void BuildRunner::stop(std::uint64_t build) {
  const int process = read_number(folder(build) + "/pid", 0);
  if (process > 1) ::kill(-process, SIGTERM);
  running_.erase(build);
}

std::vector<std::pair<std::uint64_t, bool>> BuildRunner::poll() {
  std::vector<std::pair<std::uint64_t, bool>> ended;
  for (const auto& [build, running] : running_) {
    const fs::path place = folder(build);
    const bool child_ended =
        !running.durable && running.process > 0 && waitpid(running.process, nullptr, WNOHANG) != 0;
    std::error_code error;
    if (fs::exists(place / "done", error)) {
      ended.emplace_back(build, read_number(place / "done", 1) == 0);
      if (!running.durable && !child_ended && running.process > 0) waitpid(running.process, nullptr, 0);
      continue;
    }
    const int process = read_number(place / "pid", 0);
    const bool never_began = !fs::exists(place, error) || (!running.durable && running.process == 0);
    const bool died = process > 1 && ::kill(process, 0) != 0 && !fs::exists(place / "done", error);
    if (child_ended || never_began || died) ended.emplace_back(build, false);
  }
  for (const auto& [build, success] : ended) running_.erase(build);
  return ended;
}

void BuildRunner::kill_plain_builds() {
  for (auto entry = running_.begin(); entry != running_.end();) {
    if (!entry->second.durable && entry->second.process > 0) {
      ::kill(-entry->second.process, SIGKILL);
      waitpid(entry->second.process, nullptr, 0);
      entry = running_.erase(entry);
    } else {
      ++entry;
    }
  }
}

}  // namespace skep::controller_sim
