#include <sys/ioctl.h>
#include <unistd.h>

#include "common/shell/terminal.h"

namespace skep::shell {

bool is_stdout_terminal() {
  return isatty(STDOUT_FILENO) != 0;
}

bool is_stderr_terminal() {
  return isatty(STDERR_FILENO) != 0;
}

std::size_t terminal_width() {
  winsize size{};
  if (!is_stdout_terminal() || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

}  // namespace skep::shell
