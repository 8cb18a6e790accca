// The farm itself, as the loop takes it.
#pragma once

#include "simulation/whatif/virtual_farm.h"

namespace skep::simulation::whatif {

MakeFarm engine();

}  // namespace skep::simulation::whatif
