// `skep status`: the farm on one screen, what is wrong with it first, each with what to do about it.
#include <algorithm>
#include <chrono>
#include <iomanip>
#include <iostream>
#include <map>
#include <sstream>

#include "cli/reply.h"
#include "cli/view.h"

namespace skep::cli {

using json::Json;

namespace {

struct Trouble {
  std::string what;
  std::string cure;
};

std::string time_text(std::int64_t ms_since_epoch) {
  const std::chrono::sys_seconds time{std::chrono::seconds(ms_since_epoch / 1000)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::ostringstream text;
  text << std::setfill('0') << int(date.year()) << "-" << std::setw(2) << unsigned(date.month()) << "-"
       << std::setw(2) << unsigned(date.day()) << " " << std::setw(2) << clock.hours().count() << ":"
       << std::setw(2) << clock.minutes().count() << ":" << std::setw(2) << clock.seconds().count() << " UTC";
  return text.str();
}

void look_at_configuration(const Json& configuration, std::vector<Trouble>& out) {
  const auto found = configuration.is_object() ? configuration.find("refused") : configuration.end();
  if (found == configuration.end() || !found->is_string()) return;
  const std::string text = found->get<std::string>();
  const auto more = std::count(text.begin(), text.end(), '\n');
  out.push_back({"configuration: reload refused at " + time_text(number_of(configuration, "refused_at_ms")) +
                     ": " + printable(text.substr(0, text.find('\n'))) +
                     (more > 0 ? " (and " + std::to_string(more) + " more)" : ""),
                 "the old configuration stays; skep config check " + text_of(configuration, "file") +
                     ", then skep config reload"});
}

void look_at_controllers(const Json& controllers, std::vector<Trouble>& out) {
  for (const Json& c : controllers) {
    const std::string name = "controller " + text_of(c, "controller");
    if (!list_of(c, "missing_permissions").empty()) {
      out.push_back({name + " gets nothing: the account lacks " + joined(list_of(c, "missing_permissions")),
                     "grant it in Jenkins (docs/how-to/real-jenkins.md)"});
    } else if (!flag_of(c, "is_known")) {
      const bool is_refused = text_of(c, "problem").find("(401)") != std::string::npos;
      out.push_back({name + " is not seen: " + text_of(c, "problem"),
                     is_refused ? "check user and token_file of this controller, then restart skep-scheduler"
                                : "nothing is launched or removed for it meanwhile; builds that run go on"});
    }
    if (flag_of(c, "has_companion") && !flag_of(c, "is_told") && !text_of(c, "companion_problem").empty())
      out.push_back({name + " is polled, its companion does not tell: " + text_of(c, "companion_problem"),
                     "it is tried again by itself; skep controller status " + text_of(c, "controller")});
    if (!list_of(c, "foreign_offline").empty())
      out.push_back({name + ": set offline by somebody else: " + joined(list_of(c, "foreign_offline")),
                     "left alone; bring the node online in Jenkins, or skep retire it"});
  }
}

void look_at_hosts(const Json& hosts, std::vector<Trouble>& out) {
  if (hosts.empty()) out.push_back({"no host has announced itself", "start skep-agentd on one"});
  bool all_drain = !hosts.empty();
  for (const Json& h : hosts) {
    const std::string name = "host " + text_of(h, "host");
    all_drain = all_drain && flag_of(h, "is_draining");
    if (!flag_of(h, "is_known"))
      out.push_back({name + " is not seen: " + text_of(h, "unseen_reason"),
                     "its executors count as existing; look at skep-agentd there; if it is gone for good: "
                     "skep forget " +
                         text_of(h, "host")});
    for (const Json& breaker : list_of(h, "open_breakers"))
      out.push_back({name + " takes no executors of template " +
                         printable(breaker.is_string() ? breaker.get<std::string>() : ""),
                     "the template is tried again there by itself; see the log of skep-agentd on " +
                         text_of(h, "host")});
  }
  if (all_drain) out.push_back({"every host is draining: nothing is launched", "skep undrain HOST"});
}

std::vector<Trouble> troubles_of(const Json& s) {
  std::vector<Trouble> out;
  if (!text_of(s, "fenced_by").empty())
    out.push_back(
        {"this scheduler does nothing any more: " + text_of(s, "fenced_by"),
         "stop the other scheduler, then restart this one; if there is none, the state of this one was lost: "
         "docs/operations/state-and-backup.md"});
  if (flag_of(s, "is_paused"))
    out.push_back(
        {"launching is paused: " +
             (text_of(s, "pause_reason").empty() ? "no reason was given" : text_of(s, "pause_reason")),
         "skep resume"});
  if (s.contains("configuration")) look_at_configuration(s["configuration"], out);
  if (s.contains("registry") && !text_of(s["registry"], "problem").empty())
    out.push_back({"registry " + text_of(s["registry"], "type") +
                       " does not answer: " + text_of(s["registry"], "problem"),
                   "the known hosts stay; new ones are seen when it answers again"});
  look_at_controllers(s.at("controllers"), out);
  look_at_hosts(s.at("hosts"), out);
  const std::int64_t violations = number_of(s.at("counters"), "violations");
  if (violations > 0)
    out.push_back({std::to_string(violations) + " executors served a second build",
                   "skep history shows which; docs/operations/gate-violation.md"});
  return out;
}

void print_controllers(const Json& controllers) {
  Table table({"CONTROLLER", "STATE", "VERSION", "ONE BUILD BY", "HEARD BY", "KICK", "QUEUE", "SEEN"});
  for (const Json& c : controllers) {
    table.add({text_of(c, "controller"), flag_of(c, "is_known") ? "ok" : "UNKNOWN", text_of(c, "version"),
               text_of(c, "one_build"), flag_of(c, "is_told") ? "companion" : "polling", text_of(c, "kick"),
               std::to_string(number_of(c, "items")), ago_text(number_of(c, "queue_age_ms", -1))});
  }
  print_table(table);
  for (const Json& c : controllers) {
    if (!list_of(c, "extra_permissions").empty())
      std::cout << "  " << text_of(c, "controller")
                << ": the account has more than it needs: " << joined(list_of(c, "extra_permissions"))
                << "\n";
    for (const Json& warning : list_of(c, "warnings"))
      std::cout << "  " << text_of(c, "controller") << ": "
                << printable(warning.is_string() ? warning.get<std::string>() : "") << "\n";
  }
}

std::string counted(const Json& list, const char* key, const char* none) {
  std::map<std::string, int> counts;
  for (const Json& entry : list) {
    if (text_of(entry, key) != "gone") ++counts[text_of(entry, key)];
  }
  std::string text;
  for (const auto& [word, count] : counts)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + word;
  return text.empty() ? none : text;
}

void print_status(const Json& s) {
  std::cout << "farm " << text_of(s, "farm") << ", epoch " << number_of(s, "epoch") << "\n";
  for (const Trouble& trouble : troubles_of(s))
    std::cout << "! " << trouble.what << "\n    " << trouble.cure << "\n";
  std::cout << "\n";
  print_controllers(s.at("controllers"));
  int unknown_hosts = 0, draining = 0;
  for (const Json& h : s.at("hosts")) {
    unknown_hosts += flag_of(h, "is_known") ? 0 : 1;
    draining += flag_of(h, "is_draining") ? 1 : 0;
  }
  const Json& c = s.at("counters");
  std::cout << "\nhosts      " << s["hosts"].size() << " (" << draining << " draining, " << unknown_hosts
            << " unknown"
            << (s.contains("registry") ? ", found by registry " + text_of(s["registry"], "type") : "")
            << ")\nexecutors  " << counted(s.at("executors"), "state", "none") << "\nwaiting    "
            << counted(s.at("queue"), "reason", "nothing") << "\nso far     " << number_of(c, "builds_seen")
            << " builds on " << number_of(c, "executors_used") << " executors, " << number_of(c, "violations")
            << " second builds, " << number_of(c, "launch_failures") << " failed launches, "
            << number_of(c, "orphans_swept") << " orphans swept\n";
}

}  // namespace

void add_status(CLI::App& app, Context& context) {
  auto checks = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("status", "the farm on one screen, and what is wrong with it");
  command->add_flag("--check", *checks, "end with 1 when something is wrong (for monitoring)");
  command->footer("Examples:\n  skep status\n  skep status --check --output json");
  command->callback([checks, &context] {
    bool has_trouble = false;
    context.exit_code = show(
        context, "v1/status",
        [](const Json& status) {
          print_status(status);
          return exit_ok;
        },
        [&](Json status) -> Result<Json> {
          if (*checks) has_trouble = !troubles_of(status).empty();
          return status;
        });
    if (context.exit_code == exit_ok && has_trouble) context.exit_code = exit_failed;
  });
}

}  // namespace skep::cli
