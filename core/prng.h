// Our own random numbers: the same stream for a seed on every compiler. xoshiro256** seeded by splitmix64
// (Blackman and Vigna, "Scrambled linear pseudorandom number generators"). Not for secrets. Not thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/check.h"

namespace skep {

class Prng {
 public:
  explicit Prng(std::uint64_t seed);
  std::uint64_t next();
  /// 0..bound-1, unbiased; bound >= 1.
  std::uint64_t below(std::uint64_t bound);
  /// least..most, both included.
  std::int64_t between(std::int64_t least, std::int64_t most);
  /// True in numerator of denominator cases.
  bool chance(std::uint64_t numerator, std::uint64_t denominator) { return below(denominator) < numerator; }
  /// An independent stream: a draw added in one part does not shift the others.
  Prng fork(std::string_view name) const;

 private:
  std::uint64_t state_[4];
};

}  // namespace skep
