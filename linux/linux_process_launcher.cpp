#include "linux/linux_process_launcher.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <boost/process.hpp>
#include <boost/process/extend.hpp>
#include <cstdlib>
#include <filesystem>

namespace skep::posix_host {
namespace {

namespace bp = boost::process;

/// A descriptor that is closed with its scope.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// Runs in the child between fork and exec: async-signal-safe calls only.
struct ChildSetup {
  int input, output, error, cgroup;
  bool is_new_session, is_subreaper;
  rlim_t max_open_files;

  void operator()() const {
    if (is_new_session) ::setsid();
    ::signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    // Attributes survive exec; the program that is launched becomes the reaper of its orphans.
    if (is_subreaper) ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (cgroup >= 0) {
      const ssize_t written = ::write(cgroup, "0", 1);
      static_cast<void>(written);
    }
    if (max_open_files > 0) {
      const rlimit limit{max_open_files, max_open_files};
      ::setrlimit(RLIMIT_NOFILE, &limit);
    }
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::dup2(input, STDIN_FILENO);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(error, STDERR_FILENO);
    ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
  }
};

Error launch_error(const LaunchRequest& request, const std::string& why) {
  return Error::failed(ErrorCode::not_found, "cannot start " + request.argv.front() + ": " + why, "check the path and that it may be executed");
}

}  // namespace

Result<ProcessIdentity> launch(const LaunchRequest& request) {
  if (request.argv.empty() || request.argv.front().empty()) return Error::failed(ErrorCode::invalid_input, "an empty command cannot be started");
  try {
    const bool is_path = request.argv.front().find('/') != std::string::npos;
    const std::string program = is_path ? request.argv.front() : bp::search_path(request.argv.front()).string();
    if (program.empty() || ::access(program.c_str(), X_OK) != 0) return launch_error(request, "no such program");
    if (!request.working_directory.empty() && !std::filesystem::is_directory(request.working_directory)) {
      return launch_error(request, "no such folder: " + request.working_directory);
    }
    const Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const Descriptor log(request.output_file.empty() ? -1 : ::open(request.output_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    const Descriptor cgroup(request.cgroup_procs_file.empty() ? -1 : ::open(request.cgroup_procs_file.c_str(), O_WRONLY | O_CLOEXEC));
    const int output = log.get() >= 0 ? log.get() : null.get();
    const ChildSetup setup{null.get(), output, request.stderr_fd >= 0 ? request.stderr_fd : output, cgroup.get(),
                           request.is_new_session, request.is_subreaper, static_cast<rlim_t>(request.max_open_files)};
    bp::environment environment;
    for (const auto& [name, value] : request.environment) environment[name] = value;
    const std::vector<std::string> arguments(request.argv.begin() + 1, request.argv.end());
    std::error_code failure;
    bp::child child(bp::exe = program, bp::args = arguments, environment,
                    bp::start_dir = request.working_directory.empty() ? std::string("/") : request.working_directory, failure,
                    bp::extend::on_exec_setup = [&setup](auto&) { setup(); });
    if (failure) return launch_error(request, failure.message());
    const pid_t pid = child.id();
    child.detach();
    // A program that ended at once is a zombie until we reap it; its number is ours until then.
    return identify(pid).value_or(ProcessIdentity{pid, 0});
  } catch (const std::exception& e) {
    return launch_error(request, e.what());
  }
}

std::map<std::string, std::string> basic_environment() {
  std::map<std::string, std::string> environment;
  for (const char* name : {"PATH", "HOME", "LANG", "TZ"}) {
    if (const char* value = std::getenv(name)) environment[name] = value;
  }
  if (environment["PATH"].empty()) environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  return environment;
}

}  // namespace skep::posix_host
