// What ended: as a table for people, and as a trace for `skep simulate`.
#include <algorithm>
#include <iostream>
#include <limits>

#include "cli/reply.h"
#include "cli/view.h"
#include "common/shell/terminal.h"

namespace skep::cli {

using json::Json;

namespace {

constexpr int most_at_once = 10'000;  // of the scheduler's API
constexpr int page = 2'000;

struct HistoryOptions {
  int limit = 50;
  bool as_trace = false;
};

int print_history(const Json& entries) {
  Table table({"EXECUTOR", "TEMPLATE", "HOST", "END", "BUILD", "OPEN", "BUSY", "SECOND"});
  for (const Json& e : entries) {
    table.add({text_of(e, "id"), text_of(e, "template"), text_of(e, "host"), text_of(e, "end"),
               text_of(e, "build"), duration_to_text(milliseconds(number_of(e, "gate_open_ms"))),
               duration_to_text(milliseconds(number_of(e, "busy_ms"))),
               flag_of(e, "is_violation")     ? "YES"
               : flag_of(e, "may_hide_build") ? "not ruled out"
                                              : "no"});
  }
  print_table(table);
  if (entries.empty()) std::cout << "no executor has ended yet\n";
  return exit_ok;
}

/// A line of a trace; nullopt: what was served is not known.
std::optional<Json> trace_line(const Json& entry) {
  if (!entry.is_object() || !entry.contains("arrival_ms") || number_of(entry, "busy_ms") <= 0)
    return std::nullopt;
  return Json{{"arrival_ms", number_of(entry, "arrival_ms")},
              {"label", text_of(entry, "label")},
              {"duration_ms", number_of(entry, "busy_ms")},
              {"kind", text_of(entry, "kind")},
              {"job", text_of(entry, "build")}};
}

Error no_history(const ApiClient& client) {
  return Error::failed(ErrorCode::malformed_reply,
                       "what " + client.url() + " answers is no page of a history; nothing was printed");
}

/// All that the scheduler kept, oldest arrival first.
int print_trace(const Context& context) {
  ApiClient client = context.client();
  std::vector<Json> lines;
  std::size_t used = 0, left_out = 0;
  std::string target = "v1/history?limit=" + std::to_string(page);
  std::int64_t oldest = std::numeric_limits<std::int64_t>::max();
  for (std::string before;;) {
    const auto entries = client.get(target + before);
    if (!entries) return report(entries.error());
    if (!entries->is_array()) return report(no_history(client));  // a part must not pass for the whole
    if (entries->empty()) break;
    for (const Json& entry : *entries) {
      if (!flag_of(entry, "was_used")) continue;
      ++used;
      if (auto line = trace_line(entry)) {
        lines.push_back(std::move(*line));
      } else {
        ++left_out;
      }
    }
    const std::int64_t last = number_of(entries->back(), "number");
    if (last < 1 || last >= oldest) return report(no_history(client));
    oldest = last;
    before = "&before=" + std::to_string(oldest);
    if (shell::is_stderr_terminal()) std::cerr << "\r" << used << " builds read" << std::flush;
  }
  if (shell::is_stderr_terminal()) std::cerr << "\r";
  std::stable_sort(lines.begin(), lines.end(), [](const Json& a, const Json& b) {
    return number_of(a, "arrival_ms") < number_of(b, "arrival_ms");
  });
  for (const Json& line : lines) std::cout << json::dump(line) << "\n";
  std::cerr << lines.size() << " builds";
  if (left_out > 0)
    std::cerr << "; " << left_out << " more are left out, because what they had waited for was not known";
  std::cerr << "\n";
  if (lines.empty()) std::cerr << "a trace needs builds that ended: try again after some\n";
  return lines.empty() ? exit_not_found : exit_ok;
}

}  // namespace

void add_history(CLI::App& app, Context& context) {
  auto options = std::make_shared<HistoryOptions>();
  CLI::App* history = app.add_subcommand("history", "audit records of executors that ended, newest first");
  CLI::Option* limit = history->add_option("-n,--limit", options->limit, "how many")
                           ->check(CLI::Range(1, most_at_once))
                           ->capture_default_str();
  history
      ->add_flag(
          "--trace", options->as_trace,
          "all builds that are on record as a trace for skep simulate: JSON lines, in order of arrival")
      ->excludes(limit);
  history->footer(
      "Examples:\n"
      "  skep history\n"
      "  skep history --limit 1000 --output json\n"
      "  skep history --trace > lately.jsonl && skep simulate lately.jsonl --config scheduler.yaml --hosts "
      "20,30");
  history->callback([options, &context] {
    context.exit_code =
        options->as_trace
            ? print_trace(context)
            : show(context, "v1/history?limit=" + std::to_string(options->limit), print_history);
  });
}

}  // namespace skep::cli
