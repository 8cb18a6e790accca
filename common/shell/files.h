// Small files that matter: secrets that only we may read, and files that are replaced whole. Thread-safe.
#pragma once

#include <string>

#include "core/result.h"

namespace skep::shell {

/// The file's text without one trailing newline. Refused when others may read or write it, when it is empty
/// or larger than 64 KiB. The error never holds the content.
Result<std::string> read_secret_file(const std::string& path);

/// At most `limit` bytes; too_large beyond.
Result<std::string> read_file(const std::string& path, std::size_t limit);

}  // namespace skep::shell
