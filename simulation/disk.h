// The durable store of a daemon: tables of records, written in transactions. A transaction is wholly there or
// not at all, as SQLite's are; a crash comes before or after one, never inside. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"

namespace skep::simulation {

template <typename Record>
class Disk {
 public:
  using Write = std::pair<std::string, std::optional<Record>>;  // nullopt: removed

  Result<void> apply(std::vector<Write> writes) {
    if (is_full) return Error::failed(ErrorCode::out_of_resources, "the disk is full");
    for (auto& [key, record] : writes) {
      if (record) {
        records_[key] = std::move(*record);
      } else {
        records_.erase(key);
      }
    }
    return {};
  }
  const std::map<std::string, Record>& records() const { return records_; }
  const Record* find(const std::string& key) const {
    const auto found = records_.find(key);
    return found == records_.end() ? nullptr : &found->second;
  }

  bool is_full = false;  // the weather's

 private:
  std::map<std::string, Record> records_;
};

}  // namespace skep::simulation
