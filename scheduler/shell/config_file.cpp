#include "scheduler/shell/config_file.h"

#include <algorithm>
#include <set>

#include "common/config/config_reader.h"
#include "core/ids.h"

namespace skep::scheduler {
namespace {

using config::ConfigDocument;
using config::ConfigSection;

constexpr std::int64_t most_bytes = std::int64_t{1} << 50;

Resources read_resources(ConfigSection section) {
  Resources resources;
  resources.cpu_millis = section.cpu_millis("cpu", 1000);
  resources.memory_bytes = section.bytes("memory", std::int64_t{512} << 20, 0, most_bytes);
  resources.disk_bytes = section.bytes("disk", 0, 0, most_bytes);
  resources.countable = section.integer_map("countable");
  section.done();
  return resources;
}

void read_labels(ConfigSection& section, Template& made) {
  for (const std::string& label : section.texts("labels")) {
    const bool is_plain = !label.empty() && label.find_first_of(" \t\"'()&|!<>") == std::string::npos;
    if (!is_plain) {
      section.problem("labels", "\"" + label + "\"", "labels without blanks, quotes and operators");
      continue;
    }
    made.labels.insert(label);
    made.labels_text += (made.labels_text.empty() ? "" : " ") + label;
  }
}

Template read_template(ConfigSection& section) {
  Template made;
  made.name = TemplateName(section.required_text("name"));
  if (!made.name.empty() && (!is_valid_name(made.name.text) || made.name.text.size() > 30)) {
    section.problem("name", "\"" + made.name.text + "\"", "a-z, 0-9 and -, at most 30 characters");
  }
  read_labels(section, made);
  made.takes_unlabelled = section.flag("takes_unlabelled", false);
  made.driver = section.one_of("driver", {"process", "namespaces", "container", "qemu"}, "process");
  made.image = section.text("image");
  made.network = section.text("network");
  if (!made.network.empty() && made.driver == "process")
    section.problem("network", "\"" + made.network + "\"", "nothing for driver process");
  made.start = *start_mode_from(section.one_of("start", {"cold", "warm_clone"}, "cold"));
  if (made.start != StartMode::cold && made.driver != "qemu")
    section.problem("start", "\"warm_clone\"", "cold, but for driver qemu");
  made.resources = read_resources(section.section("resources"));
  made.remote_fs = section.text("remote_fs", ".");
  made.agent_command = section.texts("agent_command");
  made.environment = section.text_map("environment");
  made.host_attributes = section.text_map("host_attributes");
  for (const std::string& name : section.texts("controllers")) made.controllers.emplace_back(name);
  made.minimum_idle = static_cast<int>(section.integer("minimum_idle", 0, 0, 10'000));
  made.maximum = static_cast<int>(section.integer("maximum", 1000, 0, 50'000));
  made.boot_deadline = section.duration("boot_deadline", made.boot_deadline, milliseconds(100), hours(2));
  made.join_deadline = section.duration("join_deadline", made.join_deadline, milliseconds(100), hours(2));
  made.idle_limit = section.duration("idle_limit", made.idle_limit, seconds(1), hours(24 * 30));
  made.build_limit = section.duration("build_limit", made.build_limit, seconds(0), hours(24 * 30));
  made.stop_grace = section.duration("stop_grace", made.stop_grace, seconds(0), minutes(10));
  if (made.minimum_idle > made.maximum)
    section.problem("minimum_idle", std::to_string(made.minimum_idle), "at most maximum");
  section.done();
  return made;
}

void read_controller(ConfigSection& section, FileConfig& out) {
  ControllerConfig logic;
  ControllerAccess access;
  logic.name = ControllerId(section.required_text("name"));
  const bool may_be_plain = section.flag("allow_http", false);
  section.required_text("url");
  logic.url = section.url("url", {}, may_be_plain);
  access.name = logic.name;
  access.url = logic.url;
  access.user = section.text("user");
  access.token_file = section.text("token_file");
  access.ca_file = section.text("ca_file");
  if (access.user.empty() != access.token_file.empty()) {
    section.problem("token_file",
                    access.token_file.empty() ? "user without token_file" : "token_file without user",
                    "both or none");
  }
  // What executors join may differ from what the scheduler calls (another network, a proxy).
  if (const std::string join_url = section.url("join_url", {}, true); !join_url.empty()) logic.url = join_url;
  logic.poll_interval = section.duration("poll_interval", logic.poll_interval, milliseconds(200), minutes(5));
  logic.idle_poll_interval =
      section.duration("idle_poll_interval", std::max(logic.idle_poll_interval, logic.poll_interval),
                       milliseconds(200), minutes(5));
  logic.sentinel_node = section.text("sentinel_node", "");
  if (!logic.sentinel_node.empty() && !is_valid_name(logic.sentinel_node)) {
    section.problem("sentinel_node", "\"" + logic.sentinel_node + "\"",
                    "a-z, 0-9 and -, at most 60 characters");
  }
  const std::string means = section.one_of("one_build", {"auto", "gate", "hook"}, "auto");
  logic.one_build = means == "gate"   ? ControllerConfig::OneBuild::gate
                    : means == "hook" ? ControllerConfig::OneBuild::hook
                                      : ControllerConfig::OneBuild::automatic;
  logic.companion = section.flag("companion", false);
  if (logic.companion && logic.one_build == ControllerConfig::OneBuild::gate)
    section.problem("companion", "true with one_build: gate", "one_build: auto or hook, whose rule it keeps");
  logic.gate_poll = section.duration("gate_poll", logic.gate_poll, milliseconds(5), milliseconds(1000));
  logic.gate_open_limit =
      section.duration("gate_open_limit", logic.gate_open_limit, milliseconds(100), minutes(1));
  logic.max_open_gates = static_cast<int>(section.integer("max_open_gates", logic.max_open_gates, 1, 64));
  section.done();
  out.logic.controllers.push_back(std::move(logic));
  out.access.push_back(std::move(access));
}

void read_policy(ConfigSection section, SchedulerConfig& logic) {
  logic.max_creations_per_second =
      static_cast<int>(section.integer("max_creations_per_second", logic.max_creations_per_second, 1, 1000));
  logic.max_coming_per_host =
      static_cast<int>(section.integer("max_coming_per_host", logic.max_coming_per_host, 1, 1000));
  logic.lease = section.duration("lease", logic.lease, seconds(3), hours(1));
  logic.look_ahead = section.duration("look_ahead", logic.look_ahead, seconds(0), minutes(10));
  logic.facts_stale_after =
      section.duration("facts_stale_after", logic.facts_stale_after, seconds(1), minutes(10));
  logic.launch_attempts = static_cast<int>(section.integer("launch_attempts", logic.launch_attempts, 1, 100));
  logic.backoff_first =
      section.duration("backoff_first", logic.backoff_first, milliseconds(100), minutes(10));
  logic.backoff_last = section.duration("backoff_last", logic.backoff_last, milliseconds(100), hours(1));
  if (logic.backoff_first > logic.backoff_last)
    section.problem("backoff_first", std::to_string(to_ms(logic.backoff_first)) + "ms",
                    "at most backoff_last");
  logic.breaker_failures =
      static_cast<int>(section.integer("breaker_failures", logic.breaker_failures, 1, 100));
  logic.breaker_open = section.duration("breaker_open", logic.breaker_open, milliseconds(100), hours(24));
  logic.resume_window = section.duration("resume_window", logic.resume_window, seconds(1), hours(24));
  logic.gone_keep = section.duration("gone_keep", logic.gone_keep, seconds(0), hours(24));
  section.done();
}

void read_rollouts(ConfigSection section, RolloutPolicy& out) {
  const auto number = [&section](const char* key, int& value, int least, int most) {
    value = static_cast<int>(section.integer(key, value, least, most));
  };
  number("canary_share", out.canary_share, 0, 100);
  number("canary_starts", out.canary_starts, 1, 1000);
  number("worse_join_rate", out.worse_join_rate, 0, 100);
  number("worse_build_rate", out.worse_build_rate, 0, 100);
  const std::string allowed = "a factor from 1 to 100, such as 1.5";
  const std::int64_t factor =
      section.thousandths("worse_boot_factor", std::int64_t{out.worse_boot_percent} * 10, allowed);
  if (factor < 1000 || factor > 100'000)
    section.problem("worse_boot_factor", "\"" + section.text("worse_boot_factor") + "\"", allowed);
  out.worse_boot_percent = static_cast<int>(std::clamp<std::int64_t>(factor, 1000, 100'000) / 10);
  out.give_up_after = section.duration("give_up_after", out.give_up_after, seconds(1), hours(24 * 30));
  section.done();
}

void read_registry(ConfigSection section, RegistryConfig& out) {
  if (section.one_of("type", {"embedded", "consul"}, "embedded") == "consul") {
    out.type = RegistryConfig::Type::consul;
    out.consul = consul::read_access(section);
    out.consul_service = consul::read_service(section);
  }
  section.done();
}

void read_leader_lock(ConfigSection& root, FileConfig& out) {
  if (!root.has("leader_lock")) return;
  ConfigSection section = root.section("leader_lock");
  LeaderLockConfig& lock = out.leader_lock;
  lock.key = section.text("key", "skep/" + out.logic.farm + "/leader");
  const bool is_plain = !lock.key.empty() && lock.key.size() <= 200 && lock.key.front() != '/' &&
                        lock.key.find_first_not_of(
                            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            "-_./") == std::string::npos;
  if (!is_plain) {
    section.problem("key", "\"" + lock.key + "\"",
                    "a key of Consul's KV store: letters, digits, - _ . and /, not / at its start");
  }
  lock.ttl = section.duration("ttl", lock.ttl, seconds(2), minutes(5));
  if (out.registry.type != RegistryConfig::Type::consul)
    root.problem("leader_lock", "a leader lock without Consul", "registry: {type: consul}");
  section.done();
}

/// Checks that span sections: names are unique, references resolve.
void check_names(ConfigSection& root, const FileConfig& out) {
  std::set<std::string> controllers;
  for (const ControllerConfig& controller : out.logic.controllers) {
    if (!controllers.insert(controller.name.text).second)
      root.problem("controllers", "the name \"" + controller.name.text + "\" twice", "each name once");
  }
  std::set<std::string> templates;
  for (const Template& made : out.logic.templates) {
    if (!templates.insert(made.name.text).second)
      root.problem("templates", "the name \"" + made.name.text + "\" twice", "each name once");
    for (const ControllerId& name : made.controllers) {
      if (controllers.count(name.text) == 0)
        root.problem("templates",
                     "template \"" + made.name.text + "\" names controller \"" + name.text + "\"",
                     "a name from controllers");
    }
  }
  if (out.logic.controllers.empty())
    root.problem("controllers", "none", "at least one controller with name and url");
  if (out.logic.templates.empty())
    root.problem("templates", "none", "at least one template with name and labels");
  if (out.state_dir.empty())
    root.problem("state_dir", "nothing", "a folder that only the scheduler's user can write");
}

}  // namespace

static Result<FileConfig> read_document(Result<ConfigDocument> document) {
  if (!document) return document.error();
  FileConfig out;
  ConfigSection root = document->root();
  out.logic.farm = root.text("farm", "skep");
  if (!is_valid_name(out.logic.farm) || out.logic.farm.size() > 16)
    root.problem("farm", "\"" + out.logic.farm + "\"", "a-z, 0-9 and -, at most 16 characters");
  out.listen = root.text("listen", out.listen);
  out.token_file = root.text("token_file");
  out.state_dir = root.text("state_dir");
  ConfigSection tls = root.section("tls");
  out.tls_certificate = tls.text("certificate");
  out.tls_key = tls.text("key");
  if (out.tls_certificate.empty() != out.tls_key.empty())
    tls.problem("key", "one of certificate and key", "both or none");
  tls.done();
  ConfigSection log = root.section("log");
  out.log_level = log.one_of("level", {"debug", "info", "warning", "error"}, "info");
  out.log_format = log.one_of("format", {"text", "json"}, "text");
  log.done();
  ConfigSection agentd = root.section("agentd");
  out.agentd_token_file = agentd.text("token_file");
  out.agentd_ca_file = agentd.text("ca_file");
  out.agentd_may_be_plain = agentd.flag("allow_http", false);
  agentd.done();
  read_registry(root.section("registry"), out.registry);
  read_leader_lock(root, out);
  read_policy(root.section("policy"), out.logic);
  read_rollouts(root.section("rollouts"), out.logic.rollouts);
  for (ConfigSection& section : root.sections("controllers")) read_controller(section, out);
  for (ConfigSection& section : root.sections("templates"))
    out.logic.templates.push_back(read_template(section));
  check_names(root, out);
  root.done();
  if (auto verdict = document->verdict(); !verdict) return verdict.error();
  return out;
}

Result<FileConfig> load_config_file(const std::string& path) {
  return read_document(ConfigDocument::load(path));
}

Result<FileConfig> parse_config_text(std::string_view text, const std::string& file_name) {
  return read_document(ConfigDocument::parse(text, file_name));
}

std::vector<std::string> keys_that_need_a_restart(const FileConfig& now, const FileConfig& next) {
  std::vector<std::string> keys;
  const auto differs = [&](const char* key, bool is_different) {
    if (is_different) keys.emplace_back(key);
  };
  differs("farm", now.logic.farm != next.logic.farm);
  differs("listen", now.listen != next.listen);
  differs("token_file", now.token_file != next.token_file);
  differs("tls", now.tls_certificate != next.tls_certificate || now.tls_key != next.tls_key);
  differs("state_dir", now.state_dir != next.state_dir);
  differs("registry", now.registry.type != next.registry.type ||
                          now.registry.consul != next.registry.consul ||
                          now.registry.consul_service != next.registry.consul_service);
  differs("leader_lock", now.leader_lock != next.leader_lock);
  differs("agentd", now.agentd_token_file != next.agentd_token_file ||
                        now.agentd_ca_file != next.agentd_ca_file ||
                        now.agentd_may_be_plain != next.agentd_may_be_plain);
  const auto access_differs = [&] {
    if (now.access.size() != next.access.size()) return true;
    for (std::size_t i = 0; i < now.access.size(); ++i) {
      const ControllerAccess &a = now.access[i], &b = next.access[i];
      if (a.name != b.name || a.url != b.url || a.user != b.user || a.token_file != b.token_file ||
          a.ca_file != b.ca_file)
        return true;
    }
    return false;
  };
  differs("controllers (name, url, user, token_file, ca_file)", access_differs());
  // What a controller's line was opened with.
  for (std::size_t i = 0; i < std::min(now.logic.controllers.size(), next.logic.controllers.size()); ++i) {
    const ControllerConfig &a = now.logic.controllers[i], &b = next.logic.controllers[i];
    if (a.name != b.name) continue;
    differs("one_build, companion or max_open_gates of a controller",
            a.one_build != b.one_build || a.companion != b.companion || a.max_open_gates != b.max_open_gates);
  }
  differs("log", now.log_level != next.log_level || now.log_format != next.log_format);
  return keys;
}

}  // namespace skep::scheduler
