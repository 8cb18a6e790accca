#include "simulation/whatif/histogram.h"

#include <algorithm>
#include <bit>

namespace skep::simulation::whatif {
namespace {

// 64 buckets for each power of two: a bucket is at most 1/64 of its lower bound wide, its middle at most
// 1/128 away from whatever lies in it.
constexpr std::int64_t steps = 64;

std::int64_t micros(Duration value) {
  return std::chrono::duration_cast<std::chrono::microseconds>(value).count();
}

std::int32_t bucket_of(std::int64_t us) {
  if (us < 2 * steps) return static_cast<std::int32_t>(us);
  const int shift = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(us))) - 7;
  return static_cast<std::int32_t>(shift * steps + (us >> shift));
}

Duration middle_of(std::int32_t bucket) {
  if (bucket < 2 * steps) return std::chrono::microseconds(bucket);
  const int shift = static_cast<int>(bucket / steps) - 1;
  const std::int64_t least = (bucket % steps + steps) << shift;
  return std::chrono::microseconds(least + (std::int64_t{1} << shift) / 2);
}

}  // namespace

void LogHistogram::add(Duration value) {
  value = std::max(value, Duration::zero());
  ++buckets_[bucket_of(micros(value))];
  ++count_;
  least_ = std::min(least_, value);
  most_ = std::max(most_, value);
  sum_us_ += static_cast<long double>(micros(value));
}

void LogHistogram::add(const LogHistogram& other) {
  for (const auto& [bucket, count] : other.buckets_) buckets_[bucket] += count;
  count_ += other.count_;
  least_ = std::min(least_, other.least_);
  most_ = std::max(most_, other.most_);
  sum_us_ += other.sum_us_;
}

Duration LogHistogram::mean() const {
  if (count_ == 0) return Duration::zero();
  return std::chrono::microseconds(static_cast<std::int64_t>(sum_us_ / static_cast<long double>(count_)));
}

Duration LogHistogram::quantile(int permille) const {
  if (count_ == 0) return Duration::zero();
  const std::uint64_t part = static_cast<std::uint64_t>(std::clamp(permille, 0, 1000));
  // In two parts, so that the product stays within 64 bits.
  const std::uint64_t rank = count_ / 1000 * part + (count_ % 1000 * part + 999) / 1000;
  if (rank <= 1) return least_;
  if (rank >= count_) return most_;
  std::uint64_t below = 0;
  for (const auto& [bucket, count] : buckets_) {
    below += count;
    if (below >= rank) return std::clamp(middle_of(bucket), least_, most_);
  }
  return most_;
}

std::uint64_t LogHistogram::at_most(Duration limit) const {
  std::uint64_t sum = 0;
  for (const auto& [bucket, count] : buckets_) {
    if (middle_of(bucket) > limit) break;
    sum += count;
  }
  return sum;
}

}  // namespace skep::simulation::whatif
