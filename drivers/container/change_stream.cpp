#include "drivers/container/change_stream.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "common/log/log.h"
#include "common/shell/clock.h"

namespace skep::drivers::container {
namespace {

constexpr Duration first_pause = milliseconds(100), last_pause = seconds(15);

}  // namespace

struct ChangeStream::Impl {
  Impl(Engine& asked, std::string whose) : engine(asked), owner(std::move(whose)) {}

  void run() {
    Duration pause = first_pause;
    log::OncePerMinute told;
    while (!is_over()) {
      const Instant begin = shell::now();
      const Error why = read_once();
      if (is_over()) return;
      const Instant end = shell::now();
      if (end - begin > last_pause) pause = first_pause;
      std::uint64_t held_back = 0;
      if (told.allows("events", end, held_back)) {
        log::write(log::Level::warning,
                   "no events come from the container engine; its containers are looked at now and then "
                   "until they do",
                   {{"owner", owner}, {"why", why.message}, {"held_back", std::to_string(held_back)}});
      }
      std::unique_lock<std::mutex> guard(lock);
      changed.wait_for(guard, pause, [this] { return is_stopping; });
      pause = std::min(pause * 2, last_pause);
    }
  }

  Error read_once() {
    EventReader reader(engine);
    {
      const std::lock_guard<std::mutex> guard(lock);
      if (is_stopping) reader.cancel();
      present = &reader;
    }
    Error why = reader.read(
        owner, [this] { on_gap(); },
        [this](std::string_view line) {
          if (const auto id = read_event(line, owner)) on_change(*id);
        });
    const std::lock_guard<std::mutex> guard(lock);
    present = nullptr;
    return why;
  }

  bool is_over() {
    const std::lock_guard<std::mutex> guard(lock);
    return is_stopping;
  }

  Engine& engine;
  std::string owner;
  std::function<void(const ExecutorId&)> on_change;
  std::function<void()> on_gap;
  std::mutex lock;  // guards the two below
  bool is_stopping = false;
  EventReader* present = nullptr;
  std::condition_variable changed;
  std::thread thread;
};

ChangeStream::ChangeStream(Engine& engine, std::string owner,
                           std::function<void(const ExecutorId&)> on_change, std::function<void()> on_gap)
    : impl_(std::make_unique<Impl>(engine, std::move(owner))) {
  impl_->on_change = std::move(on_change);
  impl_->on_gap = std::move(on_gap);
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

ChangeStream::~ChangeStream() {
  {
    const std::lock_guard<std::mutex> guard(impl_->lock);
    impl_->is_stopping = true;
    if (impl_->present != nullptr) impl_->present->cancel();
  }
  impl_->changed.notify_all();
  impl_->thread.join();
}

}  // namespace skep::drivers::container
