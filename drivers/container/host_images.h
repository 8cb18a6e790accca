// The images that containers are made from: those that the configuration names by digest, and those of the
// host's catalogue, which are loaded into the engine before they are named, kept there as long as the host
// has them, and taken out afterwards. image_plan decides; a thread of this carries it out. Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "drivers/api/driver.h"
#include "drivers/container/container_driver.h"
#include "drivers/container/engine.h"

namespace skep::drivers::container {

class HostImages {
 public:
  /// `engine` must outlive this; `folder`: for records, made when needed.
  HostImages(const ContainerDriverOptions& options, Engine& engine, std::string folder);
  /// Ends a load that is under way; the next start finds what there is of it.
  ~HostImages();
  HostImages(const HostImages&) = delete;
  HostImages& operator=(const HostImages&) = delete;

  /// Why the options cannot be used; empty: they can.
  static std::string problem_of(const ContainerDriverOptions& options);
  /// Names what can be started now, and from then on keeps the engine in step with the catalogue.
  void probe(ProbeReport& report);
  /// Whether there may be an image for this request.
  Result<void> check(const StartRequest& request) const;
  /// The image itself; one of the catalogue is held for this executor when this returns, whatever it returns.
  Result<ImageFacts> image_for(const StartRequest& request);
  Result<void> release(const ExecutorId& executor);
  /// The engine may have become another.
  void look_again();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::drivers::container
