#include "drivers/qemu/machine_planner.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "common/log/log.h"
#include "core/url.h"
#include "drivers/qemu/guest_texts.h"
#include "drivers/qemu/net_filter.h"
#include "drivers/qemu/vm_manifest.h"
#include "drivers/shared/gone_marks.h"
#include "linux/linux_files.h"
#include "linux/linux_socket.h"

namespace skep::drivers::qemu {
namespace {

constexpr const char* control_inside = "/skep/control";
constexpr const char* work_inside = "/skep/work";
constexpr int entropy_bytes = 64;
constexpr int machine_id_bytes = 16;

/// Hex digits of the system's randomness; empty when there is none.
std::string random_hex(int bytes) {
  std::string raw(static_cast<std::size_t>(bytes), '\0');
  std::ifstream source("/dev/urandom", std::ios::binary);
  if (!source.read(raw.data(), bytes)) return "";
  std::string out;
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

/// No executor can have that name, so that a hold of it ends with agentd.
constexpr const char* trial_holder = "trial.";

/// Files that were proven already.
Result<VmImage> image_in(const std::string& name, const HeldImage& held) {
  const auto text = posix_host::read_plain_file(held.folder + "/" + manifest_file, max_manifest_bytes);
  auto image = text ? read_manifest(*text, held.folder, held.files) : Result<VmImage>(text.error());
  if (image) return image;
  Error error = image.error();
  if (!text && error.code == ErrorCode::not_found)
    error = Error::failed(ErrorCode::not_found, std::string("it has no file ") + manifest_file,
                          "publish it with one, see docs/how-to/virtual-machines.md");
  error.message = "image \"" + name + "\" is none of a virtual machine: " + error.message;
  return error;
}

AcceleratorChoice::Wish wish_of(VmAccelerator accelerator) {
  using Wish = AcceleratorChoice::Wish;
  return accelerator == VmAccelerator::kvm   ? Wish::kvm
         : accelerator == VmAccelerator::tcg ? Wish::tcg
                                             : Wish::automatic;
}

}  // namespace

MachinePlanner::MachinePlanner(const QemuDriverOptions& options, WarmTemplates::Options templates)
    : options_(options),
      accelerator_(options_.program, wish_of(options_.accelerator)),
      templates_(std::move(templates)) {}

void MachinePlanner::probe(ProbeReport& report) {
  probe_images(report);
  if (allows(filtered_network)) {
    if (const auto can = can_filter(); !can)
      report.detail += "; NO machine with network \"filtered\" can start: " + can.error().message;
  }
  if (allows(open_network)) report.detail += "; templates may ask for a network WITHOUT a filter (\"open\")";
}

/// Which images can start, and by one of them whether anything can.
void MachinePlanner::probe_images(ProbeReport& report) {
  const auto try_with = [&](const VmImage& image) {
    const auto chosen = accelerator_.choose(image);
    report.is_usable = chosen.has_value();
    report.detail += "; " + (chosen ? chosen->why : chosen.error().message);
  };
  bool is_tried = false;
  for (const auto& [name, image] : options_.images) {
    if (const auto checked = images_.check(name, image, options_.digest_deadline); !checked) {
      report.detail += "; " + checked.error().message;
      continue;
    }
    report.images.push_back(name);
    if (!is_tried) try_with(image);
    is_tried = true;
  }
  if (options_.image_source == nullptr) return;
  for (const std::string& name : options_.image_source->ready_images(ImageFormat::vm)) {
    const auto seen = options_.image_source->look_at(name, ImageFormat::vm);
    const auto image = seen ? image_in(name, *seen) : seen.error();
    if (!image) {
      report.detail += "; " + image.error().message;
      if (seen) tell_once(seen->digest, image.error());
      continue;
    }
    report.images.push_back(name);
    if (is_tried) continue;
    // A kernel that is removed while it is tried out would prove nothing.
    const ExecutorId trial(trial_holder);
    const bool is_held =
        !accelerator_.needs_trial() || options_.image_source->hold(name, ImageFormat::vm, trial).has_value();
    if (is_held) try_with(*image);
    is_tried = is_held;
    static_cast<void>(options_.image_source->release(trial));
  }
}

void MachinePlanner::tell_once(const std::string& digest, const Error& error) {
  const std::lock_guard<std::mutex> guard(told_lock_);
  if (told_.insert(digest).second) log::write_error("an image is not offered", error);
}

std::string MachinePlanner::problem() const {
  if (!is_valid_owner_tag(options_.owner_tag)) return "\"" + options_.owner_tag + "\" is no valid owner tag";
  if (options_.root.empty() || options_.root.front() != '/')
    return "\"" + options_.root + "\" is no absolute path of a folder";
  if (options_.networks.empty()) return "no network mode is allowed on this host";
  for (const std::string& network : options_.networks) {
    if (network != filtered_network && network != no_network && network != open_network)
      return "\"" + network + "\" is no network mode: filtered, none or open";
  }
  for (const std::string& each : options_.reach) {
    if (!reach_from(each)) return "\"" + each + "\" is not host:port or host:port/udp";
  }
  for (const auto& [name, image] : options_.images) {
    if (const std::string why = problem_of(image); !why.empty()) return "image \"" + name + "\": " + why;
  }
  return "";
}

bool MachinePlanner::allows(const std::string& network) const {
  const auto& all = options_.networks;
  return std::find(all.begin(), all.end(), network) != all.end();
}

Result<void> MachinePlanner::check(const StartRequest& request) const {
  for (const auto& [name, value] : request.spec.environment) {
    const bool is_valid = !name.empty() && name.find('=') == std::string::npos &&
                          name.find('\0') == std::string::npos && value.find('\0') == std::string::npos;
    if (!is_valid)
      return Error::failed(ErrorCode::invalid_input,
                           "\"" + name + "\" cannot be set in an executor's environment");
  }
  if (const auto network = network_of(request.spec); !network) return network.error();
  if (const auto image = image_name(request); !image) return image.error();
  return {};
}

Result<std::string> MachinePlanner::network_of(const ExecutorSpec& spec) const {
  if (spec.network.empty()) return options_.networks.front();
  if (allows(spec.network)) return spec.network;
  return Error::failed(
      ErrorCode::invalid_input,
      "network \"" + spec.network + "\" of executor " + spec.id.text + " is not allowed on this host",
      "add it to drivers.qemu.networks, or change the template");
}

/// A template that names no image means the host's only one.
Result<std::string> MachinePlanner::image_name(const StartRequest& request) const {
  const std::string& image = request.spec.image;
  if (options_.images.count(image) > 0) return image;
  if (!image.empty() && options_.image_source != nullptr) return image;  // it is asked for a hold
  if (image.empty() && options_.images.size() == 1) return options_.images.begin()->first;
  if (image.empty()) {
    return Error::failed(ErrorCode::invalid_input,
                         "the template of executor " + request.spec.id.text + " names no image",
                         "name one of drivers.qemu.images or of the catalogue");
  }
  return Error::failed(ErrorCode::not_found, "image \"" + image + "\" is not on this host",
                       "add it to drivers.qemu.images");
}

Result<void> MachinePlanner::can_filter() {
  if (options_.users == 0)
    return Error::failed(ErrorCode::unsupported,
                         "a filter needs a user of its own for each machine, and "
                         "skep-agentd is not root or has no range of users");
  const std::lock_guard<std::mutex> guard(filter_lock_);
  if (!filter_) filter_ = probe_filter();
  return *filter_;
}

Result<Network> MachinePlanner::plan_network(const StartRequest& request) {
  Network network;
  const auto mode = network_of(request.spec);
  if (!mode) return mode.error();
  network.mode = *mode;
  if (*mode == no_network) return network;
  if (*mode == filtered_network) {
    if (const auto can = can_filter(); !can) {
      Error error = can.error();
      error.message = "executor " + request.spec.id.text +
                      " is not started: its network cannot be filtered: " + error.message;
      error.hint = "make it possible, or allow network \"open\" or \"none\" on this host";
      return error;
    }
  }
  std::vector<Reach> wanted;
  for (const std::string& each : options_.reach) wanted.push_back(*reach_from(each));
  if (const auto parts = split_url(request.ticket.url)) wanted.push_back({parts->host, parts->port, false});
  for (const Reach& each : wanted) {
    const std::string host =
        is_loopback_host(each.host) && each.host.find(':') != std::string::npos ? "127.0.0.1" : each.host;
    const auto addresses = posix_host::resolve_ipv4(host);
    if (!addresses) return addresses.error();
    for (const std::string& address : *addresses)
      network.reaches.push_back({address, each.port, each.is_udp});
    if (addresses->front() != host && !is_loopback_host(host)) network.hosts[host] = addresses->front();
  }
  return network;
}

Result<std::string> MachinePlanner::start_text(const StartRequest& request, const Network& network) const {
  const ExecutorSpec& spec = request.spec;
  GuestStart start;
  start.name = spec.id.text;
  start.machine_id = random_hex(machine_id_bytes);
  start.entropy = random_hex(entropy_bytes);
  if (start.machine_id.empty() || start.entropy.empty())
    return Error::try_again(ErrorCode::out_of_resources,
                            "this host gives no randomness for executor " + spec.id.text);
  start.hosts = network.hosts;
  const std::string control = control_inside;
  start.argv = {options_.join_program,
                "--ticket",
                control + "/ticket",
                "--status",
                control + "/status",
                "--work-dir",
                work_inside,
                "--linger",
                std::to_string(std::chrono::ceil<seconds>(options_.linger).count()),
                "--stop-grace",
                std::to_string(std::chrono::ceil<seconds>(spec.stop_grace).count())};
  if (!spec.agent_command.empty()) {
    start.argv.emplace_back("--");
    start.argv.insert(start.argv.end(), spec.agent_command.begin(), spec.agent_command.end());
  }
  start.environment = {{"HOME", work_inside},
                       {"TMPDIR", "/tmp"},
                       {"LANG", "C.UTF-8"},
                       {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}};
  for (const auto& [name, value] : spec.environment) start.environment[name] = value;
  start.ticket = inside(request.ticket);
  std::string text = encode(start);
  if (text.size() < max_start_bytes / 2) return text;
  return Error::failed(ErrorCode::too_large,
                       "command and environment of executor " + spec.id.text + " are too long");
}

/// Its files are what their digests say.
Result<VmImage> MachinePlanner::image_of(const StartRequest& request) {
  const auto name = image_name(request);
  if (!name) return name.error();
  if (const auto own = options_.images.find(*name); own != options_.images.end()) {
    if (auto checked = images_.check(*name, own->second, options_.digest_deadline); !checked)
      return checked.error();
    return own->second;
  }
  const auto held = options_.image_source->hold(*name, ImageFormat::vm, request.spec.id);
  if (!held) return held.error();
  return image_in(*name, *held);
}

/// What is decided before anything of an executor is made.
Result<Machine> MachinePlanner::plan(const StartRequest& request) {
  const auto found = image_of(request);
  if (!found) return found.error();
  const VmImage& image = *found;
  const auto chosen = accelerator_.choose(image);
  if (!chosen) return chosen.error();
  auto network = plan_network(request);
  if (!network) return network.error();
  Machine machine;
  machine.network = std::move(*network);
  machine.detail = "booted, " + chosen->why;
  if (!image.disk.name.empty()) machine.disk = image.path(image.disk);
  VmPlan& plan = machine.plan;
  plan.program = options_.program;
  plan.id = request.spec.id;
  plan.image = image;
  plan.accelerator = chosen->accelerator;
  plan.processors = (request.spec.resources.cpu_millis + 999) / 1000;
  plan.memory_bytes =
      request.spec.resources.memory_bytes > 0 ? request.spec.resources.memory_bytes : default_memory_bytes;
  plan.has_network = machine.network.mode != no_network;
  return machine;
}

Result<void> MachinePlanner::make_clone_of(Machine& machine) {
  VmPlan of_template = machine.plan;
  if (options_.users > 0) of_template.user = options_.first_user + options_.users - 1;
  const auto warm = templates_.get(of_template);
  if (!warm) return warm.error();
  machine.warm = *warm;
  machine.disk = warm->disk;
  machine.detail =
      "cloned from template " + warm->key + ", " + std::string(to_string(machine.plan.accelerator));
  machine.plan.memory_file = VmPlan::MemoryFile{warm->ram, false, true};
  return {};
}

Ticket MachinePlanner::inside(Ticket ticket) {
  ticket.url = url_inside(ticket.url);
  return ticket;
}

}  // namespace skep::drivers::qemu
