// Executors as containers of an engine that speaks the Docker Engine API on a unix socket: Docker or Podman,
// the same code. See docs/design/container-driver.md.
//
// A container has a read-only image, chosen by digest; tmpfs for what can be written; no capability, no
// way to new privileges; limits of cpu, memory, processes and open files; one network mode of those that this
// host allows. It carries labels (engine_texts.h) by which it is found again, whatever was killed.
//
// Layout below `root`:
//   <owner>/run/<id>/control   is /skep/control in the container: ticket (0600, from us; skep-join takes it
//   away),
//                              status (from skep-join). Written before the container is made
//   <owner>/gone/<id>          ids that were destroyed: never started again
//   <owner>/images/<copy>      the ID of an image of the source that was or is to be loaded (image_plan.h)
//
// The ticket is in no command line, environment, label, or anything else that the engine shows.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "drivers/api/driver.h"
#include "drivers/api/images.h"

namespace skep::drivers {

struct ContainerDriverOptions {
  std::string socket;                               // absolute path of the engine's socket
  std::string root;                                 // absolute; made 0700 when missing
  std::map<std::string, std::string> images;        // name -> sha256:... or repository@sha256:...
  ImageSource* image_source = nullptr;              // more images, of format container; outlives the driver
  std::string join_program = "/usr/bin/skep-join";  // inside the image
  std::string owner_tag = "skep";                   // letters, digits, '.', '_' and '-'
  std::string user;                                 // "uid:gid" inside; empty: as this process
  std::vector<std::string> networks = {"bridge"};   // that an executor may have; the first is the default
  std::int64_t max_processes = 4096;
  std::int64_t max_open_files = 4096;
  std::int64_t default_disk_bytes = std::int64_t{1} << 30;  // of executors whose template names none
  Duration linger = minutes(10);  // how long an executor waits for a new ticket after its agent ended
  Duration kill_deadline = seconds(10);
  Duration call_deadline = seconds(60);  // of one request to the engine; of a load: without taking a byte
  Duration load_deadline = hours(2);     // of one image that is loaded
  Duration look_every = seconds(15);     // whether the engine still has the images of the source
};

/// Also implements TicketDelivery and ChangeSource. A change listener must not call set_change_listener; when
/// that returns, the former listener does not run any more.
std::unique_ptr<Driver> make_container_driver(ContainerDriverOptions options);

}  // namespace skep::drivers
