#include <algorithm>
#include <chrono>
#include <iostream>
#include <thread>

#include "cli/commands.h"
#include "cli/table.h"
#include "common/http/http_types.h"
#include "common/shell/clock.h"
#include "core/resources.h"

namespace skep::cli {

using json::Json;

namespace {

/// What a command acts on: names or globs, narrowed by filters. Nothing given selects nothing.
struct Selection {
  std::vector<std::string> names;
  bool all = false;
  std::string template_name, host, state;
  bool is_empty() const {
    return names.empty() && !all && template_name.empty() && host.empty() && state.empty();
  }
};

struct Operation {
  Selection selection;
  std::string reason;
  std::string for_time = "1h";
  bool wait = false;
  std::string wait_limit = "30m";
  bool dry_run = false;
  bool even_if_busy = false;
};

bool is_selected(const Selection& selection, const Json& object, const char* name_key) {
  const std::string name = object.value(name_key, "");
  const bool by_name = selection.names.empty() ||
                       std::any_of(selection.names.begin(), selection.names.end(),
                                   [&](const std::string& pattern) { return matches_glob(pattern, name); });
  return by_name &&
         (selection.template_name.empty() || selection.template_name == object.value("template", "")) &&
         (selection.host.empty() || matches_glob(selection.host, object.value("host", ""))) &&
         (selection.state.empty() || selection.state == object.value("state", ""));
}

/// Names of what is selected; an error when a plain name (no glob) selects nothing.
Result<std::vector<std::string>> select(ApiClient& client, const Selection& selection, const char* target,
                                        const char* name_key, const char* noun) {
  if (selection.is_empty()) {
    return Error::failed(ErrorCode::invalid_input,
                         std::string("say which ") + noun + ": names (with *), a filter, or --all");
  }
  auto list = client.get(target);
  if (!list) return list.error();
  std::vector<std::string> found;
  for (const Json& object : *list) {
    if (is_selected(selection, object, name_key) && object.value("state", "") != "gone")
      found.push_back(object.value(name_key, ""));
  }
  for (const std::string& name : selection.names) {
    const bool is_there =
        std::any_of(found.begin(), found.end(), [&](const std::string& f) { return matches_glob(name, f); });
    if (!is_there)
      return Error::failed(ErrorCode::not_found, std::string("no ") + noun + " is called " + name,
                           std::string("see skep ") + noun + "s");
  }
  return found;
}

void print_result(const Context& context, const std::vector<std::string>& names, const std::string& done,
                  bool dry_run) {
  if (context.wants_json()) {
    std::cout << json::dump(Json{{"changed", dry_run ? Json::array() : Json(names)},
                                 {"selected", names},
                                 {"dry_run", dry_run}})
              << "\n";
    return;
  }
  for (const std::string& name : names)
    std::cout << (dry_run ? "would be " : "") << done << ": " << name << "\n";
  if (names.empty()) std::cout << "nothing is selected\n";
}

/// Polls until `is_done`, with progress on stderr; exit_timed_out after the limit.
int wait_for(const Context& context, const std::string& limit,
             const std::function<Result<std::string>(ApiClient&)>& what_is_left) {
  const auto allowed = parse_duration(limit);
  if (!allowed) return report(allowed.error());
  const Instant give_up = shell::now() + *allowed;
  ApiClient client = context.client();
  std::string last;
  for (;;) {
    const auto left = what_is_left(client);
    if (!left) return report(left.error());
    if (left->empty()) return exit_ok;
    if (*left != last) std::cerr << "waiting: " << *left << "\n";
    last = *left;
    if (shell::now() >= give_up) {
      std::cerr << "skep: still waiting after " << limit << ": " << *left
                << "\n  nothing was undone; it goes on without this command\n";
      return exit_timed_out;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

Result<std::string> executors_left(ApiClient& client, const std::function<bool(const Json&)>& counts) {
  const auto executors = client.get("v1/executors");
  if (!executors) return executors.error();
  std::map<std::string, int> states;
  for (const Json& e : *executors) {
    const std::string state = e.value("state", "");
    if (state != "gone" && state != "held" && counts(e)) ++states[state];
  }
  std::string text;
  for (const auto& [state, count] : states)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + state;
  return text;
}

int run_hosts(const Context& context, const Operation& op, const char* verb, const std::string& done) {
  ApiClient client = context.client();
  const auto hosts = select(client, op.selection, "v1/hosts", "host", "host");
  if (!hosts) return report(hosts.error());
  if (!op.dry_run) {
    for (const std::string& host : *hosts) {
      const auto reply =
          client.post("v1/hosts/" + http::percent_encode(host) + "/" + verb, Json{{"reason", op.reason}});
      if (!reply) return report(reply.error());
    }
  }
  print_result(context, *hosts, done, op.dry_run);
  if (!op.wait || op.dry_run) return exit_ok;
  return wait_for(context, op.wait_limit, [&](ApiClient& c) {
    return executors_left(c, [&](const Json& e) {
      return std::find(hosts->begin(), hosts->end(), e.value("host", "")) != hosts->end();
    });
  });
}

int run_executors(const Context& context, const Operation& op, const char* verb, const std::string& done,
                  const Json& body) {
  ApiClient client = context.client();
  const auto executors = select(client, op.selection, "v1/executors", "id", "executor");
  if (!executors) return report(executors.error());
  if (!op.dry_run) {
    for (const std::string& id : *executors) {
      const auto reply = client.post("v1/executors/" + http::percent_encode(id) + "/" + verb, body);
      if (!reply) return report(reply.error());
    }
  }
  print_result(context, *executors, done, op.dry_run);
  if (!op.wait || op.dry_run) return exit_ok;
  return wait_for(context, op.wait_limit, [&](ApiClient& c) {
    return executors_left(c, [&](const Json& e) {
      return std::find(executors->begin(), executors->end(), e.value("id", "")) != executors->end();
    });
  });
}

int run_pause(const Context& context, const char* verb, const std::string& reason, const char* done) {
  ApiClient client = context.client();
  const auto reply = client.post(std::string("v1/") + verb, Json{{"reason", reason}});
  if (!reply) return report(reply.error());
  std::cout << (context.wants_json() ? json::dump(*reply) : std::string(done)) << "\n";
  return exit_ok;
}

void add_wait(CLI::App* command, Operation& op) {
  command->add_flag("--wait", op.wait, "wait until it is done, with progress on stderr");
  command->add_option("--wait-limit", op.wait_limit, "give up waiting after this long")
      ->capture_default_str();
}

void add_executor_selection(CLI::App* command, Operation& op) {
  command->add_option("executor", op.selection.names, "names; * stands for anything");
  command->add_option("--template", op.selection.template_name, "only of this template");
  command->add_option("--host", op.selection.host, "only on this host; * stands for anything");
  command->add_option("--state", op.selection.state, "only in this state");
  command->add_flag("--all", op.selection.all, "all executors");
  command->add_flag("--dry-run", op.dry_run, "show what would be done, change nothing");
}

void add_host_operation(CLI::App& app, Context& context, const char* verb, const char* help, const char* done,
                        bool can_wait) {
  auto op = std::make_shared<Operation>();
  CLI::App* command = app.add_subcommand(verb, help);
  command->add_option("host", op->selection.names, "names; * stands for anything");
  command->add_flag("--all", op->selection.all, "all hosts");
  command->add_option("--reason", op->reason, "shown to everybody who looks");
  command->add_flag("--dry-run", op->dry_run, "show what would be done, change nothing");
  if (can_wait) add_wait(command, *op);
  command->footer(std::string("Example:\n  skep ") + verb + " hv-07" +
                  (can_wait ? " --reason 'new disks' --wait" : ""));
  command->callback([=, &context] { context.exit_code = run_hosts(context, *op, verb, done); });
}

}  // namespace

void add_operations(CLI::App& app, Context& context) {
  add_host_operation(app, context, "drain", "no new work on these hosts; busy executors finish", "draining",
                     true);
  add_host_operation(app, context, "undrain", "these hosts take work again", "takes work again", false);

  auto hold = std::make_shared<Operation>();
  CLI::App* hold_command =
      app.add_subcommand("hold", "keep executors for debugging until a time; they take no further build");
  add_executor_selection(hold_command, *hold);
  hold_command->add_option("--for", hold->for_time, "how long, such as 30m or 2h")->capture_default_str();
  hold_command->add_option("--reason", hold->reason, "shown to everybody who looks");
  hold_command->footer("Example:\n  skep hold skep-linux-7-1f --for 2h --reason 'flaky test'");
  hold_command->callback([hold, &context] {
    const auto time = parse_duration(hold->for_time);
    context.exit_code = time ? run_executors(context, *hold, "hold", "held for " + hold->for_time,
                                             Json{{"for_ms", to_ms(*time)}, {"reason", hold->reason}})
                             : report(time.error());
  });

  auto retire = std::make_shared<Operation>();
  CLI::App* retire_command =
      app.add_subcommand("retire", "destroy executors: idle ones now, busy ones at the end of their build");
  add_executor_selection(retire_command, *retire);
  retire_command->add_option("--reason", retire->reason, "shown to everybody who looks");
  retire_command->add_flag("--even-if-busy", retire->even_if_busy, "end running builds too");
  add_wait(retire_command, *retire);
  retire_command->footer(
      "Examples:\n  skep retire --template linux --state idle --dry-run\n  skep retire skep-linux-7-1f "
      "--even-if-busy --reason 'hangs'");
  retire_command->callback([retire, &context] {
    context.exit_code =
        run_executors(context, *retire, "retire", "retired",
                      Json{{"reason", retire->reason}, {"even_if_busy", retire->even_if_busy}});
  });

  auto pause = std::make_shared<Operation>();
  CLI::App* pause_command = app.add_subcommand("pause", "launch nothing new; what runs goes on");
  pause_command->add_option("--reason", pause->reason, "shown to everybody who looks");
  pause_command->callback([pause, &context] {
    context.exit_code =
        run_pause(context, "pause", pause->reason, "launching is paused; skep resume ends it");
  });
  app.add_subcommand("resume", "launch again")->callback([&context] {
    context.exit_code = run_pause(context, "resume", "", "launching goes on");
  });
}

}  // namespace skep::cli
