#include "linux/linux_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "core/check.h"

namespace skep::posix_host {
namespace {

constexpr int look_interval_ms = 1000;

void close_if_open(int fd) {
  if (fd >= 0) ::close(fd);
}

}  // namespace

struct ChangeWatch::Impl {
  struct Watched {
    int watch = -1;             // number of inotify
    int process = -1;           // pidfd
    bool is_looked_at = false;  // no watch could be had
  };

  explicit Impl(std::function<void(const std::string&)> callback) : on_change(std::move(callback)) {
    folders = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);  // may be -1: then all folders are looked at
    wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    SKEP_ASSERT(wake >= 0);
    thread = std::thread([this] { run(); });
  }
  ~Impl() {
    is_stopping = true;
    wake_up();
    thread.join();
    for (auto& [key, watched] : all) close_if_open(watched.process);
    close_if_open(folders);
    ::close(wake);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void wake_up() const {
    const std::uint64_t one = 1;
    const ssize_t written = ::write(wake, &one, sizeof one);
    static_cast<void>(written);
  }

  void run() {
    while (!is_stopping) {
      std::vector<pollfd> fds{{wake, POLLIN, 0}, {folders, POLLIN, 0}};
      std::vector<std::string> keys;
      bool must_look = false;
      {
        const std::lock_guard<std::mutex> guard(lock);
        for (const auto& [key, watched] : all) {
          must_look |= watched.is_looked_at;
          if (watched.process < 0) continue;
          keys.push_back(key);
          fds.push_back({watched.process, POLLIN, 0});
        }
      }
      const int ready =
          ::poll(fds.data(), static_cast<nfds_t>(fds.size()), must_look ? look_interval_ms : -1);
      if (is_stopping) return;
      std::set<std::string> changed;
      if (ready == 0) collect_looked_at(changed);
      if ((fds[0].revents & POLLIN) != 0) collect_ended_before(changed);
      if (folders >= 0 && (fds[1].revents & POLLIN) != 0) collect_folders(changed);
      for (std::size_t i = 2; i < fds.size(); ++i) {
        if (fds[i].revents != 0) collect_ended(keys[i - 2], fds[i].fd, changed);
      }
      for (const std::string& key : changed) on_change(key);
    }
  }

  void collect_looked_at(std::set<std::string>& changed) {
    const std::lock_guard<std::mutex> guard(lock);
    for (const auto& [key, watched] : all) {
      if (watched.is_looked_at) changed.insert(key);
    }
  }

  void collect_ended_before(std::set<std::string>& changed) {
    std::uint64_t count = 0;
    const ssize_t size = ::read(wake, &count, sizeof count);
    static_cast<void>(size);
    const std::lock_guard<std::mutex> guard(lock);
    changed.insert(ended_before.begin(), ended_before.end());
    ended_before.clear();
  }

  void collect_ended(const std::string& key, int polled, std::set<std::string>& changed) {
    const std::lock_guard<std::mutex> guard(lock);
    const auto found = all.find(key);
    if (found == all.end() || found->second.process != polled) return;
    close_if_open(std::exchange(found->second.process, -1));
    changed.insert(key);
  }

  void collect_folders(std::set<std::string>& changed) {
    alignas(inotify_event) char buffer[8192];
    for (ssize_t size = 0; (size = ::read(folders, buffer, sizeof buffer)) > 0;) {
      const std::lock_guard<std::mutex> guard(lock);
      for (ssize_t at = 0; at < size;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        const bool is_overflow = (event->mask & IN_Q_OVERFLOW) != 0;
        for (const auto& [key, watched] : all) {
          if (is_overflow || watched.watch == event->wd) changed.insert(key);
        }
      }
    }
  }

  std::function<void(const std::string&)> on_change;
  int folders = -1, wake = -1;
  std::atomic<bool> is_stopping{false};
  std::mutex lock;  // guards all and ended_before; never held while on_change runs
  std::map<std::string, Watched> all;
  std::set<std::string> ended_before;
  std::thread thread;
};

ChangeWatch::ChangeWatch(std::function<void(const std::string&)> on_change)
    : impl_(std::make_unique<Impl>(std::move(on_change))) {}
ChangeWatch::~ChangeWatch() = default;

void ChangeWatch::watch_folder(const std::string& key, const std::string& folder) {
  const int number =
      impl_->folders < 0 ? -1 : ::inotify_add_watch(impl_->folders, folder.c_str(), IN_MOVED_TO);
  {
    const std::lock_guard<std::mutex> guard(impl_->lock);
    impl_->all[key].watch = number;
    impl_->all[key].is_looked_at = number < 0;
  }
  impl_->wake_up();
}

void ChangeWatch::watch_process(const std::string& key, const ProcessIdentity& process) {
  const int fd = open_pidfd(process);
  {
    const std::lock_guard<std::mutex> guard(impl_->lock);
    close_if_open(std::exchange(impl_->all[key].process, fd));
    if (fd < 0) impl_->ended_before.insert(key);
  }
  impl_->wake_up();
}

void ChangeWatch::forget(const std::string& key) {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  const auto found = impl_->all.find(key);
  if (found == impl_->all.end()) return;
  if (found->second.watch >= 0) ::inotify_rm_watch(impl_->folders, found->second.watch);
  close_if_open(found->second.process);
  impl_->all.erase(found);
}

}  // namespace skep::posix_host
