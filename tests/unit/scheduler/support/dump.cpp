#include "tests/unit/scheduler/support/dump.h"

#include <sstream>

namespace skep::scheduler::testing {

std::string dump(const World& world) {
  std::ostringstream out;
  const StatusSnapshot status = world.status();
  out << "at " << to_ms(world.now.time_since_epoch()) << " ms, builds " << world.builds.size() << ", actions "
      << world.log.size() << "\n";
  for (const auto& e : status.executors)
    out << "executor " << e.record.id.text << " " << to_string(e.state) << " gate " << e.gate << " used "
        << e.record.was_used << " " << e.detail << "\n";
  for (const auto& [name, node] : world.nodes) {
    out << "node " << name << " connected " << node.fact.is_connected << " temporarily offline "
        << node.fact.is_temporarily_offline << " (" << node.fact.offline_reason << ") idle "
        << node.fact.is_idle << "\n";
  }
  for (const auto& [id, host] : world.hosts) {
    for (const auto& [executor, there] : host.executors)
      out << "on host " << id.text << " " << executor.text << " " << to_string(there.report.state) << "\n";
  }
  for (const auto& item : status.queue)
    out << "item " << item.item << " '" << item.label << "' " << to_string(item.reason) << ": " << item.text
        << " / " << item.unblock << "\n";
  for (const auto& line : world.all<Explain>()) {
    out << "log " << line.message;
    for (const auto& [key, value] : line.fields) out << " " << key << "=" << value;
    out << "\n";
  }
  return out.str();
}

}  // namespace skep::scheduler::testing
