// What a machine is made of, decided before anything of it is made: image, accelerator, network, template,
// and what the guest is told. Thread-safe.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "drivers/api/driver.h"
#include "drivers/qemu/accelerator.h"
#include "drivers/qemu/image_check.h"
#include "drivers/qemu/net_filter_texts.h"
#include "drivers/qemu/qemu_driver.h"
#include "drivers/qemu/qemu_texts.h"
#include "drivers/qemu/warm_templates.h"

namespace skep::drivers::qemu {

/// Modes of network.
constexpr const char* filtered_network = "filtered";
constexpr const char* open_network = "open";
constexpr const char* no_network = "none";

struct Network {
  std::string mode;
  std::vector<Reach> reaches;                // by address
  std::map<std::string, std::string> hosts;  // names for the guest
};

struct Machine {
  VmPlan plan;
  Network network;
  std::string disk;  // that its own lies over; empty: none
  std::optional<WarmTemplate> warm;
  std::string detail;
};

class MachinePlanner {
 public:
  /// `templates`: where and under which mark templates of warm clones are made.
  MachinePlanner(const QemuDriverOptions& options, WarmTemplates::Options templates);

  /// Why the options cannot be used; empty: they can.
  std::string problem() const;
  /// What this host can start, into a report that is usable so far.
  void probe(ProbeReport& report);
  /// Whether the request can be planned at all: names, network, image.
  Result<void> check(const StartRequest& request) const;
  /// Of a machine that boots. What it starts from may be held for it when this returns, whatever it returns.
  Result<Machine> plan(const StartRequest& request);
  /// Makes a clone of it. An error says why it must boot; then it is as it was.
  Result<void> make_clone_of(Machine& machine);
  /// What the guest starts with, as guest_texts.h has it.
  Result<std::string> start_text(const StartRequest& request, const Network& network) const;
  /// The ticket as the guest must see it.
  static Ticket inside(Ticket ticket);
  WarmTemplates& templates() { return templates_; }

 private:
  bool allows(const std::string& network) const;
  Result<std::string> network_of(const ExecutorSpec& spec) const;
  Result<std::string> image_name(const StartRequest& request) const;
  Result<VmImage> image_of(const StartRequest& request);
  void probe_images(ProbeReport& report);
  void tell_once(const std::string& digest, const Error& error);
  Result<void> can_filter();
  Result<Network> plan_network(const StartRequest& request);

  const QemuDriverOptions options_;
  ImageCheck images_;
  AcceleratorChoice accelerator_;
  WarmTemplates templates_;
  std::mutex told_lock_;                // of told_
  std::set<std::string> told_;          // digests of images whose fault is in the log
  std::mutex filter_lock_;              // of filter_
  std::optional<Result<void>> filter_;  // whether nftables can be used
};

}  // namespace skep::drivers::qemu
