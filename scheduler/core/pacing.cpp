#include "scheduler/core/pacing.h"

#include <algorithm>

namespace skep::scheduler {

Duration backoff_after(int failures, Duration first, Duration last) {
  Duration wait = first;
  for (int i = 1; i < failures && wait < last; ++i) wait *= 2;
  return std::min(wait, last);
}

void TokenBucket::refill(Instant now) {
  const std::int64_t full = whole * rate_;
  if (level_ < 0) {
    level_ = full;
  } else if (now > filled_) {
    // One second fills it completely, so longer times need no (overflowing) product.
    const Duration passed = std::min<Duration>(now - filled_, seconds(1));
    level_ = std::min(full, level_ + passed.count() * rate_);
  }
  filled_ = now;
}

bool TokenBucket::take(Instant now) {
  refill(now);
  if (level_ < whole) return false;
  level_ -= whole;
  return true;
}

Instant TokenBucket::next_token(Instant now) {
  refill(now);
  if (level_ >= whole) return now;
  const std::int64_t missing = whole - level_;
  return now + Duration((missing + rate_ - 1) / rate_);
}

void Breaker::note_failure(Instant now, int limit, Duration open_for, const std::string& why) {
  ++failures;
  if (!is_open && failures < limit) return;
  is_open = true;
  open_until = now + open_for;
  reason = why;
}

Duration jitter(Duration d, Prng& prng) {
  const std::int64_t quarter = d.count() / 4;
  return Duration(quarter > 0 ? prng.between(0, quarter) : 0);
}

}  // namespace skep::scheduler
