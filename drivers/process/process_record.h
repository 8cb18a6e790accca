// What the process driver keeps of one executor, and where: record.json and the folders around it. Values and
// JSON; the only file access is ownership(), users() and read_record(). Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/protocol/agentd_api.h"
#include "core/result.h"
#include "drivers/api/driver.h"
#include "linux/linux_process.h"

namespace skep::drivers::process {

struct Record {
  std::string owner;
  ExecutorId id;
  Epoch epoch = 0;
  bool is_running = false;  // false: start() has not come to its end
  posix_host::ProcessIdentity join;
  std::string boot_id;  // pid and start time mean nothing after a restart of the machine
  std::string cookie;   // NAME=VALUE
  std::vector<std::string> cgroups;
  std::optional<std::uint32_t> user;  // what runs inside, where it is not our own
};

std::string encode(const Record& record);
/// malformed_reply when it is not what encode() writes.
Result<Record> decode(const std::string& text);

enum class Ownership { nothing_there, foreign, ours };

struct Layout {
  std::filesystem::path root;
  std::string owner;

  std::filesystem::path folder(const ExecutorId& id) const { return root / id.text; }
  std::filesystem::path control(const ExecutorId& id) const { return folder(id) / "control"; }
  std::filesystem::path own() const { return root / (".owner-" + owner); }
  std::filesystem::path being_made() const { return own() / "new"; }
  std::filesystem::path leaving() const { return own() / "leaving"; }
  std::filesystem::path gone() const { return own() / "gone"; }

  std::string cookie(const ExecutorId& id) const { return std::string(cookie_name) + "=" + cookie_value(id); }
  std::string cookie_value(const ExecutorId& id) const { return owner + "/" + id.text + "@" + root.string(); }
  /// Differs between roots and owners that use the same id.
  std::string cgroup_name(const ExecutorId& id) const;

  /// not_found; malformed_reply, conflict or invalid_input when it is there and unusable; else the system
  /// would not say.
  Result<Record> read_record(const ExecutorId& id) const;
  /// Users that executors have, of whatever owner; an error when a record cannot be seen.
  Result<std::set<std::uint32_t>> users() const;
  /// By a mark that is there from the folder's first instant, and survives a record that a build has spoilt.
  Result<Ownership> ownership(const ExecutorId& id) const;

  static constexpr const char* cookie_name = "SKEP_EXECUTOR";
  static constexpr const char* owner_file = ".skep-owner";
};

}  // namespace skep::drivers::process
