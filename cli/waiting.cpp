#include "cli/waiting.h"

#include <chrono>
#include <iostream>
#include <thread>

#include "common/shell/clock.h"
#include "core/resources.h"

namespace skep::cli {

bool may_pass(const Error& error) {
  return error.code == ErrorCode::unavailable || error.code == ErrorCode::timed_out;
}

int wait_until_done(const Context& context, const std::string& timeout, const WhatIsLeft& what_is_left) {
  const auto allowed = parse_duration(timeout);
  if (!allowed) return report_usage("--timeout: " + allowed.error().message, "such as 90s or 30m");
  const Instant give_up = shell::now() + *allowed;
  ApiClient client = context.client();
  std::string last;
  for (;;) {
    auto left = what_is_left(client);
    if (!left && !may_pass(left.error())) return report(left.error());
    const std::string text = left ? *left : left.error().message;
    if (text.empty()) return exit_ok;
    if (text != last) std::cerr << "waiting: " << text << std::endl;
    last = text;
    if (shell::now() >= give_up) {
      std::cerr << "skep: still waiting after " << timeout << ": " << text
                << "\n  nothing was undone; it goes on without this command\n";
      return exit_timed_out;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

}  // namespace skep::cli
