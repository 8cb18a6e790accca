// What a host says through the control port of a virtual machine, and what skep-guest answers: lines of JSON,
// as docs/design/qemu-driver.md tells. Pure. The other side is drivers/qemu/guest_texts.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/result.h"

namespace skep::join {

inline constexpr const char* control_port_name = "skep.control";
inline constexpr std::size_t max_host_line = 256 * 1024;

struct HostAsks {};  // for a hello and the last status
struct HostStops {};
struct HostTicket {
  std::string text;  // as skep-join reads it
  std::uint32_t attempt = 0;
};
struct HostStarts {
  std::string name;
  std::string machine_id;  // 32 hex digits
  std::string entropy;     // bytes
  std::int64_t time_ms = 0;
  std::map<std::string, std::string> hosts;  // name -> address
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;
  HostTicket ticket;
};
using HostWord = std::variant<HostAsks, HostStops, HostTicket, HostStarts>;

/// malformed_reply for anything else; the error never holds a secret.
Result<HostWord> read_host_line(const std::string& line);

// Without the end of the line.
std::string hello_text(bool waits);
std::string taken_text(bool is_start, std::uint32_t attempt);
std::string status_text(const std::string& status);

}  // namespace skep::join
