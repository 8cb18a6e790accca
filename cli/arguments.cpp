#include "cli/arguments.h"

#include <algorithm>

#include "cli/api_client.h"
#include "cli/table.h"
#include "core/nearest_name.h"

namespace skep::cli {
namespace {

constexpr char variadic_mark = '\x01';  // no argument of ours begins with it

/// The command that was typed as far as it is known: the application, or one of its (sub)commands.
struct Typed {
  CLI::App* command;
  std::string path;
  std::string unknown;  // a word where a command has to stand
};

bool takes_value(const CLI::App& app, const std::string& option) {
  const CLI::Option* found = app.get_option_no_throw(option);
  return found != nullptr && found->get_items_expected_max() > 0;
}

CLI::App* find_command(CLI::App& above, const std::string& name) {
  for (CLI::App* command : above.get_subcommands({})) {
    if (command->get_name() == name) return command;
  }
  return nullptr;
}

Typed find_typed(CLI::App& app, const std::vector<std::string>& arguments) {
  Typed typed{&app, "skep", {}};
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument.size() > 1 && argument[0] == '-') {
      i += takes_value(app, argument) ? 1 : 0;
      continue;
    }
    if (typed.command->get_subcommands({}).empty()) break;
    CLI::App* next = find_command(*typed.command, argument);
    if (next == nullptr) {
      typed.unknown = argument;
      break;
    }
    typed.command = next;
    typed.path += " " + argument;
  }
  return typed;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (!command->get_group().empty()) names.push_back(command->get_name());
  }
  return names;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string listed(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string did_you_mean(const std::string& typed, const std::vector<std::string>& known) {
  const std::string nearest = nearest_name(typed, known);
  return nearest.empty() ? "" : "did you mean " + nearest + "? ";
}

}  // namespace

std::vector<std::string> marked_arguments(int argc, const char* const* argv) {
  std::vector<std::string> arguments;
  bool is_after_mark = false;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (!is_after_mark && argument == "--") {
      is_after_mark = true;
      continue;
    }
    const bool is_list = argument.size() > 1 && argument.front() == '[' && argument.back() == ']';
    const bool needs_mark = is_list || is_after_mark || argument == "++";
    arguments.push_back(needs_mark ? variadic_mark + argument : std::move(argument));
  }
  std::reverse(arguments.begin(), arguments.end());
  return arguments;
}

void take_marks_away(CLI::App& app) {
  const CLI::Validator unmark(
      [](std::string& text) {
        if (!text.empty() && text.front() == variadic_mark) text.erase(0, 1);
        return std::string();
      },
      "", "");
  for (CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() > 0) option->transform(unmark);
  }
  for (CLI::App* command : app.get_subcommands({})) take_marks_away(*command);
}

int report_parse_error(CLI::App& app, const CLI::ParseError& error,
                       const std::vector<std::string>& arguments) {
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
    app.exit(error);  // help
    return exit_ok;
  }
  const std::vector<std::string> in_order(arguments.rbegin(), arguments.rend());
  const Typed typed = find_typed(app, in_order);
  if (!typed.unknown.empty())
    return report_usage("\"" + printable(typed.unknown) + "\" is no command of " + typed.path,
                        did_you_mean(typed.unknown, command_names(*typed.command)) +
                            "commands: " + listed(command_names(*typed.command)));
  if (!typed.command->get_subcommands({}).empty())
    return report_usage(typed.path + " needs a command",
                        listed(command_names(*typed.command)) + "\n  " + typed.path + " --help says more");
  std::vector<std::string> known = option_names(*typed.command);
  for (const std::string& name : option_names(app)) known.push_back(name);
  for (const std::string& argument : in_order) {
    const std::string name = argument.substr(0, argument.find('='));
    if (!name.starts_with("--") || std::find(known.begin(), known.end(), name) != known.end()) continue;
    return report_usage(typed.path + " has no option " + printable(name),
                        did_you_mean(name, known) + typed.path + " --help lists them");
  }
  return report_usage(typed.path + ": " + printable(error.what()), "see " + typed.path + " --help");
}

}  // namespace skep::cli
