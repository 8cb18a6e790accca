// `skep controller`: how each Jenkins controller is heard, and the scripts that make one tell of changes
// (docs/how-to/companion.md).
#include <algorithm>
#include <iostream>

#include "cli/reply.h"
#include "cli/view.h"
#include "common/http/http_types.h"
#include "core/nearest_name.h"
#include "scheduler/jenkins/companion.h"

namespace skep::cli {

using json::Json;

namespace {

// As the scheduler posts the first of them.
constexpr std::uint64_t first_event_of_all = 1;
constexpr Duration wait_of_scheduler = seconds(30);
// A removal is two scripts in the controller, each of which may wait for it.
constexpr Duration time_of_removal = seconds(70);

constexpr const char* init_head =
    "// For the controller's init.groovy.d: put this file there as skep-companion.groovy.\n"
    "// Jenkins runs it at each start. What follows is install.groovy as the scheduler posts it:\n"
    "// it needs nothing of the script console, and what it prints goes to the controller's output.\n"
    "// A scheduler finds it in place.\n";

struct CompanionOrder {
  std::string print;
  bool installs = false, removes = false;
  std::string controller;
};

std::string heard_by(const Json& c) {
  return flag_of(c, "is_told") ? "companion" : "polling";
}

/// Why it is polled; "" when there is nothing to be said.
std::string note_of(const Json& c) {
  if (!flag_of(c, "is_known")) return text_of(c, "problem");
  if (flag_of(c, "is_told")) return "";
  if (!flag_of(c, "has_companion")) return "no companion is configured";
  const std::string problem = text_of(c, "companion_problem");
  return problem.empty() ? "the companion has not told yet" : problem;
}

int print_controllers_heard(const Json& answer) {
  const Json& controllers = list_of(answer, "controllers");
  Table table(
      {"CONTROLLER", "STATE", "VERSION", "ONE BUILD BY", "HEARD BY", "QUEUE", "QUEUE SEEN", "NODES SEEN"});
  for (const Json& c : controllers) {
    table.add({text_of(c, "controller"), flag_of(c, "is_known") ? "ok" : "UNKNOWN", text_of(c, "version"),
               text_of(c, "one_build"), heard_by(c), std::to_string(number_of(c, "items")),
               ago_text(number_of(c, "queue_age_ms", -1)), ago_text(number_of(c, "nodes_age_ms", -1))});
  }
  print_table(table);
  for (const Json& c : controllers) {
    if (!note_of(c).empty()) std::cout << "  " << text_of(c, "controller") << ": " << note_of(c) << "\n";
  }
  const bool has_companion = std::any_of(controllers.begin(), controllers.end(),
                                         [](const Json& c) { return flag_of(c, "has_companion"); });
  const Json& counters = answer.at("counters");
  if (has_companion)
    std::cout << "companions so far: " << number_of(counters, "companion_answers") << " answers, "
              << number_of(counters, "companion_news") << " news of nodes, "
              << number_of(counters, "companion_differences")
              << " differences from what was read in full (all controllers)\n";
  return exit_ok;
}

std::string comma_listed(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

Error no_such_controller(const std::string& name, const std::vector<std::string>& known) {
  const std::string nearest = nearest_name(name, known);
  return Error::failed(
      ErrorCode::not_found, "no controller is called " + printable(name),
      (nearest.empty() ? "" : "did you mean " + nearest + "? ") + "there are: " + comma_listed(known));
}

std::vector<std::string> controller_names(const Json& controllers) {
  std::vector<std::string> names;
  for (const Json& c : controllers) names.push_back(text_of(c, "controller"));
  return names;
}

/// What is said of controllers, out of the whole status.
Result<Json> choose_controllers(const Json& status, const std::string& name) {
  const std::vector<std::string> known = controller_names(status.at("controllers"));
  Json chosen = Json::array();
  for (const Json& c : status.at("controllers")) {
    if (name.empty() || matches_glob(name, text_of(c, "controller"))) chosen.push_back(c);
  }
  if (chosen.empty() && !name.empty()) return no_such_controller(name, known);
  Json counters = Json::object();
  for (const char* key : {"companion_answers", "companion_news", "companion_differences"})
    counters[key] = number_of(status.at("counters"), key);
  return Json{{"controllers", std::move(chosen)}, {"counters", std::move(counters)}};
}

int print_scripts(const Context& context, const std::string& which) {
  Json scripts = Json::object();
  std::string text;
  const auto add = [&](const char* name, const std::string& script) {
    if (which != name && (which != "all" || std::string(name) == "init")) return;
    scripts[name] = script;
    text += (text.empty() ? "" : "\n") + script;
    if (!text.empty() && text.back() != '\n') text += '\n';
  };
  add("install", scheduler::companion_install_script());
  add("wait", scheduler::companion_wait_script(first_event_of_all, wait_of_scheduler));
  add("remove", scheduler::companion_remove_script());
  add("init", init_head + scheduler::companion_install_script());
  std::cout << (context.wants_json() ? json::dump(scripts) + "\n" : text);
  return exit_ok;
}

/// The one that was named, or the only one there is.
Result<std::string> controller_meant(ApiClient& client, const std::string& name) {
  if (!name.empty()) return name;
  const auto status = client.get("v1/status");
  if (!status) return status.error();
  const std::vector<std::string> known = controller_names(list_of(*status, "controllers"));
  if (known.size() == 1) return known.front();
  return Error::failed(ErrorCode::invalid_input, "say which controller",
                       known.empty() ? "the scheduler has none" : "there are: " + comma_listed(known));
}

int run_order(const Context& context, const CompanionOrder& order) {
  ConnectionOptions connection = context.connection;
  connection.timeout = std::max(connection.timeout, time_of_removal);
  ApiClient client(connection);
  const auto name = controller_meant(client, order.controller);
  if (!name) return report(name.error());
  const auto reply = client.post("v1/controllers/" + http::percent_encode(*name) + "/companion",
                                 Json{{"action", order.installs ? "install" : "remove"}});
  if (!reply) return report(reply.error());
  std::cout << (context.wants_json() ? json::dump(*reply) : text_of(*reply, "message")) << "\n";
  return exit_ok;
}

int run_companion(const Context& context, const CompanionOrder& order) {
  const int said = int(!order.print.empty()) + int(order.installs) + int(order.removes);
  if (said != 1)
    return report_usage("say one of --print, --install and --remove",
                        "skep controller companion --help says more");
  if (order.print.empty()) return run_order(context, order);
  if (!order.controller.empty())
    return report_usage("--print takes no controller: the scripts are the same for all",
                        "skep controller companion --print init prints the form for init.groovy.d");
  return print_scripts(context, order.print);
}

void add_controller_status(CLI::App& group, Context& context) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = group.add_subcommand("status", "how each controller is seen and heard");
  command->add_option("controller", *name, "its name, * stands for anything; all when none is given");
  command->footer("Examples:\n  skep controller status\n  skep controller status main --output json");
  command->callback([name, &context] {
    context.exit_code = show(context, "v1/status", print_controllers_heard,
                             [&](const Json& status) { return choose_controllers(status, *name); });
  });
}

void add_controller_companion(CLI::App& group, Context& context) {
  auto order = std::make_shared<CompanionOrder>();
  CLI::App* command = group.add_subcommand(
      "companion", "the scripts that make a controller tell of changes: read, put in, remove");
  command->add_option("controller", order->controller, "its name; may be left out where there is one only");
  command
      ->add_option(
          "--print", order->print,
          "print the scripts, without asking a scheduler: all (install, wait, remove), one of them, or "
          "init for init.groovy.d")
      ->expected(0, 1)
      ->default_str("all")
      ->check(CLI::IsMember({"all", "install", "wait", "remove", "init"}));
  command->add_flag("--install", order->installs,
                    "put it in at once; only where the configuration says companion: true");
  command->add_flag("--remove", order->removes,
                    "take it out; the controller is polled until --install, or a restart of the scheduler");
  command->footer(
      "Nothing is put into a controller whose configuration does not say companion: true.\n"
      "Examples:\n  skep controller companion --print | less\n"
      "  skep controller companion --print init > skep-companion.groovy\n"
      "  skep controller companion --remove main\n  skep controller companion --install main");
  command->callback([order, &context] { context.exit_code = run_companion(context, *order); });
}

}  // namespace

void add_controller(CLI::App& app, Context& context) {
  CLI::App* group =
      app.add_subcommand("controller", "Jenkins controllers: how they are heard, and their companions");
  group->require_subcommand(1);
  group->footer("Examples:\n  skep controller status\n  skep controller companion --print");
  add_controller_status(*group, context);
  add_controller_companion(*group, context);
}

}  // namespace skep::cli
