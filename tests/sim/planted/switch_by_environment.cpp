// Lets the unit tests run against one planted bug: SKEP_PLANTED_BUG=name. Without it none is switched on.
#include <cstdio>
#include <cstdlib>

#include "tests/sim/planted/planted.h"

namespace {

[[maybe_unused]] const bool is_switched = [] {
  const char* name = std::getenv("SKEP_PLANTED_BUG");
  if (name == nullptr || *name == '\0') return false;
  const int index = skep::planted::index_of(name);
  if (index == skep::planted::none) {
    std::fprintf(stderr, "there is no planted bug '%s'\n", name);
    std::exit(2);
  }
  skep::planted::active = index;
  return true;
}();

}  // namespace
