#include "drivers/api/driver.h"

namespace skep::drivers {

std::string_view to_string(InstanceState state) {
  switch (state) {
    case InstanceState::creating:
      return "creating";
    case InstanceState::running:
      return "running";
    case InstanceState::exited:
      return "exited";
    case InstanceState::absent:
      return "absent";
  }
  return "absent";
}

}  // namespace skep::drivers
