// Logging for daemons: one line an event to stderr, as text for people or as JSON for collectors.
// Thread-safe. Messages say what failed, on which object, what happens next; ids go into fields; secrets go
// nowhere.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace skep::log {

enum class Level { debug, info, warning, error };
using Fields = std::vector<std::pair<std::string, std::string>>;

/// level: debug, info, warning, error; format: text, json. Call once, before the first write().
void initialize(const std::string& level, const std::string& format);
void write(Level level, const std::string& message, const Fields& fields = {});
void write_error(const std::string& what, const Error& error);

/// At most one line a minute for each cause; says how many it held back.
class OncePerMinute {
 public:
  /// True when the line may be written now; `held_back` is the number since the last one.
  bool allows(const std::string& cause, Instant now, std::uint64_t& held_back);

 private:
  struct Entry {
    Instant last;
    std::uint64_t held_back = 0;
  };
  std::mutex lock_;  // guards entries_
  std::map<std::string, Entry> entries_;
};

}  // namespace skep::log
