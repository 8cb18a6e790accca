// Durable state of a daemon: small key-value tables and an append-only history, in one SQLite file.
//
// apply() is atomic and durable when it returns (WAL, synchronous=FULL). Keys and values are text; values
// hold no secret. Errors: out_of_resources/failed (disk full: nothing of the batch was written),
// generic/failed otherwise. Thread-safe: one connection behind one lock.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace skep::journal {

struct Write {
  std::string table;
  std::string key;
  std::optional<std::string> value;  // nullopt: erase
};

struct HistoryEntry {
  std::int64_t number = 0;
  WallTime at;
  std::string kind;
  std::string value;
};

class StateStore {
 public:
  /// Creates file and folder (0700) when missing; checks integrity and schema version. Another process that
  /// has the same store open is an error (conflict).
  static Result<std::unique_ptr<StateStore>> open(const std::string& file);
  ~StateStore();
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;

  Result<void> apply(const std::vector<Write>& writes);
  Result<std::vector<std::pair<std::string, std::string>>> list(const std::string& table);  // ordered by key
  Result<std::optional<std::string>> get(const std::string& table, const std::string& key);

  Result<void> append_history(const std::string& kind, const std::string& value, WallTime at);
  /// Newest first, of one kind (empty: all), older than the entry `before` (its number).
  Result<std::vector<HistoryEntry>> read_history(
      std::size_t limit, const std::string& kind = {},
      std::int64_t before = std::numeric_limits<std::int64_t>::max());
  /// Keeps the newest entries only.
  Result<void> trim_history(std::size_t keep);

  /// For tests of a full disk: no growth beyond this many bytes.
  Result<void> limit_size(std::int64_t bytes);

 private:
  struct Impl;
  explicit StateStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::journal
