#include "bench/measure.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace skep::bench {

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double Samples::quantile(double share) const {
  if (values_.empty()) return 0;
  std::vector<double> ordered = values_;
  std::sort(ordered.begin(), ordered.end());
  const auto last = static_cast<double>(ordered.size() - 1);
  return ordered[static_cast<std::size_t>(std::lround(share * last))];
}

double cpu_ms() {
  timespec spent{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) * 1e3 + static_cast<double>(spent.tv_nsec) / 1e6;
}

json::Json Samples::summary(const std::string& unit) const {
  return {{"p50", quantile(0.5)},
          {"p99", quantile(0.99)},
          {"max", highest()},
          {"n", values_.size()},
          {"unit", unit}};
}

double calibration_ms() {
  constexpr std::size_t cells = 1u << 20;
  constexpr int steps = 2'000'000, rounds = 7;
  std::vector<std::uint32_t> next(cells);
  for (std::size_t i = 0; i < cells; ++i)
    next[i] = static_cast<std::uint32_t>((i * 1'664'525u + 1'013'904'223u) % cells);
  double best = 0;
  volatile std::uint32_t kept = 0;
  for (int round = 0; round < rounds; ++round) {
    const double start = cpu_ms();
    std::uint32_t at = 1;
    for (int i = 0; i < steps; ++i) {
      at = next[at];
      at = (at ^ (at >> 3)) * 2'654'435'761u;
      at &= cells - 1;
    }
    kept = at;
    const double took = cpu_ms() - start;
    if (round == 0 || took < best) best = took;
  }
  static_cast<void>(kept);
  return best;
}

void cool_caches() {
  static std::vector<std::uint64_t> memory(8u << 20);  // 64 MiB
  volatile std::uint64_t sum = 0;
  for (std::size_t i = 0; i < memory.size(); i += 8) {
    memory[i] += i;
    sum = sum + memory[i];
  }
}

double growth_exponent(const std::vector<double>& x, const std::vector<double>& y) {
  const auto n = static_cast<double>(x.size());
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double a = std::log(x[i]), b = std::log(std::max(y[i], 1e-12));
    sx += a;
    sy += b;
    sxx += a * a;
    sxy += a * b;
  }
  const double spread = n * sxx - sx * sx;
  return spread > 0 ? (n * sxy - sx * sy) / spread : 0;
}

}  // namespace skep::bench
