// Talks to the guests of running machines, each by two sockets of its QEMU: the control port (guest_texts.h)
// and the serial console. One thread for all. Files of an executor's folder, all written here unless said
// otherwise:
//   control/start    what the guest starts with, 0600, written by the driver; removed when the guest has
//   taken it control/ticket   a later ticket, 0600, likewise control/status   what skep-join in the guest
//   last said serial.log, serial.log.old   the last 128 to 256 KiB of the console
// What a guest says too often is read slowly, what it says wrongly is ignored. Thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace skep::drivers::qemu {

class GuestBridge {
 public:
  /// `on_change` runs on the bridge's thread after a status was written; it must be quick.
  explicit GuestBridge(std::function<void(const std::string& id)> on_change);
  ~GuestBridge();
  GuestBridge(const GuestBridge&) = delete;
  GuestBridge& operator=(const GuestBridge&) = delete;

  /// Connects as soon as QEMU listens, and again whenever it can. Does nothing when that id is attached.
  void attach(const std::string& id, const std::string& folder);
  /// When it returns, nothing is written to its folder any more.
  void forget(const std::string& id);
  /// There is a new control/ticket.
  void look_for_ticket(const std::string& id);
  /// The guest is asked to end what it runs and to power off.
  void ask_to_stop(const std::string& id);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skep::drivers::qemu
