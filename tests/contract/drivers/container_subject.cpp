#include "tests/contract/drivers/container_subject.h"

// As CATCH_REGISTER_LISTENER needs it.
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>

#include "drivers/container/engine.h"
#include "linux/linux_process.h"

namespace skep::test {
namespace {

namespace fs = std::filesystem;
using drivers::StartRequest;

/// Whose command line or environment holds `mark`.
std::vector<std::string> processes_with(const std::string& mark, const std::string& word) {
  std::vector<std::string> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos || pid == std::to_string(::getpid()))
      continue;
    if (!posix_host::identify(static_cast<pid_t>(std::stol(pid)))) continue;  // a zombie, or gone
    const std::string command = content_of(entry.path().string() + "/cmdline");
    const bool is_marked =
        (command + content_of(entry.path().string() + "/environ")).find(mark) != std::string::npos;
    if (is_marked && command.find(word) != std::string::npos)
      all.push_back("process " + pid + " " + command.c_str());
  }
  return all;
}

/// A program without any engine to test says so and is done.
struct SkipWhereNothingRuns : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;
  void testRunStarting(const Catch::TestRunInfo&) override {
    if (!subject_kinds().empty()) return;
    std::cout << "0 passed, 0 failed, 1 skipped" << std::endl;
    std::exit(0);
  }
};
CATCH_REGISTER_LISTENER(SkipWhereNothingRuns)

}  // namespace

const std::vector<std::string>& subject_kinds() {
  static const std::vector<std::string> kinds = [] {
    std::vector<std::string> all;
    const char* given = std::getenv("SKEP_TEST_ENGINE");
    const std::string wanted = given != nullptr ? given : "";
    for (const std::string kind : {"docker", "podman"}) {
      if (!wanted.empty() && wanted != kind) continue;
      const TestEngine& engine = test_engine(kind);
      if (engine.skipped.empty()) {
        all.push_back(kind);
      } else {
        std::cout << "SKIPPED: " << engine.skipped << std::endl;
      }
    }
    return all;
  }();
  return kinds;
}

std::unique_ptr<Subject> make_subject(const std::string& kind) {
  return std::make_unique<ContainerSubject>(kind);
}

ContainerSubject::ContainerSubject(const std::string& kind)
    : engine(test_engine(kind)), folder("containers") {}

ContainerSubject::~ContainerSubject() {
  // Whatever a failed test left.
  for (const std::string& owner : owners_) {
    const auto driver = make_driver(owner);
    for (const std::string& id : ids_) static_cast<void>(driver->destroy(ExecutorId(id)));
  }
}

drivers::ContainerDriverOptions ContainerSubject::options(const std::string& owner) {
  drivers::ContainerDriverOptions options;
  options.socket = engine.socket;
  options.root = root();
  options.images = {{"base", engine.image}};
  options.owner_tag = owner;
  options.networks = {"none"};
  return options;
}

std::unique_ptr<drivers::Driver> ContainerSubject::make_driver(const std::string& owner) {
  owners_.insert(owner);
  return drivers::make_container_driver(options(owner));
}

StartRequest ContainerSubject::request(const std::string& id, Behaviour behaviour) {
  // The first process of a container cannot be killed from inside, only asked to end.
  return script_request(id, script_of(behaviour, "kill -TERM 1; exec sleep 1000"));
}

StartRequest ContainerSubject::script_request(const std::string& id, const std::string& script) {
  ids_.insert(id);
  StartRequest request = plain_request(id);
  request.spec.agent_command = {"/bin/sh", "-c", "echo started >> /skep/control/starts; " + script, "agent"};
  return request;
}

std::string ContainerSubject::told(const std::string& id, const std::string& name) const {
  std::string all;
  for (const std::string& owner : owners_) all += content_of(control(owner, id) + "/" + name);
  return all;
}

int ContainerSubject::times_made(const std::string& id) {
  const std::string text = told(id, "starts");
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

std::vector<std::string> ContainerSubject::residue_now() {
  std::vector<std::string> all = processes_with(root(), "");
  // Per container: a shim of Docker, a monitor of Podman. Their engine itself stays.
  for (const char* helper : {"containerd-shim", "conmon"}) {
    for (std::string& line : processes_with(engine.folder, helper)) all.push_back(std::move(line));
  }
  drivers::container::Engine asked(engine.socket, seconds(30));
  const auto containers = asked.list({});
  if (!containers) all.push_back("containers? " + containers.error().message);
  if (containers) {
    for (const std::string& each : *containers) all.push_back("container " + each);
  }
  std::error_code ignored;
  for (const std::string& owner : owners_) {
    for (const auto& entry : fs::directory_iterator(root() + "/" + owner + "/run", ignored))
      all.push_back("folder " + entry.path().string());
  }
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    const bool is_of_container =
        line.find(engine.folder) != std::string::npos && line.find("/merged ") != std::string::npos;
    if (is_of_container || line.find(root()) != std::string::npos) all.push_back("mount " + line);
  }
  return all;
}

/// A container's helpers end a moment after it.
std::vector<std::string> ContainerSubject::residue() {
  std::vector<std::string> all;
  wait_until([&] { return (all = residue_now()).empty(); }, std::chrono::seconds(5));
  return all;
}

}  // namespace skep::test
