#include "drivers/process/process_record.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>

#include "common/json/json.h"
#include "drivers/shared/short_hash.h"
#include "linux/linux_cgroup.h"
#include "linux/linux_files.h"

namespace skep::drivers::process {
namespace {

using json::Json;

constexpr std::size_t max_record_bytes = 64 * 1024;

}  // namespace

std::string encode(const Record& record) {
  Json out{{"version", 1},
           {"owner", record.owner},
           {"id", record.id.text},
           {"epoch", record.epoch},
           {"state", record.is_running ? "running" : "creating"},
           {"pid", record.join.pid},
           {"start_ticks", record.join.start_ticks},
           {"boot_id", record.boot_id},
           {"cookie", record.cookie},
           {"cgroups", record.cgroups}};
  if (record.user) out["user"] = *record.user;
  return json::dump(out);
}

Result<Record> decode(const std::string& text) {
  const auto parsed = json::parse_strict(text);
  if (!parsed) return parsed.error();
  const Error broken = Error::failed(ErrorCode::malformed_reply, "an executor's record is not what we write");
  if (!parsed->is_object()) return broken;
  const auto number = [&](const char* key) -> std::optional<std::uint64_t> {
    const auto found = parsed->find(key);
    if (found == parsed->end() || !found->is_number_unsigned()) return std::nullopt;
    return found->get<std::uint64_t>();
  };
  const auto version = number("version"), epoch = number("epoch"), pid = number("pid");
  const auto start = number("start_ticks");
  const auto owner = json::get_string(*parsed, "owner"), id = json::get_string(*parsed, "id");
  const auto state = json::get_string(*parsed, "state"), boot_id = json::get_string(*parsed, "boot_id");
  const auto cookie = json::get_string(*parsed, "cookie");
  const auto cgroups = parsed->find("cgroups");
  const bool is_whole = version == 1u && epoch && pid && start && owner && id && state && boot_id && cookie &&
                        cgroups != parsed->end() && cgroups->is_array();
  if (!is_whole || (*state != "running" && *state != "creating")) return broken;
  const std::uint64_t least_pid = *state == "running" ? 2 : 0;  // 1 is the machine's own
  if (*pid < least_pid || *pid > static_cast<std::uint64_t>(std::numeric_limits<pid_t>::max())) return broken;
  Record record{*owner,
                ExecutorId(*id),
                *epoch,
                *state == "running",
                {static_cast<pid_t>(*pid), *start},
                *boot_id,
                *cookie,
                {},
                {}};
  if (parsed->contains("user")) {
    const auto user = number("user");
    if (!user || *user == 0 || *user >= std::numeric_limits<std::uint32_t>::max()) return broken;
    record.user = static_cast<std::uint32_t>(*user);
  }
  for (const json::Json& folder : *cgroups) {
    if (!folder.is_string()) return broken;
    record.cgroups.push_back(folder.get<std::string>());
  }
  return record;
}

std::string Layout::cgroup_name(const ExecutorId& id) const {
  return id.text + "-" + short_hash(cookie_value(id));
}

Result<Record> Layout::read_record(const ExecutorId& id) const {
  const auto text = posix_host::read_plain_file((folder(id) / "record.json").string(), max_record_bytes);
  if (!text) return text.error();
  auto record = decode(*text);
  if (!record) return record;
  // A build can write here, and what is killed must be ours: marks that we would not make are no marks.
  const std::string group = "/" + std::string(posix_host::Cgroups::parent_name) + "/" + cgroup_name(id);
  const bool has_our_marks =
      record->cookie == cookie(id) &&
      std::all_of(record->cgroups.begin(), record->cgroups.end(), [&](const std::string& folder) {
        return folder.ends_with(group) && folder.find("/../") == std::string::npos;
      });
  if (record->id == id && record->owner == owner && has_our_marks) return record;
  return Error::failed(ErrorCode::conflict,
                       "the record in " + folder(id).string() + " is of another executor or owner");
}

Result<std::set<std::uint32_t>> Layout::users() const {
  std::set<std::uint32_t> taken;
  for (const std::filesystem::path& folder : {root, being_made(), leaving()}) {
    std::error_code failure;
    for (auto entry = std::filesystem::directory_iterator(folder, failure);
         !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
      std::error_code ignored;
      if (!entry->is_directory(ignored)) continue;
      const auto text =
          posix_host::read_plain_file((entry->path() / "record.json").string(), max_record_bytes);
      // Somebody else's folder, or one that is just being removed.
      const bool has_none = !text && (text.error().code == ErrorCode::not_found ||
                                      text.error().code == ErrorCode::invalid_input);
      if (!text && !has_none) return text.error();
      const auto record = text ? decode(*text) : Result<Record>(text.error());
      if (record && record->user) taken.insert(*record->user);
    }
    if (failure && failure != std::errc::no_such_file_or_directory)
      return Error::try_again(ErrorCode::generic,
                              "cannot list " + folder.string() + ": " + failure.message());
  }
  return taken;
}

Result<Ownership> Layout::ownership(const ExecutorId& id) const {
  const auto is_there = posix_host::is_there(folder(id).string());
  if (!is_there) return is_there.error();
  if (!*is_there) return Ownership::nothing_there;
  const auto text = posix_host::read_plain_file((folder(id) / owner_file).string(), 1024);
  if (text) return *text == owner ? Ownership::ours : Ownership::foreign;
  const ErrorCode code = text.error().code;
  const bool is_marked =
      code != ErrorCode::not_found && code != ErrorCode::invalid_input && code != ErrorCode::too_large;
  if (is_marked) return text.error();
  return Ownership::foreign;
}

}  // namespace skep::drivers::process
