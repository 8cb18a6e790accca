#include <iostream>

#include "cli/commands.h"
#include "cli/table.h"
#include "common/http/http_types.h"
#include "core/resources.h"

namespace skep::cli {

using json::Json;

namespace {

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>() : json::dump(*found);
}

std::int64_t number_of(const Json& object, const char* key, std::int64_t fallback = 0) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : fallback;
}

bool flag_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

std::string joined(const Json& list) {
  std::string out;
  for (const Json& item : list) out += (out.empty() ? "" : ",") + item.get<std::string>();
  return out;
}

Resources resources_of(const Json& in) {
  Resources out;
  out.cpu_millis = number_of(in, "cpu_millis");
  out.memory_bytes = number_of(in, "memory_bytes");
  out.disk_bytes = number_of(in, "disk_bytes");
  if (in.contains("countable") && in["countable"].is_object()) {
    for (const auto& [name, count] : in["countable"].items()) {
      if (count.is_number_integer()) out.countable[name] = count.get<std::int64_t>();
    }
  }
  return out;
}

/// Shape errors of a peer's reply are an answer, not a crash.
int guarded(const Context& context, const std::string& target, const std::function<int(const Json&)>& print) {
  ApiClient client = context.client();
  const auto reply = client.get(target);
  if (!reply) return report(reply.error());
  if (context.wants_json()) {
    std::cout << json::dump(*reply) << "\n";
    return exit_ok;
  }
  try {
    return print(*reply);
  } catch (const std::exception& e) {
    return report(Error::failed(ErrorCode::malformed_reply,
                                "the scheduler's answer to " + target + " is not understood: " + e.what(),
                                "is skep of the same release as the scheduler?"));
  }
}

void print_controllers(const Json& controllers) {
  Table table({"CONTROLLER", "STATE", "VERSION", "ONE BUILD BY", "KICK", "QUEUE", "SEEN", "PROBLEM"});
  for (const Json& c : controllers) {
    table.add({text_of(c, "controller"), flag_of(c, "is_known") ? "ok" : "UNKNOWN", text_of(c, "version"),
               text_of(c, "one_build"), text_of(c, "kick"), std::to_string(number_of(c, "items")),
               ago_text(number_of(c, "queue_age_ms", -1)), text_of(c, "problem")});
  }
  std::cout << table.to_text(terminal_width());
  for (const Json& c : controllers) {
    const std::string name = text_of(c, "controller");
    if (c.contains("missing_permissions") && !c["missing_permissions"].empty()) {
      std::cout << "! " << name << ": the account lacks " << joined(c["missing_permissions"])
                << "; grant it in Jenkins\n";
    }
    if (c.contains("extra_permissions") && !c["extra_permissions"].empty()) {
      std::cout << "! " << name << ": the account has more than it needs: " << joined(c["extra_permissions"])
                << "\n";
    }
    if (c.contains("foreign_offline") && !c["foreign_offline"].empty()) {
      std::cout << "! " << name
                << ": set offline by somebody else, left alone: " << joined(c["foreign_offline"]) << "\n";
    }
  }
}

std::map<std::string, int> count_states(const Json& executors) {
  std::map<std::string, int> states;
  for (const Json& e : executors) ++states[text_of(e, "state")];
  return states;
}

int print_status(const Json& s) {
  std::cout << "farm " << text_of(s, "farm") << ", epoch " << number_of(s, "epoch");
  if (flag_of(s, "is_paused"))
    std::cout << ", LAUNCHING PAUSED: " << text_of(s, "pause_reason") << " (skep resume)";
  std::cout << "\n\n";
  print_controllers(s.at("controllers"));
  int unknown_hosts = 0, draining = 0;
  for (const Json& h : s.at("hosts")) {
    unknown_hosts += flag_of(h, "is_known") ? 0 : 1;
    draining += flag_of(h, "is_draining") ? 1 : 0;
  }
  std::cout << "\nhosts       " << s["hosts"].size() << " (" << draining << " draining, " << unknown_hosts
            << " unknown)\n";
  if (s.contains("registry")) {
    const std::string problem = text_of(s["registry"], "problem");
    std::cout << "registry    " << text_of(s["registry"], "type")
              << (problem.empty() ? "" : ", UNREACHABLE, known hosts stay: " + problem) << "\n";
  }
  std::cout << "executors  ";
  for (const auto& [state, count] : count_states(s.at("executors")))
    std::cout << " " << count << " " << state;
  if (s["executors"].empty()) std::cout << " none";
  std::cout << "\nwaiting    ";
  std::map<std::string, int> reasons;
  for (const Json& q : s.at("queue")) ++reasons[text_of(q, "reason")];
  for (const auto& [reason, count] : reasons) std::cout << " " << count << " " << reason;
  if (reasons.empty()) std::cout << " nothing";
  const Json& c = s.at("counters");
  std::cout << "\nso far      " << number_of(c, "builds_seen") << " builds on "
            << number_of(c, "executors_used") << " executors, " << number_of(c, "violations")
            << " second builds, " << number_of(c, "launch_failures") << " failed launches, "
            << number_of(c, "orphans_swept") << " orphans swept\n";
  return exit_ok;
}

int print_hosts(const Json& hosts) {
  Table table({"HOST", "STATE", "OS", "DRIVERS", "EXECUTORS", "FREE", "SEEN", "NOTE"});
  for (const Json& h : hosts) {
    std::string state = flag_of(h, "is_known") ? "ok" : "UNKNOWN";
    if (flag_of(h, "is_draining")) state += ",draining";
    std::string note = flag_of(h, "is_draining") ? text_of(h, "drain_reason") : text_of(h, "unseen_reason");
    if (h.contains("open_breakers") && !h["open_breakers"].empty())
      note += (note.empty() ? "" : "; ") + joined(h["open_breakers"]);
    table.add(
        {text_of(h, "host"), state, text_of(h, "os"), joined(h.value("drivers", Json::array())),
         std::to_string(number_of(h, "executors")) + "/" + std::to_string(number_of(h, "max_executors")),
         to_string(resources_of(h.value("free", Json::object()))), ago_text(number_of(h, "seen_ms_ago", -1)),
         note});
  }
  std::cout << table.to_text(terminal_width());
  if (hosts.empty()) std::cout << "no host has announced itself; start skep-agentd on one\n";
  return exit_ok;
}

int print_executors(const Json& executors) {
  Table table({"EXECUTOR", "TEMPLATE", "HOST", "STATE", "FOR", "GATE", "BUILD", "NOTE"});
  for (const Json& e : executors) {
    table.add({text_of(e, "id"), text_of(e, "template"), text_of(e, "host"), text_of(e, "state"),
               ago_text(number_of(e, "in_state_ms", -1)), text_of(e, "gate"), text_of(e, "build"),
               text_of(e, "state") == "held" ? text_of(e, "hold_reason") : text_of(e, "detail")});
  }
  std::cout << table.to_text(terminal_width());
  if (executors.empty()) std::cout << "no executors\n";
  return exit_ok;
}

int print_queue(const Json& queue) {
  Table table({"ITEM", "NAME", "LABEL", "WAITS", "REASON", "STARTS IN", "WHY"});
  for (const Json& q : queue) {
    const std::int64_t starts = number_of(q, "starts_in_ms", -1);
    table.add({std::to_string(number_of(q, "item")), text_of(q, "name"),
               text_of(q, "label").empty() ? "(any)" : text_of(q, "label"),
               ago_text(number_of(q, "waiting_ms", -1)), text_of(q, "reason"),
               starts < 0 ? "" : duration_to_text(milliseconds(starts)), text_of(q, "text")});
  }
  std::cout << table.to_text(terminal_width());
  if (queue.empty()) std::cout << "nothing waits\n";
  return exit_ok;
}

int print_explanation(const Json& q) {
  std::cout << "item " << number_of(q, "item") << " of " << text_of(q, "controller") << ": "
            << text_of(q, "name") << "\n";
  std::cout << "  label      " << (text_of(q, "label").empty() ? "(any node)" : text_of(q, "label")) << "\n";
  std::cout << "  waits      " << ago_text(number_of(q, "waiting_ms", -1)) << "\n";
  std::cout << "  because    " << text_of(q, "text") << "\n";
  if (!text_of(q, "unblock").empty()) std::cout << "  to unblock " << text_of(q, "unblock") << "\n";
  const std::int64_t starts = number_of(q, "starts_in_ms", -1);
  if (starts >= 0) std::cout << "  starts in  about " << duration_to_text(milliseconds(starts)) << "\n";
  if (!text_of(q, "executor").empty()) std::cout << "  executor   " << text_of(q, "executor") << "\n";
  if (q.contains("matching_templates") && !q["matching_templates"].empty())
    std::cout << "  templates  " << joined(q["matching_templates"]) << "\n";
  if (q.contains("refusals") && !q["refusals"].empty()) {
    std::cout << "  hosts that refuse:";
    for (const auto& [filter, count] : q["refusals"].items())
      std::cout << " " << json::dump(count) << " by " << filter;
    std::cout << "\n";
  }
  if (!text_of(q, "nearest_miss").empty()) std::cout << "  nearest    " << text_of(q, "nearest_miss") << "\n";
  return exit_ok;
}

int print_history(const Json& entries) {
  Table table({"EXECUTOR", "TEMPLATE", "HOST", "END", "BUILD", "GATE OPEN", "BUSY", "SECOND BUILD"});
  for (const Json& e : entries) {
    table.add({text_of(e, "id"), text_of(e, "template"), text_of(e, "host"), text_of(e, "end"),
               text_of(e, "build"), duration_to_text(milliseconds(number_of(e, "gate_open_ms"))),
               duration_to_text(milliseconds(number_of(e, "busy_ms"))),
               flag_of(e, "is_violation") ? "YES" : "no"});
  }
  std::cout << table.to_text(terminal_width());
  if (entries.empty()) std::cout << "no executor has ended yet\n";
  return exit_ok;
}

void add_view(CLI::App& app, Context& context, const char* name, const char* help, const char* target,
              int (*print)(const Json&)) {
  app.add_subcommand(name, help)->callback([=, &context] {
    context.exit_code = guarded(context, target, print);
  });
}

}  // namespace

void add_views(CLI::App& app, Context& context) {
  add_view(app, context, "status", "the farm on one screen", "v1/status", print_status);
  add_view(app, context, "hosts", "hypervisor hosts, their room and state", "v1/hosts", print_hosts);
  add_view(app, context, "executors", "every executor and what it does", "v1/executors", print_executors);
  add_view(app, context, "queue", "what waits, and why", "v1/queue", print_queue);
  auto limit = std::make_shared<int>(50);
  CLI::App* history = app.add_subcommand("history", "audit records of executors that ended, newest first");
  history->add_option("-n,--limit", *limit, "how many")->check(CLI::Range(1, 10000))->capture_default_str();
  history->callback([limit, &context] {
    context.exit_code = guarded(context, "v1/history?limit=" + std::to_string(*limit), print_history);
  });

  struct Item {
    std::int64_t id = 0;
    std::string controller;
  };
  auto item = std::make_shared<Item>();
  CLI::App* explain =
      app.add_subcommand("explain", "why an item waits, what would unblock it, when it starts");
  explain->add_option("item", item->id, "the item's number in the controller's queue (see skep queue)")
      ->required();
  explain->add_option("--controller", item->controller, "which controller, where there are several");
  explain->footer("Example:\n  skep explain 4711");
  explain->callback([item, &context] {
    std::string target = "v1/queue/" + std::to_string(item->id);
    if (!item->controller.empty()) target += "?controller=" + http::percent_encode(item->controller);
    context.exit_code = guarded(context, target, print_explanation);
  });
}

}  // namespace skep::cli
