// What a driver asks of the host's images: which can be started now, and a folder that stays as it is for as
// long as an executor made from it exists.
//
//   start():    hold(image, format, id), then make the executor from the folder; release(id) when that failed
//   destroy():  release(id) last, when nothing of the executor is left
//
// A hold is durable before hold() returns: it outlives agentd. Thread-safe; exceptions: none leave.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/result.h"

namespace skep::drivers {

enum class ImageFormat {
  directory_tar,  // the folder is what executors get
  vm,             // the folder holds the files of the catalogue under their names, read-only
  container,      // the same: one archive, for the driver to load into its engine
};

struct HeldImage {
  std::string folder;                        // absolute; nothing in it may be changed
  std::string digest;                        // 64 hex digits; the same for the same content, on every host
  std::map<std::string, std::string> files;  // of vm, container: name -> SHA-256 that was proven, 64 digits
};

/// A copy as the host has it, for drivers that keep something of each: it stays as long as one of the two
/// below says so.
struct StoredImage {
  std::string copy;                     // its name, the same for the same content: "base@2-1f2d3c4b5a69"
  std::vector<std::string> references;  // what hold() takes for it now; empty: nothing can be started from it
  bool is_held = false;
  HeldImage content;  // of a copy that can be started
};

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  /// Names that hold() takes now.
  virtual std::vector<std::string> ready_images(ImageFormat format) = 0;
  /// What hold() would give now. Without a hold it may be gone the next moment: for a look only.
  virtual Result<HeldImage> look_at(const std::string& image, ImageFormat format) = 0;
  /// Again for the same executor and image: the same answer. not_found: no such image; unsupported: of
  /// another format; try_again/unavailable: not ready, the message says why.
  virtual Result<HeldImage> hold(const std::string& image, ImageFormat format,
                                 const ExecutorId& executor) = 0;
  /// Of an executor that holds nothing: a success.
  virtual Result<void> release(const ExecutorId& executor) = 0;
  /// All copies that can be started or are held. An error: not known, which is not "none".
  virtual Result<std::vector<StoredImage>> stored_images(ImageFormat format) = 0;
  /// What a driver has to say of a copy that can be started: why it does not start it yet; empty: it does.
  /// People see it, and who listens to the host's images is told.
  virtual void tell(const std::string& copy, const std::string& problem) = 0;
};

}  // namespace skep::drivers
