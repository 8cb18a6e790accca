#include "drivers/process/process_record.h"

#include <cstdint>
#include <limits>

#include "common/json/json.h"
#include "linux/linux_files.h"

namespace skep::drivers::process {
namespace {

using json::Json;

constexpr std::size_t max_record_bytes = 64 * 1024;
constexpr std::size_t max_message_chars = 1000;

/// FNV-1a: short, and the same everywhere.
std::string short_hash(const std::string& text) {
  std::uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  std::string out;
  for (int i = 0; i < 16; ++i, hash >>= 4) out += "0123456789abcdef"[hash & 15];
  return out;
}

}  // namespace

std::string encode(const Record& record) {
  return json::dump(Json{{"version", 1},
                         {"owner", record.owner},
                         {"id", record.id.text},
                         {"epoch", record.epoch},
                         {"state", record.is_running ? "running" : "creating"},
                         {"pid", record.join.pid},
                         {"start_ticks", record.join.start_ticks},
                         {"boot_id", record.boot_id},
                         {"cookie", record.cookie},
                         {"cgroups", record.cgroups}});
}

Result<Record> decode(const std::string& text) {
  const auto parsed = json::parse_strict(text);
  if (!parsed) return parsed.error();
  try {
    Record record;
    record.owner = parsed->at("owner").get<std::string>();
    record.id = ExecutorId(parsed->at("id").get<std::string>());
    record.epoch = parsed->at("epoch").get<Epoch>();
    record.is_running = parsed->at("state").get<std::string>() == "running";
    record.join.pid = parsed->at("pid").get<pid_t>();
    record.join.start_ticks = parsed->at("start_ticks").get<std::uint64_t>();
    record.boot_id = parsed->at("boot_id").get<std::string>();
    record.cookie = parsed->at("cookie").get<std::string>();
    record.cgroups = parsed->at("cgroups").get<std::vector<std::string>>();
    return record;
  } catch (const std::exception& e) {
    return Error::failed(ErrorCode::malformed_reply,
                         std::string("an executor's record cannot be read: ") + e.what());
  }
}

std::string encode(const Ticket& ticket) {
  return json::dump(Json{{"url", ticket.url},
                         {"node_name", ticket.node_name},
                         {"secret", ticket.secret},
                         {"attempt", ticket.attempt}});
}

void apply_status(const std::string& text, Instance& instance) {
  const auto parsed = json::parse_strict(text);
  if (!parsed) return;
  const auto phase = json::get_string(*parsed, "phase");
  const auto attempt = json::get_int64(*parsed, "attempt");
  if (!phase || !attempt || *attempt < 0 || *attempt > std::numeric_limits<std::uint32_t>::max()) return;
  const auto known = agent_phase_from(*phase);
  if (!known) return;
  instance.agent = *known;
  instance.ticket_attempt = static_cast<std::uint32_t>(*attempt);
  const auto code = json::get_int64(*parsed, "exit_code");
  if (code && *code >= 0 && *code < 1000) instance.exit_code = static_cast<int>(*code);
  if (const auto message = json::get_string(*parsed, "message"))
    instance.message = message->substr(0, max_message_chars);
}

std::string Layout::cgroup_name(const ExecutorId& id) const {
  return id.text + "-" + short_hash(cookie_value(id));
}

Result<Record> Layout::read_record(const ExecutorId& id) const {
  const auto text = posix_host::read_plain_file((folder(id) / "record.json").string(), max_record_bytes);
  if (!text) return text.error();
  auto record = decode(*text);
  if (!record) return record;
  if (record->id == id && record->owner == owner) return record;
  return Error::failed(ErrorCode::conflict,
                       "the record in " + folder(id).string() + " is of another executor or owner");
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
