#include "linux/linux_process.h"

#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

namespace skep::posix_host {
namespace {

struct Stat {
  pid_t parent = 0;
  char state = 0;
  std::uint64_t start_ticks = 0;
};

std::string read_proc(pid_t pid, const char* name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/" + name, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

std::optional<Stat> read_stat(pid_t pid) {
  const std::string text = read_proc(pid, "stat");
  const std::size_t close = text.rfind(')');  // the command's name may hold blanks and parentheses
  if (close == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(close + 1));
  Stat stat;
  long parent = 0;
  fields >> stat.state >> parent;
  std::string skipped;
  for (int field = 5; field < 22; ++field) fields >> skipped;
  fields >> stat.start_ticks;
  if (!fields) return std::nullopt;
  stat.parent = static_cast<pid_t>(parent);
  return stat;
}

bool is_dead_state(char state) { return state == 'Z' || state == 'X'; }

std::vector<pid_t> all_pids() {
  std::vector<pid_t> pids;
  DIR* folder = opendir("/proc");
  if (folder == nullptr) return pids;
  while (const dirent* entry = readdir(folder)) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) != 0) pids.push_back(static_cast<pid_t>(std::atol(entry->d_name)));
  }
  closedir(folder);
  return pids;
}

bool has_cookie(pid_t pid, const std::string& cookie) {
  if (cookie.empty()) return false;
  const std::string environment = read_proc(pid, "environ");
  std::size_t at = 0;
  while ((at = environment.find(cookie, at)) != std::string::npos) {
    const bool starts = at == 0 || environment[at - 1] == '\0';
    const std::size_t end = at + cookie.size();
    if (starts && (end == environment.size() || environment[end] == '\0')) return true;
    ++at;
  }
  return false;
}

}  // namespace

std::optional<ProcessIdentity> identify(pid_t pid) {
  const auto stat = read_stat(pid);
  if (!stat || is_dead_state(stat->state)) return std::nullopt;
  return ProcessIdentity{pid, stat->start_ticks};
}

bool is_alive(const ProcessIdentity& identity) { return identify(identity.pid) == identity; }

std::vector<ProcessIdentity> find_processes(std::optional<ProcessIdentity> root, const std::string& cookie) {
  std::map<pid_t, Stat> stats;
  for (pid_t pid : all_pids()) {
    if (const auto stat = read_stat(pid)) stats.emplace(pid, *stat);
  }
  const bool has_root = root && stats.count(root->pid) != 0 && stats.at(root->pid).start_ticks == root->start_ticks;
  const auto descends = [&](pid_t pid) {
    for (int step = 0; has_root && step < 1000 && pid > 1; ++step) {
      if (pid == root->pid) return true;
      const auto found = stats.find(pid);
      if (found == stats.end()) return false;
      pid = found->second.parent;
    }
    return false;
  };
  std::vector<ProcessIdentity> out;
  for (const auto& [pid, stat] : stats) {
    if (pid == getpid() || is_dead_state(stat.state)) continue;
    if (descends(pid) || has_cookie(pid, cookie)) out.push_back({pid, stat.start_ticks});
  }
  return out;
}

void send_signal(const ProcessIdentity& identity, int signal) {
  if (is_alive(identity)) ::kill(identity.pid, signal);
}

void reap(pid_t pid) {
  int status = 0;
  if (pid > 0) ::waitpid(pid, &status, WNOHANG);
}

Result<void> kill_all(std::optional<ProcessIdentity> root, const std::string& cookie, Duration deadline) {
  const auto give_up = std::chrono::steady_clock::now() + deadline;
  int times_clean = 0;
  for (;;) {
    std::vector<ProcessIdentity> found = find_processes(root, cookie);
    const bool only_root = found.size() == 1 && root && found.front() == *root;
    for (const ProcessIdentity& process : found) {
      if (only_root || !root || process != *root) send_signal(process, SIGKILL);
    }
    if (root) reap(root->pid);
    times_clean = found.empty() ? times_clean + 1 : 0;
    if (times_clean >= 2) return {};
    if (std::chrono::steady_clock::now() >= give_up) {
      return Error::try_again(ErrorCode::timed_out, std::to_string(found.size()) + " processes outlive SIGKILL, the first is " + std::to_string(found.empty() ? 0 : found.front().pid));
    }
    // The kernel needs a moment to end what was killed; there is nothing to wait on for processes that are no children.
    std::this_thread::sleep_for(std::chrono::milliseconds(times_clean > 0 ? 0 : 2));
  }
}

}  // namespace skep::posix_host
