// Tells when files in a folder are replaced or a process ends, without asking again and again: inotify and
// pidfd behind one thread. Linux only. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "linux/linux_process.h"

namespace skep::posix_host {

class ChangeWatch {
 public:
  /// `on_change` runs on the watch's own thread, one call at a time, with the key that was given to watch_*.
  /// It must be quick and must not call back into this object.
  explicit ChangeWatch(std::function<void(const std::string& key)> on_change);
  /// No call runs any more when it returns.
  ~ChangeWatch();
  ChangeWatch(const ChangeWatch&) = delete;
  ChangeWatch& operator=(const ChangeWatch&) = delete;

  /// A rename into that folder is a change. Where the system has no watch left, it is looked at once a
  /// second.
  void watch_folder(const std::string& key, const std::string& folder);
  /// Its end is a change, also when it came before this call.
  void watch_process(const std::string& key, const ProcessIdentity& process);
  void forget(const std::string& key);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::posix_host
