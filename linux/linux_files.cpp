#include "linux/linux_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace skep::posix_host {
namespace {

Error file_error(const std::string& path) {
  const int code = errno;
  const std::string message = "cannot write " + path + ": " + std::strerror(code);
  return code == ENOSPC || code == EDQUOT ? Error::failed(ErrorCode::out_of_resources, message, "make room on that disk") : Error::failed(ErrorCode::generic, message);
}

bool write_whole(int fd, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(fd, text.data() + done, text.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<std::size_t>(count);
  }
  return true;
}

Result<void> replace_file(const std::string& path, const std::string& text, unsigned mode, bool is_durable) {
  const std::string aside = path + ".new";
  ::unlink(aside.c_str());  // left by a crash
  const int fd = ::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return file_error(path);
  const bool is_written = write_whole(fd, text) && (!is_durable || ::fsync(fd) == 0);
  if (!is_written) {
    const Error error = file_error(path);
    ::close(fd);
    ::unlink(aside.c_str());
    return error;
  }
  ::close(fd);
  if (::rename(aside.c_str(), path.c_str()) != 0) return file_error(path);
  if (!is_durable) return {};
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  const int folder_fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder_fd >= 0) {
    ::fsync(folder_fd);
    ::close(folder_fd);
  }
  return {};
}

}  // namespace

Result<void> write_file_durably(const std::string& path, const std::string& text, unsigned mode) { return replace_file(path, text, mode, true); }

Result<void> write_file_atomically(const std::string& path, const std::string& text, unsigned mode) { return replace_file(path, text, mode, false); }

}  // namespace skep::posix_host
