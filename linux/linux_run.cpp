#include "linux/linux_run.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

namespace skep::posix_host {
namespace {

constexpr std::size_t max_output = 64 * 1024;

class PipeEnd {
 public:
  explicit PipeEnd(int fd) : fd_(fd) {}
  ~PipeEnd() { reset(); }
  PipeEnd(const PipeEnd&) = delete;
  PipeEnd& operator=(const PipeEnd&) = delete;
  int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

int exit_code_from(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Result<Ran> run_program(LaunchRequest request, Duration deadline) {
  const auto limit = std::chrono::steady_clock::now() + deadline;
  const std::string name = request.argv.empty() ? "" : request.argv.front();
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return Error::failed(ErrorCode::out_of_resources,
                         "cannot start " + name + ": no pipe: " + std::strerror(errno));
  }
  const PipeEnd read_end(ends[0]);
  PipeEnd write_end(ends[1]);
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  request.output_file.clear();
  request.output_fd = write_end.get();
  const auto launched = launch(request);
  write_end.reset();
  if (!launched) return launched.error();
  Ran ran;
  // It is our child: its number is its own until we collect it.
  for (bool is_open = true, has_ended = false; is_open || !has_ended;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(limit - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      ::kill(launched->pid, SIGKILL);
      ::waitpid(launched->pid, nullptr, 0);
      return Error::unknown(ErrorCode::timed_out, name + " did not end in time and was killed");
    }
    pollfd poll_for{is_open ? read_end.get() : -1, POLLIN, 0};
    // With its output closed or inherited by others, its end is looked for now and then.
    ::poll(&poll_for, 1, static_cast<int>(std::min<long long>(left.count(), is_open && !has_ended ? 20 : 2)));
    char chunk[4096];
    for (ssize_t count = 0; is_open;) {
      count = ::read(read_end.get(), chunk, sizeof chunk);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) break;
      if (count == 0) is_open = false;
      ran.output.append(chunk, std::min(static_cast<std::size_t>(count), max_output - ran.output.size()));
    }
    int status = 0;
    if (!has_ended && ::waitpid(launched->pid, &status, WNOHANG) == launched->pid) {
      has_ended = true;
      ran.exit_code = exit_code_from(status);
    } else if (has_ended) {
      is_open = false;  // a grandchild holds the pipe: not ours to wait for
    }
  }
  return ran;
}

}  // namespace skep::posix_host
