// Which hosts or executors a command is about: names and globs, narrowed by filters.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "core/labels/label_expression.h"
#include "core/lifecycle/lifecycle.h"

namespace skep::cli {

struct Selection {
  std::vector<std::string> names;  // `*` stands for anything
  bool all = false;
  std::vector<std::string> templates, hosts, states, attributes;
  std::string label;

  bool has_filter() const {
    return !templates.empty() || !hosts.empty() || !states.empty() || !attributes.empty() || !label.empty();
  }
  /// Nothing given selects nothing: what changes the farm wants to be told on what.
  bool is_empty() const { return names.empty() && !all && !has_filter(); }
};

/// What is selected on: the list's address, the key of the name, and what people call one of them.
struct Kind {
  const char* target;
  const char* name_key;
  const char* noun;
  bool is_host;
};
inline constexpr Kind host_kind{"v1/hosts", "host", "host", true};
inline constexpr Kind executor_kind{"v1/executors", "id", "executor", false};

/// Labels of a template's nodes, without the node's own name.
LabelSet labels_of_template(const json::Json& made);

/// One text each time, as often as it is given: never the positional that follows.
CLI::Option* repeated(CLI::Option* option);

void add_executor_filters(CLI::App* command, Selection& selection);
void add_host_filters(CLI::App* command, Selection& selection);

/// Those of `list` that are selected; everything when nothing is given. not_found with the nearest name when
/// a name or glob fits nothing at all. `client` is asked for the templates when there is a label.
Result<std::vector<json::Json>> choose(ApiClient& client, const Selection& selection, const Kind& kind,
                                       const json::Json& list);

}  // namespace skep::cli
