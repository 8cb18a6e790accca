// SHA-256 of what lies on a disk. Blocking; thread-safe for different digests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "common/digest/sha256.h"
#include "core/result.h"

namespace skep::digest {

using IsCancelled = std::function<bool()>;

/// Adds the file's first `limit` bytes to `digest`; returns how many there were. `is_cancelled` is asked at
/// each piece. try_again: it could not be read (generic), or was cancelled (unavailable).
Result<std::uint64_t> hash_file(const std::filesystem::path& file, std::uint64_t limit, Sha256& digest,
                                const IsCancelled& is_cancelled);

}  // namespace skep::digest
