// QMP, the control protocol of QEMU: commands written, replies read. Pure. Facts: "QEMU Machine Protocol
// Specification" and "QMP reference" of QEMU 7.2. A line is one JSON object; replies carry the id of their
// command, events come between them.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "core/result.h"

namespace skep::drivers::qemu {

constexpr std::size_t max_qmp_line = 256 * 1024;

/// One line without its end. `arguments` is a JSON object as text, or empty.
std::string qmp_command(const std::string& name, std::uint64_t id, const std::string& arguments = {});

/// The first line of a connection.
struct QmpGreeting {
  std::string version;  // "7.2.22", and what its packager adds
};
Result<QmpGreeting> read_greeting(const std::string& line);

/// nullopt: an event, or the reply to another command. An error is QEMU's refusal (failed), or a line that is
/// no QMP (malformed_reply, outcome unknown). The value is what it returns, as JSON.
Result<std::optional<std::string>> read_qmp_reply(const std::string& line, std::uint64_t id);

/// The "status" of query-status: running, paused, shutdown, inmigrate, ...
Result<std::string> read_run_state(const std::string& value);

}  // namespace skep::drivers::qemu
