#include "tests/sim/speed.h"

#include <algorithm>
#include <map>
#include <string>

#include "core/prng.h"
#include "simulation/farm.h"

namespace skep::sim {
namespace {

using simulation::Arrival;

constexpr Duration job_length = minutes(10);
constexpr int executors_of_a_host = 20;
constexpr Duration poll = seconds(2);
constexpr Duration settled = minutes(30);  // after the first fill

simulation::Plan make_plan(int executors, std::uint64_t seed) {
  simulation::Plan plan;
  plan.seed = seed;
  scheduler::Template made;
  made.name = TemplateName("linux");
  made.labels_text = "linux";
  made.labels = parse_label_set("linux");
  made.takes_unlabelled = true;
  made.driver = "process";
  made.image = "base";
  made.remote_fs = "work";
  made.resources.cpu_millis = 1000;
  plan.scheduler.templates = {made};
  plan.scheduler.farm = "f";
  plan.scheduler.max_creations_per_second = 20;
  scheduler::ControllerConfig controller;
  controller.name = ControllerId("main");
  controller.url = "http://controller/";
  controller.poll_interval = poll;
  controller.max_open_gates = 8;
  plan.scheduler.controllers = {controller};
  for (int i = 0; i * executors_of_a_host < executors; ++i) {
    simulation::HostPlan host;
    host.host = HostId("h" + std::to_string(i));
    host.capacity.cpu_millis = 1000 * executors_of_a_host;
    host.max_executors = executors_of_a_host;
    plan.hosts.push_back(host);
  }
  return plan;
}

class Jobs final : public simulation::Load {
 public:
  /// `rate(at)`: jobs an hour.
  Jobs(std::uint64_t seed, Duration length, int (*rate)(Duration, int), int executors)
      : random_(Prng(seed).fork("jobs")), end_(length), rate_(rate), executors_(executors) {}
  std::optional<Arrival> next() override {
    const int an_hour = rate_(at_, executors_);
    const Duration mean = Duration(hours(1)) / std::max(1, an_hour);
    at_ += Duration(random_.between(0, 2 * mean.count()));
    if (at_ > end_) return std::nullopt;
    Arrival arrival;
    arrival.at = simulation::start_of_time + at_;
    arrival.label = "linux";
    arrival.length = job_length;
    return arrival;
  }

 private:
  Prng random_;
  Duration at_{}, end_;
  int (*rate_)(Duration, int);
  int executors_;
};

class Meter final : public simulation::Witness {
 public:
  explicit Meter(Measured& measured) : measured_(measured) {}
  void on_build_started(const controller_sim::BuildRecord& build, const Arrival&) override {
    running_[build.id] =
        simulation::start_of_time +
        std::max<Duration>(settled, build.started_at.value_or(Instant{}) - simulation::start_of_time);
  }
  void on_build_ended(const controller_sim::BuildRecord& build, const Arrival&) override {
    ++measured_.builds;
    end(build.id, build.ended_at.value_or(Instant{}));
  }
  /// Builds that still run count until now.
  Duration busy_until(Instant now) {
    while (!running_.empty()) end(running_.begin()->first, now);
    return busy_;
  }
  void on_executor_gone(const simulation::ExecutorLife& life) override {
    ++measured_.launches;
    if (life.builds == 0) ++measured_.unused;
  }

 private:
  void end(std::uint64_t build, Instant at) {
    if (const auto ended = running_.extract(build); ended && at > ended.mapped())
      busy_ += at - ended.mapped();
  }
  Measured& measured_;
  std::map<std::uint64_t, Instant> running_;  // since when it counts
  Duration busy_{};
};

Measured run(int executors, Duration length, std::uint64_t seed, int (*rate)(Duration, int), bool waits) {
  Measured measured;
  Meter meter(measured);
  Jobs jobs(seed, length, rate, executors);
  const simulation::Plan plan = make_plan(executors, seed);
  simulation::Farm farm(plan, jobs, meter);
  farm.run_until(simulation::start_of_time + length);
  if (waits) {
    for (int i = 0; i < 240 && (farm.unfinished_jobs() > 0 || farm.has_arrivals_left()); ++i)
      farm.run_until(farm.now() + minutes(1));
    farm.run_until(farm.now() + hours(2));  // unused ones go, too, and are counted
    measured.is_finished = farm.unfinished_jobs() == 0;
  }
  measured.simulated = farm.now() - simulation::start_of_time;
  measured.digest = farm.digest();
  measured.events = farm.events();
  const double slots = static_cast<double>(executors);
  const double all = static_cast<double>((length - settled).count()) * slots;
  measured.utilisation = static_cast<double>(meter.busy_until(farm.now()).count()) / all;
  const auto mean = [](const simulation::Span& span) { return (span.least + span.most) / 2; };
  const simulation::HostPlan& host = plan.hosts.front();
  const Duration recycle =
      mean(host.takes.create) + mean(host.takes.boot) + mean(host.takes.join) + mean(host.takes.destroy);
  measured.ideal = static_cast<double>(job_length.count()) /
                   static_cast<double>((job_length + recycle + poll / 2).count());
  return measured;
}

int always_more(Duration, int executors) {
  return executors * 7;  // six an hour would fill a slot
}

int office_day(Duration at, int executors) {
  const auto hour = at / Duration(hours(1)) % 24;
  const int percent = hour < 7 || hour > 19 ? 5 : hour == 10 || hour == 15 ? 80 : 40;
  return executors * 6 * percent / 100;
}

}  // namespace

Measured run_saturated(int executors, Duration length, std::uint64_t seed) {
  return run(executors, length, seed, always_more, false);
}

Measured run_day(int executors, Duration length, std::uint64_t seed) {
  return run(executors, length, seed, office_day, true);
}

}  // namespace skep::sim
