// Single steps under Google Benchmark, for whoever works on one of them: build/release/bin/bench_micro
#include <benchmark/benchmark.h>

#include "bench/fleet.h"
#include "core/labels/label_expression.h"
#include "scheduler/core/placement.h"

namespace skep::bench {
namespace {

using namespace skep::scheduler;

std::vector<HostView> make_views(int count) {
  std::vector<HostView> views;
  for (int i = 0; i < count; ++i) {
    const HostReport report = make_host_report(i, false);
    HostView view;
    view.host = report.host;
    view.drivers = report.drivers;
    view.images = report.images;
    view.attributes = report.attributes;
    view.capacity = view.free = report.capacity;
    view.max_executors = report.max_executors;
    views.push_back(std::move(view));
  }
  return views;
}

void place_one(benchmark::State& state) {
  const std::vector<HostView> views = make_views(static_cast<int>(state.range(0)));
  const std::vector<Template> templates = make_templates(50);
  std::size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(decide_placement(templates[next++ % templates.size()], views, {}));
  }
  state.SetComplexityN(state.range(0));
}
BENCHMARK(place_one)->RangeMultiplier(10)->Range(10, 1000)->Complexity(benchmark::oN);

void read_label(benchmark::State& state) {
  const std::string text = "linux && (x86 || arm64) && !tool-07";
  for (auto _ : state) benchmark::DoNotOptimize(LabelExpression::from_job(text));
}
BENCHMARK(read_label);

void match_label(benchmark::State& state) {
  const LabelExpression expression = LabelExpression::from_job("linux && (x86 || arm64) && !tool-07");
  const LabelSet labels{"linux", "swarm", "tool-08", "x86"};
  for (auto _ : state) benchmark::DoNotOptimize(expression.matches(labels));
}
BENCHMARK(match_label);

}  // namespace
}  // namespace skep::bench

BENCHMARK_MAIN();
