// Files that must be right after a crash, and secrets. Linux only. Thread-safe for different paths.
#pragma once

#include <string>

#include "core/result.h"

namespace skep::posix_host {

/// Replaces the file whole (write aside, fsync, rename, fsync the folder); mode as given, e.g. 0600.
Result<void> write_file_durably(const std::string& path, const std::string& text, unsigned mode);
/// The same without fsync: atomic for readers, not for power loss.
Result<void> write_file_atomically(const std::string& path, const std::string& text, unsigned mode);

}  // namespace skep::posix_host
