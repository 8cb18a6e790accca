// What one machine may reach: one nftables table for the user that its QEMU runs as. Everything that this
// user sends is refused, over loopback too, but for the listed addresses. Facts: nft(8) of nftables 1.0.6.
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace skep::drivers::qemu {

constexpr const char* table_prefix = "skep-vm-";
constexpr const char* family = "inet";

struct Reach {
  std::string host;  // a name or an IPv4 address
  int port = 0;
  bool is_udp = false;
  friend bool operator==(const Reach&, const Reach&) = default;
};

/// "host:port", "host:port/udp"; nullopt for anything else.
std::optional<Reach> reach_from(const std::string& text);

/// Name of that user's table.
std::string table_of(std::uint32_t user);
/// What nft reads; every host must be an IPv4 address.
std::string filter_text(std::uint32_t user, const std::vector<Reach>& reaches);

}  // namespace skep::drivers::qemu
