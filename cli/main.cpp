#include "cli/commands.h"

int main(int argc, char** argv) {
  CLI::App app{"skep: see and steer a farm of one-build Jenkins executors"};
  app.set_help_all_flag("--help-all", "help of all commands");
  app.require_subcommand(1);
  app.footer(
      "Examples:\n"
      "  skep status                       what the farm does, and whether it can see everything\n"
      "  skep explain 4711                 why this item waits, what would unblock it, when it starts\n"
      "  skep drain hv-07 --reason 'new disks' --wait\n"
      "  skep retire --template linux --state idle --dry-run\n"
      "  skep labels 'linux && !arm'       how Jenkins reads this text, which templates match\n"
      "\n"
      "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 scheduler not reached, 4 no such object,\n"
      "            5 --wait ran out of time, 6 configuration has errors");
  skep::cli::Context context;
  app.add_option("--url", context.connection.url, "the scheduler's address")
      ->envname("SKEP_URL")
      ->capture_default_str();
  app.add_option("--token-file", context.connection.token_file, "file with the API token (mode 0600)")
      ->envname("SKEP_TOKEN_FILE");
  app.add_option("--ca-file", context.connection.ca_file, "PEM file of a private CA")
      ->envname("SKEP_CA_FILE");
  app.add_option("-o,--output", context.output, "table for people, json for programs")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.fallthrough();  // the options above may follow the command
  skep::cli::add_views(app, context);
  skep::cli::add_operations(app, context);
  skep::cli::add_labels(app, context);
  skep::cli::add_config(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? skep::cli::exit_ok : skep::cli::exit_usage;
  }
  return context.exit_code;
}
