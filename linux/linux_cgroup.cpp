#include "linux/linux_cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

namespace skep::posix_host {
namespace {

constexpr std::int64_t quota_period_us = 100'000;
constexpr std::int64_t min_quota_us = 1'000;  // the kernel takes no smaller one
constexpr const char* daemon_name = "skep-daemon";

struct Hierarchy {
  std::string mount;
  std::string own;         // our group in it, "/" for the top
  std::string controller;  // version 1: cpu, memory or pids; version 2: empty
};

bool write_to(const std::string& path, const std::string& text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool is_written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  return is_written;
}

bool has_word(const std::string& list, const std::string& word, char separator) {
  std::istringstream in(list);
  for (std::string each; std::getline(in, each, separator);) {
    if (each == word) return true;
  }
  return false;
}

/// controller -> our group in it; "" is version 2 (lines "N:controllers:path" of /proc/self/cgroup).
std::map<std::string, std::string> own_groups() {
  std::map<std::string, std::string> own;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::istringstream names(line.substr(first + 1, second - first - 1));
    const std::string path = line.substr(second + 1);
    if (second == first + 1) own[""] = path;
    for (std::string name; std::getline(names, name, ',');) own[name] = path;
  }
  return own;
}

std::vector<Hierarchy> find_hierarchies() {
  const auto own = own_groups();
  std::vector<Hierarchy> out;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string device, mount, type, options, rest; mounts >> device >> mount >> type >> options;) {
    std::getline(mounts, rest);
    if (type == "cgroup2" && own.count("") != 0) out.push_back({mount, own.at(""), ""});
    if (type != "cgroup") continue;
    for (const char* controller : {"cpu", "memory", "pids"}) {
      if (has_word(options, controller, ',') && own.count(controller) != 0) {
        out.push_back({mount, own.at(controller), controller});
      }
    }
  }
  return out;
}

std::string first_line(const std::string& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

/// A group for the executors in that hierarchy; empty when we may not.
std::string make_parent(const Hierarchy& hierarchy) {
  std::string own = hierarchy.own == "/" ? hierarchy.mount : hierarchy.mount + hierarchy.own;
  const std::size_t slash = own.rfind('/');
  if (own.substr(slash + 1) == daemon_name) own.resize(slash);  // we moved there before
  std::string parent = own + "/" + Cgroups::parent_name;
  if (::mkdir(parent.c_str(), 0755) != 0 && errno != EEXIST) return "";
  if (!hierarchy.controller.empty()) return parent;
  // Version 2: limits for children need every controller to be handed down, which our own processes stand in
  // the way of.
  const std::string controllers = first_line(own + "/cgroup.controllers");
  std::string wanted;
  for (const char* controller : {"cpu", "memory", "pids"}) {
    if (has_word(controllers, controller, ' '))
      wanted += std::string(wanted.empty() ? "+" : " +") + controller;
  }
  if (wanted.empty()) return parent;
  if (!write_to(own + "/cgroup.subtree_control", wanted)) {
    const std::string daemon = own + "/" + daemon_name;
    const bool is_made = ::mkdir(daemon.c_str(), 0755) == 0 || errno == EEXIST;
    if (!is_made || !write_to(daemon + "/cgroup.procs", "0") ||
        !write_to(own + "/cgroup.subtree_control", wanted))
      return parent;
  }
  write_to(parent + "/cgroup.subtree_control", wanted);
  return parent;
}

/// The file that limits in that folder; empty when this one does not.
struct LimitFile {
  const char* version1;
  const char* version2;
};
constexpr LimitFile memory_file{"memory.limit_in_bytes", "memory.max"};
constexpr LimitFile cpu_file{"cpu.cfs_quota_us", "cpu.max"};
constexpr LimitFile processes_file{"pids.max", "pids.max"};

std::string file_in(const std::string& folder, const LimitFile& file) {
  for (const char* name : {file.version2, file.version1}) {
    std::string path = folder + "/" + name;
    if (::access(path.c_str(), W_OK) == 0) return path;
  }
  return "";
}

Error cgroup_error(const std::string& what) {
  const int code = errno;
  return Error::failed(code == EACCES || code == EPERM ? ErrorCode::permission_denied : ErrorCode::generic,
                       "cannot " + what + ": " + std::strerror(code));
}

Result<void> set_limits(const std::string& folder, const CgroupLimits& limits) {
  const std::string memory = file_in(folder, memory_file), cpu = file_in(folder, cpu_file);
  const std::string processes = file_in(folder, processes_file);
  if (limits.memory_bytes > 0 && !memory.empty() && !write_to(memory, std::to_string(limits.memory_bytes))) {
    return cgroup_error("set " + memory);
  }
  if (limits.processes > 0 && !processes.empty() && !write_to(processes, std::to_string(limits.processes))) {
    return cgroup_error("set " + processes);
  }
  if (limits.cpu_millis > 0 && !cpu.empty()) {
    const std::string quota =
        std::to_string(std::max(min_quota_us, limits.cpu_millis * quota_period_us / 1000));
    const bool is_version2 = cpu.substr(cpu.rfind('/') + 1) == cpu_file.version2;
    if (!write_to(cpu, is_version2 ? quota + " " + std::to_string(quota_period_us) : quota))
      return cgroup_error("set " + cpu);
  }
  return {};
}

}  // namespace

Cgroups Cgroups::probe() {
  Cgroups out;
  std::string refused;
  for (const Hierarchy& hierarchy : find_hierarchies()) {
    const std::string parent = make_parent(hierarchy);
    if (parent.empty()) {
      refused = "no right to make control groups below " + hierarchy.mount;
      continue;
    }
    const std::string trial = parent + "/probe-" + std::to_string(::getpid());
    if (::mkdir(trial.c_str(), 0755) != 0 && errno != EEXIST) continue;
    if (::access((trial + "/cgroup.procs").c_str(), W_OK) == 0) {
      if (std::find(out.parents_.begin(), out.parents_.end(), parent) == out.parents_.end())
        out.parents_.push_back(parent);
      out.limits_memory_ |= !file_in(trial, memory_file).empty();
      out.limits_cpu_ |= !file_in(trial, cpu_file).empty();
      out.limits_processes_ |= !file_in(trial, processes_file).empty();
    }
    ::rmdir(trial.c_str());
  }
  if (out.parents_.empty()) {
    out.detail_ = refused.empty() ? "control groups are not mounted" : refused;
  } else {
    out.detail_ = std::string("control groups limit") + (out.limits_cpu_ ? " cpu" : "") +
                  (out.limits_memory_ ? " memory" : "") + (out.limits_processes_ ? " processes" : "");
    if (!out.limits_cpu_ && !out.limits_memory_ && !out.limits_processes_) out.detail_ += " nothing";
  }
  return out;
}

std::vector<std::string> Cgroups::folders_of(const std::string& name) const {
  std::vector<std::string> folders;
  for (const std::string& parent : parents_) folders.push_back(parent + "/" + name);
  return folders;
}

Result<std::vector<std::string>> Cgroups::make(const std::string& name, const CgroupLimits& limits) const {
  const std::vector<std::string> folders = folders_of(name);
  for (const std::string& folder : folders) {
    Result<void> made;
    if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST)
      made = cgroup_error("make control group " + folder);
    if (made) made = set_limits(folder, limits);
    if (made) continue;
    static_cast<void>(remove(folders, Duration::zero()));
    return made.error();
  }
  return folders;
}

Result<void> Cgroups::remove(const std::vector<std::string>& folders, Duration deadline) {
  const auto limit = std::chrono::steady_clock::now() + deadline;
  for (const std::string& folder : folders) {
    while (::rmdir(folder.c_str()) != 0 && errno != ENOENT) {
      if (errno != EBUSY || std::chrono::steady_clock::now() >= limit) {
        return Error::try_again(ErrorCode::generic,
                                "cannot remove control group " + folder + ": " + std::strerror(errno));
      }
      std::this_thread::sleep_for(
          std::chrono::milliseconds(2));  // killed processes leave it a moment after their end
    }
  }
  return {};
}

}  // namespace skep::posix_host
