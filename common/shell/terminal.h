// What standard output and standard error are. Each system's folder answers it (linux/linux_terminal.cpp).
#pragma once

#include <cstddef>

namespace skep::shell {

bool is_stdout_terminal();
bool is_stderr_terminal();
/// In columns; 0 when standard output is no terminal.
std::size_t terminal_width();

}  // namespace skep::shell
