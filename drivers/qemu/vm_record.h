// What the QEMU driver keeps of one executor, and where. Values and JSON; the only file access is
// read_record() and read_records(). Thread-safe.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/ids.h"
#include "core/result.h"
#include "linux/linux_process.h"

namespace skep::drivers::qemu {

struct VmRecord {
  std::string owner;
  ExecutorId id;
  Epoch epoch = 0;
  bool is_running = false;  // false: start() has not come to its end
  posix_host::ProcessIdentity qemu;
  std::string boot_id;  // pid and start time mean nothing after a restart of the machine
  std::vector<std::string> cgroups;
  std::optional<std::uint32_t> user;  // what QEMU runs as, where it is not our own
  std::string filter;                 // name of the nftables table; empty: none
  std::string detail;                 // how it was started, for people
};

std::string encode(const VmRecord& record);
/// malformed_reply when it is not what encode() writes.
Result<VmRecord> decode_record(const std::string& text);

/// Executors of all owners share one folder, so that an id is one executor's.
struct Layout {
  std::filesystem::path root;
  std::string owner;

  std::filesystem::path run() const { return root / "run"; }
  std::filesystem::path folder(const ExecutorId& id) const { return run() / id.text; }
  std::filesystem::path control(const ExecutorId& id) const { return folder(id) / "control"; }
  std::filesystem::path own() const { return root / ("owner-" + owner); }
  std::filesystem::path being_made() const { return own() / "new"; }
  std::filesystem::path leaving() const { return own() / "leaving"; }
  std::filesystem::path gone() const { return own() / "gone"; }

  std::string cookie_value(const ExecutorId& id) const { return owner + "/" + id.text + "@" + root.string(); }
  std::string cookie(const ExecutorId& id) const { return std::string(cookie_name) + "=" + cookie_value(id); }
  std::string cgroup_name(const ExecutorId& id) const;

  /// not_found, malformed_reply, or the system would not say. Of any owner: the caller compares.
  static Result<VmRecord> read_record(const std::filesystem::path& folder);
  /// Of every owner's executors, also of those that are made or leave; an error when one cannot be seen.
  Result<std::vector<VmRecord>> read_records() const;

  static constexpr const char* cookie_name = "SKEP_EXECUTOR";
  static constexpr const char* record_file = "record.json";
};

}  // namespace skep::drivers::qemu
