// What `skep simulate` found, as JSON, as tables and as a page for a browser. Pure: values in, text out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/json/json.h"
#include "simulation/whatif/fleet.h"
#include "simulation/whatif/run.h"
#include "simulation/whatif/trace_reader.h"

namespace skep::cli {

/// In whatever money the operator counts.
struct Prices {
  std::optional<double> host_hour;      // each host, used or not
  std::optional<double> executor_hour;  // each executor, from its order until its room is free
  bool empty() const { return !host_hour && !executor_hour; }
};

struct Alternative {
  std::string name;
  std::string policy;  // file of the scheduler's configuration
  std::string fleet;
  simulation::whatif::Findings findings;
};

struct Simulation {
  std::string trace;
  simulation::whatif::TraceSummary summary;
  std::uint64_t seed = 1;
  Prices prices;
  std::vector<Alternative> alternatives;
};

/// nullopt: no price was given.
std::optional<double> cost_of(const simulation::whatif::Findings& findings, const Prices& prices);

json::Json simulation_json(const Simulation& simulation);
/// `width` as Table::to_text takes it.
std::string simulation_text(const Simulation& simulation, std::size_t width, bool has_colours);
/// One file that needs nothing else: no script, no font, no address.
std::string simulation_html(const Simulation& simulation);

/// Of a count with so many decimals, always with a point.
std::string fixed(double value, int decimals);
/// "2026-11-23 07:00:12 UTC", or the time since the clock of the trace began.
std::string trace_time_text(const simulation::whatif::TraceSummary& summary, Duration at);
/// Labels with the most jobs first.
std::vector<std::string> labels_by_jobs(const simulation::whatif::Findings& findings);

}  // namespace skep::cli
