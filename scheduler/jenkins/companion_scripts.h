// The scripts of scheduler/companion, as they are in their files; made a part of the program by its build.
#pragma once

#include <string_view>

namespace skep::scheduler {

std::string_view companion_install_text();
/// With `from = 1L, millis = 30000L` for the numbers.
std::string_view companion_wait_text();
std::string_view companion_remove_text();

}  // namespace skep::scheduler
