// Runs every scenario once at a small size and checks that each did what it is named after. Nothing is timed.
#include <cstdio>
#include <iostream>
#include <map>

#include "bench/core_bench.h"

namespace skep::bench {
namespace {

int failures = 0;

void expect(bool is_true, const std::string& what) {
  if (is_true) return;
  ++failures;
  std::fprintf(stderr, "FAILED: %s\n", what.c_str());
}

int run() {
  Effort effort;
  effort.samples = 2;
  effort.is_smoke = true;
  std::map<std::string, json::Json> results;
  for (const auto& [name, scenario] : scenarios) {
    results[name] = scenario(effort);
    std::cout << name << " " << json::dump(results[name]) << std::endl;
  }
  // The product's limit on creations, and as many as the hosts take.
  expect(results["full-pass"]["launches"] == 5, "a full pass launches what one second allows");
  expect(results["full-pass-unlimited"]["launches"] == 80,
         "without that limit eight come on each of ten hosts");
  expect(results["launches"]["launches"] == 100, "every item gets an executor where there is room");
  expect(results["launches"]["transactions"] > 0, "launches are recorded");
  expect(results["incremental"]["n"] == 2, "two samples were taken");
  expect(results["queue-reply"]["items"].get<int>() > 10, "a reply holds items");
  expect(results["memory"]["bytes_per_executor"].get<int>() > 0, "an executor takes memory");
  expect(results["growth"]["time"].size() == 2, "growth is measured at each size");
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace skep::bench

int main() {
  return skep::bench::run();
}
