#include "simulation/whatif/histogram.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "core/prng.h"

namespace histogram_test {

using namespace skep;
using simulation::whatif::LogHistogram;

namespace {

/// From microseconds to months: as many of each magnitude.
Duration draw(Prng& prng) {
  const std::int64_t most = std::int64_t{1} << prng.between(1, 43);
  return std::chrono::microseconds(prng.between(0, most));
}

}  // namespace

TEST_CASE("histogram: quantiles are within the stated error of the true ones", "[unit][whatif][histogram]") {
  const std::uint64_t seed = GENERATE(1u, 2u, 3u, 4u);
  INFO("seed " << seed);
  Prng prng(seed);
  LogHistogram histogram;
  std::vector<Duration> values;
  for (int i = 0; i < 5000; ++i) {
    values.push_back(draw(prng));
    histogram.add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const int permille : {0, 1, 10, 250, 500, 900, 950, 990, 999, 1000}) {
    const std::size_t rank =
        std::max<std::size_t>((values.size() * static_cast<std::size_t>(permille) + 999) / 1000, 1);
    const Duration truth = values[rank - 1], found = histogram.quantile(permille);
    INFO("p" << permille << ": " << truth.count() << " ns, found " << found.count() << " ns");
    CHECK(std::max(truth - found, found - truth) <=
          truth / LogHistogram::error_divisor + std::chrono::microseconds(1));
  }
  CHECK(histogram.quantile(0) == values.front());
  CHECK(histogram.quantile(1000) == values.back());
}

TEST_CASE("histogram: any number of any values takes bounded room", "[unit][whatif][histogram]") {
  LogHistogram histogram;
  Prng prng(7);
  for (int i = 0; i < 200'000; ++i) histogram.add(draw(prng));
  histogram.add(Duration::max());
  histogram.add(Duration(-5));
  CHECK(histogram.count() == 200'002);
  CHECK(histogram.least() == Duration::zero());
  CHECK(histogram.most() == Duration::max());
  CHECK(histogram.buckets() <= static_cast<std::size_t>(LogHistogram::most_buckets));
}

TEST_CASE("histogram: two that are added are as one", "[unit][whatif][histogram]") {
  LogHistogram a, b, both;
  Prng prng(3);
  for (int i = 0; i < 1000; ++i) {
    const Duration value = draw(prng);
    (i % 3 == 0 ? a : b).add(value);
    both.add(value);
  }
  a.add(b);
  for (const int permille : {0, 500, 950, 1000}) CHECK(a.quantile(permille) == both.quantile(permille));
  CHECK(a.count() == both.count());
  CHECK(a.mean() == both.mean());
  CHECK(a.at_most(hours(1)) == both.at_most(hours(1)));
}

TEST_CASE("histogram: an empty one says zero, a single value is exact", "[unit][whatif][histogram]") {
  LogHistogram histogram;
  CHECK(histogram.quantile(500) == Duration::zero());
  CHECK(histogram.mean() == Duration::zero());
  histogram.add(milliseconds(1234));
  for (const int permille : {0, 500, 990, 1000}) CHECK(histogram.quantile(permille) == milliseconds(1234));
}

}  // namespace histogram_test
