// One verb of the process driver in a process of its own, so that a test can kill it anywhere inside the
// verb: stops itself first and last, so that its tracer knows where the verb begins and ends.
//
//   skep-driver-once start|destroy ROOT OWNER JOIN_PROGRAM IMAGE_FOLDER ID
#include <sys/ptrace.h>

#include <csignal>
#include <string>
#include <vector>

#include "drivers/process/process_driver.h"

int main(int argc, char** argv) {
  using namespace skep;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() != 6) return 2;
  drivers::ProcessDriverOptions options;
  options.root = arguments[1];
  options.owner_tag = arguments[2];
  options.join_program = arguments[3];
  options.images = {{"base", arguments[4]}};
  const auto driver = drivers::make_process_driver(options);
  const ExecutorId id(arguments[5]);
  if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) return 3;
  ::raise(SIGSTOP);
  bool is_good = false;
  if (arguments[0] == "start") {
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
