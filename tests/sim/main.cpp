// skep-sim: runs seeds of the simulated farm in one process. scripts/sim builds it, spreads seeds over
// processors and puts the results together.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/resources.h"
#include "tests/sim/run.h"
#include "tests/sim/speed.h"

#ifdef SKEP_PLANTED_BUGS
#include "tests/sim/planted/planted.h"
#endif

namespace {

using namespace skep;
using sim::Outcome;
using sim::Selection;
using sim::Weather;

constexpr std::size_t last_lines = 40;
constexpr std::size_t longest_line = 220;

struct Options {
  std::vector<std::string> weathers{"swarm"};
  std::uint64_t from = 1, seeds = 1;
  bool has_one_seed = false;
  std::string log = "none";
  bool wants_shrink = false;
  double minutes = 0;
  int twice_percent = 5;
  bool keeps_going = false;
  std::string commit = "unknown", bug;
  std::vector<std::size_t> faults, jobs;
  std::size_t hosts = 0;
  bool has_faults = false, has_jobs = false;
};

struct Totals {
  std::uint64_t runs = 0, violations = 0, differing = 0, twice = 0, events = 0, builds = 0, launches = 0,
                unused = 0, second_builds = 0, stale_orders = 0;
  double simulated_hours = 0;
  std::int64_t longest_calm_ms = 0;
  sim::Probes probes;
  nlohmann::json failures = nlohmann::json::array();
};

Selection selection_of(const Options& options, const Weather& weather) {
  Selection selection = sim::all_of(weather);
  if (options.has_faults) selection.faults = options.faults;
  if (options.has_jobs) selection.jobs = options.jobs;
  if (options.hosts > 0) selection.hosts = options.hosts;
  return selection;
}

std::string listed(const std::vector<std::size_t>& numbers) {
  std::string text;
  for (const std::size_t number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text.empty() ? "none" : text;
}

std::string replay_command(const Weather& weather, const Selection& selection, const std::string& bug) {
  const Selection all = sim::all_of(weather);
  std::string text =
      "scripts/sim --weather " + weather.name + " --seed " + std::to_string(weather.seed) + " --log full";
  if (selection.faults.size() != all.faults.size()) text += " --faults " + listed(selection.faults);
  if (selection.jobs.size() != all.jobs.size()) text += " --jobs " + listed(selection.jobs);
  if (selection.hosts != all.hosts) text += " --hosts " + std::to_string(selection.hosts);
  if (!bug.empty()) text += " --bug " + bug;
  return text;
}

void add(Totals& totals, const Outcome& outcome) {
  ++totals.runs;
  totals.events += outcome.events;
  totals.builds += outcome.builds;
  totals.launches += outcome.launches;
  totals.unused += outcome.unused;
  totals.second_builds += outcome.second_builds;
  totals.stale_orders += outcome.stale_orders;
  totals.simulated_hours += static_cast<double>(to_ms(outcome.simulated)) / 3'600'000.0;
  totals.longest_calm_ms = std::max(totals.longest_calm_ms, to_ms(outcome.calm));
  for (const auto& [name, count] : outcome.probes) totals.probes[name] += count;
}

/// The run once more, for what happened around the broken promise.
void tell_violation(const Weather& weather, const Selection& selection, const Options& options,
                    const Outcome& outcome, Totals& totals) {
  ++totals.violations;
  std::deque<std::string> lines;
  static_cast<void>(sim::run(sim::select(weather, selection), [&](const std::string& line) {
    lines.push_back(line.substr(0, longest_line));
    if (lines.size() > last_lines) lines.pop_front();
  }));
  const std::string command =
      replay_command(weather, selection, options.bug) + " --found-at " + options.commit;
  std::fprintf(stderr, "\nBROKEN PROMISE: %s\n  %s\n  after %s of weather %s, seed %llu, commit %s\n",
               outcome.violation->promise.c_str(), outcome.violation->detail.c_str(),
               duration_to_text(outcome.violation->at.time_since_epoch()).c_str(), weather.name.c_str(),
               static_cast<unsigned long long>(weather.seed), options.commit.c_str());
  std::fprintf(stderr, "the last events before it:\n");
  for (const std::string& line : lines) std::fprintf(stderr, "  %s\n", line.c_str());
  std::fprintf(stderr, "replay: %s\n", command.c_str());
  totals.failures.push_back({{"weather", weather.name},
                             {"seed", weather.seed},
                             {"promise", outcome.violation->promise},
                             {"detail", outcome.violation->detail},
                             {"at_ms", to_ms(outcome.violation->at.time_since_epoch())},
                             {"replay", command}});
}

void shrink_and_tell(const Weather& weather, const Options& options, const Outcome& outcome) {
  if (!outcome.violation) return;
  std::fprintf(stderr, "looking for less that breaks the same promise\n");
  const Selection least =
      sim::shrink(weather, selection_of(options, weather), outcome.violation->promise,
                  [](const std::string& line) { std::fprintf(stderr, "  %s\n", line.c_str()); });
  const Weather smaller = sim::select(weather, least);
  std::printf("%sreplay: %s\n", sim::describe(smaller).c_str(),
              replay_command(weather, least, options.bug).c_str());
}

void run_seed(const std::string& name, std::uint64_t seed, const Options& options, Totals& totals) {
  const Weather weather = sim::make_weather(name, seed);
  const Selection selection = selection_of(options, weather);
  const Weather chosen = sim::select(weather, selection);
  if (options.log != "none") std::printf("%s", sim::describe(chosen).c_str());
  std::function<void(const std::string&)> tell;
  if (options.log == "full") tell = [](const std::string& line) { std::printf("%s\n", line.c_str()); };
  const Outcome outcome = sim::run(chosen, tell);
  add(totals, outcome);
  if (outcome.violation) tell_violation(weather, selection, options, outcome, totals);
  const bool runs_twice = static_cast<int>(Prng(seed).fork("twice").below(100)) < options.twice_percent;
  if (runs_twice) {
    ++totals.twice;
    if (sim::run(chosen).digest != outcome.digest) {
      ++totals.differing;
      std::fprintf(stderr, "NOT DETERMINISTIC: weather %s, seed %llu gives another digest the second time\n",
                   name.c_str(), static_cast<unsigned long long>(seed));
    }
  }
  if (options.log != "none" || options.has_one_seed) {
    std::printf(
        "weather %s, seed %llu: digest %016llx, %llu events, %s simulated, %llu builds, %llu launches%s\n",
        name.c_str(), static_cast<unsigned long long>(seed), static_cast<unsigned long long>(outcome.digest),
        static_cast<unsigned long long>(outcome.events), duration_to_text(outcome.simulated).c_str(),
        static_cast<unsigned long long>(outcome.builds), static_cast<unsigned long long>(outcome.launches),
        outcome.violation ? ", BROKEN" : "");
  }
  if (options.wants_shrink) shrink_and_tell(weather, options, outcome);
}

void print_json(const Totals& totals, double seconds) {
  const nlohmann::json result{{"runs", totals.runs},
                              {"violations", totals.violations},
                              {"not_deterministic", totals.differing},
                              {"run_twice", totals.twice},
                              {"events", totals.events},
                              {"builds", totals.builds},
                              {"launches", totals.launches},
                              {"executors_unused", totals.unused},
                              {"second_builds_in_the_gate", totals.second_builds},
                              {"stale_orders_refused", totals.stale_orders},
                              {"simulated_hours", totals.simulated_hours},
                              {"longest_calm_ms", totals.longest_calm_ms},
                              {"seconds", seconds},
                              {"probes", totals.probes},
                              {"failures", totals.failures}};
  std::printf("%s\n", result.dump().c_str());
}

/// A short scenario once for each action at which a daemon can be killed, until none is left.
int enumerate_crash_points(const Options& options) {
  Totals totals;
  std::uint64_t points = 0;
  for (const sim::FaultKind kind : {sim::FaultKind::scheduler_crash, sim::FaultKind::agentd_crash}) {
    const std::string probe =
        kind == sim::FaultKind::scheduler_crash ? "a scheduler ends" : "agentd killed between two actions";
    for (std::int64_t action = 0;; ++action) {
      Weather weather = sim::make_weather("brief", options.from);
      weather.faults = {{kind, simulation::start_of_time + milliseconds(1), seconds(2), 0, action}};
      const Outcome outcome = sim::run(weather);
      if (!outcome.probes.contains(probe)) break;
      ++points;
      add(totals, outcome);
      if (!outcome.violation) continue;
      std::fprintf(stderr, "killed %s before action %lld of weather brief, seed %llu\n",
                   std::string(sim::to_string(kind)).c_str(), static_cast<long long>(action),
                   static_cast<unsigned long long>(options.from));
      tell_violation(weather, sim::all_of(weather), options, outcome, totals);
    }
  }
  std::printf("%llu crash points, %llu broken promises\n", static_cast<unsigned long long>(points),
              static_cast<unsigned long long>(totals.violations));
  return totals.violations > 0 ? 1 : 0;
}

std::string hexadecimal(std::uint64_t number) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(number));
  return text;
}

/// As JSON, for scripts/bench.
int measure(int executors, double hours_long) {
  nlohmann::json result;
  const auto length = Duration(static_cast<std::int64_t>(hours_long * 3.6e12));
  for (const bool is_day : {false, true}) {
    const auto begin = std::chrono::steady_clock::now();
    const sim::Measured measured = is_day ? sim::run_day(executors, std::max<Duration>(length, hours(24)), 1)
                                          : sim::run_saturated(executors, length, 1);
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    result[is_day ? "day" : "saturated"] = {
        {"executors", executors},
        {"digest", hexadecimal(measured.digest)},
        {"events", measured.events},
        {"events_per_second", static_cast<double>(measured.events) / took},
        {"times_real_time", static_cast<double>(to_ms(measured.simulated)) / 1000.0 / took},
        {"simulated_hours", static_cast<double>(to_ms(measured.simulated)) / 3.6e6},
        {"seconds", took},
        {"builds", measured.builds},
        {"launches", measured.launches},
        {"unused", measured.unused},
        {"is_finished", measured.is_finished},
        {"utilisation", measured.utilisation},
        {"utilisation_of_ideal", measured.utilisation / measured.ideal}};
  }
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

int list_probes() {
  for (const std::string& name : sim::probe_names()) std::printf("%s\n", name.c_str());
  return 0;
}

int list_bugs() {
#ifdef SKEP_PLANTED_BUGS
  for (const planted::Bug& bug : planted::bugs())
    std::printf("%.*s\n", static_cast<int>(bug.name.size()), bug.name.data());
#endif
  return 0;
}

int list_names() {
  for (const std::string& name : sim::weather_names()) std::printf("%s\n", name.c_str());
  return 0;
}

#ifdef SKEP_PLANTED_BUGS
bool choose_bug(const std::string& name) {
  planted::active = name.empty() ? planted::none : planted::index_of(name);
  return name.empty() || planted::active != planted::none;
}
#else
bool choose_bug(const std::string& name) {
  return name.empty();
}
#endif

}  // namespace

int main(int argc, char** argv) {
  Options options;
  bool wants_json = false, wants_list = false, wants_bugs = false, wants_probes = false,
       wants_crash_points = false;
  int executors = 0;
  double hours_long = 6;
  std::string faults, jobs;
  CLI::App app("runs seeds of the simulated farm");
  app.add_option("--weather", options.weathers, "names of weathers, or all");
  app.add_option("--from", options.from, "first seed");
  app.add_option("--seeds", options.seeds, "how many seeds");
  CLI::Option* one = app.add_option("--seed", options.from, "one seed");
  app.add_option("--log", options.log, "none, short or full")
      ->check(CLI::IsMember({"none", "short", "full"}));
  app.add_flag("--shrink", options.wants_shrink, "make what breaks smaller");
  app.add_option("--minutes", options.minutes, "seeds after seeds for so long");
  app.add_option("--twice", options.twice_percent, "percent of seeds that are run twice");
  app.add_flag("--keep-going", options.keeps_going, "do not end at the first broken promise");
  app.add_option("--commit", options.commit, "printed beside a seed");
  app.add_option("--bug", options.bug, "a planted bug");
  app.add_option("--faults", faults, "only these faults, by number");
  app.add_option("--jobs", jobs, "only these jobs, by number");
  app.add_option("--hosts", options.hosts, "only so many hosts");
  app.add_flag("--json", wants_json, "a summary as JSON");
  app.add_flag("--list", wants_list, "names of weathers");
  app.add_flag("--crash-points", wants_crash_points,
               "a short scenario, with a daemon killed at each of its actions");
  app.add_flag("--list-bugs", wants_bugs, "names of planted bugs");
  app.add_flag("--list-probes", wants_probes, "names of what some seed must reach");
  app.add_option("--measure", executors,
                 "speed and utilisation of a calm farm with so many executors, as JSON");
  app.add_option("--hours", hours_long, "of the measured farm");
  CLI11_PARSE(app, argc, argv);
  if (wants_crash_points) return enumerate_crash_points(options);
  if (executors > 0) return measure(executors, hours_long);
  if (wants_list) return list_names();
  if (wants_bugs) return list_bugs();
  if (wants_probes) return list_probes();
  const auto numbers = [](const std::string& text) {
    std::vector<std::size_t> all;
    for (std::size_t from = 0; from < text.size() && text != "none";) {
      const std::size_t end = std::min(text.find(',', from), text.size());
      all.push_back(std::stoul(text.substr(from, end - from)));
      from = end + 1;
    }
    return all;
  };
  options.has_faults = !faults.empty();
  options.has_jobs = !jobs.empty();
  options.faults = numbers(faults);
  options.jobs = numbers(jobs);
  options.has_one_seed = one->count() > 0;
  if (options.has_one_seed) options.seeds = 1;
  if (options.weathers == std::vector<std::string>{"all"}) options.weathers = sim::weather_names();
  for (const std::string& name : options.weathers) {
    const auto& known = sim::weather_names();
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::fprintf(stderr, "skep-sim: no weather is called %s; --list names them\n", name.c_str());
    return 2;
  }
  if (!choose_bug(options.bug)) {
    std::fprintf(stderr, "skep-sim: no bug is called %s here\n", options.bug.c_str());
    return 2;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [begin] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  Totals totals;
  const auto is_over = [&](std::uint64_t done) {
    if (totals.violations > 0 && !options.keeps_going) return true;
    return options.minutes > 0 ? elapsed() >= options.minutes * 60 : done >= options.seeds;
  };
  for (std::uint64_t done = 0; !is_over(done); ++done) {
    for (const std::string& name : options.weathers) {
      run_seed(name, options.from + done, options, totals);
      if (totals.violations > 0 && !options.keeps_going) break;
    }
  }
  if (wants_json) print_json(totals, elapsed());
  return totals.violations > 0 || totals.differing > 0 ? 1 : 0;
}
