// Executors as virtual machines of QEMU. See docs/design/qemu-driver.md.
//
// Layout below `root`, which several owners may share; nobody but us may enter it:
//   run/<id>/record.json       owner, id, epoch, state, QEMU's pid and start time, boot id, control groups,
//   user, filter;
//                              durable before the folder appears
//   run/<id>/control/          start, ticket (0600), status: see guest_bridge.h
//   run/<id>/overlay.qcow2     the machine's disk, over the image's
//   run/<id>/qemu.log          what QEMU itself said; serial.log: the end of the console
//   run/<id>/*.sock            QEMU's sockets
//   owner-<tag>/new/<id>       being made     (renamed to run/<id> once they carry a record)
//   owner-<tag>/leaving/<id>   being removed
//   owner-<tag>/warm/          templates of warm clones: see warm_templates.h
//   owner-<tag>/gone/<id>      ids that were destroyed: never started again
//
// QEMU carries SKEP_EXECUTOR=<owner>/<id>@<root> in its environment and is in the executor's control groups.
// The ticket is in no command line, environment, or anything else that the guest's users or this host's users
// see.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "drivers/api/driver.h"
#include "drivers/api/images.h"
#include "drivers/qemu/vm_image.h"

namespace skep::drivers {

enum class VmAccelerator { automatic, kvm, tcg };

struct QemuDriverOptions {
  std::string root;                             // absolute; made 0700 when missing
  std::map<std::string, qemu::VmImage> images;  // name -> files
  ImageSource* image_source = nullptr;          // more images, of format vm; outlives the driver
  std::string warm_folder;                      // templates of warm clones; empty: below root, for this owner
  std::string program = "qemu-system-x86_64";   // a path, or a name on our PATH
  std::string image_program = "qemu-img";       // likewise
  std::string join_program = "/usr/bin/skep-join";  // inside the guest
  std::string owner_tag = "skep";                   // letters, digits, '.', '_' and '-'
  VmAccelerator accelerator = VmAccelerator::automatic;
  std::vector<std::string> networks = {"filtered"};  // of filtered, none, open; the first is the default
  std::vector<std::string> reach;     // host:port[/udp] beside the controller, of network "filtered"
  std::uint32_t first_user = 70'000;  // where we are root: QEMU runs as one of these, one a machine
  std::uint32_t users = 256;          // 0: QEMU runs as we do
  std::int64_t max_processes = 256;   // threads of one QEMU
  bool uses_cgroups = true;
  Duration linger = minutes(10);  // how long an executor waits for a new ticket after its agent ended
  Duration kill_deadline = seconds(10);
  Duration start_deadline = seconds(20);   // until QEMU answers; the guest's boot is not waited for
  Duration digest_deadline = minutes(10);  // of one file of an image
};

/// Also implements TicketDelivery and ChangeSource. A change listener must not call set_change_listener; when
/// that returns, the former listener does not run any more.
std::unique_ptr<Driver> make_qemu_driver(QemuDriverOptions options);

}  // namespace skep::drivers
