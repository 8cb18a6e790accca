#include <iostream>

#include "cli/reply.h"
#include "cli/selection.h"
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
  auto templates = client.get("v1/templates");
  if (!templates) return templates.error();
  for (const Json& made : *templates) {
    sets.push_back(
        {"template " + text_of(made, "name"), labels_of_template(made), flag_of(made, "takes_unlabelled")});
  }
  return sets;
}

/// One line of at most `limit` bytes; a longer one is read to its end and marked. False at the end of input.
bool read_line(std::istream& in, std::size_t limit, std::string& line, bool& is_too_long) {
  line.clear();
  is_too_long = false;
  std::streambuf& source = *in.rdbuf();
  bool has_read = false;
  for (int c = source.sbumpc(); c != std::char_traits<char>::eof(); c = source.sbumpc()) {
    has_read = true;
    if (c == '\n') return true;
    if (line.size() < limit) {
      line += static_cast<char>(c);
    } else {
      is_too_long = true;
    }
  }
  return has_read;
}

/// One answer a line, at once, so that it can be talked to through a pipe. A bad line is said on stderr with
/// its number and has no answer; the others are answered all the same.
int run_stdin(const std::vector<NamedSet>& sets) {
  constexpr std::size_t longest = 1 << 20;
  int bad = 0;
  std::string line;
  bool is_too_long = false;
  for (int number = 1; read_line(std::cin, longest, line, is_too_long); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos && !is_too_long) continue;
    const auto parsed = json::parse_strict(line);
    if (is_too_long || !parsed || !parsed->is_string()) {
      ++bad;
      std::cerr << "skep: line " << number << ": "
                << (is_too_long ? "longer than 1 MiB"
                    : !parsed   ? printable(parsed.error().message)
                                : "JSON, but not a string")
                << std::endl;
      continue;
    }
    std::cout << json::dump(read_label(parsed->get<std::string>(), sets)) << std::endl;
    if (!std::cout) return exit_failed;
  }
  return bad == 0
             ? exit_ok
             : report_usage(std::to_string(bad) + " of the lines were no JSON strings and have no answer",
                            "one JSON string a line, such as \"linux && x86\" with its quotes");
}

void print_label(const Json& label, const std::vector<NamedSet>& sets) {
  const std::string text = label["text"];
  if (is_any_node_text(text)) {
    std::cout << "an empty text: any node that takes unlabelled work\n";
  } else if (label["valid"]) {
    std::cout << printable(text) << "\n  Jenkins reads it as " << printable(label["name"].get<std::string>())
              << "\n";
  } else {
    std::cout << printable(text)
              << "\n  not a label expression: " << printable(LabelExpression::parse(text).error().message)
              << "\n  Jenkins takes the whole text as the name of one label\n";
  }
  bool has_match = false;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const bool is_match = label["matches"][i] == 1;
    has_match = has_match || is_match;
    std::cout << (is_match ? "  matches     " : "  matches not ") << printable(sets[i].name) << "\n";
  }
  if (!has_match && !sets.empty()) std::cout << "  nothing above can run it\n";
}

int run_labels(const LabelsOptions& options, const Context& context) {
  if (options.texts.empty() == !options.from_stdin)
    return report_usage("give label texts, or --stdin, but not both", "skep labels 'linux && !arm'");
  if (options.from_stdin && !context.wants_json())
    return report_usage("--stdin prints one JSON object a line", "say --output json with it");
  const auto sets = sets_of(options, context);
  if (options.from_stdin) return sets ? run_stdin(*sets) : report(sets.error());
  const std::vector<NamedSet> none;
  for (const std::string& text : options.texts) {
    const Json label = read_label(text, sets ? *sets : none);
    if (context.wants_json()) {
      if (sets) std::cout << json::dump(label) << "\n";
    } else {
      print_label(label, sets ? *sets : none);
    }
  }
  if (sets) return exit_ok;
  std::cout << std::flush;
  Error error = sets.error();
  error.hint = "to try it without a scheduler, give labels of nodes: --with 'linux x86'";
  return report(error);
}

}  // namespace

void add_labels(CLI::App& app, Context& context) {
  auto options = std::make_shared<LabelsOptions>();
  CLI::App* command = app.add_subcommand("labels", "how Jenkins reads a label text, and what it matches");
  command->add_option("text", options->texts, "label texts as typed into a job");
  repeated(command->add_option("--with", options->with,
                               "one set of node labels (\"a b c\"); may be repeated; no daemon is asked"));
  command->add_flag(
      "--stdin", options->from_stdin,
      "read one JSON string a line, print one object a line, each at once (with --output json)");
  command->footer(
      "Each object: {\"matches\": [0 or 1 for each set], \"name\", \"text\", \"valid\"}. With --stdin a line "
      "that is "
      "no\nJSON string is named on stderr and has no answer; then the exit code is 2. Empty lines are "
      "skipped.\n"
      "A text that begins with - goes after --: skep labels --with a -- -x\n"
      "Examples:\n  skep labels 'linux && (x86 || arm)'\n  skep labels '!windows' --with 'linux x86' --with "
      "windows\n"
      "  printf '\"a&&b\"\\n' | skep labels --stdin --output json --with 'a b'");
  command->callback([options, &context] { context.exit_code = run_labels(*options, context); });
}

}  // namespace skep::cli
