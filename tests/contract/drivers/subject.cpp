#include "tests/contract/drivers/subject.h"

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "drivers/process/process_driver.h"
#include "drivers/process/process_record.h"
#include "linux/linux_cgroup.h"
#include "linux/linux_host_facts.h"
#include "linux/linux_process.h"

namespace skep::test {
namespace fs = std::filesystem;
using drivers::StartRequest;

namespace {
/// Counts, then becomes skep-sandbox: from inside nothing of this machine can be written.
void write_counting_sandbox(const std::string& path, const std::string& starts) {
  std::ofstream(path) << "#!/bin/sh\nid=${SKEP_EXECUTOR#*/}\n"
                      << "case \"$id\" in ?*) echo started >> " << starts << ".\"${id%%@*}\";; esac\nexec "
                      << bin("skep-sandbox") << " \"$@\"\n";
  fs::permissions(path, fs::perms::owner_all);
}
}  // namespace

ProcessSubject::ProcessSubject(bool uses_cgroups, Kind kind)
    : folder("drivers"), uses_cgroups_(uses_cgroups), kind_(kind) {
  fs::create_directories(folder.path("image/tools"));
  std::ofstream(folder.path("image/tools/readme")) << "golden\n";
  if (kind_ != Kind::plain) write_counting_sandbox(folder.path("sandbox"), folder.path("starts"));
}

ProcessSubject::~ProcessSubject() {
  // Whatever a failed test left.
  for (const std::string& owner : owners_) {
    const auto driver = make_driver(owner);
    for (const std::string& id : ids_) static_cast<void>(driver->destroy(ExecutorId(id)));
  }
}

std::unique_ptr<drivers::Driver> ProcessSubject::make_driver(const std::string& owner) {
  return make_driver(owner, drivers::ProcessDriverOptions{}.kill_deadline);
}

std::unique_ptr<drivers::Driver> ProcessSubject::make_driver(const std::string& owner,
                                                             Duration kill_deadline) {
  owners_.insert(owner);
  auto chosen = options(owner);
  chosen.kill_deadline = kill_deadline;
  return drivers::make_process_driver(chosen);
}

drivers::ProcessDriverOptions ProcessSubject::options(const std::string& owner) const {
  drivers::ProcessDriverOptions options;
  options.root = root();
  options.join_program = bin("skep-join");
  options.images = {{"base", folder.path("image")}};
  options.owner_tag = owner;
  options.uses_cgroups = uses_cgroups_;
  if (kind_ == Kind::plain) return options;
  options.join_program = "/skep/bin/skep-join";
  options.sandbox.emplace();
  options.sandbox->program = folder.path("sandbox");
  options.sandbox->binds = {"/usr", "/bin", "/lib", posix_host::program_folder() + ":/skep/bin"};
  if (fs::exists("/lib64")) options.sandbox->binds.emplace_back("/lib64");
  options.sandbox->networks = {"host", "none"};
  options.sandbox->first_user = 74'000;
  options.sandbox->users = kind_ == Kind::namespaces_and_users ? 64 : 0;
  return options;
}

StartRequest ProcessSubject::request(const std::string& id, Behaviour behaviour) {
  return script_request(id, script_of(behaviour, "kill -KILL $PPID"));
}

StartRequest ProcessSubject::script_request(const std::string& id, const std::string& script) {
  ids_.insert(id);
  StartRequest request = plain_request(id);
  const std::string count =
      kind_ == Kind::plain ? "echo started >> " + folder.path("starts." + id) + "; " : "";
  request.spec.agent_command = {"/bin/sh", "-c", count + script, "agent"};
  return request;
}

int ProcessSubject::times_made(const std::string& id) {
  const std::string text = content_of(folder.path("starts." + id));
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

std::vector<std::string> ProcessSubject::cgroup_folders(const std::string& owner,
                                                        const std::string& id) const {
  const drivers::process::Layout layout{fs::weakly_canonical(root()), owner};
  return posix_host::Cgroups::probe().folders_of(layout.cgroup_name(ExecutorId(id)));
}

std::vector<std::string> ProcessSubject::processes() const {
  std::vector<std::string> all;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos || pid == std::to_string(::getpid()))
      continue;
    if (!posix_host::identify(static_cast<pid_t>(std::stol(pid)))) continue;  // a zombie, or gone
    std::string command = content_of(entry.path().string() + "/cmdline");
    std::replace(command.begin(), command.end(), '\0', ' ');
    const bool is_marked =
        content_of(entry.path().string() + "/environ").find(folder.path()) != std::string::npos;
    if (is_marked || command.find(folder.path()) != std::string::npos)
      all.push_back("process " + pid + " " + command);
  }
  return all;
}

std::vector<std::string> ProcessSubject::residue() {
  std::vector<std::string> all = processes();
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(root(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(".owner-", 0) != 0) all.push_back("entry " + name);
    for (const char* part : {"new", "leaving"}) {
      for (const auto& half : fs::directory_iterator(entry.path() / part, ignored))
        all.push_back("entry " + half.path().string());
    }
  }
  for (const std::string& owner : owners_) {
    for (const std::string& id : ids_) {
      for (const std::string& group : cgroup_folders(owner, id)) {
        if (fs::exists(group)) all.push_back("control group " + group);
      }
    }
  }
  return all;
}

StartRequest plain_request(const std::string& id) {
  StartRequest request;
  request.spec.id = ExecutorId(id);
  request.spec.template_name = TemplateName("t1");
  request.spec.image = "base";
  request.ticket = Ticket{"http://127.0.0.1:1/", id, "secret-of-" + id, 1};
  request.epoch = 3;
  return request;
}

std::string script_of(Behaviour behaviour, const std::string& death) {
  const std::string connected = "echo INFO: Connected >&2; ";
  switch (behaviour) {
    case Behaviour::connects:
      return connected + "exec sleep 1000";
    case Behaviour::never_joins:
      return "exec sleep 1000";
    case Behaviour::ignores_term:
      return "trap '' TERM INT HUP; " + connected + "while :; do sleep 1; done";
    case Behaviour::ends_with_7:
      return connected + "exit 7";
    case Behaviour::dies:
      return connected + death;
  }
  return "";
}

std::string joined(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return all;
}

std::string bin(const std::string& program) {
  return posix_host::program_folder() + "/" + program;
}

namespace {
/// A machine boots in two seconds, and several on a busy one take their time.
constexpr std::chrono::seconds boot_limit{60};
}  // namespace

bool reaches(drivers::Driver& driver, const std::string& id, AgentPhase phase) {
  return wait_until(
      [&] {
        const auto instance = driver.inspect(ExecutorId(id));
        return instance && instance->agent == phase;
      },
      boot_limit);
}

bool reaches(drivers::Driver& driver, const std::string& id, drivers::InstanceState state) {
  return wait_until(
      [&] {
        const auto instance = driver.inspect(ExecutorId(id));
        return instance && instance->state == state;
      },
      boot_limit);
}

}  // namespace skep::test
