#include "tests/contract/drivers/qemu_subject.h"

// As CATCH_REGISTER_LISTENER needs it.
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <iostream>

#include "linux/linux_process.h"
#include "linux/linux_run.h"

namespace skep::test {
namespace {

namespace fs = std::filesystem;
using drivers::StartRequest;

constexpr std::uint32_t first_user = 71'000;

/// A program that can test nothing here says so and is done.
struct SkipWhereNothingRuns : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;
  void testRunStarting(const Catch::TestRunInfo&) override {
    if (!subject_kinds().empty()) return;
    std::cout << "0 passed, 0 failed, 1 skipped" << std::endl;
    std::exit(0);
  }
};
CATCH_REGISTER_LISTENER(SkipWhereNothingRuns)

/// Counts, then becomes QEMU.
void write_counting_program(const std::string& path, const std::string& starts) {
  std::ofstream(path) << "#!/bin/sh\ncase \"$SKEP_EXECUTOR\" in ?*) echo \"$SKEP_EXECUTOR\" >> " << starts
                      << ";; esac\nexec qemu-system-x86_64 \"$@\"\n";
  fs::permissions(path, fs::perms::owner_all);
}

}  // namespace

const std::vector<std::string>& subject_kinds() {
  static const std::vector<std::string> kinds = [] {
    const std::string& why = tiny_image().skipped;
    // Clones are ready sooner; SKEP_TEST_QEMU=cold boots each machine instead.
    if (why.empty())
      return std::vector<std::string>{std::getenv("SKEP_TEST_QEMU") == nullptr ? "clones" : "cold"};
    std::cout << "SKIPPED: " << why << std::endl;
    return std::vector<std::string>{};
  }();
  return kinds;
}

std::unique_ptr<Subject> make_subject(const std::string& kind) {
  return std::make_unique<QemuSubject>(kind == "cold" ? StartMode::cold : StartMode::warm_clone);
}

QemuSubject::QemuSubject(StartMode how) : tiny(tiny_image()), mode(how) {
  static std::atomic<int> count{0};
  folder = tiny.folder + "/s" + std::to_string(++count);
  fs::create_directories(folder);
  write_counting_program(folder + "/qemu", folder + "/starts");
}

QemuSubject::~QemuSubject() {
  // Whatever a failed test left.
  for (const std::string& owner : owners_) {
    const auto driver = make_driver(owner);
    for (const std::string& id : ids_) static_cast<void>(driver->destroy(ExecutorId(id)));
  }
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

drivers::QemuDriverOptions QemuSubject::options(const std::string& owner) {
  drivers::QemuDriverOptions options;
  options.root = root();
  options.images = {{"base", tiny.image}};
  options.program = folder + "/qemu";
  options.owner_tag = owner;
  options.accelerator = drivers::VmAccelerator::tcg;
  options.networks = {"none", "filtered"};
  options.first_user = first_user;
  options.warm_folder = tiny.folder + "/warm";
  return options;
}

std::unique_ptr<drivers::Driver> QemuSubject::make_driver(const std::string& owner) {
  owners_.insert(owner);
  return drivers::make_qemu_driver(options(owner));
}

StartRequest QemuSubject::request(const std::string& id, Behaviour behaviour) {
  return script_request(id, script_of(behaviour, "poweroff -f"));
}

StartRequest QemuSubject::script_request(const std::string& id, const std::string& script) {
  ids_.insert(id);
  StartRequest request = plain_request(id);
  request.spec.start = mode;
  request.spec.resources.memory_bytes = std::int64_t{96} << 20;
  request.spec.agent_command = {"/bin/sh", "-c", script, "agent"};
  return request;
}

std::string QemuSubject::console(const std::string& id) const {
  return content_of(place(id) + "/serial.log.old") + content_of(place(id) + "/serial.log");
}

std::string QemuSubject::told(const std::string& id, const std::string& mark) const {
  std::istringstream in(console(id));
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(mark + " ", 0) != 0 || line.back() != '\r') continue;
    return line.substr(mark.size() + 1, line.size() - mark.size() - 2);
  }
  return "";
}

int QemuSubject::times_made(const std::string& id) {
  std::istringstream in(content_of(folder + "/starts"));
  int count = 0;
  for (std::string line; std::getline(in, line);)
    count += line.find("/" + id + "@") != std::string::npos ? 1 : 0;
  return count;
}

std::vector<std::string> QemuSubject::residue_now() {
  std::vector<std::string> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos || pid == std::to_string(::getpid()))
      continue;
    if (!posix_host::identify(static_cast<pid_t>(std::stol(pid)))) continue;  // a zombie, or gone
    const std::string command = content_of(entry.path().string() + "/cmdline");
    if ((command + content_of(entry.path().string() + "/environ")).find(root()) != std::string::npos)
      all.push_back("process " + pid + " " + command.c_str());
  }
  for (const auto& entry : fs::directory_iterator(root(), ignored)) {
    for (const auto& half : fs::directory_iterator(entry.path(), ignored)) {
      if (half.path().parent_path().filename() == "run") all.push_back("folder " + half.path().string());
      if (half.path().filename() == "gone") continue;
      for (const auto& file : fs::directory_iterator(half.path(), ignored))
        all.push_back("file " + file.path().string());
    }
  }
  posix_host::LaunchRequest list;
  list.argv = {"/usr/sbin/nft", "list", "tables"};
  list.environment = posix_host::basic_environment();
  const auto tables = posix_host::run_program(list, seconds(10));
  if (tables && tables->output.find("skep-vm-71") != std::string::npos)
    all.push_back("filter " + tables->output);
  for (const auto& entry : fs::recursive_directory_iterator("/sys/fs/cgroup", ignored)) {
    const std::string name = entry.path().filename().string();
    for (const std::string& id : ids_) {
      if (entry.is_directory(ignored) && name.rfind("vm-" + id + "-", 0) == 0)
        all.push_back("control group " + entry.path().string());
    }
  }
  return all;
}

std::vector<std::string> QemuSubject::residue() {
  std::vector<std::string> all;
  wait_until([&] { return (all = residue_now()).empty(); }, std::chrono::seconds(3));
  return all;
}

}  // namespace skep::test
