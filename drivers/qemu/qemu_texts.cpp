#include "drivers/qemu/qemu_texts.h"

#include <algorithm>

namespace skep::drivers::qemu {
namespace {

constexpr std::int64_t mebibyte = std::int64_t{1} << 20;

constexpr const char* machine = "q35,vmport=off";

std::string socket_chardev(const std::string& id, const std::string& path) {
  return "socket,id=" + id + ",path=" + path + ",server=on,wait=off";
}

std::string accelerator_option(Accelerator accelerator) {
  // Without a limit translated code takes up to a gigabyte.
  return accelerator == Accelerator::kvm ? "kvm" : "tcg,thread=multi,tb-size=96";
}

void append(std::vector<std::string>& argv, std::initializer_list<std::string> words) {
  argv.insert(argv.end(), words);
}

}  // namespace

std::string_view to_string(Accelerator accelerator) {
  return accelerator == Accelerator::kvm ? "KVM" : "TCG";
}

std::string escaped(const std::string& value) {
  std::string out;
  for (const char c : value) out += c == ',' ? std::string(",,") : std::string(1, c);
  return out;
}

std::vector<std::string> command_line(const VmPlan& plan) {
  const VmImage& image = plan.image;
  std::vector<std::string> argv{plan.program,
                                "-nodefaults",
                                "-no-user-config",
                                "-no-reboot",
                                "-display",
                                "none",
                                "-name",
                                "guest=skep-" + plan.id.text,
                                "-machine",
                                machine,
                                "-accel",
                                accelerator_option(plan.accelerator),
                                "-cpu",
                                plan.accelerator == Accelerator::kvm ? "host" : "max"};
  const std::string memory = std::to_string(std::max(plan.memory_bytes / mebibyte, std::int64_t{16})) + "M";
  if (plan.memory_file) {
    append(argv, {"-object", "memory-backend-file,id=ram,size=" + memory +
                                 ",mem-path=" + escaped(plan.memory_file->path) +
                                 ",share=" + (plan.memory_file->is_shared ? "on" : "off")});
    *std::find(argv.begin(), argv.end(), machine) = std::string(machine) + ",memory-backend=ram";
    if (plan.memory_file->waits) append(argv, {"-incoming", "defer"});
  }
  append(argv, {"-smp", std::to_string(std::max<std::int64_t>(plan.processors, 1)), "-m", memory});
  // With -runas QEMU must be allowed to change its user once, after which it has no rights to gain.
  append(argv, {"-sandbox", std::string("on,obsolete=deny,spawn=deny,resourcecontrol=deny") +
                                (plan.user ? "" : ",elevateprivileges=deny")});
  if (plan.user) append(argv, {"-runas", std::to_string(*plan.user) + ":" + std::to_string(*plan.user)});
  append(argv, {"-kernel", image.path(image.kernel), "-initrd", image.path(image.initrd), "-append",
                image.command_line});
  append(argv, {"-chardev", socket_chardev("qmp", qmp_socket), "-mon", "chardev=qmp,mode=control"});
  append(argv, {"-chardev", socket_chardev("serial", serial_socket), "-serial", "chardev:serial"});
  append(argv, {"-device", "virtio-serial-pci", "-chardev", socket_chardev("control", control_socket),
                "-device", std::string("virtserialport,chardev=control,name=") + control_port});
  append(argv, {"-device", "virtio-rng-pci"});
  if (!image.disk.name.empty()) {
    // An executor's disk never outlives a crash of the host: nothing is flushed.
    append(argv, {"-drive", std::string("if=none,id=disk,format=qcow2,cache=unsafe,file=") + overlay_file,
                  "-device", "virtio-blk-pci,drive=disk"});
  }
  if (plan.has_network) {
    append(argv, {"-netdev", std::string("user,id=net,ipv6=off") + (plan.is_shut ? ",restrict=on" : ""),
                  "-device", "virtio-net-pci,netdev=net,romfile="});
  } else {
    append(argv, {"-nic", "none"});
  }
  return argv;
}

std::vector<std::string> trial_command_line(const std::string& program, const VmImage& image,
                                            Accelerator accelerator) {
  return {program,
          "-nodefaults",
          "-no-user-config",
          "-no-reboot",
          "-display",
          "none",
          "-machine",
          "q35",
          "-accel",
          accelerator_option(accelerator),
          "-cpu",
          accelerator == Accelerator::kvm ? "host" : "max",
          "-m",
          "128M",
          "-sandbox",
          "on,obsolete=deny,spawn=deny,resourcecontrol=deny,elevateprivileges=deny",
          "-kernel",
          image.path(image.kernel),
          "-append",
          "quiet panic=-1"};
}

std::vector<std::string> overlay_command_line(const std::string& program, const std::string& base,
                                              const std::string& overlay) {
  return {program, "create", "-q", "-f", "qcow2", "-F", "qcow2", "-o", "backing_file=" + escaped(base),
          overlay};
}

}  // namespace skep::drivers::qemu
