#include "drivers/qemu/image_check.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <limits>

#include "common/digest/file_digest.h"
#include "common/shell/clock.h"

namespace skep::drivers::qemu {
namespace {

std::string likeness(const struct stat& info) {
  const auto time = [](const timespec& at) {
    return std::to_string(at.tv_sec) + "." + std::to_string(at.tv_nsec);
  };
  return std::to_string(info.st_dev) + " " + std::to_string(info.st_ino) + " " +
         std::to_string(info.st_size) + " " + time(info.st_mtim) + " " + time(info.st_ctim);
}

}  // namespace

Result<std::map<std::string, std::string>> likeness_of(const std::vector<std::string>& paths) {
  std::map<std::string, std::string> all;
  for (const std::string& path : paths) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) != 0)
      return Error::try_again(errno == ENOENT ? ErrorCode::not_found : ErrorCode::generic,
                              path + ": " + std::strerror(errno));
    all[path] = likeness(info);
  }
  return all;
}

Result<std::string> read_sha256(const std::string& path, Duration deadline) {
  const Instant limit = shell::now() + deadline;
  digest::Sha256 digest;
  const auto read = digest::hash_file(path, std::numeric_limits<std::uint64_t>::max(), digest,
                                      [limit] { return shell::now() >= limit; });
  if (!read) return read.error();
  return digest.hex();
}

Result<void> ImageCheck::check(const std::string& name, const VmImage& image, Duration deadline) {
  for (const ImageFile& file : image.files()) {
    if (auto checked = check_file(name, image.path(file), file.sha256, deadline); !checked) return checked;
  }
  return {};
}

Result<void> ImageCheck::check_file(const std::string& name, const std::string& path,
                                    const std::string& sha256, Duration deadline) {
  const std::string what = "image \"" + name + "\": " + path;
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    return Error::failed(errno == ENOENT ? ErrorCode::not_found : ErrorCode::generic,
                         what + ": " + std::strerror(errno), "bring the image to this host");
  }
  if (!S_ISREG(info.st_mode)) return Error::failed(ErrorCode::invalid_input, what + " is no plain file");
  if ((info.st_mode & 0222) != 0) {
    if (::chmod(path.c_str(), info.st_mode & 0555) != 0)
      return Error::failed(ErrorCode::permission_denied,
                           what + " can be written, and cannot be made read-only: " + std::strerror(errno));
    if (::lstat(path.c_str(), &info) != 0)
      return Error::failed(ErrorCode::generic, what + ": " + std::strerror(errno));
  }
  const std::string now = sha256 + " " + likeness(info);
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (const auto found = checked_.find(path); found != checked_.end() && found->second == now) return {};
  }
  const auto read = read_sha256(path, deadline);
  if (!read) return Error::try_again(read.error().code, "image \"" + name + "\": " + read.error().message);
  const std::string& found = *read;
  if (found != sha256) {
    return Error::failed(ErrorCode::conflict,
                         what + " is not what was configured: its SHA-256 is " + found + ", not " + sha256,
                         "bring the image to this host again, or correct its digest");
  }
  const std::lock_guard<std::mutex> guard(lock_);
  checked_[path] = now;
  return {};
}

}  // namespace skep::drivers::qemu
