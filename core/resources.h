// What an executor takes and a host has: processors, memory, disk, and countable things such as licences.
//
// Values are never negative in configurations; a difference may be (over-committed). Arithmetic saturates: no
// overflow. Pure values, thread-compatible.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/time.h"

namespace skep {

/// Why something does not fit: the first dimension that is short.
struct Shortage {
  std::string what;  // "cpu" (thousandths), "memory" or "disk" (bytes), or the countable thing's name
  std::int64_t wanted = 0;
  std::int64_t available = 0;
  friend bool operator==(const Shortage&, const Shortage&) = default;
};

struct Resources {
  std::int64_t cpu_millis = 0;  // 1000 = one processor
  std::int64_t memory_bytes = 0;
  std::int64_t disk_bytes = 0;
  std::map<std::string, std::int64_t> countable;

  Resources& operator+=(const Resources& other);
  Resources& operator-=(const Resources& other);
  /// nullopt: fits. Order of the dimensions: cpu, memory, disk, countable by name.
  std::optional<Shortage> shortage_in(const Resources& available) const;
  bool fits_in(const Resources& available) const { return !shortage_in(available); }
  friend bool operator==(const Resources&, const Resources&) = default;
};

Resources operator+(Resources a, const Resources& b);
Resources operator-(Resources a, const Resources& b);

/// "2 cpu, 4 GiB memory, 20 GiB disk, 1 licence"; "nothing" for none.
std::string to_string(const Resources& resources);
std::string to_string(const Shortage& shortage);  // "needs 4 GiB memory, 1 GiB memory free"
std::string bytes_to_text(std::int64_t bytes);    // "1.5 GiB"
std::string duration_to_text(Duration d);         // "1h 5m", "2.5 s", "40 ms"

/// "512MiB", "20GiB", "1TiB", "100" (bytes), "10GB" (decimal).
Result<std::int64_t> parse_bytes(std::string_view text);
/// "2", "0.5", "1500m" -> thousandths of a processor.
Result<std::int64_t> parse_cpu(std::string_view text);
/// "500ms", "90s", "2m", "1h30m", "1d".
Result<Duration> parse_duration(std::string_view text);

}  // namespace skep
