// Files that must be right after a crash, secrets, and whole trees. Linux only. Thread-safe for different
// paths.
#pragma once

#include <optional>
#include <string>

#include "core/result.h"
#include "core/time.h"

namespace skep::posix_host {

/// Replaces the file whole (write aside, fsync, rename, fsync the folder); mode as given, e.g. 0600.
Result<void> write_file_durably(const std::string& path, const std::string& text, unsigned mode);
/// The same without fsync: atomic for readers, not for power loss.
Result<void> write_file_atomically(const std::string& path, const std::string& text, unsigned mode);

/// A file that somebody else may have replaced: never follows a link at its end, never waits for a pipe.
/// not_found, too_large (over `limit` bytes), or invalid_input (no regular file).
Result<std::string> read_plain_file(const std::string& path, std::size_t limit);

/// What is at `path` itself: a dangling link is there. An error when the system would not say.
Result<bool> is_there(const std::string& path);

/// Atomic; conflict when `to` exists, even as an empty folder; not_found when `from` does not.
Result<void> rename_without_replacing(const std::string& from, const std::string& to);

/// Copies a folder: modes, times and symbolic links as they are, blocks shared where the file system can
/// (reflink), never hard links. `to` must not exist. Devices, pipes and sockets are refused (unsupported). On
/// an error part of the copy may be there.
Result<void> copy_tree(const std::string& from, const std::string& to);

/// Removes a folder and all below it: never follows a symbolic link, never leaves the file system it is on,
/// makes folders writable that a build made read-only, and copes with any depth. Something that is not there
/// is removed. try_again/conflict when another file system is mounted inside.
Result<void> remove_tree(const std::string& path);

/// An advisory lock (flock) on an existing file or folder. It belongs to the open file, so a child that was
/// forked and has not yet started its program holds it too.
class FileLock {
 public:
  /// not_found; timed_out/try_again when somebody else holds it for that long.
  static Result<FileLock> acquire(const std::string& path, Duration deadline);
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace skep::posix_host
