#include "linux/linux_growing_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace skep::posix_host {
namespace {

Error growth_error(const std::string& what, const std::string& path) {
  const int code = errno;
  const std::string message = "cannot " + what + " " + path + ": " + std::strerror(code);
  if (code == ENOSPC || code == EDQUOT || code == EFBIG)
    return Error::try_again(ErrorCode::out_of_resources, message, "make room on that disk");
  return Error::try_again(ErrorCode::generic, message);
}

}  // namespace

Result<GrowingFile> GrowingFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return growth_error("open", path);
  return GrowingFile(fd, path);
}

GrowingFile::~GrowingFile() {
  if (fd_ >= 0) ::close(fd_);
}

GrowingFile::GrowingFile(GrowingFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

GrowingFile& GrowingFile::operator=(GrowingFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  return *this;
}

Result<void> GrowingFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return growth_error("write", path_);
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

Result<void> GrowingFile::empty() {
  return ::ftruncate(fd_, 0) == 0 ? Result<void>() : growth_error("empty", path_);
}

Result<void> GrowingFile::finish() {
  if (::fsync(fd_) != 0 || ::fchmod(fd_, 0444) != 0) return growth_error("finish", path_);
  return {};
}

Result<void> sync_file_system(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return growth_error("open", path);
  const bool is_synced = ::syncfs(fd) == 0;
  const Result<void> result = is_synced ? Result<void>() : growth_error("sync the disk of", path);
  ::close(fd);
  return result;
}

}  // namespace skep::posix_host
