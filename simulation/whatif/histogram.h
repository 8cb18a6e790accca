// Durations counted in buckets whose width grows with the value: quantiles of any number of values in bounded
// memory, with a stated error. Integers only, so the same on every compiler. A plain value; pure.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "core/time.h"

namespace skep::simulation::whatif {

class LogHistogram {
 public:
  /// What quantile() may be wrong by: one part in so many of the true value, and never more than 1
  /// microsecond beyond that (values are kept in whole microseconds).
  static constexpr std::int64_t error_divisor = 128;
  /// Buckets that can ever exist, and so the most that one histogram holds.
  static constexpr int most_buckets = 64 * 58;

  /// Negative values count as zero.
  void add(Duration value);
  void add(const LogHistogram& other);

  std::uint64_t count() const { return count_; }
  std::size_t buckets() const { return buckets_.size(); }
  Duration least() const { return count_ == 0 ? Duration::zero() : least_; }
  Duration most() const { return most_; }
  Duration mean() const;
  /// The value below or at which `permille` of all values lie (0..1000); zero when there are none. p0 and
  /// p1000 are exact.
  Duration quantile(int permille) const;
  /// How many values are at most `limit`, within the error above.
  std::uint64_t at_most(Duration limit) const;

 private:
  std::map<std::int32_t, std::uint64_t> buckets_;  // sparse: few of them are ever used
  std::uint64_t count_ = 0;
  Duration least_ = Duration::max(), most_ = Duration::zero();
  long double sum_us_ = 0;  // of a billion values of a year each: beyond 64 bits
};

}  // namespace skep::simulation::whatif
