#include "common/shell/worker_pool.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "common/shell/clock.h"

namespace skep::shell {

void run_guarded(const std::string& thread_name, const Work& work) noexcept {
  try {
    work();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "skep: an exception reached the edge of thread %s: %s\n", thread_name.c_str(),
                 e.what());
    std::abort();
  } catch (...) {
    std::fprintf(stderr, "skep: an exception of unknown type reached the edge of thread %s\n",
                 thread_name.c_str());
    std::abort();
  }
}

WorkerPool::WorkerPool(std::string name, int threads, std::size_t max_queued)
    : name_(std::move(name)), max_queued_(max_queued) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
}

WorkerPool::~WorkerPool() {
  stop();
}

bool WorkerPool::submit(Work work) {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (is_stopping_ || queue_.size() >= max_queued_) return false;
    queue_.push_back(std::move(work));
  }
  wake_.notify_one();
  return true;
}

void WorkerPool::stop() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    is_stopping_ = true;
    queue_.clear();
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void WorkerPool::run() {
  for (;;) {
    Work work;
    {
      std::unique_lock<std::mutex> guard(lock_);
      wake_.wait(guard, [this] { return is_stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    run_guarded(name_, work);
  }
}

Strand::Strand(std::string name, std::function<std::optional<Instant>()> next_deadline, Work on_deadline)
    : name_(std::move(name)),
      next_deadline_(std::move(next_deadline)),
      on_deadline_(std::move(on_deadline)) {}

Strand::~Strand() {
  stop();
}

void Strand::start() {
  thread_ = std::thread([this] { run(); });
}

bool Strand::put(std::deque<Work>& lane, Work work) {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (is_stopping_ || lane.size() >= bounds::max_events_queued) return false;
    lane.push_back(std::move(work));
  }
  wake_.notify_one();
  return true;
}

bool Strand::post(Work work) {
  return put(queue_, std::move(work));
}

bool Strand::post_urgent(Work work) {
  return put(urgent_, std::move(work));
}

bool Strand::post_at(Instant due, Work work) {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (is_stopping_ || timers_.size() >= bounds::max_events_queued) return false;
    timers_.emplace(due, std::move(work));
  }
  wake_.notify_one();
  return true;
}

void Strand::stop() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    is_stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Strand::is_current() const {
  return thread_.get_id() == std::this_thread::get_id();
}

void Strand::run() {
  for (;;) {
    const std::optional<Instant> deadline = next_deadline_();
    Work work;
    {
      std::unique_lock<std::mutex> guard(lock_);
      const auto ready = [this] { return is_stopping_ || !urgent_.empty() || !queue_.empty(); };
      std::optional<Instant> until = deadline;
      if (!timers_.empty() && (!until || timers_.begin()->first < *until)) until = timers_.begin()->first;
      if (!ready()) {
        if (until) {
          wake_.wait_for(guard, *until - now());
        } else {
          wake_.wait(guard);
        }
      }
      if (!urgent_.empty()) {
        work = std::move(urgent_.front());
        urgent_.pop_front();
      } else if (!timers_.empty() && timers_.begin()->first <= now()) {
        work = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
      } else if (!queue_.empty()) {
        work = std::move(queue_.front());
        queue_.pop_front();
      } else if (is_stopping_) {
        return;
      }
    }
    if (work) run_guarded(name_, work);
    // Also when there is always work: a deadline must not wait for a quiet moment.
    if (deadline && *deadline <= now()) run_guarded(name_, on_deadline_);
  }
}

}  // namespace skep::shell
