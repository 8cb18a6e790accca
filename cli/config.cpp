#include <iostream>
#include <sstream>

#include "agentd/shell/config_file.h"
#include "cli/reply.h"
#include "cli/view.h"
#include "core/version.h"
#include "scheduler/shell/config_file.h"

namespace skep::cli {

using json::Json;

namespace {

int print_check(const Context& context, const std::string& file, const Result<void>& verdict,
                const std::string& summary) {
  if (context.wants_json()) {
    Json problems = Json::array();
    std::istringstream lines(verdict ? "" : verdict.error().message);
    for (std::string line; std::getline(lines, line);) problems.push_back(line);
    std::cout << json::dump(Json{{"file", file}, {"valid", verdict.has_value()}, {"problems", problems}})
              << "\n";
  } else if (verdict) {
    std::cout << file << ": good, " << summary << "\n";
  } else {
    std::cerr << verdict.error().message << "\n";
  }
  return verdict ? exit_ok : exit_invalid_config;
}

int check(const Context& context, const std::string& file, bool is_agentd) {
  if (is_agentd) {
    const auto config = agentd::load_config_file(file);
    if (!config) return print_check(context, file, config.error(), "");
    return print_check(
        context, file, {},
        config->logic.host.empty() ? "host named by the machine" : "host " + config->logic.host.text);
  }
  const auto config = scheduler::load_config_file(file);
  if (!config) return print_check(context, file, config.error(), "");
  return print_check(context, file, {},
                     std::to_string(config->logic.controllers.size()) + " controllers, " +
                         std::to_string(config->logic.templates.size()) + " templates");
}

}  // namespace

void add_config(CLI::App& app, Context& context) {
  CLI::App* config = app.add_subcommand("config", "check, show or reload the configuration");
  config->require_subcommand(1);
  struct Options {
    std::string file;
    bool is_agentd = false;
    bool yes = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* check_command = config->add_subcommand("check", "check a file as a whole; no daemon is asked");
  check_command->add_option("file", options->file, "the YAML file")->required();
  check_command->add_flag("--agentd", options->is_agentd, "it is a configuration of skep-agentd");
  check_command->footer(
      "Examples:\n  skep config check /etc/skep/scheduler.yaml\n  skep config check --agentd "
      "/etc/skep/agentd.yaml");
  check_command->callback(
      [options, &context] { context.exit_code = check(context, options->file, options->is_agentd); });

  CLI::App* show_command = config->add_subcommand("show", "what the scheduler runs with; no secrets");
  show_command->footer("Example:\n  skep config show --output json");
  show_command->callback([&context] {
    context.exit_code = show(context, "v1/config", [](const Json& running) {
      std::cout << running.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
      return exit_ok;
    });
  });
  CLI::App* reload =
      config->add_subcommand("reload", "make the scheduler read its file again; a bad file changes nothing");
  reload->alias("apply");
  reload->add_flag("--yes", options->yes, "even if more than a tenth of the farm is retired");
  reload->footer(
      "A busy executor finishes its build before it goes. kill -HUP does the same without --yes.\n"
      "Examples:\n  skep config check /etc/skep/scheduler.yaml && skep config reload\n"
      "  skep config reload --yes");
  reload->callback([options, &context] {
    ApiClient client = context.client();
    const auto reply = client.post("v1/config/reload", Json{{"yes", options->yes}});
    if (reply) {
      std::cout << (context.wants_json() ? json::dump(*reply) : text_of(*reply, "message")) << "\n";
      context.exit_code = exit_ok;
      return;
    }
    Error error = reply.error();
    error.message = "not reloaded, the old configuration stays: " + error.message;
    const bool is_bad_file = error.code == ErrorCode::invalid_input;
    const int code = report(error);
    context.exit_code = is_bad_file ? exit_invalid_config : code;
  });

  app.add_subcommand("version", "version of skep")->callback([&context] {
    std::cout << (context.wants_json() ? json::dump(Json{{"version", skep_version}})
                                       : std::string("skep ") + skep_version)
              << "\n";
  });
}

}  // namespace skep::cli
