// What goes through a machine's control port: lines of JSON, as docs/design/qemu-driver.md tells. Pure. The
// other side is join/guest_texts.h. What a guest says is not believed further than it is checked here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "core/protocol/agentd_api.h"
#include "core/result.h"

namespace skep::drivers::qemu {

constexpr std::size_t max_guest_line = 96 * 1024;
/// Of a line to the guest: skep-guest reads no longer one.
constexpr std::size_t max_start_bytes = 256 * 1024;

/// What is known when an executor is made. The time is put in when it is sent.
struct GuestStart {
  std::string name;
  std::string machine_id;                          // 32 hex digits
  std::string entropy;                             // hex digits, fresh for this executor: a secret
  std::map<std::string, std::string> hosts;        // name -> address, for /etc/hosts
  std::vector<std::string> argv;                   // skep-join's
  std::map<std::string, std::string> environment;  // complete
  Ticket ticket;
};

/// Without the end of the line.
std::string encode(const GuestStart& start);
std::string with_time(const std::string& start_text, std::int64_t wall_ms);
std::string ticket_line(const std::string& ticket_text);
/// Asks for a hello and the last status.
std::string hello_line();
std::string stop_line();

struct GuestHello {
  bool waits = false;  // it has no start yet
};
struct GuestTook {
  bool is_start = false;  // else a later ticket
  std::uint32_t attempt = 0;
};
struct GuestStatus {
  std::string text;  // what skep-join wrote; drivers/shared/control_texts.h reads it
};
using GuestWord = std::variant<GuestHello, GuestTook, GuestStatus>;
/// malformed_reply for whatever skep-guest does not say.
Result<GuestWord> read_guest_line(const std::string& line);

/// Attempt of the ticket in a text that encode(Ticket) or encode(GuestStart) wrote; 0: none.
std::uint32_t attempt_of(const std::string& text);

/// The address by which a guest of QEMU's user-mode network reaches this host's loopback.
constexpr const char* host_inside = "10.0.2.2";
/// The controller's address as the guest must use it: loopback is its own, so the host's becomes 10.0.2.2.
std::string url_inside(const std::string& url);

}  // namespace skep::drivers::qemu
