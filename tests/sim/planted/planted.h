// The bugs that are planted in copies of the two logics (bugs.py says which, plant.py makes the copies). At
// most one is switched on at a time; with none, the copies do what the product does.
#pragma once

#include <span>
#include <string_view>

namespace skep::planted {

struct Bug {
  std::string_view name;
  std::string_view why;   // the promise that it breaks
  std::string_view seen;  // how an observer outside the logic notices
};

inline constexpr int none = -1;
/// Index of the bug that is switched on. For the whole program: set it before a run, never within one.
extern int active;

std::span<const Bug> bugs();
/// `none` when there is no bug of that name.
int index_of(std::string_view name);

}  // namespace skep::planted

// In bugs.py its argument is a name; plant.py writes the bug's index instead, so that it costs one
// comparison.
#define SKEP_PLANTED(index) (::skep::planted::active == (index))
