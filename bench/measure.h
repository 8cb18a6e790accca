// Samples and what is said about them. Times are of the steady clock; `ratio` to a calibration loop that is
// run in the same process carries between machines.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "common/json/json.h"

namespace skep::bench {

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start);
/// Milliseconds of processor time that this thread has had: what a pass costs, whoever else uses the machine.
double cpu_ms();

class Samples {
 public:
  void add(double value) { values_.push_back(value); }
  double quantile(double share) const;  // 0.5 is the median
  double highest() const { return quantile(1); }
  std::size_t size() const { return values_.size(); }
  /// {p50, p99, max, n, unit}
  json::Json summary(const std::string& unit) const;

 private:
  std::vector<double> values_;
};

/// Milliseconds of a fixed piece of work: integer arithmetic and dependent loads over 4 MiB. The fastest of
/// several.
double calibration_ms();
/// Reads and writes more memory than the caches hold, so that the next thing measured finds them cold.
void cool_caches();
/// Exponent b of y = a * x^b by least squares on logarithms.
double growth_exponent(const std::vector<double>& x, const std::vector<double>& y);

}  // namespace skep::bench
