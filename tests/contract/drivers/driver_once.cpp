// One verb of a driver in a process of its own, so that a test can kill it anywhere inside the verb: stops
// itself first and last, so that its tracer knows where the verb begins and ends.
//
//   skep-driver-once process start|destroy ROOT OWNER JOIN_PROGRAM IMAGE_FOLDER ID
//   skep-driver-once namespaces|users start|destroy ROOT OWNER SANDBOX_PROGRAM IMAGE_FOLDER ID
//   skep-driver-once container start|destroy ROOT OWNER SOCKET IMAGE ID
//   skep-driver-once qemu start|destroy ROOT OWNER PROGRAM IMAGE_FILE ID
//     IMAGE_FILE: folder, kernel, its SHA-256, initrd, its SHA-256, disk, its SHA-256, command line; one a
//     line
#include <sys/ptrace.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "drivers/container/container_driver.h"
#include "drivers/process/process_driver.h"
#include "drivers/qemu/qemu_driver.h"
#include "linux/linux_host_facts.h"

namespace {

using namespace skep;

drivers::qemu::VmImage image_of(const std::string& file) {
  std::ifstream in(file);
  std::vector<std::string> lines(8);
  for (std::string& line : lines) std::getline(in, line);
  return {lines[0], {lines[1], lines[2]}, {lines[3], lines[4]}, {lines[5], lines[6]}, lines[7]};
}

std::unique_ptr<drivers::Driver> driver_of(const std::vector<std::string>& arguments) {
  if (arguments[0] == "container") {
    drivers::ContainerDriverOptions options;
    options.root = arguments[2];
    options.owner_tag = arguments[3];
    options.socket = arguments[4];
    options.images = {{"base", arguments[5]}};
    options.networks = {"none"};
    return drivers::make_container_driver(options);
  }
  if (arguments[0] == "qemu") {
    drivers::QemuDriverOptions options;
    options.root = arguments[2];
    options.owner_tag = arguments[3];
    options.program = arguments[4];
    options.images = {{"base", image_of(arguments[5])}};
    options.networks = {"filtered"};
    options.first_user = 71'000;
    options.accelerator = drivers::VmAccelerator::tcg;
    return drivers::make_qemu_driver(options);
  }
  drivers::ProcessDriverOptions options;
  options.root = arguments[2];
  options.owner_tag = arguments[3];
  options.join_program = arguments[4];
  options.images = {{"base", arguments[5]}};
  if (arguments[0] != "process") {
    options.join_program = "/skep/bin/skep-join";
    options.sandbox.emplace();
    options.sandbox->program = arguments[4];
    options.sandbox->binds = {"/usr", "/bin", "/lib", posix_host::program_folder() + ":/skep/bin"};
    if (std::filesystem::exists("/lib64")) options.sandbox->binds.emplace_back("/lib64");
    options.sandbox->first_user = 74'000;
    options.sandbox->users = arguments[0] == "users" ? 64 : 0;
  }
  return drivers::make_process_driver(options);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() != 7) return 2;
  const auto driver = driver_of(arguments);
  const ExecutorId id(arguments[6]);
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 3;
  ::raise(SIGSTOP);
  bool is_good = false;
  if (arguments[1] == "start") {
    drivers::StartRequest request;
    request.spec.id = id;
    request.spec.image = "base";
    request.spec.agent_command = {"/bin/sh", "-c", "(setsid sleep 1001 &) ; exec sleep 1001"};
    request.ticket = Ticket{"http://127.0.0.1:1/", id.text, "secret", 1};
    request.epoch = 3;
    is_good = driver->start(request).has_value();
  } else {
    is_good = driver->destroy(id).has_value();
  }
  ::raise(SIGSTOP);
  return is_good ? 0 : 1;
}
