// `skep simulate`: what a policy, or a fleet, would have done to a trace. Asks no daemon.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/fleet_file.h"
#include "cli/simulation_report.h"
#include "cli/view.h"
#include "common/shell/terminal.h"
#include "core/bounds.h"
#include "scheduler/shell/config_file.h"
#include "simulation/whatif/engine.h"
#include "simulation/whatif/example_traces.h"

namespace skep::cli {

using namespace simulation::whatif;

namespace {

struct SimulateOptions {
  std::string trace;
  std::string config;
  std::vector<std::string> policies;
  std::vector<int> hosts;
  std::vector<std::string> fleets;
  std::string cpu = "16", memory = "64GiB", disk = "1TiB", boot = "5s..15s";
  int executors = 16;
  std::uint64_t seed = 1;
  Prices prices;
  std::string html;
  std::string make_trace;
};

class FileSource : public ByteSource {
 public:
  explicit FileSource(const std::string& path) : file_(path, std::ios::binary) {}
  bool is_open() const { return file_.is_open(); }
  bool is_broken() const { return file_.bad(); }
  std::size_t read(char* into, std::size_t most) override {
    file_.read(into, static_cast<std::streamsize>(most));
    return static_cast<std::size_t>(file_.gcount());
  }

 private:
  std::ifstream file_;
};

/// A problem of a file that people wrote, one line each; what is quoted from it must not steer a terminal.
int report_problems(const Error& error, int code) {
  std::istringstream lines(error.message);
  for (std::string line; std::getline(lines, line);) std::cerr << printable(line) << "\n";
  if (!error.hint.empty()) std::cerr << "  " << printable(error.hint) << "\n";
  return code;
}

Error cannot_read(const std::string& path, const std::string& hint) {
  return Error::failed(ErrorCode::generic, "cannot read the trace " + path, hint);
}

/// As large as a terminal's line; written again only when it says something else.
class ProgressBar {
 public:
  ProgressBar(std::string name, std::size_t number, std::size_t of)
      : text_(std::to_string(number) + " of " + std::to_string(of) + ", " + printable(name)) {}
  ~ProgressBar() {
    if (last_ >= 0) std::cerr << "\r\x1b[K" << std::flush;
  }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(Duration passed, Duration span, std::uint64_t ended, std::uint64_t jobs) {
    // Both count: time alone stands at its end while a backlog is worked off.
    const std::int64_t of_time =
        span <= Duration::zero() ? 100 : std::min<std::int64_t>(passed * 100 / span, 100);
    const auto of_jobs =
        static_cast<std::int64_t>(jobs == 0 ? 100 : std::min(ended * 100 / jobs, std::uint64_t{100}));
    const int percent = static_cast<int>((of_time + of_jobs) / 2);
    if (percent == last_) return;
    last_ = percent;
    constexpr int cells = 30;
    const auto full = static_cast<std::size_t>(percent * cells / 100);
    std::cerr << "\r[" << std::string(full, '#') << std::string(cells - full, '.') << "] " << percent << "%  "
              << text_ << "\x1b[K" << std::flush;
  }

 private:
  std::string text_;
  int last_ = -1;
};

struct Policy {
  std::string file;
  scheduler::SchedulerConfig config;
};

Result<std::vector<Policy>> read_policies(const SimulateOptions& options) {
  std::vector<std::string> files{options.config};
  files.insert(files.end(), options.policies.begin(), options.policies.end());
  std::vector<Policy> out;
  for (const std::string& file : files) {
    auto config = scheduler::load_config_file(file);
    if (!config) return config.error();
    out.push_back({file, std::move(config->logic)});
  }
  return out;
}

Result<HostGroup> equal_hosts(const SimulateOptions& options, int count) {
  HostGroup group;
  group.count = count;
  const auto wrong = [](const char* option, const Error& error) {
    return Error::failed(ErrorCode::invalid_input, std::string(option) + ": " + error.message);
  };
  const auto cpu = parse_cpu(options.cpu);
  if (!cpu) return wrong("--host-cpu", cpu.error());
  const auto memory = parse_bytes(options.memory);
  if (!memory) return wrong("--host-memory", memory.error());
  const auto disk = parse_bytes(options.disk);
  if (!disk) return wrong("--host-disk", disk.error());
  const auto boot = parse_span(options.boot);
  if (!boot) return wrong("--boot", boot.error());
  group.capacity.cpu_millis = *cpu;
  group.capacity.memory_bytes = *memory;
  group.capacity.disk_bytes = *disk;
  group.max_executors = options.executors;
  group.takes.boot = *boot;
  return group;
}

/// Counts of equal hosts first, then the files. Ten hosts when neither was said.
Result<std::vector<Fleet>> fleets_of_counts(const SimulateOptions& options) {
  std::vector<int> counts = options.hosts;
  if (counts.empty() && options.fleets.empty()) counts.push_back(10);
  std::vector<Fleet> out;
  for (const int count : counts) {
    auto group = equal_hosts(options, count);
    if (!group) return group.error();
    out.push_back({std::to_string(count) + (count == 1 ? " host" : " hosts"), {*std::move(group)}});
  }
  return out;
}

/// A plan that was made, and what it is called.
struct Planned {
  Alternative alternative;
  simulation::Plan plan;
};

Result<std::vector<Planned>> plan_all(const std::vector<Policy>& policies, const std::vector<Fleet>& fleets,
                                      const SimulateOptions& options, const TraceSummary& summary) {
  std::vector<Planned> out;
  for (const Policy& policy : policies) {
    for (const Fleet& fleet : fleets) {
      auto plan = make_plan(policy.config, fleet, options.seed);
      if (!plan) {
        Error error = plan.error();
        error.message = policy.file + ", " + fleet.name + ": " + error.message;
        return error;
      }
      if (summary.is_calendar()) plan->wall_start = WallTime{to_ms(summary.first - warm_up)};
      const std::string both = policy.file + ", " + fleet.name;
      const std::string& name = policies.size() == 1 ? fleet.name : fleets.size() == 1 ? policy.file : both;
      out.push_back({{name, policy.file, fleet.name, {}}, *std::move(plan)});
    }
  }
  return out;
}

Result<Findings> run_one(const SimulateOptions& options, const TraceSummary& summary, const Planned& planned,
                         ProgressBar* bar) {
  FileSource file(options.trace);
  TraceLoad load(file, options.trace, summary.first, first_arrival_at);
  Progress progress;
  if (bar != nullptr)
    progress = [&](Duration passed, Duration span, std::uint64_t ended) {
      bar->show(passed, span, ended, summary.jobs);
    };
  Findings findings = run(planned.plan, load, engine(), RunOptions{summary.span()}, progress);
  if (load.error()) return *load.error();
  if (!findings.problem.empty())
    return Error::failed(ErrorCode::generic, planned.alternative.name +
                                                 ": the simulated farm stood still after " +
                                                 duration_to_text(findings.window) + ": " + findings.problem);
  if (!file.is_open() || file.is_broken() || findings.arrived != summary.jobs)
    return cannot_read(options.trace, "it was read once without a problem: did it change?");
  return findings;
}

int write_html(const std::string& path, const Simulation& simulation) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << simulation_html(simulation);
  file.close();
  if (file) return exit_ok;
  std::cerr << "skep: cannot write " << path << "\n";
  return exit_failed;
}

int print_simulation(const Context& context, const Simulation& simulation, const std::string& html) {
  if (context.wants_json()) {
    std::cout << json::dump(simulation_json(simulation)) << "\n";
  } else {
    std::cout << simulation_text(simulation, shell::terminal_width(), has_colours());
    if (!html.empty()) std::cout << "\nreport: " << printable(html) << "\n";
  }
  return html.empty() ? exit_ok : write_html(html, simulation);
}

/// The trace as a whole, before anything runs: its problems are told at once, its length is known.
Result<TraceSummary> look_at_trace(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored))
    return cannot_read(path,
                       "a regular file is needed: it is read once for each alternative, and once before");
  FileSource file(path);
  if (!file.is_open()) return cannot_read(path, "may this user read it?");
  auto summary = scan_trace(file, path);
  if (file.is_broken()) return cannot_read(path, "the disk or file system reported an error");
  return summary;
}

/// Said before a long run, not after it.
Result<void> check_html(const std::string& path) {
  if (path.empty()) return {};
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored) ||
      (!folder.empty() && !std::filesystem::is_directory(folder, ignored)))
    return Error::failed(ErrorCode::invalid_input, "--html: " + path + " is no file that could be written",
                         "the name of a file in a folder that exists");
  return {};
}

int simulate_all(const Context& context, const SimulateOptions& options, const TraceSummary& summary,
                 const std::vector<Planned>& planned) {
  Simulation simulation{options.trace, summary, options.seed, options.prices, {}};
  for (std::size_t i = 0; i < planned.size(); ++i) {
    std::unique_ptr<ProgressBar> bar;
    if (shell::is_stderr_terminal())
      bar = std::make_unique<ProgressBar>(planned[i].alternative.name, i + 1, planned.size());
    auto findings = run_one(options, summary, planned[i], bar.get());
    bar.reset();
    if (!findings) return report(findings.error());
    simulation.alternatives.push_back(planned[i].alternative);
    simulation.alternatives.back().findings = *std::move(findings);
  }
  return print_simulation(context, simulation, options.html);
}

int simulate(const Context& context, const SimulateOptions& options) {
  if (!options.make_trace.empty()) {
    std::cout << make_example_trace(*example_trace_from(options.make_trace), options.seed);
    return exit_ok;
  }
  if (options.trace.empty())
    return report_usage("say which trace: skep simulate TRACE --config FILE",
                        "skep simulate --help has examples");
  if (options.config.empty())
    return report_usage("say which policy: --config FILE",
                        "the scheduler's configuration, such as /etc/skep/scheduler.yaml");
  if (auto html = check_html(options.html); !html) return report(html.error());
  const auto policies = read_policies(options);
  if (!policies) return report_problems(policies.error(), exit_invalid_config);
  auto fleets = fleets_of_counts(options);
  if (!fleets) return report(fleets.error());
  for (const std::string& file : options.fleets) {
    auto fleet = load_fleet_file(file);
    if (!fleet) return report_problems(fleet.error(), exit_invalid_config);
    fleets->push_back(*std::move(fleet));
  }
  const auto summary = look_at_trace(options.trace);
  if (!summary)
    return summary.error().code == ErrorCode::invalid_input ? report_problems(summary.error(), exit_usage)
                                                            : report(summary.error());
  const auto planned = plan_all(*policies, *fleets, options, *summary);
  if (!planned) return report(planned.error());
  return simulate_all(context, options, *summary, *planned);
}

constexpr const char* simulate_footer =
    "The trace is CSV with the columns arrival,label,duration, or one JSON object a line with these keys, in "
    "the\n"
    "order of arrival; docs/how-to/simulate.md describes it. The same input and seed give the same output.\n"
    "Examples:\n"
    "  skep simulate week.csv --config scheduler.yaml --hosts 20\n"
    "  skep simulate week.csv --config scheduler.yaml --hosts 20,30,40 --host-cpu 32 --html report.html\n"
    "  skep simulate week.csv --config scheduler.yaml --policy more-idle.yaml --fleet hosts.yaml -o json\n"
    "  skep simulate week.csv --config scheduler.yaml --hosts 20,30 --price-host-hour 0.85\n"
    "  skep simulate --make-trace release-day > release-day.csv";

void add_fleet_options(CLI::App& command, SimulateOptions& options) {
  command.add_option("--hosts", options.hosts, "how many equal hosts; several counts are alternatives (10)")
      ->delimiter(',')
      ->check(CLI::Range(1, static_cast<int>(bounds::max_hosts)));
  command.add_option("--host-cpu", options.cpu, "processors of each")->capture_default_str();
  command.add_option("--host-memory", options.memory, "memory of each")->capture_default_str();
  command.add_option("--host-disk", options.disk, "disk of each")->capture_default_str();
  command.add_option("--host-executors", options.executors, "executors that each holds at most")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command.add_option("--boot", options.boot, "how long a sandbox takes until its agent starts; drawn evenly")
      ->capture_default_str();
  command.add_option("--fleet", options.fleets, "YAML file with groups of hosts; an alternative each")
      ->allow_extra_args(false);
}

}  // namespace

void add_simulate(CLI::App& app, Context& context) {
  auto options = std::make_shared<SimulateOptions>();
  CLI::App* command =
      app.add_subcommand("simulate", "what a policy or a fleet would have done to a trace of jobs");
  command->add_option("trace", options->trace, "what arrived when, and how long it took");
  command->add_option("--config", options->config, "the scheduler's configuration");
  command->add_option("--policy", options->policies, "another configuration to compare with; may be repeated")
      ->allow_extra_args(false);
  add_fleet_options(*command, *options);
  command->add_option("--seed", options->seed, "of everything that is drawn")->capture_default_str();
  command->add_option("--price-host-hour", options->prices.host_hour, "price of each host and hour")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--price-executor-hour", options->prices.executor_hour,
                   "price of each executor and hour, from its order until it is gone")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--html", options->html, "write a report with charts to this file");
  command
      ->add_option("--make-trace", options->make_trace, "print an example instead: office-day or release-day")
      ->check(CLI::IsMember({"office-day", "release-day"}));
  command->footer(simulate_footer);
  command->callback([options, &context] { context.exit_code = simulate(context, *options); });
}

}  // namespace skep::cli
