// One run of one weather: storm, calm, and what is left. Pure.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/checkers.h"
#include "tests/sim/weather.h"

namespace skep::sim {

struct Outcome {
  std::optional<Violation> violation;
  std::uint64_t digest = 0;
  std::uint64_t events = 0;
  Duration simulated{};
  Duration calm{};  // from the last fault until all was as wanted
  Probes probes;
  std::uint64_t builds = 0, launches = 0, unused = 0, second_builds = 0, stale_orders = 0;
};

/// `tell`, when given, gets every line of the trace.
Outcome run(const Weather& weather, const std::function<void(const std::string&)>& tell = {});

/// Which parts of a weather are played, by their numbers.
struct Selection {
  std::vector<std::size_t> faults, jobs;
  std::size_t hosts = 0;
};
Selection all_of(const Weather& weather);
Weather select(const Weather& weather, const Selection& selection);

/// The same promise still breaks, with less: faults, jobs and hosts that do not matter are left out.
/// `progress` is told what was tried.
Selection shrink(const Weather& weather, Selection selection, const std::string& promise,
                 const std::function<void(const std::string&)>& progress);

}  // namespace skep::sim
