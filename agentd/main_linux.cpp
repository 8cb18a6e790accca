// skep-agentd on Linux: configuration, drivers, signals. Everything else is in agentd/shell.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <thread>

#include "agentd/images/image_store.h"
#include "agentd/shell/config_file.h"
#include "agentd/shell/daemon.h"
#include "common/json/json.h"
#include "common/log/log.h"
#include "core/version.h"
#include "drivers/container/container_driver.h"
#include "drivers/process/process_driver.h"
#include "drivers/qemu/qemu_driver.h"
#include "linux/linux_host_facts.h"
#include "linux/linux_signals.h"

namespace skep::agentd {
namespace {

constexpr int exit_config = 2;
constexpr int exit_start = 1;
constexpr Duration calls_may_take = seconds(3);  // driver calls under way, when executors are kept
constexpr Duration end_limit =
    milliseconds(4500);  // then the process ends all the same: its state is durable

struct Flags {
  std::string config_file;
  std::string listen;
  std::string on_stop;
  bool is_check = false;
  bool prints_url = false;
  bool removes_all = false;
};

void apply_flags(const Flags& flags, AgentdConfig& config) {
  if (!flags.listen.empty()) config.listen = flags.listen;
  if (flags.on_stop == "keep") config.on_stop = OnStop::keep;
  if (flags.on_stop == "drain") config.on_stop = OnStop::drain;
  if (flags.on_stop == "remove") config.on_stop = OnStop::remove;
  if (!flags.removes_all) return;
  config.listen = "127.0.0.1:0";
  config.registry.type = RegistryConfig::Type::none;
}

/// Without links, so that an engine sees the same folder.
std::string absolute_path(const std::string& path) {
  std::error_code failure;
  const auto resolved = std::filesystem::weakly_canonical(std::filesystem::absolute(path, failure), failure);
  return failure ? path : resolved.string();
}

/// The folder itself, or the nearest one above it that is there already: they share a disk.
std::string existing_folder(const std::string& path) {
  std::error_code ignored;
  std::filesystem::path folder = std::filesystem::absolute(path, ignored);
  while (folder.has_relative_path() && !std::filesystem::exists(folder, ignored))
    folder = folder.parent_path();
  return folder.string();
}

/// What the machine itself knows better than a file.
void fill_in(AgentdConfig& config) {
  const posix_host::HostFacts facts = posix_host::read_host_facts(existing_folder(config.state_dir));
  LogicConfig& logic = config.logic;
  if (logic.host.empty()) logic.host = HostId(facts.host_name);
  logic.version = skep_version;
  logic.os = "linux";
  logic.arch = facts.arch;
  if (logic.capacity.cpu_millis == 0) logic.capacity.cpu_millis = facts.capacity.cpu_millis;
  if (logic.capacity.memory_bytes == 0) logic.capacity.memory_bytes = facts.capacity.memory_bytes;
  if (logic.capacity.disk_bytes == 0) logic.capacity.disk_bytes = facts.capacity.disk_bytes;
  if (config.process.root.empty()) config.process.root = config.state_dir + "/executors";
  if (config.namespaces.root.empty()) config.namespaces.root = config.state_dir + "/namespaces";
  if (config.images.folder.empty()) config.images.folder = config.state_dir + "/images";
  if (config.container.root.empty()) config.container.root = config.state_dir + "/containers";
  if (config.qemu.root.empty()) config.qemu.root = config.state_dir + "/vms";
  if (config.process.join_program.empty())
    config.process.join_program = posix_host::program_folder() + "/skep-join";
}

drivers::QemuDriverOptions qemu_options(const AgentdConfig& config, drivers::ImageSource* images) {
  const QemuDriverConfig& from = config.qemu;
  drivers::QemuDriverOptions options;
  options.root = absolute_path(from.root);
  options.program = from.program;
  for (const auto& [name, image] : from.images) {
    options.images[name] = {image.folder,
                            {image.kernel, image.kernel_sha256},
                            {image.initrd, image.initrd_sha256},
                            {image.disk, image.disk_sha256},
                            image.command_line};
  }
  options.image_source = images;
  options.join_program = from.join_program;
  options.owner_tag = "skep-" + config.logic.host.text;
  options.accelerator = from.accelerator == "kvm"   ? drivers::VmAccelerator::kvm
                        : from.accelerator == "tcg" ? drivers::VmAccelerator::tcg
                                                    : drivers::VmAccelerator::automatic;
  options.networks = from.networks;
  options.reach = from.reach;
  options.first_user = static_cast<std::uint32_t>(from.first_user);
  options.users = static_cast<std::uint32_t>(from.users);
  return options;
}

std::vector<std::unique_ptr<drivers::Driver>> make_drivers(const AgentdConfig& config,
                                                           drivers::ImageSource* images) {
  std::vector<std::unique_ptr<drivers::Driver>> all;
  if (config.process.is_enabled) {
    drivers::ProcessDriverOptions options;
    options.root = config.process.root;
    options.join_program = config.process.join_program;
    options.images = config.process.images;
    options.image_source = images;
    options.owner_tag = "skep-" + config.logic.host.text;
    all.push_back(drivers::make_process_driver(std::move(options)));
  }
  if (config.namespaces.is_enabled) {
    const NamespacesDriverConfig& from = config.namespaces;
    drivers::ProcessDriverOptions options;
    options.root = absolute_path(from.root);
    options.join_program = from.join_program;
    options.images = from.images;
    options.image_source = images;
    options.owner_tag = "skep-" + config.logic.host.text;
    options.sandbox = drivers::SandboxOptions{posix_host::program_folder() + "/skep-sandbox", from.binds,
                                              from.networks, static_cast<std::uint32_t>(from.first_user),
                                              static_cast<std::uint32_t>(from.users)};
    all.push_back(drivers::make_process_driver(std::move(options)));
  }
  if (config.container.is_enabled) {
    drivers::ContainerDriverOptions options;
    options.socket = config.container.socket;
    options.root = absolute_path(config.container.root);
    options.images = config.container.images;
    options.image_source = images;
    options.join_program = config.container.join_program;
    options.owner_tag = "skep-" + config.logic.host.text;
    options.user = config.container.user;
    options.networks = config.container.networks;
    options.default_disk_bytes = config.container.default_disk_bytes;
    options.max_processes = config.container.max_processes;
    all.push_back(drivers::make_container_driver(std::move(options)));
  }
  if (config.qemu.is_enabled) all.push_back(drivers::make_qemu_driver(qemu_options(config, images)));
  return all;
}

int fail(int code, const std::string& what, const Error& error) {
  std::cerr << "skep-agentd: " << what << ": " << error.message;
  if (!error.hint.empty()) std::cerr << "; " << error.hint;
  std::cerr << "\n";
  return code;
}

/// Blocks until agentd is to end and its executors are where on_stop wants them.
void serve(Daemon& daemon, const AgentdConfig& config, const Flags& flags,
           posix_host::SignalWaiter& signals) {
  OnStop on_stop = flags.removes_all ? OnStop::remove : config.on_stop;
  while (!flags.removes_all) {
    const posix_host::Signal signal = signals.wait();
    if (signal != posix_host::Signal::hang_up) break;
    log::write(
        log::Level::warning,
        "SIGHUP: the configuration is read at start only; restart agentd to change it, executors run on");
  }
  daemon.request_stop(on_stop);
  if (on_stop == OnStop::keep) {
    daemon.wait_until_ready_to_end(calls_may_take);
    return;
  }
  while (!daemon.wait_until_ready_to_end(milliseconds(50))) {
    if (!signals.wait_for(Duration::zero())) continue;
    log::write(log::Level::warning,
               "asked to end again: what is left runs on and is adopted at the next start");
    return;
  }
}

int run(const Flags& flags, posix_host::SignalWaiter& signals) {
  auto config = load_config_file(flags.config_file);
  if (!config) return fail(exit_config, "the configuration is not usable", config.error());
  if (flags.is_check) {
    std::cout << flags.config_file << ": ok\n";
    return 0;
  }
  if (config->fake.is_enabled) {
    return fail(exit_config, flags.config_file,
                Error::failed(ErrorCode::unsupported, "drivers.fake: skep-agentd holds no fake driver",
                              "switch it off"));
  }
  apply_flags(flags, *config);
  log::initialize(config->log_level, config->log_format);
  fill_in(*config);
  std::unique_ptr<images::ImageStore> store;
  if (config->images.is_enabled) {
    if (flags.removes_all) config->images.catalogue.clear();  // holds end, nothing is fetched
    auto opened = images::ImageStore::open(config->images);
    if (!opened) return fail(exit_start, "cannot start", opened.error());
    store = std::move(*opened);
  }
  auto daemon = Daemon::make(*config, make_drivers(*config, store.get()), store.get());
  if (!daemon) return fail(exit_start, "cannot start", daemon.error());
  if (auto started = (*daemon)->start(); !started) return fail(exit_start, "cannot start", started.error());
  log::write(log::Level::info, "agentd runs",
             {{"host", config->logic.host.text}, {"listening", (*daemon)->url()}});
  if (flags.prints_url) std::cout << json::dump(json::Json{{"listening", (*daemon)->url()}}) << std::endl;
  serve(**daemon, *config, flags, signals);
  std::thread([] {
    std::this_thread::sleep_for(end_limit);
    log::write(log::Level::warning,
               "a driver call did not end in time; the next start looks for what it did");
    std::_Exit(0);
  }).detach();
  (*daemon)->stop();
  log::write(log::Level::info, "agentd ends");
  return 0;
}

}  // namespace
}  // namespace skep::agentd

int main(int argc, char** argv) {
  CLI::App app{"skep-agentd: makes and destroys executors on this host"};
  skep::agentd::Flags flags;
  app.add_option("--config", flags.config_file, "configuration file (YAML)")->required();
  app.add_flag("--check", flags.is_check, "check the configuration and end");
  app.add_option("--listen", flags.listen,
                 "host:port, instead of the configured one; port 0: the system picks");
  app.add_flag("--print-url", flags.prints_url, "print {\"listening\": url} as one line when ready");
  app.add_option("--on-stop", flags.on_stop,
                 "what happens to executors at SIGTERM or SIGINT: keep, drain (unused ones are "
                 "destroyed, busy ones waited for), remove (all are destroyed)")
      ->check(CLI::IsMember({"keep", "drain", "remove"}));
  app.add_flag("--remove-all", flags.removes_all,
               "destroy every executor of this host, busy or not, and end");
  app.set_version_flag("--version", skep::skep_version);
  app.footer(
      "Exit codes: 0 ended as asked, 1 could not start, 2 the configuration is not usable.\n"
      "Example:\n  skep-agentd --config /etc/skep/agentd.yaml --check");
  CLI11_PARSE(app, argc, argv);
  skep::posix_host::SignalWaiter signals;  // before any other thread
  return skep::agentd::run(flags, signals);
}
