#include "drivers/qemu/vm_record.h"

#include <limits>

#include "common/json/json.h"
#include "drivers/shared/short_hash.h"
#include "linux/linux_files.h"

namespace skep::drivers::qemu {
namespace {

namespace fs = std::filesystem;
using json::Json;

constexpr std::size_t max_record_bytes = 64 * 1024;

}  // namespace

std::string encode(const VmRecord& record) {
  return json::dump(Json{{"version", 1},
                         {"owner", record.owner},
                         {"id", record.id.text},
                         {"epoch", record.epoch},
                         {"state", record.is_running ? "running" : "creating"},
                         {"pid", record.qemu.pid},
                         {"start_ticks", record.qemu.start_ticks},
                         {"boot_id", record.boot_id},
                         {"cgroups", record.cgroups},
                         {"user", record.user.value_or(0)},
                         {"filter", record.filter},
                         {"detail", record.detail}});
}

Result<VmRecord> decode_record(const std::string& text) {
  const Error broken = Error::failed(ErrorCode::malformed_reply, "an executor's record is not what we write");
  const auto parsed = json::parse_strict(text);
  if (!parsed || !parsed->is_object()) return broken;
  VmRecord record;
  const auto read_number = [&](const char* key, std::uint64_t most, std::uint64_t& out) {
    const auto found = parsed->find(key);
    const bool is_good =
        found != parsed->end() && found->is_number_unsigned() && found->get<std::uint64_t>() <= most;
    if (is_good) out = found->get<std::uint64_t>();
    return is_good;
  };
  const auto read_text = [&](const char* key, std::string& out) {
    auto found = json::get_string(*parsed, key);
    if (found) out = std::move(*found);
    return found.has_value();
  };
  constexpr auto any = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t version = 0, pid = 0, user = 0;
  std::string state;
  const bool is_whole = read_number("version", 1, version) && version == 1 &&
                        read_number("epoch", any, record.epoch) &&
                        read_number("pid", std::numeric_limits<pid_t>::max(), pid) &&
                        read_number("start_ticks", any, record.qemu.start_ticks) &&
                        read_number("user", std::numeric_limits<std::uint32_t>::max(), user) &&
                        read_text("owner", record.owner) && read_text("id", record.id.text) &&
                        read_text("state", state) && read_text("boot_id", record.boot_id) &&
                        read_text("filter", record.filter) && read_text("detail", record.detail);
  if (!is_whole || (state != "running" && state != "creating")) return broken;
  record.is_running = state == "running";
  if (record.is_running && pid < 2) return broken;  // 1 is the machine's own
  record.qemu.pid = static_cast<pid_t>(pid);
  if (user != 0) record.user = static_cast<std::uint32_t>(user);
  const auto cgroups = parsed->find("cgroups");
  if (cgroups == parsed->end() || !cgroups->is_array()) return broken;
  for (const Json& folder : *cgroups) {
    if (!folder.is_string()) return broken;
    record.cgroups.push_back(folder.get<std::string>());
  }
  return record;
}

std::string Layout::cgroup_name(const ExecutorId& id) const {
  return "vm-" + id.text + "-" + short_hash(cookie_value(id));
}

Result<VmRecord> Layout::read_record(const fs::path& folder) {
  const auto text = posix_host::read_plain_file((folder / record_file).string(), max_record_bytes);
  if (!text) return text.error();
  return decode_record(*text);
}

Result<std::vector<VmRecord>> Layout::read_records() const {
  std::error_code failure;
  std::vector<fs::path> places{run()};
  for (auto entry = fs::directory_iterator(root, failure); !failure && entry != fs::directory_iterator();
       entry.increment(failure)) {
    if (entry->path().filename().string().rfind("owner-", 0) != 0) continue;
    places.push_back(entry->path() / "new");
    places.push_back(entry->path() / "leaving");
  }
  std::vector<VmRecord> all;
  for (const fs::path& place : places) {
    if (failure) break;
    for (auto entry = fs::directory_iterator(place, failure); !failure && entry != fs::directory_iterator();
         entry.increment(failure)) {
      auto record = read_record(entry->path());
      if (record) all.push_back(std::move(*record));
      const bool is_none = !record && (record.error().code == ErrorCode::not_found ||
                                       record.error().code == ErrorCode::malformed_reply);
      if (!record && !is_none) return record.error();
    }
    if (failure == std::errc::no_such_file_or_directory) failure.clear();
  }
  if (failure && failure != std::errc::no_such_file_or_directory)
    return Error::try_again(ErrorCode::generic,
                            "cannot look through " + root.string() + ": " + failure.message());
  return all;
}

}  // namespace skep::drivers::qemu
