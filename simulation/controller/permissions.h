// Jenkins' permissions as far as an agent supervisor meets them: short name, id, what implies it.
// Source: recording 14 (headers X-Required-Permission, X-Permission-Implied-By).
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace skep::controller_sim {

struct Permission {
  std::string_view short_name;               // "Agent/Delete"
  std::string_view id;                       // "hudson.model.Computer.Delete"
  std::vector<std::string_view> implied_by;  // ids, nearest first
  std::vector<std::string_view> granted_by;  // short names, itself not included
};

/// nullptr for an unknown short name.
const Permission* find_permission(std::string_view short_name);
bool grants(const std::set<std::string, std::less<>>& granted, std::string_view short_name);

}  // namespace skep::controller_sim
