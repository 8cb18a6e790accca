// What one seed means: a farm, what is asked of it, and what goes wrong. Pure.
//
// A weather is a recipe; the seed fills in everything that it leaves open. The same name and seed give the
// same run at one commit; a change of a recipe, of the model or of the logic changes what a seed means.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/prng.h"
#include "simulation/farm.h"
#include "tests/sim/faults.h"

namespace skep::sim {

struct Weather {
  std::string name;
  std::uint64_t seed = 1;
  simulation::Plan plan;
  int schedulers = 1;
  bool has_leader_lock = false;
  bool uses_hook = false;
  Duration storm = minutes(20);  // faults end here, and arrivals
  std::vector<simulation::Arrival> arrivals;
  std::vector<Fault> faults;
};

/// In the order in which they are printed.
const std::vector<std::string>& weather_names();
/// Asserts that the name is known.
Weather make_weather(std::string_view name, std::uint64_t seed);
/// Some lines for people: hosts, templates, load, faults.
std::string describe(const Weather& weather);

}  // namespace skep::sim
