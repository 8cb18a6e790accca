// QEMU's command line for one executor's machine. Pure. Facts: the manual page of QEMU 7.2, and what that
// version did when it was tried.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "drivers/qemu/vm_image.h"

namespace skep::drivers::qemu {

enum class Accelerator { kvm, tcg };
std::string_view to_string(Accelerator accelerator);

/// Names of files in an executor's folder, which is QEMU's working directory.
constexpr const char* qmp_socket = "qmp.sock";
constexpr const char* serial_socket = "serial.sock";
constexpr const char* control_socket = "control.sock";
constexpr const char* overlay_file = "overlay.qcow2";
/// Name of the virtio-serial port that skep-guest opens.
constexpr const char* control_port = "skep.control";

struct VmPlan {
  std::string program;  // path of qemu-system-x86_64
  ExecutorId id;
  VmImage image;
  Accelerator accelerator = Accelerator::tcg;
  std::int64_t processors = 1;
  std::int64_t memory_bytes = 0;
  bool has_network = true;
  /// Of a warm clone or its template; else the memory is QEMU's own.
  struct MemoryFile {
    std::string path;
    bool is_shared =
        false;           // the template writes to the file; clones have a private copy of what they change
    bool waits = false;  // clone: runs only after its state was read
  };
  std::optional<MemoryFile> memory_file;
  bool is_shut = false;               // the network reaches nothing at all, for templates
  std::optional<std::uint32_t> user;  // what QEMU becomes, user and group; needs root
};

/// What the machine of a template without a size has.
constexpr std::int64_t default_memory_bytes = std::int64_t{256} << 20;
/// Of QEMU itself, beside the guest's memory, as the control group allows it: translated code and queues.
constexpr std::int64_t overhead_bytes = std::int64_t{384} << 20;

std::vector<std::string> command_line(const VmPlan& plan);
/// Boots the image's kernel without any file system: it panics and restarts, upon which QEMU ends with 0.
/// Where it does not, this accelerator runs no kernel.
std::vector<std::string> trial_command_line(const std::string& program, const VmImage& image,
                                            Accelerator accelerator);
/// qemu-img's, for an overlay of a disk, as large as its base.
std::vector<std::string> overlay_command_line(const std::string& program, const std::string& base,
                                              const std::string& overlay);
/// A value in an option of QEMU's, in which a comma begins the next.
std::string escaped(const std::string& value);

}  // namespace skep::drivers::qemu
