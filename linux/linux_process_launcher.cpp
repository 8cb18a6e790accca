#include "linux/linux_process_launcher.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/process.hpp>
#include <boost/process/extend.hpp>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "core/check.h"

namespace skep::posix_host {
namespace {

namespace bp = boost::process;

constexpr int first_free_fd = 3;
constexpr int exit_no_cgroup = 126;

/// A descriptor above the standard ones that is closed with its scope: dup2 onto itself would keep
/// FD_CLOEXEC.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {
    if (fd_ < 0 || fd_ >= first_free_fd) return;
    fd_ = ::fcntl(fd, F_DUPFD_CLOEXEC, first_free_fd);
    ::close(fd);
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// For kernels and sandboxes without close_range: getdents64 on /proc/self/fd, because opendir allocates.
void mark_descriptors_one_by_one() {
  const int folder = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return;
  alignas(std::uint64_t) char buffer[4096];
  for (long size = 0; (size = ::syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0;) {
    for (long at = 0; at < size;) {
      const char* entry = buffer + at;
      std::uint16_t length = 0;
      std::memcpy(&length, entry + 16, sizeof length);  // d_ino, d_off, d_reclen, d_type, d_name
      const int fd = std::atoi(entry + 19);
      if (fd >= first_free_fd) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
      at += length;
    }
  }
  ::close(folder);
}

/// Runs in the child between fork and exec: async-signal-safe calls only.
struct ChildSetup {
  int input = -1, output = -1;
  const std::vector<int>* cgroups = nullptr;
  bool is_new_session = true, is_subreaper = false;
  rlimit open_files{};

  void operator()() const {
    if (is_new_session) ::setsid();
    for (int number = 1; number < 32; ++number) ::signal(number, SIG_DFL);  // ignored ones would stay ignored
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (is_subreaper) ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    for (const int group : *cgroups) {
      if (::write(group, "0", 1) != 1) ::_exit(exit_no_cgroup);  // never runs without its limits
    }
    ::setrlimit(RLIMIT_NOFILE, &open_files);
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::dup2(input, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    // Boost's pipe for the error of exec must live until then, so all are marked and none is closed here.
    if (::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC) != 0) mark_descriptors_one_by_one();
  }
};

ErrorCode code_of(const std::error_code& failure) {
  if (failure == std::errc::permission_denied) return ErrorCode::permission_denied;
  if (failure == std::errc::no_such_file_or_directory) return ErrorCode::not_found;
  const bool is_full = failure == std::errc::resource_unavailable_try_again ||
                       failure == std::errc::not_enough_memory || failure == std::errc::no_space_on_device ||
                       failure == std::errc::too_many_files_open ||
                       failure == std::errc::too_many_files_open_in_system;
  return is_full ? ErrorCode::out_of_resources : ErrorCode::generic;
}

Error launch_error(const LaunchRequest& request, ErrorCode code, const std::string& why) {
  return Error::failed(code, "cannot start " + request.argv.front() + ": " + why,
                       "check the path and that it may be executed");
}

rlimit open_files_of(const LaunchRequest& request) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (request.max_open_files == 0) return limit;
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, request.max_open_files);
  limit.rlim_cur = limit.rlim_max;
  return limit;
}

Result<ProcessIdentity> run_child(const LaunchRequest& request, const std::string& program,
                                  const ChildSetup& setup) {
  bp::environment environment;
  for (const auto& [name, value] : request.environment) environment[name] = value;
  const std::vector<std::string> arguments(request.argv.begin() + 1, request.argv.end());
  const std::string folder = request.working_directory.empty() ? "/" : request.working_directory;
  std::error_code failure;
  bp::child child(
      bp::exe = program, bp::args = arguments, environment, bp::start_dir = folder, failure,
      bp::extend::on_exec_setup = [&setup](auto&) { setup(); });
  if (failure) return launch_error(request, code_of(failure), failure.message());
  const pid_t pid = child.id();
  // Boost does not report every failure before the fork (its pipe); -1 would name every process there is.
  if (pid <= 1) return launch_error(request, ErrorCode::out_of_resources, "no process could be made");
  child.detach();
  if (const auto identity = identify(pid)) return *identity;
  // A program that ended at once is a zombie until we reap it; its number is ours until then.
  siginfo_t ended{};
  const bool has_ended = ::waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
                         ended.si_pid == pid;
  if (has_ended) return ProcessIdentity{pid, 0};
  SKEP_ASSERT(pid > 1);
  ::kill(pid, SIGKILL);  // whom we cannot tell from others, we cannot keep
  ::waitpid(pid, nullptr, 0);
  return launch_error(request, ErrorCode::out_of_resources, "it cannot be looked at");
}

}  // namespace

Result<ProcessIdentity> launch(const LaunchRequest& request) {
  if (request.argv.empty() || request.argv.front().empty()) {
    return Error::failed(ErrorCode::invalid_input, "an empty command cannot be started");
  }
  try {
    const bool is_path = request.argv.front().find('/') != std::string::npos;
    const std::string program =
        is_path ? request.argv.front() : bp::search_path(request.argv.front()).string();
    if (program.empty() || ::access(program.c_str(), F_OK) != 0) {
      return launch_error(request, ErrorCode::not_found, "no such program");
    }
    if (::access(program.c_str(), X_OK) != 0) {
      return launch_error(request, ErrorCode::permission_denied, "it may not be executed");
    }
    const std::string& folder = request.working_directory;
    if (!folder.empty() && !std::filesystem::is_directory(folder)) {
      return launch_error(request, ErrorCode::not_found, "no such folder: " + folder);
    }
    const Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const int log_flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW;
    const Descriptor log(request.output_file.empty() ? -1
                                                     : ::open(request.output_file.c_str(), log_flags, 0600));
    const Descriptor given(
        request.output_fd < 0 ? -1 : ::fcntl(request.output_fd, F_DUPFD_CLOEXEC, first_free_fd));
    // Without them the child would have ours.
    if (null.get() < 0 || (request.output_fd >= 0 && given.get() < 0) ||
        (!request.output_file.empty() && log.get() < 0)) {
      const std::error_code failure(errno, std::generic_category());
      return launch_error(request, code_of(failure),
                          "cannot open its standard descriptors: " + failure.message());
    }
    std::vector<Descriptor> groups;
    std::vector<int> group_fds;
    for (const std::string& cgroup : request.cgroups) {
      groups.emplace_back(::open((cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
      if (groups.back().get() < 0) {
        const std::error_code failure(errno, std::generic_category());
        return launch_error(request, code_of(failure), "cannot join " + cgroup + ": " + failure.message());
      }
      group_fds.push_back(groups.back().get());
    }
    ChildSetup setup;
    setup.input = null.get();
    setup.output = given.get() >= 0 ? given.get() : log.get() >= 0 ? log.get() : null.get();
    setup.cgroups = &group_fds;
    setup.is_new_session = request.is_new_session;
    setup.is_subreaper = request.is_subreaper;
    setup.open_files = open_files_of(request);
    return run_child(request, program, setup);
  } catch (const std::exception& e) {
    return launch_error(request, ErrorCode::generic, e.what());
  }
}

std::map<std::string, std::string> basic_environment() {
  std::map<std::string, std::string> environment;
  for (const char* name : {"PATH", "HOME", "LANG", "TZ"}) {
    if (const char* value = std::getenv(name)) environment[name] = value;
  }
  if (environment["PATH"].empty())
    environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  return environment;
}

}  // namespace skep::posix_host
