#include "drivers/qemu/overlay.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "drivers/qemu/qemu_texts.h"
#include "linux/linux_run.h"

namespace skep::drivers::qemu {
namespace {

constexpr Duration overlay_deadline = seconds(30);

}  // namespace

Result<void> make_overlay(const std::string& program, const std::string& base, const std::string& overlay) {
  posix_host::LaunchRequest request;
  request.argv = overlay_command_line(program, base, overlay);
  request.environment = posix_host::basic_environment();
  const auto ran = posix_host::run_program(request, overlay_deadline);
  const std::string what = "cannot make the disk " + overlay + ": ";
  if (!ran) return Error::try_again(ran.error().code, what + ran.error().message, ran.error().hint);
  if (ran->exit_code == 0) return {};
  const bool is_full = ran->output.find("No space left") != std::string::npos;
  return Error::try_again(is_full ? ErrorCode::out_of_resources : ErrorCode::generic, what + ran->output);
}

Result<void> give_overlay(const std::string& folder, std::optional<std::uint32_t> user) {
  const std::string disk = folder + "/" + overlay_file;
  const bool is_given =
      !user || (::lchown(disk.c_str(), *user, *user) == 0 && ::chmod(folder.c_str(), 0711) == 0);
  if (is_given) return {};
  return Error::failed(ErrorCode::permission_denied, "cannot give " + disk + " to user " +
                                                         std::to_string(*user) + ": " + std::strerror(errno));
}

}  // namespace skep::drivers::qemu
