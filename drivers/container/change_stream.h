// The engine's events of one owner's containers, read by a thread of its own: connects again when the stream
// breaks. A hint only, as events between two connections are lost; after each connection `on_gap` is called,
// which looks at everything. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/ids.h"
#include "drivers/container/engine.h"

namespace skep::drivers::container {

class ChangeStream {
 public:
  /// Both run on the stream's thread, one call at a time. `engine` must outlive this.
  ChangeStream(Engine& engine, std::string owner, std::function<void(const ExecutorId&)> on_change,
               std::function<void()> on_gap);
  /// No call runs any more when it returns.
  ~ChangeStream();
  ChangeStream(const ChangeStream&) = delete;
  ChangeStream& operator=(const ChangeStream&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::drivers::container
