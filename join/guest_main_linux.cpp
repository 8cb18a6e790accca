// skep-guest: runs in a virtual machine and is what its host talks to, through a virtio-serial port. It makes
// the machine the host's executor (name, machine id, time, randomness), starts skep-join, hands it tickets,
// and tells what it says. It waits for its start without anything that another machine may not share, so that
// one that was saved then can be resumed many times.
#include <fcntl.h>
#include <linux/random.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

#include "core/version.h"
#include "join/guest_texts.h"
#include "linux/linux_files.h"
#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"
#include "linux/linux_signals.h"

namespace skep::join {
namespace {

namespace fs = std::filesystem;

constexpr int look_ms = 50;    // while no host is connected, or there is no port yet
constexpr int calm_ms = 1000;  // else; all that matters wakes us
constexpr std::size_t max_status_bytes = 64 * 1024;
constexpr std::size_t max_waiting_bytes = 512 * 1024;
constexpr std::int64_t tolerated_ms = 500;  // of a clock that is wrong

/// /dev/vportNpM of that name; empty: there is none (yet).
std::string find_port(const std::string& name) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/sys/class/virtio-ports", ignored)) {
    std::string found;
    std::getline(std::ifstream(entry.path() / "name"), found);
    if (found == name) return "/dev/" + entry.path().filename().string();
  }
  return "";
}

void complain(const std::string& what) {
  std::cerr << "skep-guest: " << what << std::endl;
}

/// Counted as randomness: it comes from the host, over a channel that the guest's programs do not see.
void add_randomness(const std::string& bytes) {
  const int fd = ::open("/dev/urandom", O_WRONLY | O_CLOEXEC);
  alignas(rand_pool_info) char buffer[sizeof(rand_pool_info) + 256] = {};
  auto* pool = reinterpret_cast<rand_pool_info*>(buffer);
  const std::size_t size = std::min<std::size_t>(bytes.size(), 256);
  pool->entropy_count = static_cast<int>(size * 8);
  pool->buf_size = static_cast<int>(size);
  std::memcpy(buffer + sizeof(rand_pool_info), bytes.data(), size);
  const bool is_added = fd >= 0 && ::ioctl(fd, RNDADDENTROPY, pool) == 0 && ::ioctl(fd, RNDRESEEDCRNG) == 0;
  if (!is_added) complain(std::string("cannot add the host's randomness: ") + std::strerror(errno));
  if (fd >= 0) ::close(fd);
}

void set_time(std::int64_t wall_ms) {
  timeval now{};
  ::gettimeofday(&now, nullptr);
  const std::int64_t ours = std::int64_t{now.tv_sec} * 1000 + now.tv_usec / 1000;
  if (std::abs(ours - wall_ms) < tolerated_ms) return;
  const timeval wanted{static_cast<time_t>(wall_ms / 1000), static_cast<suseconds_t>(wall_ms % 1000 * 1000)};
  if (::settimeofday(&wanted, nullptr) != 0)
    complain(std::string("cannot set the time: ") + std::strerror(errno));
}

void write_system_file(const std::string& path, const std::string& text, bool appends) {
  std::ofstream file(path, appends ? std::ios::app : std::ios::trunc);
  file << text;
  if (!file.flush()) complain("cannot write " + path);
}

class Guest {
 public:
  Guest(std::string port_name, std::string control)
      : port_name_(std::move(port_name)), control_(std::move(control)) {
    watch_ = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    ::inotify_add_watch(watch_, control_.c_str(), IN_MOVED_TO);
  }
  ~Guest() {
    for (const int fd : {port_, watch_, join_end_}) {
      if (fd >= 0) ::close(fd);
    }
  }
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  int run() {
    while (!is_over_) {
      open_port();
      wait();
      if (signals_.wait_for(Duration::zero())) stop();
      tell_status(false);
      look_at_join();
    }
    write_port();
    return exit_code_;
  }

 private:
  void open_port() {
    if (port_ >= 0) return;
    const std::string path = find_port(port_name_);
    if (!path.empty()) port_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
  }

  void wait() {
    // Without a host the port is always "ready": it is looked at now and then.
    const bool has_host = port_ >= 0 && has_host_;
    pollfd fds[] = {{has_host ? port_ : -1, static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT), 0},
                    {signals_.descriptor(), POLLIN, 0},
                    {watch_, POLLIN, 0},
                    {join_end_, POLLIN, 0}};
    ::poll(fds, std::size(fds), has_host ? calm_ms : look_ms);
    char events[4096];
    while (::read(watch_, events, sizeof events) > 0) {
    }
    if (port_ < 0) return;
    read_port();
    write_port();
  }

  void read_port() {
    char chunk[16 * 1024];
    for (;;) {
      const ssize_t count = ::read(port_, chunk, sizeof chunk);
      if (count < 0 && errno == EINTR) continue;
      has_host_ = count > 0 || (count < 0 && errno == EAGAIN);
      if (count <= 0) return;
      in_.append(chunk, static_cast<std::size_t>(count));
      for (std::size_t end = 0; (end = in_.find('\n')) != std::string::npos; in_.erase(0, end + 1)) {
        if (end > 0) obey(in_.substr(0, end));
      }
      if (in_.size() > max_host_line) in_.clear();
    }
  }

  void write_port() {
    while (!out_.empty() && port_ >= 0) {
      const ssize_t count = ::write(port_, out_.data(), out_.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return;
      out_.erase(0, static_cast<std::size_t>(count));
    }
  }

  void say(const std::string& line) {
    if (out_.size() < max_waiting_bytes) out_ += line + "\n";
  }

  void obey(const std::string& line) {
    const auto word = read_host_line(line);
    if (!word) return complain(word.error().message);
    if (std::holds_alternative<HostAsks>(*word)) {
      say(hello_text(!has_started_));
      tell_status(true);
    } else if (std::holds_alternative<HostStops>(*word)) {
      stop();
    } else if (const auto* ticket = std::get_if<HostTicket>(&*word)) {
      if (has_started_) take(*ticket, false);
    } else if (const auto* start = std::get_if<HostStarts>(&*word)) {
      if (!has_started_) begin(*start);
      say(taken_text(true, start->ticket.attempt));
    }
  }

  /// Randomness first: nothing may be drawn from a state that another machine has, too.
  void begin(const HostStarts& start) {
    add_randomness(start.entropy);
    set_time(start.time_ms);
    if (::sethostname(start.name.data(), start.name.size()) != 0) complain("cannot set the host name");
    write_system_file("/etc/hostname", start.name + "\n", false);
    write_system_file("/etc/machine-id", start.machine_id + "\n", false);
    std::string hosts = "127.0.0.1 " + start.name + "\n";
    for (const auto& [name, address] : start.hosts)
      hosts.append(address).append(" ").append(name).append("\n");
    write_system_file("/etc/hosts", hosts, true);
    has_started_ = true;
    take(start.ticket, true);
    posix_host::LaunchRequest request;
    request.argv = start.argv;
    request.environment = start.environment;
    request.output_fd = STDERR_FILENO;
    request.is_subreaper = true;
    const auto launched = posix_host::launch(request);
    if (!launched) {
      complain(launched.error().message);
      return end(1);
    }
    join_ = *launched;
    join_end_ = posix_host::open_pidfd(*join_);
  }

  void take(const HostTicket& ticket, bool is_first) {
    const auto written = posix_host::write_file_atomically(control_ + "/ticket", ticket.text, 0600);
    if (!written) return complain(written.error().message);
    if (!is_first) say(taken_text(false, ticket.attempt));
  }

  void tell_status(bool is_asked) {
    const auto text = posix_host::read_plain_file(control_ + "/status", max_status_bytes);
    if (!text || (!is_asked && *text == told_)) return;
    told_ = *text;
    say(status_text(*text));
  }

  void stop() {
    if (!join_) return end(0);
    posix_host::send_signal(*join_, SIGTERM);
  }

  void look_at_join() {
    if (!join_ || posix_host::is_alive(*join_)) return;
    posix_host::reap(join_->pid);
    tell_status(false);
    end(0);
  }

  void end(int code) {
    is_over_ = true;
    exit_code_ = code;
  }

  std::string port_name_, control_;
  posix_host::SignalWaiter signals_;
  int port_ = -1, watch_ = -1, join_end_ = -1;
  bool has_host_ = false, has_started_ = false, is_over_ = false;
  int exit_code_ = 0;
  std::string in_, out_, told_;
  std::optional<posix_host::ProcessIdentity> join_;
};

constexpr const char* footer =
    R"(Started once by the machine's init, as root, after its network and disks are there; init powers the machine off when skep-guest has ended. Nothing that only one machine may have (keys, seeds, names) may be made before.

Example, as the last lines of an init:
  skep-guest
  poweroff -f)";

}  // namespace
}  // namespace skep::join

int main(int argc, char** argv) {
  CLI::App app{"skep-guest: makes a virtual machine an executor of its host"};
  std::string port = skep::join::control_port_name, control = "/skep/control";
  app.add_option("--port", port, "name of the virtio-serial port")->capture_default_str();
  app.add_option("--control", control, "folder of skep-join's ticket and status; made when missing")
      ->capture_default_str();
  app.set_version_flag("--version", skep::skep_version);
  app.footer(skep::join::footer);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  std::error_code failure;
  std::filesystem::create_directories(control, failure);
  std::filesystem::permissions(control, std::filesystem::perms::owner_all, failure);
  if (failure) {
    skep::join::complain("cannot make " + control + ": " + failure.message());
    return 1;
  }
  return skep::join::Guest(port, control).run();
}
