// The scheduler's logic: whole passes, passes after small changes, growth, memory.
#include <algorithm>
#include <array>

#include "bench/core_bench.h"
#include "bench/fleet.h"
#include "bench/heap.h"
#include "bench/measure.h"
#include "core/check.h"

namespace skep::bench {

using namespace skep::scheduler;

namespace {

// Callgrind collects inside of functions with this name only; never inlined for that reason.
[[gnu::noinline]] std::size_t measured_pass(Rig& rig, const Event& event) {
  return rig.logic().handle(event, rig.now(), rig.wall()).size();
}

/// As many items leave as come; then one pass.
[[gnu::noinline]] std::size_t measured_changes(Rig& rig, const std::vector<QueueItem>& come,
                                               std::int64_t first_leaving) {
  LogicState& logic = rig.logic();
  DemandBook& demand = rig.controller().demand;
  for (std::size_t i = 0; i < come.size(); ++i) demand.erase(first_leaving + static_cast<std::int64_t>(i));
  for (const QueueItem& item : come) demand.upsert(item, logic.template_index, rig.now());
  logic.replan();
  return logic.handle(Tick{}, rig.now(), rig.wall()).size();
}

/// What changed on hosts, without the reports' own reading; then one pass.
[[gnu::noinline]] std::size_t measured_host_changes(Rig& rig, const std::vector<HostReport>& reports) {
  LogicState& logic = rig.logic();
  for (const HostReport& report : reports) {
    logic.hosts.at(report.host).report.capacity = report.capacity;
    logic.changed(logic.place_of(report.host));
  }
  logic.replan();
  return logic.handle(Tick{}, rig.now(), rig.wall()).size();
}

int samples_of(const Effort& effort, int usual) {
  return effort.is_counted ? 1 : effort.samples > 0 ? effort.samples : usual;
}

FleetSize size_of(const Effort& effort) {
  FleetSize size;
  if (effort.is_smoke) {
    size.items = 100;
    size.hosts = 10;
  }
  return size;
}

Event queue_read(const Rig& rig, QueueSnapshot queue) {
  return QueueRead{ControllerId("main"), "s", rig.now(), std::move(queue)};
}

json::Json full_pass(const Effort& effort, const FleetSize& size, int creations, int samples) {
  Samples times;
  std::uint64_t launches = 0;
  for (int i = 0; i < samples; ++i) {
    Rig rig(size, creations);
    const std::uint64_t before = rig.logic().counters.launches;
    const Event event = queue_read(rig, make_queue(0, size.items));
    if (!effort.is_counted) cool_caches();
    const double start = cpu_ms();
    measured_pass(rig, event);
    times.add(cpu_ms() - start);
    launches = rig.logic().counters.launches - before;
  }
  json::Json out = times.summary("ms");
  out["items"] = size.items;
  out["hosts"] = size.hosts;
  out["templates"] = size.templates;
  out["executors_before"] = size.idle + size.busy;
  out["launches"] = launches;
  return out;
}

// A farm in the middle of its day: all hosts full, all demand waiting, a thousand executors.
FleetSize steady(const Effort& effort) {
  FleetSize size = size_of(effort);
  size.busy = effort.is_smoke ? 8 : 900;
  size.idle = effort.is_smoke ? 2 : 100;
  return size;
}

/// Passes until each template was launched once: one launch every 200 ms is the default pace. What a template
/// costs the first time after a start is no part of a pass after small changes.
int warm_up_of(const Effort& effort, const FleetSize& size) {
  return effort.is_counted || effort.is_smoke ? 0 : 4 * size.templates;
}

/// Of the logic in a farm of this size.
std::int64_t live_bytes(const FleetSize& size, int items) {
  const std::int64_t before = heap_live_bytes();
  Rig rig(size, 0);
  if (items > 0) rig.read_queue(make_queue(0, items));
  return heap_live_bytes() - before - rig.own_bytes();
}

}  // namespace

json::Json bench_full_pass(const Effort& effort) {
  FleetSize size = size_of(effort);
  return full_pass(effort, size, 0, samples_of(effort, 1000));
}

json::Json bench_full_pass_unlimited(const Effort& effort) {
  return full_pass(effort, size_of(effort), 1'000'000, samples_of(effort, 200));
}

json::Json bench_incremental(const Effort& effort) {
  const FleetSize size = steady(effort);
  Rig rig(size, 0);
  const int count = std::min(100, size.items);
  rig.read_queue(make_queue(0, size.items));
  std::int64_t oldest = 1;
  Samples times;
  const int samples = samples_of(effort, 1000), warm_up = warm_up_of(effort, size);
  for (int i = -warm_up; i < samples; ++i) {
    rig.pass_time(milliseconds(50));
    if (i % 200 == 0) rig.keep_fresh();  // facts grow stale after 15 s
    std::vector<QueueItem> fresh;
    fresh.reserve(static_cast<std::size_t>(count / 2));
    for (int k = 0; k < count / 2; ++k) fresh.push_back(make_item(oldest + size.items + k));
    const double start = cpu_ms();
    measured_changes(rig, fresh, oldest);
    if (i >= 0) times.add(cpu_ms() - start);
    oldest += count / 2;
  }
  json::Json out = times.summary("ms");
  out["changes"] = count;
  out["items"] = size.items;
  out["hosts"] = size.hosts;
  out["executors"] = size.idle + size.busy;
  out["warm_up_passes"] = warm_up;
  return out;
}

json::Json bench_changed_hosts(const Effort& effort) {
  const FleetSize size = steady(effort);
  Rig rig(size, 0);
  rig.read_queue(make_queue(0, size.items));
  Samples times;
  const int samples = samples_of(effort, 1000), warm_up = warm_up_of(effort, size);
  const int count = std::min(100, size.hosts);
  for (int i = -warm_up; i < samples; ++i) {
    rig.pass_time(milliseconds(50));
    if (i % 200 == 0) rig.keep_fresh();  // facts grow stale after 15 s
    std::vector<HostReport> reports;
    const int first = ((i + warm_up) * count) % size.hosts;
    for (int h = first; h < std::min(first + count, size.hosts); ++h) {
      reports.push_back(rig.host(h));
      reports.back().capacity.cpu_millis += (i + warm_up) % 7;
    }
    const double start = cpu_ms();
    measured_host_changes(rig, reports);
    if (i >= 0) times.add(cpu_ms() - start);
  }
  json::Json out = times.summary("ms");
  out["changes"] = count;
  out["items"] = size.items;
  out["hosts"] = size.hosts;
  out["executors"] = size.idle + size.busy;
  out["warm_up_passes"] = warm_up;
  return out;
}

json::Json bench_growth(const Effort& effort) {
  const std::vector<int> sizes =
      effort.is_smoke ? std::vector<int>{100, 400} : std::vector<int>{100, 250, 630, 1600, 4000, 10'000};
  std::vector<double> x, ms, executors, bytes;
  json::Json points = json::Json::array();
  for (const int items : sizes) {
    FleetSize size;
    size.items = items;
    size.hosts = std::max(10, items / 10);
    const json::Json pass = full_pass(effort, size, 0, samples_of(effort, items > 2000 ? 60 : 200));
    x.push_back(items + size.hosts);
    ms.push_back(pass["p50"].get<double>());
    points.push_back({{"items", items}, {"hosts", size.hosts}, {"ms", ms.back()}});
  }
  json::Json memory = json::Json::array();
  start_heap_count();
  FleetSize size;
  size.hosts = effort.is_smoke ? 100 : 1000;
  const std::int64_t empty = live_bytes(size, 0);
  for (const int items : sizes) {
    const int count = items / 2;
    size.idle = count;
    executors.push_back(count);
    bytes.push_back(static_cast<double>(live_bytes(size, 0) - empty));
    memory.push_back({{"executors", count}, {"bytes", bytes.back()}});
  }
  return {{"time_exponent", growth_exponent(x, ms)},
          {"memory_exponent", growth_exponent(executors, bytes)},
          {"time", points},
          {"memory", memory}};
}

json::Json bench_memory(const Effort& effort) {
  FleetSize size = size_of(effort);
  const int executors = effort.is_smoke ? 20 : 2000;
  start_heap_count();
  const std::int64_t base = live_bytes(size, 0);
  const std::int64_t with_items = live_bytes(size, size.items);
  size.idle = executors / 2;
  size.busy = executors / 2;
  const std::int64_t with_executors = live_bytes(size, 0);
  return {{"bytes_per_item", (with_items - base) / size.items},
          {"bytes_per_executor", (with_executors - base) / executors},
          {"base_bytes", base}};
}

}  // namespace skep::bench
