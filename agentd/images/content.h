// Digests of what lies on a disk. Blocking; thread-safe. `is_cancelled` is asked at each piece.
#pragma once

#include <filesystem>
#include <string>

#include "agentd/images/store_layout.h"
#include "common/digest/file_digest.h"
#include "core/result.h"

namespace skep::agentd::images {

using digest::IsCancelled;

/// Of all below `folder`: paths, kinds, modes, targets of links, content; not of times and owners.
Result<std::string> hash_tree(const std::filesystem::path& folder, const IsCancelled& is_cancelled);

/// Outcome::failed: its content is not what its manifest says, and it is marked so on disk. Other outcomes:
/// it could not be read.
Result<void> verify_copy(const std::filesystem::path& copy_folder, const IsCancelled& is_cancelled);

}  // namespace skep::agentd::images
