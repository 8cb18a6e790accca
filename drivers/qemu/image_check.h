// Whether the files of an image are what their digests say. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "drivers/qemu/vm_image.h"

namespace skep::drivers::qemu {

/// 64 hex digits; try_again when the file could not be read whole until then.
Result<std::string> read_sha256(const std::string& path, Duration deadline);

/// What the files are like: another file, or another content, shows here, but for a change within the clock's
/// resolution. Path -> text. not_found: one is not there; otherwise it could not be seen.
Result<std::map<std::string, std::string>> likeness_of(const std::vector<std::string>& paths);

/// Compares the digests of an image's files before their first use and whenever they changed since. Files
/// that belong to us and can be written are made read-only (0444) first.
class ImageCheck {
 public:
  /// `deadline`: for each file. not_found, conflict (another digest), or what the system says.
  Result<void> check(const std::string& name, const VmImage& image, Duration deadline);

 private:
  Result<void> check_file(const std::string& name, const std::string& path, const std::string& sha256,
                          Duration deadline);
  std::mutex lock_;                             // of what follows
  std::map<std::string, std::string> checked_;  // path -> digest and what the file was like then
};

}  // namespace skep::drivers::qemu
