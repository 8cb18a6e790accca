// What a farm in virtual time keeps: no more after a month than after a day.
#include "simulation/farm.h"

#include <catch2/catch.hpp>
#include <vector>

#include "simulation/world.h"

namespace farm_test {

using namespace skep;
using namespace skep::simulation;

namespace {

class OneJobAnHour final : public Load {
 public:
  std::optional<Arrival> next() override {
    Arrival arrival;
    arrival.at = start_of_time + minutes(5) + next_++ * Duration(hours(1));
    arrival.label = "linux";
    arrival.length = minutes(1);
    return arrival;
  }

 private:
  int next_ = 0;
};

struct Gone final : Witness {
  void on_executor_gone(const ExecutorLife& life) override { ids.push_back(life.id); }
  std::vector<ExecutorId> ids;
};

Plan small_farm() {
  Plan plan;
  scheduler::Template made;
  made.name = TemplateName("linux");
  made.labels_text = "linux";
  made.labels = parse_label_set("linux");
  made.driver = "process";
  made.remote_fs = "work";
  made.resources.cpu_millis = 1000;
  plan.scheduler.templates = {made};
  plan.scheduler.farm = "f";
  scheduler::ControllerConfig controller;
  controller.name = ControllerId("main");
  controller.url = "http://controller/";
  plan.scheduler.controllers = {controller};
  plan.hosts.resize(1);
  plan.hosts[0].host = HostId("h1");
  plan.hosts[0].capacity.cpu_millis = 2000;
  return plan;
}

}  // namespace

TEST_CASE("a host forgets executors that nothing late can name any more", "[unit][simulation]") {
  OneJobAnHour load;
  Gone gone;
  World world(small_farm(), load, gone);
  world.hosts[0]->start_agentd();
  world.schedulers.push_back(
      std::make_unique<SchedulerProcess>(world, 0, world.plan.scheduler, Prng(1).fork("scheduler 0")));
  world.schedulers.back()->start();
  world.run_until(start_of_time + hours(26));
  REQUIRE(gone.ids.size() >= 26);
  const drivers::fake::HostModel& model = world.hosts[0]->model;
  for (std::size_t i = 0; i < 13; ++i) CHECK(model.times_made(gone.ids[i]) == 0);
  for (std::size_t i = 15; i < 26; ++i) CHECK(model.times_made(gone.ids[i]) == 1);
}

}  // namespace farm_test
