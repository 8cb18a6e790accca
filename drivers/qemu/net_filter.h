// Puts net_filter_texts.h into the kernel and takes it away again, by nft(8). Needs CAP_NET_ADMIN.
// Thread-safe for different users.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "drivers/qemu/net_filter_texts.h"

namespace skep::drivers::qemu {

/// Tries out whether this process may make a table. An error says why not.
Result<void> probe_filter();
/// conflict when that user has a table already. `text_file`: where what nft reads may be written.
Result<void> apply_filter(std::uint32_t user, const std::vector<Reach>& reaches,
                          const std::string& text_file);
/// Of what is not there: success.
Result<void> remove_filter(const std::string& table);

}  // namespace skep::drivers::qemu
