#include "cli/selection.h"

#include <algorithm>
#include <map>

#include "cli/reply.h"
#include "cli/table.h"
#include "core/nearest_name.h"

namespace skep::cli {

using json::Json;

namespace {

bool fits_one(const std::vector<std::string>& patterns, const std::string& text) {
  return patterns.empty() || std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
           return matches_glob(pattern, text);
         });
}

/// States of hosts are made of two facts.
bool is_in_state(const Kind& kind, const std::string& state, const Json& object) {
  if (!kind.is_host) return text_of(object, "state") == state;
  if (state == "draining") return flag_of(object, "is_draining");
  if (state == "unknown") return !flag_of(object, "is_known");
  return flag_of(object, "is_known") && !flag_of(object, "is_draining");
}

bool has_attribute(const Json& object, const std::string& wanted) {
  const std::size_t equals = wanted.find('=');
  if (!object.contains("attributes") || !object["attributes"].is_object()) return false;
  const Json& attributes = object["attributes"];
  const auto found = attributes.find(wanted.substr(0, equals));
  if (found == attributes.end()) return false;
  return equals == std::string::npos ||
         (found->is_string() && matches_glob(wanted.substr(equals + 1), found->get<std::string>()));
}

using LabelsOf = std::map<std::string, LabelSet>;

Result<LabelsOf> labels_of_templates(ApiClient& client) {
  const auto templates = client.get("v1/templates");
  if (!templates) return templates.error();
  LabelsOf out;
  for (const Json& made : *templates) out[text_of(made, "name")] = labels_of_template(made);
  return out;
}

bool fits_label(const LabelExpression& wanted, const LabelsOf& templates, const Json& executor) {
  const auto found = templates.find(text_of(executor, "template"));
  if (found == templates.end()) return false;  // its template was removed: its labels are not known
  LabelSet labels = found->second;
  labels.insert(text_of(executor, "id"));
  return wanted.matches(labels);
}

bool fits(const Selection& selection, const Kind& kind, const Json& object) {
  return fits_one(selection.names, text_of(object, kind.name_key)) &&
         fits_one(selection.templates, text_of(object, "template")) &&
         fits_one(selection.hosts, text_of(object, "host")) &&
         (selection.states.empty() ||
          std::any_of(selection.states.begin(), selection.states.end(),
                      [&](const std::string& state) { return is_in_state(kind, state, object); })) &&
         std::all_of(selection.attributes.begin(), selection.attributes.end(),
                     [&](const std::string& wanted) { return has_attribute(object, wanted); });
}

/// A name that fits nothing is a typo, not an empty selection.
Result<void> check_names(const Selection& selection, const Kind& kind, const Json& list) {
  std::vector<std::string> known;
  for (const Json& object : list) known.push_back(text_of(object, kind.name_key));
  for (const std::string& name : selection.names) {
    if (std::any_of(known.begin(), known.end(), [&](const auto& k) { return matches_glob(name, k); }))
      continue;
    const std::string nearest = nearest_name(name, known);
    const std::string all_of_them = std::string("skep ") + kind.noun + "s lists them";
    return Error::failed(ErrorCode::not_found, std::string("no ") + kind.noun + " is called " + name,
                         nearest.empty() ? all_of_them : "did you mean " + nearest + "? " + all_of_them);
  }
  return {};
}

}  // namespace

LabelSet labels_of_template(const Json& made) {
  LabelSet labels = parse_label_set(text_of(made, "labels"));
  labels.insert("swarm");  // the swarm plugin gives it to every node
  return labels;
}

Result<std::vector<Json>> choose(ApiClient& client, const Selection& selection, const Kind& kind,
                                 const Json& list) {
  if (auto known = check_names(selection, kind, list); !known) return known.error();
  std::optional<LabelExpression> label;
  LabelsOf templates;
  if (!selection.label.empty()) {
    auto parsed = LabelExpression::parse(selection.label);
    if (!parsed) return Error::failed(ErrorCode::invalid_input, "--label: " + parsed.error().message);
    label = *parsed;
    auto labels = labels_of_templates(client);
    if (!labels) return labels.error();
    templates = std::move(*labels);
  }
  std::vector<Json> chosen;
  for (const Json& object : list) {
    if (fits(selection, kind, object) && (!label || fits_label(*label, templates, object)))
      chosen.push_back(object);
  }
  return chosen;
}

CLI::Option* repeated(CLI::Option* option) {
  return option->expected(1)->allow_extra_args(false)->take_all();
}

void add_executor_filters(CLI::App* command, Selection& selection) {
  std::vector<std::string> states;
  for (std::size_t i = 0; i < executor_state_count; ++i)
    states.emplace_back(to_string(static_cast<ExecutorState>(i)));
  command->add_option("executor", selection.names, "names; * stands for anything");
  repeated(command->add_option("--template", selection.templates,
                               "only of these templates; * stands for anything"));
  repeated(command->add_option("--host", selection.hosts, "only on these hosts; * stands for anything"));
  repeated(command->add_option("--state", selection.states, "only in these states, such as idle"))
      ->check(CLI::IsMember(states));
  command->add_option("--label", selection.label, "only those whose labels satisfy this label expression");
}

void add_host_filters(CLI::App* command, Selection& selection) {
  command->add_option("host", selection.names, "names; * stands for anything");
  repeated(command->add_option("--state", selection.states, "only in these states: ok, draining, unknown"))
      ->check(CLI::IsMember({"ok", "draining", "unknown"}));
  repeated(
      command->add_option("--label", selection.attributes, "only with this attribute: KEY or KEY=VALUE"));
}

}  // namespace skep::cli
