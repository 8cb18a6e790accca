#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/commands.h"

namespace skep::cli {

std::size_t terminal_width() {
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

}  // namespace skep::cli
