// bench_core SCENARIO [--samples N] [--count]: one JSON object on stdout. bench/run.py is what people call.
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "bench/core_bench.h"
#include "bench/measure.h"

namespace skep::bench {
namespace {

int usage() {
  std::string names;
  for (const auto& [name, run] : scenarios) names += " " + name;
  std::fprintf(stderr, "usage: bench_core SCENARIO [--samples N] [--count]\nscenarios:%s; also: calibrate\n",
               names.c_str());
  return 2;
}

int run(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  Effort effort;
  Scenario chosen = nullptr;
  if (arguments.size() == 1 && arguments[0] == "calibrate") {
    std::cout << json::dump({{"calibration_ms", calibration_ms()}}) << std::endl;
    return 0;
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--count") {
      effort.is_counted = true;
    } else if (arguments[i] == "--samples" && i + 1 < arguments.size()) {
      effort.samples = std::atoi(arguments[++i].c_str());
    } else {
      for (const auto& [name, scenario] : scenarios) {
        if (name == arguments[i]) chosen = scenario;
      }
      if (chosen == nullptr) return usage();
    }
  }
  if (chosen == nullptr) return usage();
  json::Json out = chosen(effort);
  if (!effort.is_counted) out["calibration_ms"] = calibration_ms();
  std::cout << json::dump(out) << std::endl;
  return 0;
}

}  // namespace
}  // namespace skep::bench

int main(int argc, char** argv) {
  return skep::bench::run(argc, argv);
}
