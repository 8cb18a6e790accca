// A large file that grows piece by piece and becomes read-only when it is whole. Linux only. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace skep::posix_host {

class GrowingFile {
 public:
  /// Appends to what is there; makes it, 0600, where nothing is. Never follows a link.
  static Result<GrowingFile> open(const std::string& path);
  ~GrowingFile();
  GrowingFile(GrowingFile&& other) noexcept;
  GrowingFile& operator=(GrowingFile&& other) noexcept;
  GrowingFile(const GrowingFile&) = delete;
  GrowingFile& operator=(const GrowingFile&) = delete;

  /// out_of_resources when the disk is full.
  Result<void> append(std::string_view bytes);
  Result<void> empty();
  /// On the disk, and 0444 from now on.
  Result<void> finish();

 private:
  GrowingFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::string path_;
};

/// Everything that was written to the file system of `path` is on its disk afterwards.
Result<void> sync_file_system(const std::string& path);

}  // namespace skep::posix_host
