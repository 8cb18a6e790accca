#include "tests/sim/weather.h"

#include <algorithm>

#include "core/check.h"
#include "core/resources.h"

namespace skep::sim {
namespace {

using simulation::Arrival;
using simulation::HostPlan;

/// How much of what a recipe wants.
struct Recipe {
  std::string name;
  std::vector<FaultKind> kinds;
  int faults_least = 0, faults_most = 0;
  int jobs_least = 5, jobs_most = 40;
  int hosts_least = 1, hosts_most = 4;
  bool is_swarm = false;      // a seed takes only some of the kinds: what is rare together comes up sometime
  bool is_burst = false;      // all jobs at once
  bool is_crowd = false;      // empty blocks
  bool is_freestyle = false;  // no block that waits for its node
  bool wants_lock = false;
  bool has_images = false;  // one for each template
  bool holds_for_long = false;
  bool is_told = false;       // by the controller's companion
  bool has_versions = false;  // of images: 2 and 5 are good, 3 never joins, 4 is slow; some hosts lack some
  Duration storm = minutes(20);
};

std::vector<FaultKind> kinds_between(FaultKind first, FaultKind last) {
  std::vector<FaultKind> kinds;
  for (int i = static_cast<int>(first); i <= static_cast<int>(last); ++i)
    kinds.push_back(static_cast<FaultKind>(i));
  return kinds;
}

const std::vector<Recipe>& recipes() {
  using enum FaultKind;
  static const std::vector<Recipe> all = [] {
    std::vector<Recipe> made;
    const auto add = [&](std::string name, std::vector<FaultKind> kinds, int least, int most) -> Recipe& {
      Recipe recipe;
      recipe.name = std::move(name);
      recipe.kinds = std::move(kinds);
      recipe.faults_least = least;
      recipe.faults_most = most;
      made.push_back(std::move(recipe));
      return made.back();
    };
    Recipe& calm = add("calm", {}, 0, 0);
    calm.jobs_least = calm.jobs_most = 50;
    calm.hosts_least = calm.hosts_most = 3;
    Recipe& brief = add("brief", {}, 0, 0);
    brief.jobs_least = 2;
    brief.jobs_most = 4;
    brief.hosts_least = brief.hosts_most = 1;
    brief.storm = minutes(3);
    add("lite", {scheduler_crash, agentd_crash}, 2, 12).storm = minutes(8);
    std::vector<FaultKind> everything = kinds_between(scheduler_crash, item_cancelled);
    std::erase(everything, host_lost);  // blocks of pipelines would wait for it
    add("swarm", std::move(everything), 3, 30).is_swarm = true;
    add("flaky_driver",
        {driver_fails, driver_unknown, gray_host, sandbox_disk_full, agentd_crash, never_boots, never_joins,
         joins_late, joins_twice, executor_dies, killed_by_hand, removed_by_hand, foreign_sandbox,
         agentd_disk_full},
        4, 20);
    add("swizzle", {requests_cut, replies_cut, loss, late_requests, duplicates, reordering, scheduler_crash},
        4, 20);
    add("jenkins_storm",
        {controller_restart, controller_restart_empty, controller_refuses, controller_unusable,
         controller_slow, nodes_refused, stale_lists, quiet_down, node_deleted_by_hand, node_offline_by_hand,
         item_cancelled, scheduler_crash},
        3, 15);
    Recipe& lock = add("two_leaders",
                       {scheduler_stall, scheduler_suspend, scheduler_suspend, scheduler_crash, registry_away,
                        registry_stale, session_ended, registry_cut, requests_cut, power_loss, late_requests,
                        late_requests, session_ended, leader_cut_off, leader_cut_off, leader_cut_off},
                       5, 20);
    lock.wants_lock = true;
    add("power",
        {power_loss, agentd_crash, scheduler_crash, agentd_disk_full, scheduler_disk_full, host_clock_jump,
         scheduler_clock_jump, agentd_state_lost, scheduler_state_lost},
        3, 14);
    add("operators",
        {drain, hold, retire, retire_busy, pause, config_reload, controller_renamed, quiet_down,
         scheduler_crash},
        4, 20);
    Recipe& lost = add("lost_host", {host_lost, host_lost, joins_late}, 1, 4);
    lost.jobs_least = 15;
    lost.hosts_least = 2;
    lost.hosts_most = 3;
    lost.is_freestyle = true;
    lost.storm = minutes(6);
    // The operator's word may be wrong: what was given up comes back with its host.
    Recipe& forgotten = add(
        "forgotten_host",
        {host_lost, power_loss, host_cut_off, host_cut_off, host_cut_off, agentd_crash, never_joins,
         joins_late, scheduler_crash, drain, hold, retire, host_forgotten, host_forgotten, host_forgotten},
        4, 16);
    forgotten.jobs_least = 15;
    forgotten.hosts_least = 2;
    forgotten.is_freestyle = true;
    Recipe& herd =
        add("thundering_herd", {scheduler_crash, power_loss, controller_slow, controller_refuses}, 0, 4);
    herd.is_burst = true;
    herd.jobs_least = 100;
    herd.jobs_most = 400;
    Recipe& crowd =
        add("one_build", {scheduler_crash, loss, controller_slow, controller_unusable, reordering}, 0, 4);
    crowd.is_crowd = true;
    crowd.jobs_least = 40;
    crowd.jobs_most = 120;
    Recipe& clocks = add("clocks",
                         {scheduler_clock_jump, scheduler_clock_jump, scheduler_suspend, scheduler_suspend,
                          scheduler_suspend, hold, hold, scheduler_crash, scheduler_crash, host_clock_jump},
                         4, 16);
    clocks.is_crowd = clocks.holds_for_long = true;
    clocks.jobs_least = 40;
    clocks.jobs_most = 120;
    clocks.storm = minutes(10);
    add("bad_answers",
        {host_unusable, host_unusable, host_trust_lost, controller_trust_lost, controller_unusable,
         scheduler_exhausted, host_exhausted, scheduler_crash, agentd_crash, duplicates},
        4, 16)
        .storm = minutes(10);
    Recipe& images = add("images",
                         {image_missing, image_missing, image_broken, image_broken, sandbox_disk_full,
                          driver_fails, agentd_crash, scheduler_crash},
                         3, 10);
    images.has_images = true;
    images.storm = minutes(10);
    add("upgrades",
        {agentd_older, agentd_older, scheduler_older, scheduler_older, agentd_ended, agentd_ended,
         host_drained, host_drained, host_drained, late_requests, reordering, scheduler_crash, agentd_crash},
        4, 16)
        .storm = minutes(10);
    std::vector<FaultKind> all_of_it = kinds_between(scheduler_crash, agentd_ended);
    std::erase(all_of_it, host_lost);
    Recipe& tempest = add("tempest", std::move(all_of_it), 3, 30);
    tempest.is_swarm = tempest.has_images = true;
    Recipe& told = add("told",
                       {companion_removed, companion_removed, companion_overflow, companion_older,
                        controller_restart, controller_restart_empty, controller_refuses, controller_unusable,
                        controller_slow, loss, replies_cut, late_requests, scheduler_crash, scheduler_stall,
                        scheduler_suspend, item_cancelled, node_deleted_by_hand, host_cut_off, agentd_crash},
                       2, 16);
    told.is_told = true;
    told.jobs_least = 15;
    Recipe& rollouts = add("rollouts",
                           {image_rolled_out, image_rolled_out, image_rolled_out, image_rolled_back,
                            scheduler_crash, scheduler_crash, agentd_crash, power_loss, requests_cut,
                            replies_cut, scheduler_stall, hold, drain, host_cut_off},
                           4, 16);
    rollouts.has_versions = true;
    rollouts.jobs_least = 20;
    rollouts.jobs_most = 80;
    return made;
  }();
  return all;
}

int draw(Prng& random, int least, int most) {
  return static_cast<int>(random.between(least, most));
}

Duration draw(Prng& random, Duration least, Duration most) {
  return Duration(random.between(least.count(), most.count()));
}

scheduler::Template make_template(int number, Prng& random) {
  scheduler::Template made;
  made.name = TemplateName(number == 0 ? "small" : number == 1 ? "big" : "odd");
  made.labels_text = number == 0 ? "linux x86" : number == 1 ? "linux big" : "odd";
  made.labels = parse_label_set(made.labels_text);
  made.takes_unlabelled = number == 0;
  made.driver = "process";
  made.image = "base";
  made.remote_fs = "work";
  made.resources.cpu_millis = number == 1 ? 2000 : 1000;
  made.resources.memory_bytes = std::int64_t{1} << 30;
  if (number == 1 && random.chance(1, 3)) made.resources.countable["licence"] = 1;
  if (number == 2 && random.chance(1, 2)) made.host_attributes["rack"] = "a";
  made.minimum_idle = random.chance(1, 3) ? draw(random, 1, 2) : 0;
  made.maximum = random.chance(1, 4) ? draw(random, 2, 4) : 1000;
  made.boot_deadline = seconds(draw(random, 30, 90));
  made.join_deadline = seconds(draw(random, 20, 60));
  made.idle_limit = seconds(draw(random, 30, 300));
  if (random.chance(1, 4)) made.build_limit = minutes(12);
  made.stop_grace = seconds(2);
  return made;
}

scheduler::SchedulerConfig make_config(Prng random, bool uses_hook) {
  scheduler::SchedulerConfig config;
  config.farm = "f";
  const int templates = draw(random, 1, 3);
  for (int i = 0; i < templates; ++i) config.templates.push_back(make_template(i, random));
  scheduler::ControllerConfig controller;
  controller.name = ControllerId("main");
  controller.url = "http://controller/";
  controller.one_build =
      uses_hook ? scheduler::ControllerConfig::OneBuild::hook : scheduler::ControllerConfig::OneBuild::gate;
  controller.poll_interval = milliseconds(random.chance(1, 2) ? 500 : 2000);
  controller.max_open_gates = draw(random, 1, 4);
  controller.sentinel_node = "f-sentinel";  // without it a controller says too little of "any node"
  config.controllers.push_back(controller);
  if (random.chance(1, 4)) config.launch_attempts = 2;
  if (random.chance(1, 4)) config.max_coming_per_host = 2;
  return config;
}

HostPlan make_host(int number, Prng& random) {
  HostPlan host;
  host.host = HostId("h" + std::to_string(number));
  host.capacity.cpu_millis = 1000 * draw(random, 2, 8);
  host.capacity.memory_bytes = std::int64_t{draw(random, 2, 12)} << 30;
  host.capacity.disk_bytes = std::int64_t{100} << 30;
  host.capacity.countable["licence"] = draw(random, 1, 2);
  host.max_executors = draw(random, 2, 8);
  host.attributes["rack"] = number == 0 || random.chance(1, 2) ? "a" : "b";
  host.takes.boot = {milliseconds(200), seconds(draw(random, 1, 15))};
  return host;
}

/// What differs between versions, and how new ones are tried.
void add_versions(simulation::Plan& plan, Prng random) {
  for (const scheduler::Template& each : plan.scheduler.templates) {
    plan.unjoining_images.insert(each.image + "@3");
    plan.slow_images[each.image + "@4"] = seconds(draw(random, 5, 25));
  }
  scheduler::RolloutPolicy& policy = plan.scheduler.rollouts;
  policy.canary_share = random.chance(1, 5) ? 0 : draw(random, 5, 60);
  policy.canary_starts = draw(random, 2, 8);
  policy.worse_join_rate = draw(random, 10, 50);
  policy.give_up_after = minutes(draw(random, 3, 10));
}

/// The first host has all of them: what every template can run on.
void lack_versions(simulation::Plan& plan, Prng random) {
  for (std::size_t i = 0; i < plan.hosts.size(); ++i) {
    for (const scheduler::Template& each : plan.scheduler.templates) {
      for (int version = 2; version <= 5; ++version) {
        if (i == 0 || !random.chance(1, 5))
          plan.hosts[i].catalogue.insert(each.image + "@" + std::to_string(version));
      }
    }
  }
}

std::string draw_label(const scheduler::SchedulerConfig& config, Prng& random) {
  switch (random.below(5)) {
    case 0:
      return "";
    case 1:
      return "linux";
    case 2:
      return config.templates.size() > 1 ? "linux && big" : "linux && x86";
    case 3:
      return config.templates.size() > 2 ? "odd" : "linux || odd";
    default:
      return "x86 || big";
  }
}

std::vector<Arrival> make_load(const Recipe& recipe, const Weather& weather, Prng random) {
  std::vector<Arrival> load;
  const int jobs = draw(random, recipe.jobs_least, recipe.jobs_most);
  const bool is_quick = recipe.is_burst || weather.storm < minutes(5);
  const Duration longest = is_quick ? Duration(seconds(60)) : Duration(minutes(draw(random, 1, 8)));
  for (int i = 0; i < jobs; ++i) {
    Arrival job;
    job.at = simulation::start_of_time +
             (recipe.is_burst ? Duration(seconds(30)) : draw(random, seconds(0), weather.storm * 4 / 5));
    job.label = draw_label(weather.plan.scheduler, random);
    job.length =
        draw(random, random.chance(1, 3) ? Duration(milliseconds(50)) : Duration(seconds(5)), longest);
    job.is_pipeline = random.chance(1, 2);
    job.is_empty = recipe.is_crowd || random.chance(1, 10);
    if (job.is_empty) job.is_pipeline = true;
    if (recipe.is_freestyle) job.is_pipeline = job.is_empty = false;
    if (!job.is_pipeline && random.chance(1, 5)) job.quiet_period = seconds(draw(random, 1, 20));
    load.push_back(job);
  }
  std::stable_sort(load.begin(), load.end(), [](const Arrival& a, const Arrival& b) { return a.at < b.at; });
  return load;
}

/// Sizes that hurt without being hopeless.
Fault draw_fault(FaultKind kind, const Weather& weather, Prng& random) {
  Fault fault;
  fault.kind = kind;
  fault.at = simulation::start_of_time + draw(random, seconds(1), weather.storm * 9 / 10);
  fault.length = draw(random, seconds(1), seconds(random.chance(1, 3) ? 300 : 40));
  fault.target = random.below(1'000'000);
  switch (kind) {
    case FaultKind::scheduler_crash:
    case FaultKind::agentd_crash:
      fault.value = random.chance(1, 2) ? draw(random, 0, 6) : draw(random, 0, 60);
      fault.length = draw(random, milliseconds(200), seconds(random.chance(1, 6) ? 900 : 10));
      break;
    case FaultKind::agentd_state_lost:
    case FaultKind::scheduler_state_lost:
      fault.length = draw(random, seconds(1), seconds(20));
      break;
    case FaultKind::scheduler_suspend:
    case FaultKind::scheduler_stall:
      fault.value = draw(random, 0, 30);
      fault.length = draw(random, seconds(1), seconds(90));
      break;
    case FaultKind::host_lost:
      fault.length = draw(random, minutes(38), minutes(50));
      fault.value = fault.target % 3 == 0 ? 1 : 0;  // for good
      break;
    case FaultKind::host_cut_off:
    case FaultKind::host_forgotten:
      fault.length = draw(random, minutes(1), minutes(8));
      break;
    case FaultKind::image_missing:
    case FaultKind::image_broken:
      fault.length = draw(random, seconds(20), minutes(6));
      break;
    case FaultKind::nodes_refused:
      fault.value = 1000;
      fault.length = draw(random, seconds(20), minutes(3));
      break;
    case FaultKind::leader_cut_off:
      fault.value = draw(random, 500, 1000);
      fault.length = draw(random, seconds(3), seconds(25));
      break;
    case FaultKind::power_loss:
      fault.length = draw(random, seconds(20), minutes(6));
      break;
    case FaultKind::scheduler_clock_jump:
    case FaultKind::host_clock_jump:
      fault.value = random.chance(1, 4) ? draw(random, -315'360'000, 315'360'000) : draw(random, -7200, 7200);
      break;
    case FaultKind::reordering:
    case FaultKind::controller_slow:
      fault.value = draw(random, 50, random.chance(1, 4) ? 15'000 : 2000);
      break;
    case FaultKind::config_reload:
      fault.value = draw(random, 0, 3);
      break;
    default:
      fault.value = random.chance(1, 4) ? 1000 : draw(random, 20, 500);
  }
  return fault;
}

std::vector<Fault> make_faults(const Recipe& recipe, const Weather& weather, Prng random) {
  std::vector<FaultKind> kinds = recipe.kinds;
  if (recipe.is_swarm) {
    std::erase_if(kinds, [&](FaultKind) { return random.chance(2, 3); });
  }
  std::vector<Fault> faults;
  if (kinds.empty()) return faults;
  const int count = draw(random, recipe.faults_least, recipe.faults_most);
  for (int i = 0; i < count; ++i)
    faults.push_back(draw_fault(kinds[random.below(kinds.size())], weather, random));
  for (Fault& fault : faults) {
    if (recipe.holds_for_long && fault.kind == FaultKind::hold) fault.length += minutes(5);
  }
  std::stable_sort(faults.begin(), faults.end(), [](const Fault& a, const Fault& b) { return a.at < b.at; });
  return faults;
}

}  // namespace

const std::vector<std::string>& weather_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Recipe& recipe : recipes()) all.push_back(recipe.name);
    return all;
  }();
  return names;
}

Weather make_weather(std::string_view name, std::uint64_t seed) {
  const auto recipe =
      std::find_if(recipes().begin(), recipes().end(), [&](const Recipe& each) { return each.name == name; });
  SKEP_ASSERT(recipe != recipes().end());
  const Prng root = Prng(seed).fork(name);
  Prng random = root.fork("farm");
  Weather weather;
  weather.name = recipe->name;
  weather.seed = seed;
  weather.storm = recipe->storm;
  weather.plan.seed = seed;
  weather.plan.may_script = random.chance(1, 2);
  weather.uses_hook = weather.plan.may_script && random.chance(1, 2);
  if (recipe->is_told) weather.plan.may_script = weather.uses_hook = true;
  weather.plan.core_version = random.chance(1, 2) ? "2.528.3" : "2.479.3";
  weather.has_leader_lock = recipe->wants_lock || (recipe->is_swarm && random.chance(1, 2));
  weather.schedulers = weather.has_leader_lock ? 2 : 1;
  weather.plan.scheduler = make_config(root.fork("config"), weather.uses_hook);
  for (scheduler::Template& each : weather.plan.scheduler.templates) {
    if (recipe->has_images) each.image += "-" + each.name.text;
  }
  if (recipe->has_versions) add_versions(weather.plan, root.fork("versions"));
  weather.plan.scheduler.controllers.front().companion = recipe->is_told;
  const int hosts = draw(random, recipe->hosts_least, recipe->hosts_most);
  for (int i = 0; i < hosts; ++i) weather.plan.hosts.push_back(make_host(i, random));
  if (recipe->has_versions) lack_versions(weather.plan, root.fork("catalogues"));
  weather.arrivals = make_load(*recipe, weather, root.fork("load"));
  weather.faults = make_faults(*recipe, weather, root.fork("faults"));
  return weather;
}

std::string describe(const Weather& weather) {
  std::string text = "weather " + weather.name + ", seed " + std::to_string(weather.seed) + ": controller " +
                     weather.plan.core_version +
                     (weather.plan.scheduler.controllers.front().companion ? ", companion"
                      : weather.uses_hook                                  ? ", hook"
                                                                           : ", gate") +
                     (weather.plan.may_script ? ", administrator" : ", least rights") + ", " +
                     std::to_string(weather.schedulers) +
                     (weather.has_leader_lock ? " schedulers with a lock" : " scheduler") + ", " +
                     std::to_string(weather.arrivals.size()) + " jobs\n";
  for (const HostPlan& host : weather.plan.hosts) {
    text += "  host " + host.host.text + ": " + to_string(host.capacity) + ", at most " +
            std::to_string(host.max_executors) + " executors, rack " + host.attributes.at("rack") + "\n";
  }
  for (const scheduler::Template& each : weather.plan.scheduler.templates) {
    text += "  template " + each.name.text + ": \"" + each.labels_text + "\", " + to_string(each.resources) +
            ", image " + each.image + ", idle at least " + std::to_string(each.minimum_idle) + ", at most " +
            std::to_string(each.maximum) + "\n";
  }
  int number = 0;
  for (const Fault& fault : weather.faults)
    text += "  fault " + std::to_string(number++) + ": " + to_string(fault) + "\n";
  return text;
}

}  // namespace skep::sim
