// What drivers keep on this host's disk in the same way: private folders, and marks of ids that were
// destroyed, so that no id ever has a second life. Linux only. Thread-safe for different ids.
#pragma once

#include <atomic>
#include <string>

#include "drivers/api/driver.h"

namespace skep::drivers {

/// The system would not say what is there: the caller must not take it for "nothing".
Error unseen(const ExecutorId& id, const Error& error);

/// Letters, digits, '.', '_' and '-', at most 100: it becomes part of paths and names.
bool is_valid_owner_tag(const std::string& tag);

/// Made 0700 when it is not there; the folder above it must be.
Result<void> make_private_folder(const std::string& path);

class GoneMarks {
 public:
  /// `folder` is made by the owner of this object; the oldest marks beyond 20,000 are forgotten.
  explicit GoneMarks(std::string folder) : folder_(std::move(folder)) {}
  GoneMarks(const GoneMarks&) = delete;
  GoneMarks& operator=(const GoneMarks&) = delete;

  /// Success: that id may be started. conflict: it was destroyed.
  Result<void> refuse(const ExecutorId& id) const;
  Result<void> mark(const ExecutorId& id);

 private:
  void prune() const;
  std::string folder_;
  std::atomic<unsigned> marked_{0};
};

}  // namespace skep::drivers
