// A controller's queue: the reply as facts, and what one poll costs from the last byte to the decision.
#include <algorithm>

#include "bench/core_bench.h"
#include "bench/fleet.h"
#include "bench/heap.h"
#include "bench/measure.h"
#include "bench/replies_data.h"
#include "core/check.h"
#include "scheduler/jenkins/jenkins_controller.h"

namespace skep::bench {

using namespace skep::scheduler;

namespace {

constexpr std::size_t ten_megabytes = 10'000'000;

[[gnu::noinline]] std::size_t measured_parse(const std::string& body) {
  const auto items = parse_queue_reply(body);
  SKEP_ASSERT(items.has_value());
  return items->size();
}

[[gnu::noinline]] QueueSnapshot measured_read(JenkinsController& controller) {
  auto queue = controller.read_queue();
  SKEP_ASSERT(queue.has_value());
  return std::move(*queue);
}

[[gnu::noinline]] std::size_t measured_poll(Rig& rig, const Event& event) {
  return rig.logic().handle(event, rig.now(), rig.wall()).size();
}

std::string body_of_size(std::size_t bytes) {
  const std::size_t each = queue_body(make_queue(0, 100)).size() / 100;
  return queue_body(make_queue(0, static_cast<int>(bytes / each + 1)));
}

}  // namespace

json::Json bench_queue_reply(const Effort& effort) {
  const std::string body = body_of_size(effort.is_smoke ? 20'000 : ten_megabytes);
  Samples times;
  std::size_t items = 0;
  const int samples = effort.is_counted ? 1 : effort.samples > 0 ? effort.samples : 200;
  for (int i = 0; i < samples; ++i) {
    const double start = cpu_ms();
    items = measured_parse(body);
    times.add(cpu_ms() - start);
  }
  start_heap_count();
  reset_heap_peak();
  const std::int64_t before = heap_live_bytes();
  if (!effort.is_counted) measured_parse(body);
  const std::int64_t peak = heap_peak_bytes() - before;
  json::Json out = times.summary("ms");
  out["body_bytes"] = body.size();
  out["items"] = items;
  out["peak_heap_bytes"] = peak;
  out["peak_heap_of_body"] = static_cast<double>(peak) / static_cast<double>(body.size());
  return out;
}

// What the product does: a worker reads and settles labels, then the strand compares and plans.
json::Json bench_poll(const Effort& effort) {
  FleetSize size;
  size.busy = effort.is_smoke ? 8 : 900;
  size.idle = effort.is_smoke ? 2 : 100;
  if (effort.is_smoke) {
    size.items = 100;
    size.hosts = 10;
  }
  const int count = std::min(100, size.items);
  Rig rig(size, 0);
  ControllerConfig config;
  config.name = ControllerId("main");
  const auto body = std::make_shared<std::string>(queue_body(make_queue(0, size.items)));
  JenkinsController controller(config, "bench", std::make_unique<CannedClient>(body));
  rig.read_queue(measured_read(controller));
  Samples reading, deciding;
  const int samples = effort.is_counted ? 1 : effort.samples > 0 ? effort.samples : 300;
  for (int i = 1; i <= samples; ++i) {
    rig.pass_time(seconds(2));
    rig.read_nodes();
    if (i % 5 == 0) rig.report_hosts(0, size.hosts);
    *body = queue_body(make_queue(std::int64_t{i} * (count / 2), size.items));
    double start = cpu_ms();
    QueueSnapshot queue = measured_read(controller);
    reading.add(cpu_ms() - start);
    const Event event = QueueRead{config.name, "s", rig.now(), std::move(queue)};
    start = cpu_ms();
    measured_poll(rig, event);
    deciding.add(cpu_ms() - start);
  }
  return {{"worker", reading.summary("ms")},
          {"strand", deciding.summary("ms")},
          {"changes", count},
          {"items", size.items},
          {"hosts", size.hosts},
          {"executors", size.idle + size.busy},
          {"body_bytes", body->size()}};
}

}  // namespace skep::bench
