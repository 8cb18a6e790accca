#include "linux/linux_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>

namespace skep::posix_host {
namespace {

Error file_error(const std::string& what, const std::string& path) {
  const int code = errno;
  const std::string message = "cannot " + what + " " + path + ": " + std::strerror(code);
  if (code == ENOSPC || code == EDQUOT) {
    return Error::failed(ErrorCode::out_of_resources, message, "make room on that disk");
  }
  if (code == EMFILE || code == ENFILE || code == ENOMEM)
    return Error::try_again(ErrorCode::out_of_resources, message,
                            "see how many files may be open (LimitNOFILE)");
  if (code == ENOENT) return Error::failed(ErrorCode::not_found, message);
  const bool is_forbidden = code == EACCES || code == EPERM || code == EROFS;
  return Error::failed(is_forbidden ? ErrorCode::permission_denied : ErrorCode::generic, message);
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

Result<void> sync_folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool is_synced = fd >= 0 && ::fsync(fd) == 0;
  Result<void> result = is_synced ? Result<void>() : Result<void>(file_error("sync", folder));
  if (fd >= 0) ::close(fd);
  return result;
}

Result<void> replace_file(const std::string& path, const std::string& text, unsigned mode, bool is_durable) {
  const std::string aside = path + ".new";
  ::unlink(aside.c_str());  // left by a crash
  const int fd = ::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return file_error("write", path);
  const bool is_written = write_whole(fd, text) && (!is_durable || ::fsync(fd) == 0);
  if (!is_written) {
    const Error error = file_error("write", path);
    ::close(fd);
    ::unlink(aside.c_str());
    return error;
  }
  ::close(fd);
  if (::rename(aside.c_str(), path.c_str()) != 0) {
    const Error error = file_error("replace", path);
    ::unlink(aside.c_str());
    return error;
  }
  return is_durable ? sync_folder_of(path) : Result<void>();
}

}  // namespace

Result<void> write_file_durably(const std::string& path, const std::string& text, unsigned mode) {
  return replace_file(path, text, mode, true);
}

Result<void> write_file_atomically(const std::string& path, const std::string& text, unsigned mode) {
  return replace_file(path, text, mode, false);
}

Result<std::string> read_plain_file(const std::string& path, std::size_t limit) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return file_error("read", path);
  struct stat info {};
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(fd);
    return Error::failed(ErrorCode::invalid_input, path + " is no regular file");
  }
  std::string text;
  char chunk[16 * 1024];
  for (;;) {
    const ssize_t count = ::read(fd, chunk, sizeof chunk);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const Error error = file_error("read", path);
      ::close(fd);
      return error;
    }
    text.append(chunk, static_cast<std::size_t>(count));
    if (count == 0 || text.size() > limit) break;
  }
  ::close(fd);
  if (text.size() > limit) {
    return Error::failed(ErrorCode::too_large, path + " has more than " + std::to_string(limit) + " bytes");
  }
  return text;
}

Result<bool> is_there(const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return file_error("look at", path);
}

Result<void> rename_without_replacing(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno == EEXIST) return Error::failed(ErrorCode::conflict, to + " exists already");
  return file_error("rename " + from + " to", to);
}

Result<FileLock> FileLock::acquire(const std::string& path, Duration deadline) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return file_error("lock", path);
  FileLock lock(fd);
  const auto limit = std::chrono::steady_clock::now() + deadline;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return file_error("lock", path);
    if (std::chrono::steady_clock::now() >= limit) {
      return Error::try_again(ErrorCode::timed_out, path + " is locked by another process");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // flock has no time limit of its own
  }
  return lock;
}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

}  // namespace skep::posix_host
