#include "linux/linux_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

namespace skep::posix_host {
namespace {

struct Stat {
  pid_t parent = 0;
  char state = 0;
  long threads = 0;
  std::uint64_t start_ticks = 0;
  /// A first thread that ended is shown as a zombie while others still run.
  bool is_dead() const { return (state == 'Z' && threads <= 1) || state == 'X'; }
  bool is_at_rest() const { return state == 'T' || state == 't' || state == 'D' || is_dead(); }
};

/// Set when the system would not let us look: what is not seen then is not known to be absent.
using Blindness = bool;

bool is_exhausted(int code) {
  return code == EMFILE || code == ENFILE || code == ENOMEM || code == EAGAIN;
}

std::string read_text(const std::string& path, Blindness& is_blind) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    is_blind = is_blind || is_exhausted(errno);
    return {};
  }
  std::string text;
  char chunk[4096];
  ssize_t count = 0;
  while ((count = ::read(fd, chunk, sizeof chunk)) > 0 || (count < 0 && errno == EINTR)) {
    if (count > 0) text.append(chunk, static_cast<std::size_t>(count));
  }
  is_blind = is_blind || (count < 0 && is_exhausted(errno));
  ::close(fd);
  return text;
}

std::string proc_file(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

std::optional<Stat> read_stat(pid_t pid, Blindness& is_blind) {
  const std::string text = read_text(proc_file(pid, "stat"), is_blind);
  const std::size_t close = text.rfind(')');  // the command's name may hold blanks and parentheses
  if (close == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(close + 1));
  Stat stat;
  long parent = 0;
  std::string skipped;
  fields >> stat.state >> parent;
  for (int field = 5; field < 20; ++field) fields >> skipped;
  fields >> stat.threads >> skipped >> stat.start_ticks;
  if (!fields) return std::nullopt;
  stat.parent = static_cast<pid_t>(parent);
  return stat;
}

std::map<pid_t, Stat> all_processes(Blindness& is_blind) {
  std::map<pid_t, Stat> all;
  DIR* folder = opendir("/proc");
  if (folder == nullptr) {
    is_blind = true;
    return all;
  }
  while (const dirent* entry = readdir(folder)) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) == 0) continue;
    const auto pid = static_cast<pid_t>(std::atol(entry->d_name));
    if (const auto stat = read_stat(pid, is_blind)) all.emplace(pid, *stat);
  }
  closedir(folder);
  return all;
}

bool has_cookie(pid_t pid, const std::string& cookie, Blindness& is_blind) {
  if (cookie.empty()) return false;
  const std::string environment = read_text(proc_file(pid, "environ"), is_blind);
  std::size_t at = 0;
  while ((at = environment.find(cookie, at)) != std::string::npos) {
    const bool starts = at == 0 || environment[at - 1] == '\0';
    const std::size_t end = at + cookie.size();
    if (starts && (end == environment.size() || environment[end] == '\0')) return true;
    ++at;
  }
  return false;
}

std::set<pid_t> members_of(const std::vector<std::string>& cgroups, Blindness& is_blind) {
  std::set<pid_t> pids;
  for (const std::string& folder : cgroups) {
    std::istringstream file(read_text(folder + "/cgroup.procs", is_blind));
    for (long pid = 0; file >> pid;) pids.insert(static_cast<pid_t>(pid));
  }
  return pids;
}

struct Found {
  ProcessIdentity identity;
  Stat stat;
};

/// What a search has learnt and the next one need not ask again. Who began with the cookie hardly ever
/// changes; when it does, by a program that starts another one without the cookie, the process is still ours.
struct Memory {
  std::map<std::pair<pid_t, std::uint64_t>, bool> began_with_cookie;
  Blindness is_blind = false;  // in the last search
};

std::vector<Found> search(const ProcessMarks& marks, Memory& memory) {
  memory.is_blind = false;
  const std::map<pid_t, Stat> all = all_processes(memory.is_blind);
  const std::set<pid_t> members = members_of(marks.cgroups, memory.is_blind);
  const auto began_with_cookie = [&](pid_t pid, const Stat& stat) {
    const auto known = memory.began_with_cookie.find({pid, stat.start_ticks});
    if (known != memory.began_with_cookie.end()) return known->second;
    Blindness is_blind = false;
    const bool answer = has_cookie(pid, marks.cookie, is_blind);
    memory.is_blind = memory.is_blind || is_blind;
    if (!is_blind) memory.began_with_cookie[{pid, stat.start_ticks}] = answer;
    return answer;
  };
  std::map<pid_t, bool> is_ours;
  for (const auto& [pid, stat] : all) {
    const bool is_root = marks.root && marks.root->pid == pid && marks.root->start_ticks == stat.start_ticks;
    is_ours[pid] = pid > 1 && (is_root || members.count(pid) != 0 || began_with_cookie(pid, stat));
  }
  const auto descends = [&](pid_t pid) {
    for (int step = 0; step < 100'000 && pid > 1; ++step) {
      const auto found = all.find(pid);
      if (found == all.end()) return false;
      if (is_ours[pid]) return true;
      pid = found->second.parent;
    }
    return false;
  };
  std::vector<Found> out;
  for (const auto& [pid, stat] : all) {
    if (pid == ::getpid() || stat.is_dead() || !descends(pid)) continue;
    is_ours[pid] = true;  // shortens the way of its children
    out.push_back({{pid, stat.start_ticks}, stat});
  }
  return out;
}

Error cannot_look() {
  return Error::try_again(ErrorCode::out_of_resources,
                          "cannot look at processes: too many files are open, or memory is short");
}

std::vector<ProcessIdentity> identities(const std::vector<Found>& all) {
  std::vector<ProcessIdentity> out;
  out.reserve(all.size());
  for (const Found& found : all) out.push_back(found.identity);
  return out;
}

/// After this, none of the found ones can fork, so that a later SIGKILL misses nobody.
std::vector<ProcessIdentity> stop_all(const ProcessMarks& marks, Memory& memory,
                                      std::chrono::steady_clock::time_point limit) {
  std::vector<ProcessIdentity> stopped;
  while (std::chrono::steady_clock::now() < limit) {
    bool is_quiet = true;
    for (const Found& found : search(marks, memory)) {
      if (std::find(stopped.begin(), stopped.end(), found.identity) == stopped.end()) {
        stopped.push_back(found.identity);
        send_signal(found.identity, SIGSTOP);
        is_quiet = false;
      } else if (!found.stat.is_at_rest()) {
        send_signal(found.identity, SIGSTOP);
        is_quiet = false;
      }
    }
    if (is_quiet && !memory.is_blind) break;
  }
  return stopped;
}

void kill_groups(const std::vector<std::string>& cgroups) {
  for (const std::string& folder : cgroups) {
    const int fd = ::open((folder + "/cgroup.kill").c_str(), O_WRONLY | O_CLOEXEC);  // cgroup2 since 5.14
    if (fd < 0) continue;
    const ssize_t written = ::write(fd, "1", 1);
    static_cast<void>(written);
    ::close(fd);
  }
}

}  // namespace

std::optional<ProcessIdentity> identify(pid_t pid) {
  Blindness is_blind = false;
  const auto stat = read_stat(pid, is_blind);
  if (!stat || stat->is_dead()) return std::nullopt;
  return ProcessIdentity{pid, stat->start_ticks};
}

bool is_alive(const ProcessIdentity& identity) {
  return identify(identity.pid) == identity;
}

std::vector<ProcessIdentity> find_by_argument(const std::vector<std::string>& names,
                                              const std::string& argument) {
  std::vector<ProcessIdentity> found;
  Blindness is_blind = false;
  for (const auto& [pid, stat] : all_processes(is_blind)) {
    if (stat.is_dead()) continue;
    std::string name = read_text(proc_file(pid, "comm"), is_blind);
    name.resize(std::min(name.find('\n'), name.size()));
    if (std::find(names.begin(), names.end(), name) == names.end()) continue;
    const std::string arguments = '\0' + read_text(proc_file(pid, "cmdline"), is_blind);
    if (arguments.find('\0' + argument + '\0') != std::string::npos) found.push_back({pid, stat.start_ticks});
  }
  return found;
}

Result<bool> is_alive_with(const ProcessIdentity& identity, const std::string& cookie) {
  Blindness is_blind = false;
  const bool is_marked = has_cookie(identity.pid, cookie, is_blind);
  const auto stat = read_stat(identity.pid, is_blind);  // after the environment: the number may change hands
  if (is_blind) return cannot_look();
  return is_marked && stat && !stat->is_dead() && stat->start_ticks == identity.start_ticks;
}

std::vector<ProcessIdentity> find_processes(const ProcessMarks& marks) {
  Memory memory;
  return identities(search(marks, memory));
}

int open_pidfd(const ProcessIdentity& identity) {
  if (identity.pid <= 0) return -1;
  const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, identity.pid, 0));
  if (fd >= 0 && !is_alive(identity)) {
    ::close(fd);
    return -1;
  }
  return fd;
}

void send_signal(const ProcessIdentity& identity, int signal) {
  const int fd = open_pidfd(identity);
  if (fd < 0) {
    if (errno == ENOSYS && is_alive(identity)) ::kill(identity.pid, signal);
    return;
  }
  ::syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0);
  ::close(fd);
}

bool wait_for_end(const ProcessIdentity& identity, Duration time) {
  const auto limit = std::chrono::steady_clock::now() + time;
  const int fd = open_pidfd(identity);
  while (is_alive(identity)) {
    const auto left = std::chrono::duration_cast<milliseconds>(limit - std::chrono::steady_clock::now());
    if (left.count() <= 0) break;
    pollfd ended{fd, POLLIN, 0};  // without a pidfd: looked at every 5 ms
    ::poll(&ended, 1, fd >= 0 ? static_cast<int>(std::min<long long>(left.count(), 60'000)) : 5);
  }
  if (fd >= 0) ::close(fd);
  reap(identity.pid);
  return !is_alive(identity);
}

std::set<std::uint32_t> users_of_processes() {
  std::set<std::uint32_t> users;
  std::error_code ignored;
  for (auto entry = std::filesystem::directory_iterator("/proc", ignored);
       !ignored && entry != std::filesystem::directory_iterator(); entry.increment(ignored)) {
    const std::string pid = entry->path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream status(entry->path() / "status");
    for (std::string word; status >> word;) {
      std::uint32_t user = 0;
      if (word == "Uid:" && status >> user) {
        users.insert(user);
        break;
      }
    }
  }
  return users;
}

void reap(pid_t pid) {
  int status = 0;
  if (pid > 0) ::waitpid(pid, &status, WNOHANG);
}

Result<void> kill_all(const ProcessMarks& marks, Duration deadline) {
  const auto begin = std::chrono::steady_clock::now();
  Memory memory;
  // Whoever does not come to rest in time is killed all the same, over and over.
  for (const ProcessIdentity& process :
       stop_all(marks, memory, begin + std::min<Duration>(deadline / 2, seconds(2)))) {
    send_signal(process, SIGKILL);
  }
  int times_clean = 0;
  for (;;) {
    kill_groups(marks.cgroups);
    const std::vector<ProcessIdentity> found = identities(search(marks, memory));
    for (const ProcessIdentity& process : found) send_signal(process, SIGKILL);
    if (marks.root) reap(marks.root->pid);
    const bool is_clean = found.empty() && !memory.is_blind;
    times_clean = is_clean ? times_clean + 1 : 0;
    if (times_clean >= 2) return {};
    const bool is_late = std::chrono::steady_clock::now() - begin >= deadline;
    if (is_late && memory.is_blind) return cannot_look();
    if (is_late && !is_clean) {
      return Error::try_again(ErrorCode::timed_out,
                              std::to_string(found.size()) + " processes outlive SIGKILL, one is " +
                                  std::to_string(found.front().pid),
                              "look whether they wait for a disk or a file server");
    }
    // There is nothing to wait on for processes that are no children of ours.
    if (!is_clean) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace skep::posix_host
