#include "drivers/process/sandbox_plan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "common/shell/clock.h"
#include "drivers/shared/gone_marks.h"
#include "linux/linux_files.h"
#include "linux/linux_run.h"

namespace skep::drivers::process {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_status_text = 4096;
constexpr Duration look_pause = milliseconds(1);
constexpr const char* host_network = "host";
constexpr const char* no_network = "none";

/// Inside it is the root folder, and /tmp, whoever looks.
Result<void> set_mode(const fs::path& path, mode_t mode) {
  if (::chmod(path.c_str(), mode) == 0) return {};
  return Error::failed(ErrorCode::generic,
                       "cannot change the mode of " + path.string() + ": " + std::strerror(errno));
}

}  // namespace

SandboxPlan::SandboxPlan(SandboxOptions options) : options_(std::move(options)) {
  if (::geteuid() != 0) options_.users = 0;
  for (const std::string& each : options_.binds) {
    if (auto bind = bind_from(each)) binds_.push_back(std::move(*bind));
  }
}

std::string SandboxPlan::problem() const {
  for (const std::string& each : options_.binds) {
    if (!bind_from(each)) return "\"" + each + "\" is no PATH or PATH:PATH-INSIDE to show";
  }
  if (options_.networks.empty()) return "no network mode is allowed on this host";
  for (const std::string& network : options_.networks) {
    if (network != host_network && network != no_network)
      return "\"" + network + "\" is no network mode: host or none";
  }
  return "";
}

Result<void> SandboxPlan::check(const ExecutorSpec& spec) const {
  const auto& all = options_.networks;
  if (spec.network.empty() || std::find(all.begin(), all.end(), spec.network) != all.end()) return {};
  return Error::failed(
      ErrorCode::invalid_input,
      "network \"" + spec.network + "\" of executor " + spec.id.text + " is not allowed on this host",
      "add it to drivers.namespaces.networks, or change the template");
}

Result<void> SandboxPlan::make_folders(const fs::path& executor, std::optional<std::uint32_t> user) const {
  for (const char* name : {root_folder, upper_folder, scratch_folder}) {
    if (auto made = make_private_folder((executor / name).string()); !made) return made;
  }
  if (auto set = set_mode(executor / upper_folder, 0755); !set) return set;
  if (auto set = set_mode(executor / "tmp", 01777); !set) return set;
  if (!user) return {};
  for (const char* name : {"control", "control/ticket"}) {
    const fs::path path = executor / name;
    if (::lchown(path.c_str(), *user, *user) != 0)
      return Error::failed(ErrorCode::permission_denied,
                           "cannot give away " + path.string() + ": " + std::strerror(errno));
  }
  return {};
}

std::vector<std::string> SandboxPlan::command_line(const fs::path& executor, const std::string& image,
                                                   const ExecutorSpec& spec,
                                                   std::optional<std::uint32_t> user,
                                                   std::vector<std::string> program) const {
  SandboxCall call;
  call.status_file = (executor / status_file).string();
  posix_host::Sandbox& sandbox = call.sandbox;
  sandbox.root = (executor / root_folder).string();
  sandbox.lower = image.empty() ? sandbox.root : image;
  sandbox.upper = (executor / upper_folder).string();
  sandbox.scratch = (executor / scratch_folder).string();
  sandbox.host_name = spec.id.text;
  sandbox.binds = binds_;
  sandbox.binds.push_back({(executor / "control").string(), control_inside, false});
  sandbox.binds.push_back({(executor / "tmp").string(), "/tmp", false});
  sandbox.work = work_inside;
  sandbox.has_network = (spec.network.empty() ? options_.networks.front() : spec.network) != no_network;
  sandbox.user = user;
  sandbox.program = std::move(program);
  return process::command_line(options_.program, call);
}

Result<void> SandboxPlan::wait_until_it_runs(const fs::path& executor,
                                             const posix_host::ProcessIdentity& sandbox) const {
  const std::string file = (executor / status_file).string();
  const Instant limit = shell::now() + options_.start_deadline;
  for (;;) {
    const bool has_ended = !posix_host::is_alive(sandbox);  // looked at first: its last word comes before
    const auto text = posix_host::read_plain_file(file, max_status_text);
    if (text) {
      auto said = read_sandbox_status(*text);
      if (said) return said;
      Error error = said.error();
      if (error.code == ErrorCode::out_of_resources) error.outcome = Outcome::try_again;
      return error;
    }
    if (text.error().code != ErrorCode::not_found) return text.error();
    if (has_ended) {
      posix_host::reap(sandbox.pid);
      return Error::try_again(ErrorCode::unavailable, "skep-sandbox ended without a word");
    }
    if (shell::now() >= limit)
      return Error::try_again(ErrorCode::timed_out, "skep-sandbox did not come to its program in time");
    std::this_thread::sleep_for(look_pause);
  }
}

Result<void> SandboxPlan::try_out(const fs::path& folder) const {
  if (auto removed = posix_host::remove_tree(folder.string()); !removed) return removed;
  for (const fs::path& each : {folder, folder / "control", folder / "tmp"}) {
    if (auto made = make_private_folder(each.string()); !made) return made;
  }
  if (auto made = make_folders(folder, std::nullopt); !made) return made;
  ExecutorSpec spec;
  spec.id = ExecutorId("trial");
  posix_host::LaunchRequest request;
  request.argv = command_line(folder, "", spec, std::nullopt, {});
  request.environment = posix_host::basic_environment();
  const auto ran = posix_host::run_program(request, options_.start_deadline);
  const auto text = posix_host::read_plain_file((folder / status_file).string(), max_status_text);
  auto removed = posix_host::remove_tree(folder.string());
  if (!ran) return ran.error();
  if (!text)
    return Error::failed(ErrorCode::generic, "skep-sandbox left no word: " + ran->output.substr(0, 300));
  if (auto said = read_sandbox_status(*text); !said) return said;
  return removed;
}

Result<std::optional<std::uint32_t>> SandboxPlan::choose_user(const Layout& layout) const {
  if (options_.users == 0) return std::optional<std::uint32_t>();
  auto taken = layout.users();
  if (!taken) return taken.error();
  for (const std::uint32_t user : posix_host::users_of_processes()) taken->insert(user);
  for (std::uint32_t user = options_.first_user; user < options_.first_user + options_.users; ++user) {
    if (taken->count(user) == 0) return std::optional<std::uint32_t>(user);
  }
  return Error::try_again(ErrorCode::out_of_resources, "no user is left of drivers.namespaces.users",
                          "give it a larger range");
}

}  // namespace skep::drivers::process
