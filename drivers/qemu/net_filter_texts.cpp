#include "drivers/qemu/net_filter_texts.h"

#include <sstream>

namespace skep::drivers::qemu {
namespace {

bool is_number(const std::string& text, int most) {
  if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string::npos)
    return false;
  const int value = std::stoi(text);
  return value >= 1 && value <= most;
}

bool is_host(const std::string& text) {
  return !text.empty() && text.size() <= 253 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
             std::string::npos;
}

}  // namespace

std::optional<Reach> reach_from(const std::string& text) {
  std::string rest = text;
  Reach reach;
  if (const std::size_t slash = rest.find('/'); slash != std::string::npos) {
    const std::string kind = rest.substr(slash + 1);
    if (kind != "udp" && kind != "tcp") return std::nullopt;
    reach.is_udp = kind == "udp";
    rest.resize(slash);
  }
  const std::size_t colon = rest.find(':');
  if (colon == std::string::npos || !is_host(rest.substr(0, colon)) ||
      !is_number(rest.substr(colon + 1), 65535))
    return std::nullopt;
  reach.host = rest.substr(0, colon);
  reach.port = std::stoi(rest.substr(colon + 1));
  return reach;
}

std::string table_of(std::uint32_t user) {
  return table_prefix + std::to_string(user);
}

std::string filter_text(std::uint32_t user, const std::vector<Reach>& reaches) {
  std::ostringstream out;
  // `create` is refused when the table is there: nobody takes the user of another machine.
  out << "create table " << family << " " << table_of(user) << "\n"
      << "table " << family << " " << table_of(user) << " {\n"
      << " chain machine {\n";
  for (const Reach& reach : reaches)
    out << "  ip daddr " << reach.host << (reach.is_udp ? " udp" : " tcp") << " dport " << reach.port
        << " accept\n";
  // Packets without a socket of ours, such as the kernel's own answers, have no user and must not come here.
  out << "  meta l4proto tcp reject with tcp reset\n"
      << "  reject with icmpx type admin-prohibited\n"
      << " }\n"
      << " chain out {\n"
      << "  type filter hook output priority 0; policy accept;\n"
      << "  meta skuid " << user << " jump machine\n"
      << " }\n"
      << "}\n";
  return out.str();
}

}  // namespace skep::drivers::qemu
