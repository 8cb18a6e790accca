#include "cli/view.h"

#include <cstdlib>
#include <iostream>

#include "common/shell/terminal.h"

namespace skep::cli {

using json::Json;

bool has_colours() {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool is_wanted = no_colour == nullptr || *no_colour == '\0';
  return is_wanted && shell::is_stdout_terminal() && (terminal == nullptr || std::string(terminal) != "dumb");
}

void print_table(const Table& table) {
  std::cout << table.to_text(shell::terminal_width(), has_colours());
}

namespace {

/// Shape errors of a peer's answer are an answer, not a crash.
int guarded(const std::function<int()>& work) {
  try {
    return work();
  } catch (const std::exception& e) {
    return report(Error::failed(ErrorCode::malformed_reply,
                                std::string("the scheduler's answer is not understood: ") + e.what(),
                                "is skep of the same release as the scheduler?"));
  }
}

}  // namespace

int show_answer(const Context& context, const Json& answer, const Print& print) {
  if (!context.wants_json()) return guarded([&] { return print(answer); });
  std::cout << json::dump(answer) << "\n";
  return exit_ok;
}

int show(const Context& context, const std::string& target, const Print& print, const Choose& choose) {
  ApiClient client = context.client();
  const auto reply = client.get(target);
  if (!reply) return report(reply.error());
  if (!choose) return show_answer(context, *reply, print);
  return guarded([&] {
    const auto chosen = choose(*reply);
    return chosen ? show_answer(context, *chosen, print) : report(chosen.error());
  });
}

}  // namespace skep::cli
