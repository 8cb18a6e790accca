// The images of this host: fetched, proven, kept within a limit, and lent to drivers. The shell of
// ImageLogic: a strand that owns it, and workers for what blocks. Thread-safe; nothing is called with a lock
// held.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agentd/core/images/image_logic.h"
#include "drivers/api/images.h"

namespace skep::agentd::images {

struct StoreStatus {
  std::vector<ImageStatus> images;
  ImageCounters counters;
  std::uint64_t used_bytes = 0, max_bytes = 0;
  std::string folder;
};

class ImageStore final : public drivers::ImageSource {
 public:
  /// Reads the folder and locks it: conflict when another process has it. Nothing is fetched before start().
  static Result<std::unique_ptr<ImageStore>> open(ImagesConfig config, ImagePatience patience = {});
  ~ImageStore() override;

  void start();
  /// Ends what runs; what was half fetched is gone on with at the next start.
  void stop();

  /// Called, from a thread of ours, when other images can be started than before. Set before start().
  void set_change_listener(std::function<void()> listener);

  std::vector<std::string> ready_images(drivers::ImageFormat format) override;
  Result<drivers::HeldImage> look_at(const std::string& image, drivers::ImageFormat format) override;
  Result<drivers::HeldImage> hold(const std::string& image, drivers::ImageFormat format,
                                  const ExecutorId& executor) override;
  Result<void> release(const ExecutorId& executor) override;
  Result<std::vector<drivers::StoredImage>> stored_images(drivers::ImageFormat format) override;
  void tell(const std::string& copy, const std::string& problem) override;
  /// It was seen gone, perhaps without its driver: as release(), without waiting.
  void forget(const ExecutorId& executor);
  /// Ends the holds of executors that are in neither this list nor that of the call before. For what was lost
  /// between a hold and its executor; the lists are complete.
  void keep_holds_of(std::set<ExecutorId> executors);

  /// Each of these three answers from a thread of ours, once, also while the store stops. pull and verify
  /// answer when the work was taken on; not_found and conflict (verify of what is not there) otherwise.
  void status(std::function<void(Result<StoreStatus>)> respond);
  void pull(const std::string& image, std::function<void(Result<ImageStatus>)> respond);
  void verify(const std::string& image, std::function<void(Result<ImageStatus>)> respond);

 private:
  struct Impl;
  explicit ImageStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::agentd::images
