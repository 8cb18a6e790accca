// Pauses between repeated calls of a shell: doubling to a limit, each up to a quarter longer by chance, so
// that many do not come back at the same instant. Not thread-safe.
#pragma once

#include <algorithm>
#include <random>

#include "core/prng.h"
#include "core/time.h"

namespace skep::shell {

class Backoff {
 public:
  Backoff(Duration first, Duration last) : first_(first), last_(std::max(first, last)), pause_(first) {}
  Duration next() {
    const Duration pause = pause_;
    pause_ = std::min(pause_ * 2, last_);
    return pause + Duration(static_cast<Duration::rep>(
                       prng_.below(1 + static_cast<std::uint64_t>(pause.count() / 4))));
  }
  void reset() { pause_ = first_; }

 private:
  Duration first_, last_, pause_;
  Prng prng_{std::random_device{}()};
};

}  // namespace skep::shell
