// What changes the farm: chosen by names and filters, said before it is done (--dry-run), waited for
// (--wait).
#include <algorithm>
#include <chrono>
#include <iostream>
#include <map>
#include <thread>

#include "cli/reply.h"
#include "cli/selection.h"
#include "cli/table.h"
#include "cli/waiting.h"
#include "common/http/http_types.h"
#include "common/shell/clock.h"
#include "core/resources.h"

namespace skep::cli {

using json::Json;

namespace {

struct Operation {
  const char* verb = "";
  std::string done;  // what people read of one: "draining"
  std::string next;  // what to do next; may be empty
  Selection selection;
  std::string reason;
  std::string for_time = "1h";
  bool waits = false;
  std::string timeout = "30m";
  bool is_dry = false;
  bool even_if_busy = false;
  bool yes = false;
};

struct Outcome {
  std::vector<std::string> changed;
  std::vector<std::pair<std::string, Error>> failed;
};

Result<std::string> executors_left(ApiClient& client, const std::function<bool(const Json&)>& counts) {
  const auto executors = client.get("v1/executors");
  if (!executors) return executors.error();
  std::map<std::string, int> states;
  for (const Json& e : *executors) {
    if (counts(e)) ++states[text_of(e, "state")];
  }
  std::string text;
  for (const auto& [state, count] : states)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + state;
  return text;
}

bool is_left(const Json& executor) {
  const std::string state = text_of(executor, "state");
  return state != "gone" && state != "held";
}

Outcome post_to_each(ApiClient& client, const Kind& kind, const Operation& op,
                     const std::vector<std::string>& names, const Json& body) {
  Outcome out;
  for (const std::string& name : names) {
    const auto reply =
        client.post(std::string(kind.target) + "/" + http::percent_encode(name) + "/" + op.verb, body);
    const bool is_gone_already =
        !reply && reply.error().code == ErrorCode::not_found && std::string(op.verb) == "retire";
    if (reply || is_gone_already) {
      out.changed.push_back(name);
    } else {
      out.failed.emplace_back(name, reply.error());
      if (may_pass(reply.error())) break;  // the others would only wait for the same
    }
  }
  return out;
}

/// `names`: those of the selected ones that something was done to, or would be.
void print_names(const Operation& op, const std::vector<std::string>& selected,
                 const std::vector<std::string>& names) {
  if (selected.empty()) std::cout << "nothing is selected\n";
  for (const std::string& name : names)
    std::cout << (op.is_dry ? std::string("would ") + op.verb : op.done) << ": " << name << "\n";
  if (!names.empty() && !op.is_dry && !op.next.empty()) std::cout << op.next << "\n";
  std::cout << std::flush;
}

Json operation_to_json(const Operation& op, const std::vector<std::string>& selected, const Outcome& outcome,
                       const Json& is_done) {
  Json failed = Json::array();
  for (const auto& [name, error] : outcome.failed)
    failed.push_back({{"name", name}, {"message", error.message}});
  return Json{{"selected", selected},
              {"changed", outcome.changed},
              {"failed", failed},
              {"dry_run", op.is_dry},
              {"is_done", is_done}};
}

/// Posts to all that are selected, says so, and waits. One that fails does not keep the others from it.
int run_on(const Context& context, ApiClient& client, const Kind& kind, const Operation& op,
           const std::vector<std::string>& names, const Json& body, const WhatIsLeft& what_is_left) {
  const bool is_waiting = op.waits && !op.is_dry && !names.empty();
  const Outcome outcome = op.is_dry ? Outcome{} : post_to_each(client, kind, op, names, body);
  if (!context.wants_json()) print_names(op, names, op.is_dry ? names : outcome.changed);
  int code = exit_ok;
  for (const auto& [name, error] : outcome.failed) {
    const bool is_named = error.message.find(name) != std::string::npos;
    code = report({error.code, error.outcome, (is_named ? "" : name + ": ") + error.message, error.hint});
  }
  if (is_waiting && code == exit_ok) code = wait_until_done(context, op.timeout, what_is_left);
  if (context.wants_json()) {
    const Json is_done = is_waiting ? Json(code == exit_ok) : Json(nullptr);
    std::cout << json::dump(operation_to_json(op, names, outcome, is_done)) << "\n";
  } else if (is_waiting && code == exit_ok) {
    std::cout << "done\n";
  }
  return code;
}

Result<std::vector<Json>> select(ApiClient& client, const Selection& selection, const Kind& kind) {
  if (selection.is_empty()) {
    return Error::failed(ErrorCode::invalid_input,
                         std::string("say which ") + kind.noun + "s: names (with *), a filter, or --all",
                         "--dry-run shows what would be done");
  }
  const auto list = client.get(kind.target);
  if (!list) return list.error();
  auto chosen = choose(client, selection, kind, *list);
  if (!chosen) return chosen.error();
  std::erase_if(*chosen, [](const Json& object) { return text_of(object, "state") == "gone"; });
  return chosen;
}

std::vector<std::string> names_of(const std::vector<Json>& objects, const Kind& kind) {
  std::vector<std::string> names;
  names.reserve(objects.size());
  for (const Json& object : objects) names.push_back(text_of(object, kind.name_key));
  return names;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

int run_hosts(const Context& context, const Operation& op, bool destroys) {
  ApiClient client = context.client();
  const auto hosts = select(client, op.selection, host_kind);
  if (!hosts) return report(hosts.error());
  const std::vector<std::string> names = names_of(*hosts, host_kind);
  if (destroys && op.selection.all && !op.selection.has_filter() && !op.yes && !op.is_dry)
    return report_refused(
        "not done: no host would be left that takes work (" + std::to_string(names.size()) + " selected)",
        "add --yes to do it, or --dry-run to see what would be done");
  return run_on(context, client, host_kind, op, names, Json{{"reason", op.reason}}, [&](ApiClient& c) {
    return executors_left(c,
                          [&](const Json& e) { return is_left(e) && contains(names, text_of(e, "host")); });
  });
}

int run_retire(const Context& context, const Operation& op) {
  ApiClient client = context.client();
  const auto executors = select(client, op.selection, executor_kind);
  if (!executors) return report(executors.error());
  const std::vector<std::string> names = names_of(*executors, executor_kind);
  const auto busy = std::count_if(executors->begin(), executors->end(),
                                  [](const Json& e) { return text_of(e, "state") == "busy"; });
  if (!op.yes && !op.is_dry) {
    if (op.even_if_busy && busy > 0)
      return report_refused("not done: it would end " + std::to_string(busy) + " running builds",
                            "add --yes to do it, or --dry-run to see which");
    if (op.selection.all && !op.selection.has_filter())
      return report_refused("not done: it would retire all " + std::to_string(names.size()) + " executors",
                            "add --yes to do it, or --dry-run to see which");
  }
  Operation said = op;
  if (busy > 0 && !op.even_if_busy)
    said.next = std::to_string(busy) + " of them are busy and go at the end of their build";
  return run_on(context, client, executor_kind, said, names,
                Json{{"reason", op.reason}, {"even_if_busy", op.even_if_busy}}, [&](ApiClient& c) {
                  return executors_left(
                      c, [&](const Json& e) { return is_left(e) && contains(names, text_of(e, "id")); });
                });
}

/// Gives up what is on record there. With `is_dry` the scheduler says what that is, and whether it refuses.
Result<std::vector<std::string>> forget_host(ApiClient& client, const std::string& host, const Operation& op,
                                             bool is_dry) {
  const auto reply = client.post(std::string(host_kind.target) + "/" + http::percent_encode(host) + "/forget",
                                 Json{{"reason", op.reason}, {"dry_run", is_dry}});
  if (!reply) return reply.error();
  std::vector<std::string> executors;
  for (const Json& id : list_of(*reply, "executors")) {
    if (id.is_string()) executors.push_back(id.get<std::string>());
  }
  return executors;
}

void print_forgotten(const Operation& op, const std::vector<std::string>& selected,
                     const std::vector<std::string>& hosts, const std::vector<std::string>& executors) {
  print_names(op, selected, hosts);
  for (const std::string& id : executors)
    std::cout << (op.is_dry ? "would give up: " : "given up: ") << id << "\n";
  std::cout << std::flush;
}

/// All of them are asked about first: where the scheduler refuses one, none is forgotten.
int run_forget(const Context& context, const Operation& op) {
  if (op.selection.is_empty())
    return report_usage("say which hosts are gone for good: names (with *) or a filter",
                        "--dry-run shows what would be given up");
  ApiClient client = context.client();
  const auto hosts = select(client, op.selection, host_kind);
  if (!hosts) return report(hosts.error());
  const std::vector<std::string> names = names_of(*hosts, host_kind);
  std::vector<std::string> executors;
  Outcome outcome;
  for (const std::string& name : names) {
    const auto given_up = forget_host(client, name, op, true);
    if (!given_up) return report(given_up.error());
    executors.insert(executors.end(), given_up->begin(), given_up->end());
  }
  if (!executors.empty() && !op.yes && !op.is_dry)
    return report_refused("not done: it would give up " + std::to_string(executors.size()) +
                              (executors.size() == 1 ? " executor" : " executors"),
                          "add --yes if the machine is gone for good, or --dry-run to see which");
  if (!op.is_dry) executors.clear();
  int code = exit_ok;
  for (const std::string& name : op.is_dry ? std::vector<std::string>() : names) {
    const auto given_up = forget_host(client, name, op, false);
    if (!given_up) {
      outcome.failed.emplace_back(name, given_up.error());
      code = report(given_up.error());
      continue;
    }
    outcome.changed.push_back(name);
    executors.insert(executors.end(), given_up->begin(), given_up->end());
  }
  if (context.wants_json()) {
    Json told = operation_to_json(op, names, outcome, nullptr);
    told["executors"] = executors;
    std::cout << json::dump(told) << "\n";
  } else {
    print_forgotten(op, names, op.is_dry ? names : outcome.changed, executors);
  }
  return code;
}

int run_hold(const Context& context, const Operation& op) {
  const auto time = parse_duration(op.for_time);
  if (!time || *time < seconds(1) || *time > hours(24 * 30))
    return report_usage("--for: \"" + op.for_time + "\" is no time from 1s to 30 days", "such as 30m or 2h");
  ApiClient client = context.client();
  const auto executors = select(client, op.selection, executor_kind);
  if (!executors) return report(executors.error());
  const std::vector<std::string> names = names_of(*executors, executor_kind);
  return run_on(context, client, executor_kind, op, names,
                Json{{"for_ms", to_ms(*time)}, {"reason", op.reason}}, [&](ApiClient& c) {
                  return executors_left(
                      c, [&](const Json& e) { return is_left(e) && contains(names, text_of(e, "id")); });
                });
}

int run_pause(const Context& context, const char* verb, const std::string& reason, const char* done) {
  ApiClient client = context.client();
  const auto reply = client.post(std::string("v1/") + verb, Json{{"reason", reason}});
  if (!reply) return report(reply.error());
  std::cout << (context.wants_json() ? json::dump(*reply) : std::string(done)) << "\n";
  return exit_ok;
}

void add_reason(CLI::App* command, std::string& reason) {
  command->add_option("--reason", reason, "shown to everybody who looks");
}

void add_wait(CLI::App* command, Operation& op, const char* until) {
  command->add_flag("--wait", op.waits, std::string("wait until ") + until + ", with progress on stderr");
  command->add_option("--timeout", op.timeout, "give up waiting after this long (exit code 5)")
      ->capture_default_str();
}

void add_dry_run(CLI::App* command, Operation& op) {
  command->add_flag("--dry-run", op.is_dry, "show what would be done, change nothing");
}

void add_host_operations(CLI::App& app, Context& context) {
  auto drain = std::make_shared<Operation>();
  drain->verb = "drain";
  drain->done = "draining";
  drain->next = "busy executors finish first: skep executors shows them; skep undrain takes it back";
  CLI::App* drain_command = app.add_subcommand("drain", "no new work on these hosts; busy executors finish");
  add_host_filters(drain_command, drain->selection);
  drain_command->add_flag("--all", drain->selection.all, "all hosts (needs --yes)");
  add_reason(drain_command, drain->reason);
  add_wait(drain_command, *drain, "no executor is left on them (held ones stay)");
  add_dry_run(drain_command, *drain);
  drain_command->add_flag("--yes", drain->yes, "even all hosts at once");
  drain_command->footer(
      "Examples:\n  skep drain hv-07 --reason 'new disks' --wait --timeout 2h\n"
      "  skep drain 'rack2-*' --dry-run");
  drain_command->callback([drain, &context] { context.exit_code = run_hosts(context, *drain, true); });

  auto undrain = std::make_shared<Operation>();
  undrain->verb = "undrain";
  undrain->done = "taking work again";
  CLI::App* undrain_command = app.add_subcommand("undrain", "these hosts take work again");
  add_host_filters(undrain_command, undrain->selection);
  undrain_command->add_flag("--all", undrain->selection.all, "all hosts");
  add_dry_run(undrain_command, *undrain);
  undrain_command->footer("Examples:\n  skep undrain hv-07\n  skep undrain --state draining --dry-run");
  undrain_command->callback([undrain, &context] { context.exit_code = run_hosts(context, *undrain, false); });
}

void add_forget(CLI::App& app, Context& context) {
  auto forget = std::make_shared<Operation>();
  forget->verb = "forget";
  forget->done = "forgotten";
  forget->next = "their nodes are deleted; what still runs there is destroyed if it ever comes back";
  CLI::App* command =
      app.add_subcommand("forget", "these hosts are gone for good: give up the executors on record there");
  add_host_filters(command, forget->selection);
  add_reason(command, forget->reason);
  add_dry_run(command, *forget);
  command->add_flag("--yes", forget->yes, "even if executors are given up");
  command->footer(
      "Only for machines that never come back; refused while a host answers or announces itself, or an "
      "agent\n"
      "on it is connected: drain such a host.\n"
      "Examples:\n  skep forget hv-07 --dry-run\n  skep forget hv-07 --yes --reason 'burnt down'");
  command->callback([forget, &context] { context.exit_code = run_forget(context, *forget); });
}

void add_hold(CLI::App& app, Context& context) {
  auto hold = std::make_shared<Operation>();
  hold->verb = "hold";
  CLI::App* command =
      app.add_subcommand("hold", "keep executors for debugging until a time; they take no further build");
  add_executor_filters(command, hold->selection);
  command->add_flag("--all", hold->selection.all, "all executors");
  command->add_option("--for", hold->for_time, "how long, such as 30m or 2h")->capture_default_str();
  add_reason(command, hold->reason);
  add_wait(command, *hold, "they are held: a busy one after its build");
  add_dry_run(command, *hold);
  command->footer(
      "skep retire ends a hold.\nExamples:\n  skep hold skep-linux-7-1f --for 2h --reason 'flaky test'\n"
      "  skep hold --template linux --state busy --wait");
  command->callback([hold, &context] {
    hold->done = "held for " + hold->for_time;
    hold->next = "skep retire ends a hold before its time";
    context.exit_code = run_hold(context, *hold);
  });
}

void add_retire(CLI::App& app, Context& context) {
  auto retire = std::make_shared<Operation>();
  retire->verb = "retire";
  retire->done = "retired";
  CLI::App* command =
      app.add_subcommand("retire", "destroy executors: idle ones now, busy ones at the end of their build");
  add_executor_filters(command, retire->selection);
  command->add_flag("--all", retire->selection.all, "all executors (needs --yes)");
  add_reason(command, retire->reason);
  command->add_flag("--even-if-busy", retire->even_if_busy, "end running builds too (needs --yes)");
  add_wait(command, *retire, "they are gone");
  add_dry_run(command, *retire);
  command->add_flag("--yes", retire->yes, "even if all executors go, or running builds are ended");
  command->footer(
      "Examples:\n  skep retire --template linux --state idle --dry-run\n"
      "  skep retire skep-linux-7-1f --even-if-busy --yes --reason 'hangs' --wait");
  command->callback([retire, &context] { context.exit_code = run_retire(context, *retire); });
}

}  // namespace

void add_operations(CLI::App& app, Context& context) {
  add_host_operations(app, context);
  add_forget(app, context);
  add_hold(app, context);
  add_retire(app, context);
  auto reason = std::make_shared<std::string>();
  CLI::App* pause = app.add_subcommand("pause", "launch nothing new; what runs goes on");
  add_reason(pause, *reason);
  pause->footer("Example:\n  skep pause --reason 'controller upgrade'");
  pause->callback([reason, &context] {
    context.exit_code = run_pause(context, "pause", *reason, "launching is paused; skep resume ends it");
  });
  CLI::App* resume = app.add_subcommand("resume", "launch again");
  resume->footer("Example:\n  skep resume");
  resume->callback([&context] { context.exit_code = run_pause(context, "resume", "", "launching goes on"); });
}

}  // namespace skep::cli
