// What keeps us from doing too much too soon.
#include "scheduler/core/pacing.h"

#include <catch2/catch.hpp>

namespace skep::scheduler::pacing_test {
namespace {

constexpr Instant at(int ms) {
  return Instant{} + milliseconds(ms);
}

TEST_CASE("a back-off doubles up to its last value, and stays there") {
  const auto wait = [](int failures) { return backoff_after(failures, seconds(1), seconds(10)); };
  CHECK(wait(1) == Duration(seconds(1)));
  CHECK(wait(2) == Duration(seconds(2)));
  CHECK(wait(4) == Duration(seconds(8)));
  CHECK(wait(5) == Duration(seconds(10)));
  CHECK(wait(1'000'000) == Duration(seconds(10)));
  CHECK(backoff_after(3, seconds(20), seconds(10)) == Duration(seconds(10)));
}

TEST_CASE("a retry is due after its back-off, and begins anew after a success") {
  Retry retry;
  retry.note_failure(at(0), seconds(1), seconds(10));
  CHECK(retry.next == at(1000));
  retry.note_failure(at(1000), seconds(1), seconds(10));
  CHECK(retry.next == at(3000));
  retry.reset();
  CHECK(retry.failures == 0);
  CHECK(retry.next == Instant{});
}

TEST_CASE("a bucket holds one second's worth, and fills at its rate") {
  TokenBucket bucket(3);
  for (int i = 0; i < 3; ++i) CHECK(bucket.take(at(1000)));
  CHECK_FALSE(bucket.take(at(1000)));

  const Instant next = bucket.next_token(at(1000));
  CHECK(next > at(1333));
  CHECK(next <= at(1334));
  CHECK_FALSE(bucket.take(at(1333)));
  CHECK(bucket.take(next));
  CHECK_FALSE(bucket.take(next));

  // An hour does not save up more than a second.
  for (int i = 0; i < 3; ++i) CHECK(bucket.take(at(3'600'000)));
  CHECK_FALSE(bucket.take(at(3'600'000)));
}

TEST_CASE("a bucket gives nothing for time that runs backwards, and has at least one token a second") {
  TokenBucket bucket(0);
  CHECK(bucket.rate() == 1);
  CHECK(bucket.take(at(5000)));
  CHECK_FALSE(bucket.take(at(4000)));
  CHECK_FALSE(bucket.take(at(4900)));
  CHECK(bucket.take(at(6000)));
}

TEST_CASE("a bucket with a lower rate gives back what is above it") {
  TokenBucket bucket(10);
  CHECK(bucket.take(at(0)));
  bucket.set_rate(2);
  CHECK(bucket.take(at(1)));
  CHECK(bucket.take(at(1)));
  CHECK_FALSE(bucket.take(at(1)));
}

TEST_CASE("a breaker opens after failures in a row, lets one trial through, and closes on a success") {
  Breaker breaker;
  breaker.note_failure(at(0), 2, seconds(10), "no image");
  CHECK_FALSE(breaker.refuses(at(0), 0));
  breaker.note_failure(at(100), 2, seconds(10), "no disk");
  CHECK(breaker.refuses(at(100), 0));
  CHECK(breaker.reason == "no disk");
  CHECK(breaker.refuses(at(10'099), 0));

  CHECK_FALSE(breaker.refuses(at(10'100), 0));
  CHECK(breaker.refuses(at(10'100), 1));

  SECTION("the trial fails: closed for as long again") {
    breaker.note_failure(at(11'000), 2, seconds(10), "no disk");
    CHECK(breaker.refuses(at(20'999), 0));
    CHECK_FALSE(breaker.refuses(at(21'000), 0));
  }
  SECTION("the trial succeeds: failures count from one") {
    breaker.note_success();
    CHECK_FALSE(breaker.refuses(at(11'000), 5));
    breaker.note_failure(at(12'000), 2, seconds(10), "no disk");
    CHECK_FALSE(breaker.refuses(at(12'000), 0));
  }
}

TEST_CASE("jitter is at most a quarter") {
  Prng random(7);
  Duration most{};
  for (int i = 0; i < 1000; ++i) {
    const Duration drawn = jitter(seconds(4), random);
    CHECK(drawn >= Duration{});
    most = std::max(most, drawn);
  }
  CHECK(most <= Duration(seconds(1)));
  CHECK(most > Duration(milliseconds(900)));
  CHECK(jitter(Duration(3), random) == Duration{});
}

}  // namespace
}  // namespace skep::scheduler::pacing_test
