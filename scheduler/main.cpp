#include <CLI/CLI.hpp>
#include <iostream>

#include "core/version.h"
#include "linux/linux_signals.h"
#include "scheduler/shell/daemon.h"

namespace {

int run(const std::string& config_file, const std::string& listen, bool prints_url) {
  auto config = skep::scheduler::load_config_file(config_file);
  if (!config) {
    std::cerr << config.error().message << "\n";
    return 6;
  }
  if (!listen.empty()) config->listen = listen;
  skep::log::initialize(config->log_level, config->log_format);
  skep::posix_host::SignalWaiter signals;
  skep::scheduler::Daemon daemon(std::move(*config), config_file);
  daemon.on_failure([&signals] { signals.interrupt(); });
  if (auto started = daemon.start(); !started) {
    std::cerr << "skep-scheduler: " << started.error().message << "\n";
    if (!started.error().hint.empty()) std::cerr << "  " << started.error().hint << "\n";
    return 1;
  }
  if (prints_url) std::cout << "{\"listening\":\"" << daemon.url() << "\"}" << std::endl;
  for (;;) {
    const auto signal = signals.wait();
    if (signal != skep::posix_host::Signal::hang_up) break;
    if (auto done = daemon.reload(false); done) {
      skep::log::write(skep::log::Level::info, *done);
    } else {
      skep::log::write_error("the old configuration stays", done.error());
    }
  }
  daemon.stop();
  return daemon.has_failed() ? 75 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"skep-scheduler: watches Jenkins controllers and hosts, orders one-build executors"};
  std::string config_file = "/etc/skep/scheduler.yaml";
  std::string listen;
  bool is_check = false, prints_url = false;
  app.add_option("-c,--config", config_file, "YAML configuration")->capture_default_str();
  app.add_option("--listen", listen, "host:port instead of the configured one; port 0: the system picks");
  app.add_flag("--check", is_check, "check the configuration and end");
  app.add_flag("--print-url", prints_url, "print {\"listening\":URL} to stdout when ready");
  app.set_version_flag("--version", skep::skep_version);
  app.footer(
      "SIGHUP reads the configuration again; SIGTERM ends, executors run on under their leases.\n"
      "Example:\n  skep-scheduler --config /etc/skep/scheduler.yaml");
  CLI11_PARSE(app, argc, argv);
  if (!is_check) return run(config_file, listen, prints_url);
  const auto config = skep::scheduler::load_config_file(config_file);
  std::cerr << (config ? config_file + ": good" : config.error().message) << "\n";
  return config ? 0 : 6;
}
