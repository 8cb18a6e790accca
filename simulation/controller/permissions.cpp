#include "simulation/controller/permissions.h"

#include <algorithm>

namespace skep::controller_sim {
namespace {

const std::vector<Permission>& all_permissions() {
  static const std::vector<Permission> all{
      {"Overall/Administer", "hudson.model.Hudson.Administer", {}, {}},
      {"Overall/Read",
       "hudson.model.Hudson.Read",
       {"hudson.security.Permission.GenericRead", "hudson.model.Hudson.Administer"},
       {"Overall/Administer"}},
      {"Agent/Create",
       "hudson.model.Computer.Create",
       {"hudson.security.Permission.GenericCreate", "hudson.security.Permission.GenericWrite",
        "hudson.model.Hudson.Administer"},
       {"Overall/Administer"}},
      {"Agent/Delete",
       "hudson.model.Computer.Delete",
       {"hudson.security.Permission.GenericDelete", "hudson.security.Permission.GenericWrite",
        "hudson.model.Hudson.Administer"},
       {"Overall/Administer"}},
      {"Agent/Configure",
       "hudson.model.Computer.Configure",
       {"hudson.security.Permission.GenericConfigure", "hudson.security.Permission.GenericUpdate",
        "hudson.security.Permission.GenericWrite", "hudson.model.Hudson.Administer"},
       {"Overall/Administer"}},
      {"Agent/Disconnect",
       "hudson.model.Computer.Disconnect",
       {"hudson.model.Hudson.Administer"},
       {"Overall/Administer"}},
      {"Agent/Connect",
       "hudson.model.Computer.Connect",
       {"hudson.model.Computer.Disconnect", "hudson.model.Hudson.Administer"},
       {"Agent/Disconnect", "Overall/Administer"}},
      {"Job/Read",
       "hudson.model.Item.Read",
       {"hudson.security.Permission.GenericRead", "hudson.model.Hudson.Administer"},
       {"Overall/Administer"}},
      {"Job/Build",
       "hudson.model.Item.Build",
       {"hudson.security.Permission.GenericUpdate", "hudson.security.Permission.GenericWrite",
        "hudson.model.Hudson.Administer"},
       {"Overall/Administer"}},
      {"Job/Cancel",
       "hudson.model.Item.Cancel",
       {"hudson.security.Permission.GenericUpdate", "hudson.security.Permission.GenericWrite",
        "hudson.model.Hudson.Administer"},
       {"Overall/Administer"}},
  };
  return all;
}

}  // namespace

const Permission* find_permission(std::string_view short_name) {
  for (const Permission& permission : all_permissions()) {
    if (permission.short_name == short_name) return &permission;
  }
  return nullptr;
}

bool grants(const std::set<std::string, std::less<>>& granted, std::string_view short_name) {
  if (granted.count(short_name) != 0) return true;
  const Permission* permission = find_permission(short_name);
  return permission != nullptr && std::any_of(permission->granted_by.begin(), permission->granted_by.end(),
                                              [&](std::string_view by) { return granted.count(by) != 0; });
}

}  // namespace skep::controller_sim
