#include "drivers/qemu/guest_bridge.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "common/shell/clock.h"
#include "core/check.h"
#include "drivers/qemu/guest_texts.h"
#include "drivers/qemu/qemu_texts.h"
#include "linux/linux_files.h"
#include "linux/linux_socket.h"

namespace skep::drivers::qemu {
namespace {

namespace fs = std::filesystem;
using posix_host::UnixStream;

constexpr Duration first_tries_for = seconds(10);
constexpr Duration first_pause = milliseconds(20);
constexpr Duration later_pause = seconds(1);
constexpr Duration after_status = milliseconds(20);
constexpr Duration after_control = milliseconds(2);
constexpr Duration after_serial = milliseconds(10);
constexpr std::size_t max_serial_bytes = 128 * 1024;
constexpr std::size_t max_waiting_bytes = 4 * max_start_bytes;

}  // namespace

// Not of the unnamed namespace: Impl has a name.
namespace bridge_parts {

/// One running machine.
struct Guest {
  std::string folder;
  Instant attached, next_try, control_rests_until, serial_rests_until;
  std::optional<UnixStream> control, serial;
  std::string in, out;
  bool waits = false;  // it said so, on this connection
  bool must_stop = false;

  std::string file(const char* name) const { return folder + "/control/" + name; }
  void say(const std::string& line) {
    if (out.size() < max_waiting_bytes) out += line + "\n";
  }
};

class Desk {
 public:
  /// What a guest's connection brought; true: its status changed.
  bool read_control(Guest& guest, Instant now) const {
    const auto bytes = guest.control->receive(Duration::zero());
    if (!bytes && bytes.error().code == ErrorCode::timed_out) return false;
    if (!bytes || bytes->empty()) {
      guest.control.reset();
      guest.next_try = now + first_pause;
      return false;
    }
    guest.control_rests_until = now + after_control;
    guest.in += *bytes;
    std::optional<std::string> status;
    for (std::size_t end = 0; (end = guest.in.find('\n')) != std::string::npos; guest.in.erase(0, end + 1)) {
      const auto word = read_guest_line(guest.in.substr(0, end));
      if (!word) continue;
      if (const auto* hello = std::get_if<GuestHello>(&*word)) answer(guest, *hello);
      if (const auto* took = std::get_if<GuestTook>(&*word)) take_away(guest, *took);
      if (const auto* said = std::get_if<GuestStatus>(&*word)) status = said->text;
    }
    if (guest.in.size() > max_guest_line) guest.in.clear();
    if (!status) return false;
    guest.control_rests_until = now + after_status;
    return posix_host::write_file_atomically(guest.file("status"), *status, 0600).has_value();
  }

  static void read_serial(Guest& guest, Instant now) {
    const auto bytes = guest.serial->receive(Duration::zero());
    if (!bytes && bytes.error().code == ErrorCode::timed_out) return;
    if (!bytes || bytes->empty()) return guest.serial.reset();
    guest.serial_rests_until = now + after_serial;
    const std::string path = guest.folder + "/serial.log";
    std::error_code ignored;
    if (fs::file_size(path, ignored) > max_serial_bytes && !ignored) fs::rename(path, path + ".old", ignored);
    std::ofstream(path, std::ios::app | std::ios::binary) << *bytes;
  }

  static void write_control(Guest& guest) {
    const auto count = guest.control->send_some(guest.out);
    if (count) {
      guest.out.erase(0, *count);
    } else {
      guest.control.reset();
    }
  }

  static void send_ticket(Guest& guest) {
    const auto text = posix_host::read_plain_file(guest.file("ticket"), max_start_bytes);
    if (text && !guest.waits) guest.say(ticket_line(*text));
  }

  static void connect(Guest& guest, Instant now) {
    guest.next_try = now + (now - guest.attached < first_tries_for ? first_pause : later_pause);
    if (!guest.serial) {
      if (auto stream = UnixStream::connect(guest.folder + "/" + serial_socket))
        guest.serial.emplace(std::move(*stream));
    }
    if (guest.control) return;
    auto stream = UnixStream::connect(guest.folder + "/" + control_socket);
    if (!stream) return;
    guest.control.emplace(std::move(*stream));
    guest.in.clear();
    // What an earlier connection left unfinished ends here.
    guest.out = "\n";
    guest.waits = false;
    guest.say(hello_line());
    if (guest.must_stop) guest.say(stop_line());
  }

 private:
  static void answer(Guest& guest, const GuestHello& hello) {
    guest.waits = hello.waits;
    if (!hello.waits) {
      ::unlink(guest.file("start").c_str());  // that it was taken was said to nobody
      return send_ticket(guest);
    }
    const auto text = posix_host::read_plain_file(guest.file("start"), max_start_bytes);
    if (text) guest.say(with_time(*text, shell::wall_now().ms_since_epoch));
  }

  static void take_away(Guest& guest, const GuestTook& took) {
    const std::string path = guest.file(took.is_start ? "start" : "ticket");
    const auto text = posix_host::read_plain_file(path, max_start_bytes);
    if (text && attempt_of(*text) == took.attempt) ::unlink(path.c_str());
    if (!took.is_start) return;
    guest.waits = false;
    send_ticket(guest);
  }
};

}  // namespace bridge_parts

using bridge_parts::Desk;
using bridge_parts::Guest;

struct GuestBridge::Impl {
  explicit Impl(std::function<void(const std::string&)> callback) : on_change(std::move(callback)) {
    wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    SKEP_ASSERT(wake >= 0);
    thread = std::thread([this] { run(); });
  }
  ~Impl() {
    is_stopping = true;
    wake_up();
    thread.join();
    ::close(wake);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void wake_up() const {
    const std::uint64_t one = 1;
    const ssize_t written = ::write(wake, &one, sizeof one);
    static_cast<void>(written);
  }

  /// What is waited for, and for how long.
  std::vector<pollfd> prepare(Duration& pause) {
    std::vector<pollfd> fds{{wake, POLLIN, 0}};
    const Instant now = shell::now();
    const std::lock_guard<std::mutex> guard(lock);
    const auto until = [&](Instant at) {
      pause = std::min<Duration>(pause, std::max<Duration>(at - now, Duration::zero()));
    };
    for (auto& [id, guest] : all) {
      if (!guest.control || !guest.serial) {
        if (now >= guest.next_try) Desk::connect(guest, now);
        if (!guest.control || !guest.serial) until(guest.next_try);
      }
      short events = guest.out.empty() ? 0 : POLLOUT;
      if (now >= guest.control_rests_until) {
        events |= POLLIN;
      } else {
        until(guest.control_rests_until);
      }
      const bool reads_serial = now >= guest.serial_rests_until;
      if (guest.serial && !reads_serial) until(guest.serial_rests_until);
      if (guest.control && events != 0) fds.push_back({guest.control->descriptor(), events, 0});
      if (guest.serial && reads_serial) fds.push_back({guest.serial->descriptor(), POLLIN, 0});
    }
    return fds;
  }

  void serve(const std::vector<pollfd>& fds) {
    std::map<int, short> ready;
    for (const pollfd& each : fds) {
      if (each.revents != 0) ready[each.fd] = each.revents;
    }
    if (ready.count(wake) != 0) {
      std::uint64_t count = 0;
      const ssize_t size = ::read(wake, &count, sizeof count);
      static_cast<void>(size);
    }
    std::set<std::string> changed;
    {
      const Instant now = shell::now();
      const std::lock_guard<std::mutex> guard(lock);
      for (auto& [id, guest] : all) {
        if (guest.serial && ready.count(guest.serial->descriptor()) != 0) Desk::read_serial(guest, now);
        if (!guest.control) continue;
        const auto found = ready.find(guest.control->descriptor());
        if (found == ready.end()) continue;
        if ((found->second & POLLOUT) != 0) Desk::write_control(guest);
        if (guest.control && (found->second & ~POLLOUT) != 0 && desk.read_control(guest, now))
          changed.insert(id);
      }
    }
    for (const std::string& id : changed) on_change(id);
  }

  void run() {
    while (!is_stopping) {
      Duration pause = seconds(60);
      std::vector<pollfd> fds = prepare(pause);
      ::poll(fds.data(), static_cast<nfds_t>(fds.size()),
             static_cast<int>(to_ms(pause + milliseconds(1) - Duration(1))));
      if (!is_stopping) serve(fds);
    }
  }

  /// Does something to one guest, if it is there.
  template <typename Change>
  void with(const std::string& id, Change change) {
    {
      const std::lock_guard<std::mutex> guard(lock);
      const auto found = all.find(id);
      if (found == all.end()) return;
      change(found->second);
    }
    wake_up();
  }

  std::function<void(const std::string&)> on_change;
  Desk desk;
  int wake = -1;
  std::atomic<bool> is_stopping{false};
  std::mutex lock;  // guards all; not held while on_change runs
  std::map<std::string, Guest> all;
  std::thread thread;
};

GuestBridge::GuestBridge(std::function<void(const std::string&)> on_change)
    : impl_(std::make_unique<Impl>(std::move(on_change))) {}
GuestBridge::~GuestBridge() = default;

void GuestBridge::attach(const std::string& id, const std::string& folder) {
  {
    const std::lock_guard<std::mutex> guard(impl_->lock);
    const auto [found, is_new] = impl_->all.try_emplace(id);
    if (!is_new) return;
    found->second.folder = folder;
    found->second.attached = shell::now();
  }
  impl_->wake_up();
}

void GuestBridge::forget(const std::string& id) {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  impl_->all.erase(id);
}

void GuestBridge::look_for_ticket(const std::string& id) {
  impl_->with(id, [](Guest& guest) {
    if (guest.control) Desk::send_ticket(guest);
  });
}

void GuestBridge::ask_to_stop(const std::string& id) {
  impl_->with(id, [](Guest& guest) {
    guest.must_stop = true;
    if (guest.control) guest.say(stop_line());
  });
}

}  // namespace skep::drivers::qemu
