// One run of one plan with one trace, and what is kept of it: counts, sums and histograms, whose size does
// not depend on how many jobs there were. Pure: the same input gives the same findings.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "simulation/whatif/histogram.h"
#include "simulation/whatif/timeline.h"
#include "simulation/whatif/virtual_farm.h"

namespace skep::simulation::whatif {

/// The farm has so long before the first job arrives: hosts announce themselves, idle executors are made.
/// What happens in it is not counted.
inline constexpr Duration warm_up = minutes(2);
inline constexpr Instant first_arrival_at = start_of_time + warm_up;
/// Distinct labels with figures of their own; what comes later counts as other_labels.
inline constexpr std::size_t most_labels = 200;
inline constexpr const char* other_labels = "(other labels)";
inline constexpr const char* any_node = "(any node)";
/// How often the loop looks whether everything is done, and how long nothing may happen before it gives up on
/// what still waits.
inline constexpr Duration look_every = seconds(10);
inline constexpr Duration give_up_after = minutes(30);

struct LabelFindings {
  std::uint64_t arrived = 0, started = 0;
  LogHistogram waits;
};

struct TemplateFindings {
  std::uint64_t launched = 0, unused = 0;    // unused: gone without a build
  std::array<Duration, doing_count> time{};  // by Doing, inside the window
};

struct Findings {
  Duration window{};      // from the first arrival to the first look after everything was done
  std::int64_t room = 0;  // see room_of
  std::int64_t hosts = 0;
  std::uint64_t arrived = 0, started = 0, ended = 0;
  std::uint64_t still_running = 0;              // started, but cut off
  LogHistogram waits;                           // arrival (and quiet period) -> build started
  std::map<std::string, LabelFindings> labels;  // by the name of the expression as Jenkins shows it
  std::map<std::string, TemplateFindings> templates;
  std::uint64_t launched = 0, used = 0, unused = 0, left_idle = 0;  // left_idle: alive at the end, never used
  std::uint64_t second_builds = 0;                                  // executors that ran more than one
  std::array<Duration, doing_count> time{};
  Timeline timeline;
  std::uint64_t events = 0;
  std::string problem;  // not empty: the farm stood still, what was found until then is of no use

  std::uint64_t never_started() const { return arrived - started; }
  Duration executor_time() const;
  /// Busy time as a part of what the hosts have room for, and of what executors existed; 0 where there is
  /// none.
  double utilisation() const;
  double busy_share() const;
};

struct RunOptions {
  Duration span{};  // of the trace: from the first to the last arrival
};

/// Virtual time that has passed, of what the trace takes, and jobs that are done.
using Progress = std::function<void(Duration passed, Duration span, std::uint64_t ended)>;

Findings run(const Plan& plan, Load& load, const MakeFarm& make_farm, const RunOptions& options,
             const Progress& progress = {});

}  // namespace skep::simulation::whatif
