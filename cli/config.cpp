#include <iostream>

#include "agentd/shell/config_file.h"
#include "cli/commands.h"
#include "core/version.h"
#include "scheduler/shell/config_file.h"

namespace skep::cli {

using json::Json;

namespace {

int print_check(const Context& context, const std::string& file, const Result<void>& verdict,
                const std::string& summary) {
  if (context.wants_json()) {
    std::cout << json::dump(Json{{"file", file},
                                 {"valid", verdict.has_value()},
                                 {"problems", verdict ? "" : verdict.error().message}})
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

constexpr const char* bash_completion = R"BASH(_skep() {
  local words="status hosts executors queue explain history labels drain undrain hold retire pause resume config version completion"
  local options="--url --token-file --ca-file --output --help"
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"
  case "$previous" in
    --output|-o) COMPREPLY=($(compgen -W "table json" -- "$current")); return ;;
    --token-file|--ca-file|check) COMPREPLY=($(compgen -f -- "$current")); return ;;
    config) COMPREPLY=($(compgen -W "check show reload" -- "$current")); return ;;
    drain|undrain) COMPREPLY=($(compgen -W "$(skep hosts -o json 2>/dev/null | grep -o '"host":"[^"]*"' | cut -d'"' -f4)" -- "$current")); return ;;
    hold|retire) COMPREPLY=($(compgen -W "$(skep executors -o json 2>/dev/null | grep -o '"id":"[^"]*"' | cut -d'"' -f4)" -- "$current")); return ;;
  esac
  if [[ "$current" == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$current")); else COMPREPLY=($(compgen -W "$words" -- "$current")); fi
}
complete -F _skep skep
)BASH";

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

  config->add_subcommand("show", "what the scheduler runs with; no secrets")->callback([&context] {
    ApiClient client = context.client();
    const auto reply = client.get("v1/config");
    if (reply) std::cout << reply->dump(context.wants_json() ? -1 : 2) << "\n";
    context.exit_code = reply ? exit_ok : report(reply.error());
  });
  CLI::App* reload =
      config->add_subcommand("reload", "make the scheduler read its file again; a bad file changes nothing");
  reload->add_flag("--yes", options->yes, "even if more than a tenth of the farm is retired");
  reload->callback([options, &context] {
    ApiClient client = context.client();
    const auto reply = client.post("v1/config/reload", Json{{"yes", options->yes}});
    if (reply)
      std::cout << (context.wants_json() ? json::dump(*reply) : reply->value("message", "reloaded")) << "\n";
    context.exit_code = reply ? exit_ok : report(reply.error());
  });

  app.add_subcommand("version", "version of skep")->callback([&context] {
    std::cout << (context.wants_json() ? json::dump(Json{{"version", skep_version}})
                                       : std::string("skep ") + skep_version)
              << "\n";
  });
  auto shell = std::make_shared<std::string>("bash");
  CLI::App* completion = app.add_subcommand("completion", "print a completion script");
  completion->add_option("shell", *shell, "bash")->check(CLI::IsMember({"bash"}))->capture_default_str();
  completion->footer("Example:\n  skep completion bash > /etc/bash_completion.d/skep");
  completion->callback([] { std::cout << bash_completion; });
}

}  // namespace skep::cli
