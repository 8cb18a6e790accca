// Counts what the program takes from the heap: live bytes and the highest they were. Replaces the global
// operator new, so it is linked into benchmarks only. Single-threaded use.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skep::bench {

/// Nothing is counted before, so that what is timed does not pay for the counting.
void start_heap_count();
std::int64_t heap_live_bytes();
/// Highest number of live bytes since the last reset.
std::int64_t heap_peak_bytes();
void reset_heap_peak();

}  // namespace skep::bench
