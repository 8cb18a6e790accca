#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

#include "core/version.h"
#include "linux/linux_signals.h"
#include "scheduler/shell/daemon.h"
#include "scheduler/shell/leader_lock.h"

namespace {

using skep::scheduler::LeaderLock;
using Signal = skep::posix_host::Signal;

constexpr int exit_start = 1;
constexpr int exit_config = 6;
constexpr int exit_again = 75;  // nothing may be done any more; a supervisor should start us again

int fail(const skep::Error& error) {
  std::cerr << "skep-scheduler: " << error.message << "\n";
  if (!error.hint.empty()) std::cerr << "  " << error.hint << "\n";
  return exit_start;
}

/// At once: whoever has the lock now must not meet our orders. Executors run on under their leases.
[[noreturn]] void end_as_former_leader() {
  skep::log::write(skep::log::Level::error,
                   "this scheduler no longer leads and ends; started again, it stands by");
  std::_Exit(exit_again);
}

/// False: asked to end while another leads.
bool stand_by(LeaderLock& lock, skep::posix_host::SignalWaiter& signals) {
  lock.start([&signals] { signals.interrupt(); });
  while (!lock.is_held()) {
    const Signal signal = signals.wait();
    if (lock.is_lost()) end_as_former_leader();
    if (signal != Signal::self && signal != Signal::hang_up) return false;
  }
  return true;
}

/// Until asked to end, or until the durable store failed.
void serve(skep::scheduler::Daemon& daemon, const LeaderLock* lock, skep::posix_host::SignalWaiter& signals) {
  for (;;) {
    const auto signal = lock ? signals.wait_for(lock->time_left()) : signals.wait();
    if (lock != nullptr && lock->is_lost()) end_as_former_leader();
    if (!signal || (*signal == Signal::self && !daemon.has_failed())) continue;
    if (*signal != Signal::hang_up) return;
    static_cast<void>(daemon.reload(false).has_value());  // it says by itself what came of it
  }
}

int run(const std::string& config_file, const std::string& listen, skep::Epoch least_epoch, bool prints_url) {
  auto config = skep::scheduler::load_config_file(config_file);
  if (!config) {
    std::cerr << config.error().message << "\n";
    return exit_config;
  }
  skep::log::initialize(config->log_level, config->log_format);
  skep::posix_host::SignalWaiter signals;
  std::unique_ptr<LeaderLock> lock;
  if (!config->leader_lock.key.empty()) {
    auto made = LeaderLock::make(*config);
    if (!made) return fail(made.error());
    lock = std::move(*made);
    if (!stand_by(*lock, signals)) return 0;
  }
  skep::scheduler::Daemon daemon(std::move(*config), config_file, listen);
  daemon.on_failure([&signals] { signals.interrupt(); });
  if (lock) {
    daemon.claim_epoch_with([&lock](skep::Epoch at_least) { return lock->claim_epoch(at_least); });
    daemon.act_while([&lock] { return lock->is_held(); });
  }
  if (auto started = daemon.start(least_epoch); !started) return fail(started.error());
  if (prints_url) std::cout << "{\"listening\":\"" << daemon.url() << "\"}" << std::endl;
  serve(daemon, lock.get(), signals);
  daemon.stop();
  return daemon.has_failed() ? exit_again : 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"skep-scheduler: watches Jenkins controllers and hosts, orders one-build executors"};
  std::string config_file = "/etc/skep/scheduler.yaml";
  std::string listen;
  skep::Epoch least_epoch = 1;
  bool is_check = false, prints_url = false;
  app.add_option("-c,--config", config_file, "YAML configuration")->capture_default_str();
  app.add_option("--listen", listen, "host:port instead of the configured one; port 0: the system picks");
  app.add_option("--least-epoch", least_epoch, "begin with at least this epoch: after the state was lost");
  app.add_flag("--check", is_check, "check the configuration and end");
  app.add_flag("--print-url", prints_url, "print {\"listening\":URL} to stdout when ready");
  app.set_version_flag("--version", skep::skep_version);
  app.footer(
      "SIGHUP reads the configuration again; SIGTERM ends, executors run on under their leases.\n"
      "Example:\n  skep-scheduler --config /etc/skep/scheduler.yaml");
  CLI11_PARSE(app, argc, argv);
  if (!is_check) return run(config_file, listen, least_epoch, prints_url);
  const auto config = skep::scheduler::load_config_file(config_file);
  std::cerr << (config ? config_file + ": good" : config.error().message) << "\n";
  return config ? 0 : exit_config;
}
