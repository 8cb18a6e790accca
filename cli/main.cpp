#include <cstdlib>
#include <iostream>

#include "cli/arguments.h"
#include "cli/commands.h"

namespace {

using namespace skep::cli;

constexpr const char* footer_text =
    "Examples:\n"
    "  skep status                       what the farm does, and what is wrong with it\n"
    "  skep explain 4711                 why this item waits, what would unblock it, when it starts\n"
    "  skep drain hv-07 --reason 'new disks' --wait\n"
    "  skep retire --template linux --state idle --dry-run\n"
    "  skep images pull base@2 --all --wait\n"
    "  skep labels 'linux && !arm'       how Jenkins reads this text, which templates match\n"
    "  skep simulate week.csv --config scheduler.yaml --hosts 20,30\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 scheduler not reached, 4 no such object,\n"
    "            5 --wait ran out of time, 6 configuration has errors, 7 refused: needs --yes\n"
    "Environment: SKEP_SERVER, SKEP_TOKEN_FILE, SKEP_CA_FILE, SKEP_OUTPUT; NO_COLOR=1 for no colours";

int run(int argc, char** argv) {
  CLI::App app{"skep: see and steer a farm of one-build Jenkins executors", "skep"};
  Context context;
  app.set_help_all_flag("--help-all", "help of all commands");
  app.require_subcommand(1);
  app.footer(footer_text);
  app.add_option("--server,--url", context.connection.url, "the scheduler's address")
      ->envname("SKEP_SERVER")
      ->capture_default_str();
  app.add_option("--token-file", context.connection.token_file, "file with the API token (mode 0600)")
      ->envname("SKEP_TOKEN_FILE");
  app.add_option("--ca-file", context.connection.ca_file, "PEM file of a private CA")
      ->envname("SKEP_CA_FILE");
  app.add_option("-o,--output", context.output, "table for people, json for programs")
      ->envname("SKEP_OUTPUT")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.fallthrough();  // the options above may follow the command
  add_status(app, context);
  add_views(app, context);
  add_history(app, context);
  add_controller(app, context);
  add_labels(app, context);
  add_operations(app, context);
  add_images(app, context);
  add_config(app, context);
  add_simulate(app, context);
  add_completion(app, context);
  take_marks_away(app);
  const std::vector<std::string> arguments = marked_arguments(argc, argv);
  try {
    app.parse(std::vector<std::string>(arguments));
  } catch (const CLI::ParseError& e) {
    return report_parse_error(app, e, arguments);
  }
  std::cout.flush();
  if (std::cout || context.exit_code != exit_ok) return context.exit_code;
  std::cerr << "skep: the output could not be written\n";
  return exit_failed;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {  // what no command foresaw: said, not dumped
    std::cerr << "skep: " << e.what() << "\n";
    return exit_failed;
  }
}
