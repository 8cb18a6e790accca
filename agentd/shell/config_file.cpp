#include "agentd/shell/config_file.h"

#include "agentd/shell/images_section.h"
#include "common/config/config_reader.h"
#include "common/consul/consul_access.h"
#include "core/url.h"
#include "drivers/container/engine_texts.h"
#include "drivers/process/sandbox_texts.h"
#include "drivers/qemu/net_filter_texts.h"
#include "drivers/qemu/vm_image.h"

namespace skep::agentd {
namespace {

using config::ConfigDocument;
using config::ConfigSection;

constexpr std::int64_t most_bytes = std::int64_t{1} << 50;

void read_capacity(ConfigSection section, LogicConfig& out) {
  out.capacity.cpu_millis = section.cpu_millis("cpu", 0);
  out.capacity.memory_bytes = section.bytes("memory", 0, 0, most_bytes);
  out.capacity.disk_bytes = section.bytes("disk", 0, 0, most_bytes);
  out.capacity.countable = section.integer_map("countable");
  out.max_executors = section.integer("max_executors", out.max_executors, 1, 10'000);
  section.done();
}

void read_registry(ConfigSection section, RegistryConfig& out) {
  const std::string type = section.one_of("type", {"none", "embedded", "consul"}, "embedded");
  if (type == "none") {
    out.type = RegistryConfig::Type::none;
  } else if (type == "consul") {
    out.type = RegistryConfig::Type::consul;
    const consul::Access access = consul::read_access(section);
    out.consul_address = access.address;
    out.consul_token_file = access.token_file;
    out.consul_ca_file = access.ca_file;
    out.consul_service = consul::read_service(section);
  } else {
    out.scheduler_url = section.url("scheduler_url", {}, section.flag("allow_http", false));
    out.scheduler_token_file = section.text("scheduler_token_file");
    out.scheduler_ca_file = section.text("scheduler_ca_file");
    if (out.scheduler_url.empty()) {
      section.problem("scheduler_url", "nothing",
                      "the scheduler's address, such as https://skep.example:7070/; or type: none");
    }
  }
  out.ttl = section.duration("ttl", out.ttl, seconds(1), minutes(10));
  section.done();
}

/// Consul gets host and port apart, and others must be able to use them.
void check_advertised(ConfigSection& root, const AgentdConfig& config) {
  if (config.registry.type != RegistryConfig::Type::consul) return;
  const bool is_any = config.listen.rfind("0.0.0.0:", 0) == 0 || config.listen.rfind("[::]:", 0) == 0;
  if (config.advertise_url.empty() && is_any) {
    root.problem("advertise_url", "nothing, while agentd listens on every address",
                 "the address that the scheduler is to use, such as https://host1.example:7071/");
  }
  if (!config.advertise_url.empty() && !split_url(config.advertise_url)) {
    root.problem("advertise_url", "\"" + config.advertise_url + "\"",
                 "http:// or https://, a host and a port, without a user name");
  }
}

/// A name means one image.
template <typename Images>
void check_names(ConfigSection& driver, const Images& own, const images::ImagesConfig& listed) {
  for (const auto& each : own) {
    if (images::find(listed.catalogue, each.first) != nullptr)
      driver.problem("images", "\"" + each.first + "\"", "a name that is not in images.catalogue");
  }
}

void read_namespaces_driver(ConfigSection section, bool is_there, AgentdConfig& config) {
  NamespacesDriverConfig& out = config.namespaces;
  out.is_enabled = section.flag("enabled", is_there);
  out.root = section.text("root");
  out.images = section.text_map("images");
  check_names(section, out.images, config.images);
  out.join_program = section.text("join_program", out.join_program);
  if (out.join_program.empty() || out.join_program.front() != '/')
    section.problem("join_program", "\"" + out.join_program + "\"", "an absolute path, inside");
  out.binds = section.texts("binds");
  for (const std::string& bind : out.binds) {
    if (!drivers::process::bind_from(bind))
      section.problem("binds", "\"" + bind + "\"", "PATH or PATH:PATH-INSIDE, both absolute");
  }
  out.networks = section.texts("networks");
  if (out.networks.empty()) out.networks = {"host"};
  for (const std::string& network : out.networks) {
    if (network != "host" && network != "none")
      section.problem("networks", "\"" + network + "\"",
                      "host (all that this host reaches), or none (a loopback of its own)");
  }
  out.first_user = section.integer("first_user", out.first_user, 1000, 2'000'000'000);
  out.users = section.integer("users", out.users, 0, 10'000);
  section.done();
}

void read_container_driver(ConfigSection section, bool is_there, ContainerDriverConfig& out) {
  out.is_enabled = section.flag("enabled", is_there);
  out.socket = section.text("socket", out.socket);
  out.root = section.text("root");
  out.images = section.text_map("images");
  for (const auto& [name, reference] : out.images) {
    if (!drivers::container::is_by_digest(reference))
      section.problem("images", name + ": \"" + reference + "\"",
                      "an image by digest: sha256:<64 hex digits> or repository@sha256:<64 hex digits>");
  }
  out.join_program = section.text("join_program", out.join_program);
  out.user = section.text("user");
  out.networks = section.texts("networks");
  if (out.networks.empty()) out.networks = {"bridge"};
  out.default_disk_bytes = section.bytes("default_disk", out.default_disk_bytes, 1 << 20, most_bytes);
  out.max_processes = section.integer("max_processes", out.max_processes, 16, 1'000'000);
  for (const auto& [key, path] :
       {std::pair("socket", out.socket), std::pair("join_program", out.join_program)}) {
    if (path.empty() || path.front() != '/') section.problem(key, "\"" + path + "\"", "an absolute path");
  }
  section.done();
}

void read_image_file(ConfigSection section, std::string& file, std::string& sha256) {
  file = section.required_text("file");
  sha256 = section.required_text("sha256");
  section.done();
}

VmImageConfig read_vm_image(ConfigSection section) {
  VmImageConfig out;
  out.folder = section.required_text("folder");
  read_image_file(section.section("kernel"), out.kernel, out.kernel_sha256);
  read_image_file(section.section("initrd"), out.initrd, out.initrd_sha256);
  if (section.has("disk")) read_image_file(section.section("disk"), out.disk, out.disk_sha256);
  out.command_line = section.text("command_line");
  drivers::qemu::VmImage image{out.folder,
                               {out.kernel, out.kernel_sha256},
                               {out.initrd, out.initrd_sha256},
                               {out.disk, out.disk_sha256},
                               out.command_line};
  if (const std::string problem = drivers::qemu::problem_of(image); !problem.empty()) {
    section.problem("folder", problem,
                    "an absolute path; kernel, initrd and disk as {file: NAME, sha256: <64 hex digits>}");
  }
  section.done();
  return out;
}

void read_qemu_driver(ConfigSection section, bool is_there, AgentdConfig& config) {
  QemuDriverConfig& out = config.qemu;
  out.is_enabled = section.flag("enabled", is_there);
  out.program = section.text("program", out.program);
  out.root = section.text("root");
  for (auto& [name, image] : section.named_sections("images"))
    out.images[name] = read_vm_image(std::move(image));
  check_names(section, out.images, config.images);
  out.join_program = section.text("join_program", out.join_program);
  out.accelerator = section.one_of("accelerator", {"auto", "kvm", "tcg"}, out.accelerator);
  out.networks = section.texts("networks");
  if (out.networks.empty()) out.networks = {"filtered"};
  for (const std::string& network : out.networks) {
    if (network != "filtered" && network != "none" && network != "open")
      section.problem("networks", "\"" + network + "\"",
                      "filtered (the controller and `reach`), none, or open (no filter at all)");
  }
  out.reach = section.texts("reach");
  for (const std::string& each : out.reach) {
    if (!drivers::qemu::reach_from(each))
      section.problem("reach", "\"" + each + "\"", "host:port or host:port/udp");
  }
  out.first_user = section.integer("first_user", out.first_user, 1000, 2'000'000'000);
  out.users = section.integer("users", out.users, 0, 10'000);
  if (out.join_program.empty() || out.join_program.front() != '/')
    section.problem("join_program", "\"" + out.join_program + "\"", "an absolute path");
  section.done();
}

void read_drivers(ConfigSection section, AgentdConfig& out) {
  ConfigSection process = section.section("process");
  out.process.is_enabled = process.flag("enabled", true);
  out.process.root = process.text("root");
  out.process.join_program = process.text("join_program");
  out.process.images = process.text_map("images");
  check_names(process, out.process.images, out.images);
  process.done();
  const bool has_namespaces = section.has("namespaces");
  read_namespaces_driver(section.section("namespaces"), has_namespaces, out);
  const bool has_container = section.has("container");
  read_container_driver(section.section("container"), has_container, out.container);
  const bool has_qemu = section.has("qemu");
  read_qemu_driver(section.section("qemu"), has_qemu, out);
  ConfigSection fake = section.section("fake");
  out.fake.is_enabled = fake.flag("enabled", false);
  fake.done();
  section.done();
}

Result<AgentdConfig> read_document(Result<ConfigDocument> document) {
  if (!document) return document.error();
  AgentdConfig out;
  ConfigSection root = document->root();
  out.logic.host = HostId(root.text("host"));
  if (!out.logic.host.empty() && !is_valid_name(out.logic.host.text)) {
    root.problem("host", "\"" + out.logic.host.text + "\"", "a-z, 0-9 and -, at most 60 characters");
  }
  out.logic.attributes = root.text_map("attributes");
  out.listen = root.text("listen", out.listen);
  out.advertise_url = root.text("advertise_url");
  out.token_file = root.text("token_file");
  out.state_dir = root.required_text("state_dir");
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
  const std::string on_stop = root.one_of("on_stop", {"keep", "drain", "remove"}, "keep");
  out.on_stop = on_stop == "drain" ? OnStop::drain : on_stop == "remove" ? OnStop::remove : OnStop::keep;
  out.worker_threads = static_cast<int>(root.integer("worker_threads", out.worker_threads, 1, 64));
  read_capacity(root.section("capacity"), out.logic);
  read_registry(root.section("registry"), out.registry);
  check_advertised(root, out);
  const bool has_images = root.has("images");
  read_images(root.section("images"), has_images, out.images);
  read_drivers(root.section("drivers"), out);
  root.done();
  if (auto verdict = document->verdict(); !verdict) return verdict.error();
  return out;
}

}  // namespace

Result<AgentdConfig> load_config_file(const std::string& path) {
  return read_document(ConfigDocument::load(path));
}

Result<AgentdConfig> parse_config_text(std::string_view text, const std::string& file_name) {
  return read_document(ConfigDocument::parse(text, file_name));
}

}  // namespace skep::agentd
