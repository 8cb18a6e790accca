#include "agentd/shell/announcer.h"

#include <algorithm>
#include <utility>

#include "common/shell/backoff.h"
#include "common/shell/clock.h"
#include "common/shell/worker_pool.h"

namespace skep::agentd {

Announcer::Announcer(std::unique_ptr<RegistryLine> line, HostId host, Duration ttl)
    : line_(std::move(line)), host_(std::move(host)), ttl_(ttl) {}

Announcer::~Announcer() {
  stop();
}

void Announcer::start() {
  thread_ = std::thread([this] { shell::run_guarded("announcer", [this] { run(); }); });
}

void Announcer::stop() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  line_->cancel();
  if (!thread_.joinable()) return;
  thread_.join();
  if (auto gone = line_->withdraw(); !gone)
    log::write_error("this host was not taken off " + line_->peer(), gone.error());
}

void Announcer::run() {
  shell::Backoff backoff(std::min<Duration>(seconds(1), ttl_ / 3), line_->longest_pause(ttl_));
  for (;;) {
    const Result<void> announced = line_->announce();
    Duration pause = ttl_ / 3;
    if (!announced) {
      is_known_ = false;
      pause = backoff.next();
    } else {
      backoff.reset();
    }
    std::unique_lock<std::mutex> guard(lock_);
    if (is_stopping_) return;
    guard.unlock();
    std::uint64_t held_back = 0;
    if (announced) {
      if (!is_known_.exchange(true))
        log::write(log::Level::info, "announced to " + line_->peer(), {{"host", host_.text}});
    } else if (limiter_.allows(announced.error().message, shell::now(), held_back)) {
      log::write(log::Level::warning,
                 "cannot announce this host to " + line_->peer() + ": " + announced.error().message +
                     "; tried again, executors run on",
                 {{"host", host_.text}, {"hint", announced.error().hint}});
    }
    guard.lock();
    if (wake_.wait_for(guard, pause, [this] { return is_stopping_; })) return;
  }
}

}  // namespace skep::agentd
