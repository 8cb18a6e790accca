// Small pieces that keep us from doing too much too soon: back-off, token bucket, circuit breaker. Pure; time
// is given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/prng.h"
#include "core/time.h"

namespace skep::scheduler {

/// first, 2*first, 4*first ... last. `failures` counts from 1.
Duration backoff_after(int failures, Duration first, Duration last);

/// Repeats of one call: how often it failed and when it may be sent again.
struct Retry {
  int failures = 0;
  Instant next{};
  void note_failure(Instant now, Duration first, Duration last) {
    ++failures;
    next = now + backoff_after(failures, first, last);
  }
  void reset() { *this = Retry{}; }
};

/// At most `rate` a second, at most one second's worth at once.
class TokenBucket {
 public:
  explicit TokenBucket(int rate = 1) : rate_(rate < 1 ? 1 : rate) {}
  void set_rate(int rate) { rate_ = rate < 1 ? 1 : rate; }
  int rate() const { return rate_; }
  bool take(Instant now);
  /// When the next token is there; `now` when there is one already.
  Instant next_token(Instant now);

 private:
  void refill(Instant now);
  static constexpr std::int64_t whole = 1'000'000'000;  // one token, in billionths
  int rate_;
  std::int64_t level_ = -1;  // -1: full, never used
  Instant filled_{};
};

/// Opens after so many failures in a row, closes on a success; once its time is over one single trial is let
/// through.
struct Breaker {
  int failures = 0;
  bool is_open = false;
  Instant open_until{};
  std::string reason;

  void note_success() { *this = Breaker{}; }
  void note_failure(Instant now, int limit, Duration open_for, const std::string& why);
  bool refuses(Instant now, int coming) const { return is_open && (now < open_until || coming > 0); }
};

/// Up to a quarter of `d`, so that many do not come back at the same instant.
Duration jitter(Duration d, Prng& prng);

}  // namespace skep::scheduler
