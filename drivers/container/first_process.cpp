#include "drivers/container/first_process.h"

#include <thread>

namespace skep::drivers::container {
namespace {

// How long an engine may take to notice.
constexpr int most_looks = 20;
constexpr Duration look_pause = milliseconds(5);
constexpr Duration notice_deadline = seconds(10);

}  // namespace

std::optional<posix_host::ProcessIdentity> first_process(int pid, const std::string& cookie) {
  if (pid <= 0) return std::nullopt;
  const auto process = posix_host::identify(pid);
  if (!process) return std::nullopt;
  const auto is_it = posix_host::is_alive_with(*process, cookie);
  return is_it && *is_it ? process : std::nullopt;
}

Result<bool> wait_for_end(Engine& engine, const std::string& container,
                          const std::optional<posix_host::ProcessIdentity>& first, Duration deadline) {
  if (!first) return engine.wait_for_end(container, deadline);
  if (!posix_host::wait_for_end(*first, deadline)) return false;
  for (int look = 0; look < most_looks; ++look) {
    const auto facts = engine.find(container);
    if (!facts) return facts.error();
    if (!*facts || (*facts)->state != ContainerState::running) return true;
    std::this_thread::sleep_for(look_pause);
  }
  return engine.wait_for_end(container, notice_deadline);
}

}  // namespace skep::drivers::container
