// Every limit has a name here. Units are in the names; values are asserted or refused where they apply.
#pragma once

#include <cstddef>

namespace skep::bounds {

inline constexpr std::size_t max_label_text_bytes = 64 * 1024;
inline constexpr int max_label_depth = 256;
inline constexpr std::size_t max_name_chars = 60;          // node names that we create: [a-z0-9-]
inline constexpr std::size_t max_reply_bytes = 64u << 20;  // decompressed, any reply of any peer
inline constexpr int max_json_depth = 64;
inline constexpr std::size_t max_request_body_bytes = 1u << 20;  // what our own APIs accept
inline constexpr std::size_t max_queue_items = 200'000;
inline constexpr std::size_t max_companion_events =
    20'000;  // kept inside a controller: KEEP of install.groovy
inline constexpr std::size_t max_hosts = 10'000;
inline constexpr std::size_t max_executors = 50'000;
inline constexpr std::size_t max_events_queued = 10'000;

}  // namespace skep::bounds
