// The disk of one machine over that of another. Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/result.h"

namespace skep::drivers::qemu {

/// `program`: qemu-img. out_of_resources when the disk is full; try_again for whatever else, for nothing is
/// kept.
Result<void> make_overlay(const std::string& program, const std::string& base, const std::string& overlay);

/// QEMU opens the disk of a machine that is saved or resumed anew, as its own user: it gets the file, and may
/// pass through the folder, which is its working directory; the folders above stay shut. Without a user
/// nothing is done.
Result<void> give_overlay(const std::string& folder, std::optional<std::uint32_t> user);

}  // namespace skep::drivers::qemu
