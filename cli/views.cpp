#include <iostream>

#include "cli/reply.h"
#include "cli/selection.h"
#include "cli/view.h"
#include "common/http/http_types.h"
#include "common/shell/terminal.h"
#include "core/nearest_name.h"

namespace skep::cli {

using json::Json;

namespace {

int print_hosts(const Json& hosts) {
  Table table({"HOST", "STATE", "OS", "DRIVERS", "EXECUTORS", "FREE", "SEEN", "NOTE"});
  for (const Json& h : hosts) {
    std::string state = flag_of(h, "is_known") ? "ok" : "UNKNOWN";
    if (flag_of(h, "is_draining")) state += ",draining";
    std::string note = flag_of(h, "is_draining") ? text_of(h, "drain_reason") : text_of(h, "unseen_reason");
    if (!list_of(h, "open_breakers").empty())
      note += (note.empty() ? "" : "; ") + joined(list_of(h, "open_breakers"));
    table.add(
        {text_of(h, "host"), state, text_of(h, "os"), joined(list_of(h, "drivers")),
         std::to_string(number_of(h, "executors")) + "/" + std::to_string(number_of(h, "max_executors")),
         to_string(resources_of(h.value("free", Json::object()))), ago_text(number_of(h, "seen_ms_ago", -1)),
         note});
  }
  print_table(table);
  if (hosts.empty()) std::cout << "no host here; one announces itself when skep-agentd runs on it\n";
  return exit_ok;
}

int print_executors(const Json& executors) {
  Table table({"EXECUTOR", "TEMPLATE", "HOST", "STATE", "FOR", "GATE", "BUILD", "NOTE"});
  for (const Json& e : executors) {
    const std::string detail = text_of(e, text_of(e, "state") == "held" ? "hold_reason" : "detail");
    table.add({text_of(e, "id"), text_of(e, "template"), text_of(e, "host"), text_of(e, "state"),
               ago_text(number_of(e, "in_state_ms", -1)), text_of(e, "gate"), text_of(e, "build"),
               detail == text_of(e, "build") ? "" : detail});
  }
  print_table(table);
  if (executors.empty()) std::cout << "no executors (--all shows those that ended lately, too)\n";
  return exit_ok;
}

std::string starts_text(const Json& item) {
  const std::int64_t starts = number_of(item, "starts_in_ms", -1);
  return starts < 0 ? "" : duration_to_text(milliseconds(starts));
}

int print_queue(const Json& queue) {
  // A sentence does not fit beside the rest on a small terminal; its reason in one word does.
  constexpr std::size_t room_for_sentences = 120;
  const std::size_t width = shell::terminal_width();
  const bool has_sentences = width == 0 || width >= room_for_sentences;
  std::vector<std::string> header{"ITEM", "NAME", "LABEL", "WAITS", "REASON", "STARTS IN"};
  if (has_sentences) header.emplace_back("WHY");
  Table table(std::move(header));
  for (const Json& q : queue) {
    table.add({std::to_string(number_of(q, "item")), text_of(q, "name"),
               text_of(q, "label").empty() ? "(any)" : text_of(q, "label"),
               ago_text(number_of(q, "waiting_ms", -1)), text_of(q, "reason"), starts_text(q),
               has_sentences ? text_of(q, "text") : ""});
  }
  print_table(table);
  std::cout << (queue.empty() ? "nothing waits\n"
                              : "skep explain ITEM says why, and what would unblock it\n");
  return exit_ok;
}

void print_line(const char* title, const std::string& text) {
  if (!text.empty()) std::cout << "  " << title << text << "\n";
}

int print_explanation(const Json& q) {
  std::cout << "item " << number_of(q, "item") << " of " << text_of(q, "controller") << ": "
            << text_of(q, "name") << "\n";
  print_line("label      ", text_of(q, "label").empty() ? "(any node)" : text_of(q, "label"));
  print_line("waits      ", ago_text(number_of(q, "waiting_ms", -1)));
  print_line("because    ", text_of(q, "text"));
  print_line("to unblock ", text_of(q, "unblock"));
  print_line("starts in  ", !starts_text(q).empty()         ? "about " + starts_text(q)
                            : text_of(q, "unblock").empty() ? "not known: its controller decides"
                                                            : "not known before that changes");
  print_line("executor   ", text_of(q, "executor"));
  print_line("templates  ", joined(list_of(q, "matching_templates")));
  if (q.contains("refusals") && !q["refusals"].empty()) {
    std::string text;
    for (const auto& [filter, count] : q["refusals"].items())
      text += (text.empty() ? "" : ", ") + printable(filter) + " " + json::dump(count);
    print_line("refusing   ", text + " (hosts by what refuses them)");
  }
  print_line("nearest    ", text_of(q, "nearest_miss"));
  print_line("image      ", text_of(q, "image"));
  return exit_ok;
}

Json array_of(const std::vector<Json>& values) {
  Json out = Json::array();
  for (const Json& value : values) out.push_back(value);
  return out;
}

/// A list with the filters of `kind`; `hides_gone`: what ended is shown with --all or by its state only.
int show_chosen(const Context& context, const Selection& selection, const Kind& kind, const Print& print,
                bool hides_gone) {
  ApiClient client = context.client();
  return show(context, kind.target, print, [&](const Json& list) -> Result<Json> {
    auto chosen = choose(client, selection, kind, list);
    if (!chosen) return chosen.error();
    if (hides_gone && !selection.all && selection.states.empty() && selection.names.empty())
      std::erase_if(*chosen, [](const Json& e) { return text_of(e, "state") == "gone"; });
    return array_of(*chosen);
  });
}

void add_lists(CLI::App& app, Context& context) {
  auto hosts = std::make_shared<Selection>();
  CLI::App* host_command = app.add_subcommand("hosts", "hosts, their room and state");
  add_host_filters(host_command, *hosts);
  host_command->footer(
      "Examples:\n  skep hosts\n  skep hosts 'hv-0*' --state draining\n  skep hosts --output json");
  host_command->callback(
      [hosts, &context] { context.exit_code = show_chosen(context, *hosts, host_kind, print_hosts, false); });

  auto executors = std::make_shared<Selection>();
  CLI::App* executor_command = app.add_subcommand("executors", "executors and what they do");
  add_executor_filters(executor_command, *executors);
  executor_command->add_flag("--all", executors->all, "those that ended lately, too");
  executor_command->footer(
      "Examples:\n  skep executors --state busy --host hv-07\n  skep executors --label 'linux && !docker'\n"
      "  skep executors --all --template linux     why did they fail?");
  executor_command->callback([executors, &context] {
    context.exit_code = show_chosen(context, *executors, executor_kind, print_executors, true);
  });
}

struct QueueFilter {
  std::vector<std::string> names;
  std::string reason, controller;
};

/// "team-a » nightly" is what Jenkins shows, "team-a/nightly" what people type.
std::string path_of(std::string name) {
  const std::string arrow = " » ";
  for (std::size_t at = name.find(arrow); at != std::string::npos; at = name.find(arrow, at))
    name.replace(at, arrow.size(), "/");
  return name;
}

bool fits(const QueueFilter& filter, const Json& item) {
  const std::string path = path_of(text_of(item, "name"));
  const bool by_name = filter.names.empty() ||
                       std::any_of(filter.names.begin(), filter.names.end(),
                                   [&](const auto& name) { return matches_glob(path_of(name), path); });
  return by_name && (filter.reason.empty() || filter.reason == text_of(item, "reason")) &&
         (filter.controller.empty() || filter.controller == text_of(item, "controller"));
}

Json chosen_items(const QueueFilter& filter, const Json& queue) {
  Json out = Json::array();
  for (const Json& item : queue) {
    if (fits(filter, item)) out.push_back(item);
  }
  return out;
}

void add_queue(CLI::App& app, Context& context) {
  auto filter = std::make_shared<QueueFilter>();
  CLI::App* queue = app.add_subcommand("queue", "what waits, and why");
  queue->add_option("job", filter->names, "jobs by name; * stands for anything");
  queue->add_option("--reason", filter->reason, "only what waits for this reason, such as no_room");
  queue->add_option("--controller", filter->controller, "only of this controller");
  queue->footer(
      "Examples:\n  skep queue\n  skep queue 'team-a/*' --reason no_template\n  skep queue -o json");
  queue->callback([filter, &context] {
    context.exit_code = show(context, "v1/queue", print_queue,
                             [&](const Json& list) -> Result<Json> { return chosen_items(*filter, list); });
  });
}

/// A job's name instead of a number: everything of it that waits.
int explain_job(const Context& context, const std::string& name, const std::string& controller) {
  ApiClient client = context.client();
  const auto queue = client.get("v1/queue");
  if (!queue) return report(queue.error());
  const Json items = chosen_items({{name}, "", controller}, *queue);
  if (items.empty()) {
    std::vector<std::string> known;
    for (const Json& item : *queue) known.push_back(path_of(text_of(item, "name")));
    const std::string nearest = nearest_name(name, known);
    return report(Error::failed(ErrorCode::not_found, "no item of " + name + " waits in the queue",
                                (nearest.empty() ? "" : "did you mean " + nearest + "? ") +
                                    std::string("it may have started; see skep queue")));
  }
  return show_answer(context, items, [](const Json& list) {
    for (const Json& item : list) print_explanation(item);
    return exit_ok;
  });
}

void add_explain(CLI::App& app, Context& context) {
  struct Item {
    std::string item;
    std::string controller;
  };
  auto item = std::make_shared<Item>();
  CLI::App* explain =
      app.add_subcommand("explain", "why an item waits, what would unblock it, when it starts");
  explain
      ->add_option("item", item->item, "the item's number (see skep queue), or a job's name (* is anything)")
      ->required();
  explain->add_option("--controller", item->controller, "which controller, where there are several");
  explain->footer("Examples:\n  skep explain 4711\n  skep explain 'team-a/nightly*'");
  explain->callback([item, &context] {
    const bool is_number = !item->item.empty() && item->item.size() < 19 &&
                           item->item.find_first_not_of("0123456789") == std::string::npos;
    if (!is_number) {
      context.exit_code = explain_job(context, item->item, item->controller);
      return;
    }
    std::string target = "v1/queue/" + item->item;
    if (!item->controller.empty()) target += "?controller=" + http::percent_encode(item->controller);
    context.exit_code = show(context, target, print_explanation);
  });
}

}  // namespace

void add_views(CLI::App& app, Context& context) {
  add_lists(app, context);
  add_queue(app, context);
  add_explain(app, context);
}

}  // namespace skep::cli
