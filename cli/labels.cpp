#include <iostream>

#include "cli/commands.h"
#include "cli/table.h"
#include "core/labels/label_expression.h"

namespace skep::cli {

using json::Json;

namespace {

struct LabelsOptions {
  std::vector<std::string> texts;
  std::vector<std::string> with;
  bool from_stdin = false;
};

/// A set of node labels to try, with the name under which it is shown.
struct NamedSet {
  std::string name;
  LabelSet labels;
  bool takes_unlabelled = true;
};

Json read_label(const std::string& text, const std::vector<NamedSet>& sets) {
  const bool is_valid = LabelExpression::parse(text).has_value();
  const LabelExpression expression = LabelExpression::from_job(text);
  const bool is_any = is_any_node_text(text);
  Json matches = Json::array();
  for (const NamedSet& set : sets)
    matches.push_back((is_any ? set.takes_unlabelled : expression.matches(set.labels)) ? 1 : 0);
  return {{"text", text}, {"valid", is_valid}, {"name", expression.name()}, {"matches", std::move(matches)}};
}

Result<std::vector<NamedSet>> sets_of(const LabelsOptions& options, const Context& context) {
  std::vector<NamedSet> sets;
  for (const std::string& text : options.with) sets.push_back({text, parse_label_set(text), true});
  if (!options.with.empty()) return sets;
  ApiClient client = context.client();
  auto status = client.get("v1/templates");
  if (!status) return status.error();
  for (const Json& made : *status) {
    const std::string name = made.value("name", "");
    LabelSet labels = parse_label_set(made.value("labels", ""));
    labels.insert("swarm");  // the swarm plugin gives it to every node
    sets.push_back({name, std::move(labels), made.value("takes_unlabelled", false)});
  }
  return sets;
}

int run_stdin(const Context& context, const std::vector<NamedSet>& sets) {
  if (!context.wants_json()) {
    std::cerr << "skep: --stdin prints one JSON object a line; say --output json with it\n";
    return exit_usage;
  }
  std::string line;
  for (int number = 1; std::getline(std::cin, line); ++number) {
    if (line.empty()) continue;
    const auto parsed = json::parse_strict(line);
    if (!parsed || !parsed->is_string()) {
      std::cerr << "skep: line " << number
                << " of the input is not a JSON string; nothing after it was read\n";
      return exit_usage;
    }
    std::cout << json::dump(read_label(parsed->get<std::string>(), sets)) << "\n";
  }
  return exit_ok;
}

void print_label(const Json& label, const std::vector<NamedSet>& sets) {
  const std::string text = label["text"];
  if (is_any_node_text(text)) {
    std::cout << "an empty text: any node that takes unlabelled work\n";
  } else if (label["valid"]) {
    std::cout << text << "\n  Jenkins reads it as " << label["name"].get<std::string>() << "\n";
  } else {
    std::cout << text << "\n  not a label expression: " << LabelExpression::parse(text).error().message
              << "\n  Jenkins takes the whole text as the name of one label\n";
  }
  for (std::size_t i = 0; i < sets.size(); ++i) {
    std::cout << "  " << (label["matches"][i] == 1 ? "matches     " : "matches not ") << sets[i].name << "\n";
  }
}

int run_labels(const LabelsOptions& options, const Context& context) {
  if (options.texts.empty() && !options.from_stdin) {
    std::cerr << "skep: give a label text, or --stdin\n";
    return exit_usage;
  }
  const auto sets = sets_of(options, context);
  if (!sets) return report(sets.error());
  if (options.from_stdin) return run_stdin(context, *sets);
  for (const std::string& text : options.texts) {
    const Json label = read_label(text, *sets);
    if (context.wants_json()) {
      std::cout << json::dump(label) << "\n";
    } else {
      print_label(label, *sets);
    }
  }
  return exit_ok;
}

}  // namespace

void add_labels(CLI::App& app, Context& context) {
  auto options = std::make_shared<LabelsOptions>();
  CLI::App* command = app.add_subcommand("labels", "how Jenkins reads a label text, and what it matches");
  command->add_option("text", options->texts, "label texts as typed into a job");
  command
      ->add_option("--with", options->with,
                   "one set of node labels (\"a b c\"); may be repeated; no daemon is asked")
      ->expected(1)
      ->take_all();
  command->add_flag("--stdin", options->from_stdin,
                    "read one JSON string a line, print one object a line (with --output json)");
  command->footer(
      "Examples:\n  skep labels 'linux && (x86 || arm)'\n  skep labels '!windows' --with 'linux x86' --with "
      "windows\n"
      "  printf '\"a&&b\"\\n' | skep labels --stdin --output json --with 'a b'");
  command->callback([options, &context] { context.exit_code = run_labels(*options, context); });
}

}  // namespace skep::cli
