#include "common/shell/worker_pool.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>

#include "common/shell/clock.h"

namespace worker_pool_test {

using namespace skep;
using shell::Strand;
using shell::WorkerPool;

namespace {

/// Opens once; whoever waits has a deadline.
class Latch {
 public:
  void open() { promise_.set_value(); }
  bool wait() const { return future_.wait_for(std::chrono::seconds(20)) == std::future_status::ready; }

 private:
  std::promise<void> promise_;
  std::shared_future<void> future_ = promise_.get_future().share();
};

}  // namespace

TEST_CASE("a pool runs what it takes, at most so many at once") {
  std::atomic<int> running{0}, most{0}, done{0};
  Latch all;
  WorkerPool pool("test", 3);
  for (int i = 0; i < 200; ++i) {
    REQUIRE(pool.submit([&] {
      const int now = ++running;
      for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
      }
      --running;
      if (++done == 200) all.open();
    }));
  }
  REQUIRE(all.wait());
  CHECK(most <= 3);
}

TEST_CASE("a full pool refuses, so that the caller notices, and takes again later") {
  Latch started, go;
  WorkerPool pool("test", 1, 2);
  REQUIRE(pool.submit([&] {
    started.open();
    go.wait();
  }));
  REQUIRE(started.wait());
  CHECK(pool.submit([] {}));
  CHECK(pool.submit([] {}));
  CHECK_FALSE(pool.submit([] {}));
  go.open();
  Latch again;
  bool is_taken = false;
  for (const Instant end = shell::now() + seconds(20); !is_taken && shell::now() < end;
       std::this_thread::yield())
    is_taken = pool.submit([&] { again.open(); });
  REQUIRE(is_taken);
  CHECK(again.wait());
}

TEST_CASE("a stop drops what is queued, waits for what runs, and nothing comes after it") {
  Latch started, go, asked;
  std::atomic<bool> is_over{false}, is_dropped{true};
  // Room enough that a refusal below means the stop, not a full queue.
  WorkerPool pool("test", 1, std::size_t{1} << 24);
  REQUIRE(pool.submit([&] {
    started.open();
    go.wait();
    is_over = true;
  }));
  REQUIRE(pool.submit([&] { is_dropped = false; }));
  REQUIRE(started.wait());
  auto stopping = std::async(std::launch::async, [&] {
    asked.open();
    pool.stop();
  });
  REQUIRE(asked.wait());
  while (pool.submit([&] { is_dropped = false; })) std::this_thread::yield();  // until the stop is seen
  go.open();
  REQUIRE(stopping.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
  CHECK(is_over);
  CHECK(is_dropped);
  pool.stop();
  CHECK_FALSE(pool.submit([] {}));
}

TEST_CASE("a strand runs in order, on one thread, and what was posted before its stop") {
  std::vector<int> order;
  std::atomic<int> foreign{0};
  Strand strand(
      "test", [] { return std::nullopt; }, [] {});
  strand.start();
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(strand.post([&, i] {
      order.push_back(i);
      if (!strand.is_current()) ++foreign;
    }));
  }
  strand.stop();
  REQUIRE(order.size() == 1000);
  CHECK(std::is_sorted(order.begin(), order.end()));
  CHECK(foreign == 0);
  CHECK_FALSE(strand.post([] {}));
  CHECK_FALSE(strand.post_at(shell::now(), [] {}));
}

TEST_CASE("a strand's queue is bounded") {
  Latch started, go;
  Strand strand(
      "test", [] { return std::nullopt; }, [] {});
  strand.start();
  REQUIRE(strand.post([&] {
    started.open();
    go.wait();
  }));
  REQUIRE(started.wait());
  for (std::size_t i = 0; i < bounds::max_events_queued; ++i) REQUIRE(strand.post([] {}));
  CHECK_FALSE(strand.post([] {}));
  for (std::size_t i = 0; i < bounds::max_events_queued; ++i)
    REQUIRE(strand.post_at(shell::now() + hours(1), [] {}));
  CHECK_FALSE(strand.post_at(shell::now(), [] {}));
  go.open();
}

TEST_CASE("timers run in the order of their time, not before it") {
  std::vector<int> order;
  Latch last;
  Strand strand(
      "test", [] { return std::nullopt; }, [] {});
  strand.start();
  const Instant start = shell::now();
  std::atomic<bool> is_early{false};
  for (const int ms : {60, 20, 40}) {
    REQUIRE(strand.post_at(start + milliseconds(ms), [&, ms] {
      if (shell::now() < start + milliseconds(ms)) is_early = true;
      order.push_back(ms);
      if (ms == 60) last.open();
    }));
  }
  REQUIRE(last.wait());
  strand.stop();
  CHECK(order == std::vector<int>{20, 40, 60});
  CHECK_FALSE(is_early);
}

TEST_CASE("the deadline is kept, also by a strand that always has work") {
  std::atomic<bool> is_reached{false};
  std::optional<Instant> deadline = shell::now() + milliseconds(20);
  Latch reached;
  Strand strand(
      "test", [&] { return deadline; },
      [&] {
        deadline.reset();
        is_reached = true;
        reached.open();
      });
  strand.start();
  std::function<void()> busy = [&] {
    if (!is_reached) strand.post(busy);
  };
  REQUIRE(strand.post(busy));
  CHECK(reached.wait());
  is_reached = true;
  strand.stop();
}

}  // namespace worker_pool_test
