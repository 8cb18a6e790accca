#include "cli/fleet_file.h"

#include "common/config/config_reader.h"
#include "core/bounds.h"

namespace skep::cli {

using simulation::Span;
using simulation::whatif::Fleet;
using simulation::whatif::HostGroup;

namespace {

Span read_span(config::ConfigSection& section, const char* key, Span fallback) {
  if (!section.has(key)) return fallback;
  const std::string text = section.text(key);
  const auto span = simulation::whatif::parse_span(text);
  if (span) return *span;
  section.problem(key, text, "a time or two with the smaller first, such as 8s..20s");
  return fallback;
}

HostGroup read_group(config::ConfigSection& section) {
  constexpr std::int64_t most_bytes = std::int64_t{1} << 50;
  HostGroup group;
  group.name = section.text("name", group.name);
  if (!is_valid_name(group.name))
    section.problem("name", group.name,
                    "a-z, 0-9 and -, at most 60 characters, a letter or digit at both ends");
  group.count =
      static_cast<int>(section.integer("count", 1, 1, static_cast<std::int64_t>(bounds::max_hosts)));
  group.capacity.cpu_millis = section.cpu_millis("cpu", 16'000);
  group.capacity.memory_bytes = section.bytes("memory", std::int64_t{64} << 30, 1, most_bytes);
  group.capacity.disk_bytes = section.bytes("disk", std::int64_t{1} << 40, 0, most_bytes);
  group.capacity.countable = section.integer_map("countable");
  group.max_executors = section.integer("executors", 16, 1, 10'000);
  group.os = section.text("os", group.os);
  group.driver = section.text("driver");
  group.attributes = section.text_map("attributes");
  group.takes.create = read_span(section, "create", group.takes.create);
  group.takes.boot = read_span(section, "boot", group.takes.boot);
  group.takes.join = read_span(section, "join", group.takes.join);
  group.takes.destroy = read_span(section, "destroy", group.takes.destroy);
  section.done();
  return group;
}

Result<Fleet> read(config::ConfigDocument document, const std::string& name) {
  Fleet fleet;
  fleet.name = name;
  config::ConfigSection root = document.root();
  for (config::ConfigSection& section : root.sections("hosts")) fleet.groups.push_back(read_group(section));
  if (fleet.groups.empty()) root.problem("hosts", "nothing", "a list of groups of hosts");
  root.done();
  if (auto verdict = document.verdict(); !verdict) return verdict.error();
  return fleet;
}

}  // namespace

Result<Fleet> load_fleet_file(const std::string& path) {
  auto document = config::ConfigDocument::load(path);
  if (!document) return document.error();
  return read(*std::move(document), path);
}

Result<Fleet> parse_fleet_text(std::string_view text, const std::string& file_name) {
  auto document = config::ConfigDocument::parse(text, file_name);
  if (!document) return document.error();
  return read(*std::move(document), file_name);
}

}  // namespace skep::cli
