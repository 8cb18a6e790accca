#include "drivers/container/engine_texts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "common/json/json.h"

namespace skep::drivers::container {
namespace {

using json::Json;

constexpr std::size_t max_message_chars = 500;
constexpr std::size_t max_containers = 10'000;
constexpr std::int64_t shared_memory_bytes = 64 << 20;
constexpr int newest_minor = 41, least_minor = 40;  // of API 1.x: what was tried, and what is enough

Error broken(const std::string& what) {
  return Error::unknown(ErrorCode::malformed_reply,
                        "the container engine's answer is not what its API says: " + what);
}

Result<Json> read_object(std::string_view body, const char* what) {
  auto parsed = json::parse_strict(body);
  if (!parsed) return broken(std::string(what) + ": " + parsed.error().message);
  if (!parsed->is_object()) return broken(std::string(what) + " is no object");
  return parsed;
}

/// An object below `key`; an empty one when it is missing or of another kind.
const Json& below(const Json& object, const char* key) {
  static const Json nothing = Json::object();
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? *found : nothing;
}

bool is_hex_id(const std::string& text) {
  return text.size() >= 12 && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

bool is_digest(std::string_view text) {
  constexpr std::string_view kind = "sha256:";
  return text.substr(0, kind.size()) == kind && text.size() == kind.size() + 64 &&
         is_hex_id(std::string(text.substr(kind.size())));
}

/// Podman writes ids of images without their kind.
std::string with_kind(const std::string& id) {
  return id.size() == 64 && is_hex_id(id) ? "sha256:" + id : id;
}

std::map<std::string, std::string> read_labels(const Json& labels) {
  std::map<std::string, std::string> out;
  for (const auto& [name, value] : labels.items()) {
    if (value.is_string()) out[name] = value.get<std::string>();
  }
  return out;
}

std::optional<ContainerState> state_of(const std::string& word) {
  static const std::map<std::string, ContainerState> known{
      {"created", ContainerState::made},     {"configured", ContainerState::made},
      {"initialized", ContainerState::made}, {"running", ContainerState::running},
      {"paused", ContainerState::running},   {"restarting", ContainerState::running},
      {"stopping", ContainerState::running}, {"exited", ContainerState::ended},
      {"stopped", ContainerState::ended},    {"dead", ContainerState::ended},
      {"removing", ContainerState::leaving},
  };
  const auto found = known.find(word);
  if (found == known.end()) return std::nullopt;
  return found->second;
}

std::string tmpfs(std::int64_t bytes) {
  return "rw,exec,nosuid,nodev,mode=1777,size=" + std::to_string(bytes);
}

std::optional<int> minor_of(const std::string& api) {
  if (api.rfind("1.", 0) != 0) return std::nullopt;
  int minor = 0;
  const auto [end, error] = std::from_chars(api.data() + 2, api.data() + api.size(), minor);
  if (error != std::errc() || end != api.data() + api.size() || minor < 0) return std::nullopt;
  return minor;
}

}  // namespace

std::string ContainerFacts::label(const std::string& name) const {
  const auto found = labels.find(name);
  return found == labels.end() ? std::string() : found->second;
}

std::string create_body(const ContainerPlan& plan) {
  Json environment = Json::array();
  for (const auto& [name, value] : plan.environment) environment.push_back(name + "=" + value);
  // Podman would make the last two by itself, without a limit; Docker would not make them at all.
  const std::int64_t share = plan.disk_bytes / 8;
  Json places{{work_place, tmpfs(plan.disk_bytes - 4 * share)},
              {"/tmp", tmpfs(2 * share)},
              {"/var/tmp", tmpfs(share)},
              {"/run", tmpfs(share)}};
  for (const std::string& place : plan.volumes) {
    if (places.find(place) == places.end()) places[place] = tmpfs(share);
  }
  const auto limit = [](const char* name, std::int64_t value) {
    return Json{{"Name", name}, {"Soft", value}, {"Hard", value}};
  };
  Json limits = Json::array({limit("nofile", plan.max_open_files), limit("core", 0)});
  if (plan.max_user_processes > 0) limits.push_back(limit("nproc", plan.max_user_processes));
  const Json control{
      {"Type", "bind"}, {"Source", plan.control_folder}, {"Target", control_place}, {"ReadOnly", false}};
  Json host{{"ReadonlyRootfs", true},
            {"Privileged", false},
            {"CapDrop", {"ALL"}},
            {"SecurityOpt", {"no-new-privileges"}},
            {"IpcMode", "private"},
            {"NetworkMode", plan.network},
            {"RestartPolicy", {{"Name", "no"}}},
            {"AutoRemove", false},
            {"Init", false},
            {"NanoCpus", plan.cpu_millis * 1'000'000},
            {"Memory", plan.memory_bytes},
            {"MemorySwap", plan.memory_bytes},  // the same: none
            {"PidsLimit", plan.max_processes},
            {"ShmSize", shared_memory_bytes},
            {"Ulimits", std::move(limits)},
            {"LogConfig", {{"Type", "json-file"}, {"Config", {{"max-size", "10m"}}}}},
            {"Tmpfs", std::move(places)},
            {"Mounts", Json::array({control})}};
  return json::dump(Json{
      {"Image", plan.image_id},
      {"Entrypoint", plan.argv},
      {"Cmd", Json::array()},
      {"Env", std::move(environment)},
      {"User", plan.user},
      // Not the work space: an engine would make that folder, and its mode would become that of the tmpfs.
      {"WorkingDir", "/"},
      {"Tty", false},
      {"OpenStdin", false},
      {"StopSignal", "SIGTERM"},
      {"Healthcheck", {{"Test", {"NONE"}}}},
      {"Labels",
       {{owner_label, plan.owner},
        {executor_label, plan.id.text},
        {epoch_label, std::to_string(plan.epoch)},
        {template_label, plan.template_name}}},
      {"HostConfig", std::move(host)}});
}

Result<ContainerFacts> read_container(std::string_view body) {
  const auto object = read_object(body, "a container");
  if (!object) return object.error();
  ContainerFacts facts;
  const auto id = json::get_string(*object, "Id"), image = json::get_string(*object, "Image");
  if (!id || !is_hex_id(*id)) return broken("a container without an id");
  if (!image) return broken("container " + *id + " without an image");
  facts.engine_id = *id;
  facts.image_id = with_kind(*image);
  facts.labels = read_labels(below(below(*object, "Config"), "Labels"));
  const Json& state = below(*object, "State");
  const auto word = json::get_string(state, "Status");
  const auto known = word ? state_of(*word) : std::nullopt;
  if (!known) return broken("container " + *id + " is in no known state");
  facts.state = *known;
  const auto code = json::get_int64(state, "ExitCode");
  if (code && *code >= 0 && *code < 1000) facts.exit_code = static_cast<int>(*code);
  const auto pid = json::get_int64(state, "Pid");
  if (pid && *pid > 0 && *pid <= std::numeric_limits<int>::max()) facts.pid = static_cast<int>(*pid);
  const auto oom = json::get_bool(state, "OOMKilled");
  facts.was_out_of_memory = oom && *oom;
  return facts;
}

Result<std::vector<std::string>> read_list(std::string_view body,
                                           const std::map<std::string, std::string>& labels) {
  const auto all = json::parse_strict(body);
  if (!all) return broken("a list of containers: " + all.error().message);
  if (!all->is_array()) return broken("a list of containers is no array");
  if (all->size() > max_containers) return broken("a list of " + std::to_string(all->size()) + " containers");
  std::vector<std::string> ids;
  for (const Json& entry : *all) {
    const auto id = entry.is_object() ? json::get_string(entry, "Id") : broken("");
    if (!id || !is_hex_id(*id)) return broken("a list of containers holds one without an id");
    const auto carried = read_labels(below(entry, "Labels"));
    for (const auto& [name, value] : labels) {
      const auto found = carried.find(name);
      if (found == carried.end() || found->second != value)
        return broken("container " + *id + " is in a list that it was filtered from");
    }
    ids.push_back(*id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

Result<std::string> read_created(std::string_view body) {
  const auto object = read_object(body, "the container that was made");
  if (!object) return object.error();
  const auto id = json::get_string(*object, "Id");
  if (!id || !is_hex_id(*id)) return broken("the container that was made has no id");
  return *id;
}

Result<int> read_wait(std::string_view body) {
  const auto object = read_object(body, "the end of a container");
  if (!object) return object.error();
  const auto code = json::get_int64(*object, "StatusCode");
  if (!code || *code < -1 || *code > 255) return broken("the end of a container has no exit code");
  return static_cast<int>(*code);
}

bool is_half_removed(std::string_view body) {
  const auto object = read_object(body, "an error");
  if (!object) return false;
  const auto cause = json::get_string(*object, "cause");
  return cause && *cause == "container not known";
}

Result<ImageFacts> read_image(std::string_view body) {
  const auto object = read_object(body, "an image");
  if (!object) return object.error();
  const auto id = json::get_string(*object, "Id");
  if (!id || !is_digest(with_kind(*id))) return broken("an image without a digest");
  ImageFacts facts;
  facts.id = with_kind(*id);
  const auto digests = object->find("RepoDigests");
  if (digests != object->end() && digests->is_array()) {
    for (const Json& digest : *digests) {
      if (digest.is_string()) facts.digests.push_back(digest.get<std::string>());
    }
  }
  const Json& volumes = below(below(*object, "Config"), "Volumes");
  for (const auto& [place, ignored] : volumes.items()) facts.volumes.push_back(place);
  return facts;
}

Result<std::vector<ListedImage>> read_images(std::string_view body) {
  const auto all = json::parse_strict(body);
  if (!all) return broken("a list of images: " + all.error().message);
  if (!all->is_array()) return broken("a list of images is no array");
  std::vector<ListedImage> out;
  for (const Json& entry : *all) {
    const auto id = entry.is_object() ? json::get_string(entry, "Id") : broken("");
    if (!id || !is_digest(with_kind(*id))) return broken("a list of images holds one without a digest");
    ListedImage image;
    image.id = with_kind(*id);
    for (const auto& [key, names] :
         {std::pair("RepoTags", &image.tags), std::pair("RepoDigests", &image.digests)}) {
      const auto list = entry.find(key);
      if (list == entry.end() || !list->is_array()) continue;
      for (const Json& name : *list) {
        // Docker shows an image without a name under this one.
        if (name.is_string() && name.get<std::string>().rfind("<none>", 0) != 0)
          names->push_back(name.get<std::string>());
      }
    }
    out.push_back(std::move(image));
  }
  return out;
}

Result<void> read_load(std::string_view body) {
  while (!body.empty()) {
    const std::size_t end = body.find('\n');
    const std::string_view line = body.substr(0, end);
    body = end == std::string_view::npos ? std::string_view() : body.substr(end + 1);
    const auto object = json::parse_strict(line);
    if (!object || !object->is_object()) continue;  // whether it is there is seen by looking
    const auto error = json::get_string(*object, "error");
    const auto detail = json::get_string(below(*object, "errorDetail"), "message");
    if (!error && !detail) continue;
    const std::string why = read_message(detail ? *detail : *error);
    const std::string text = "the container engine answers: " + why;
    if (why.find("no space left on device") != std::string::npos)
      return Error::try_again(ErrorCode::out_of_resources, text, "make room on the engine's disk");
    return Error::failed(ErrorCode::invalid_input, text);
  }
  return {};
}

Result<EngineFacts> read_version(std::string_view body) {
  const auto object = read_object(body, "its version");
  if (!object) return object.error();
  const auto version = json::get_string(*object, "Version"), api = json::get_string(*object, "ApiVersion");
  const auto least = json::get_string(*object, "MinAPIVersion");
  if (!version || !api) return broken("its version is missing");
  EngineFacts facts{"Docker", read_message(*version), *api, least ? *least : *api, {}, {}};
  if (const auto architecture = json::get_string(*object, "Arch")) facts.architecture = *architecture;
  if (const auto os = json::get_string(*object, "Os")) facts.os = *os;
  const auto components = object->find("Components");
  if (components == object->end() || !components->is_array()) return facts;
  for (const Json& component : *components) {
    const auto name = component.is_object() ? json::get_string(component, "Name") : broken("");
    if (name && name->rfind("Podman", 0) == 0) facts.name = "Podman";
  }
  return facts;
}

Result<std::string> choose_api(const EngineFacts& engine) {
  const auto newest = minor_of(engine.api), least = minor_of(engine.least_api);
  if (!newest || !least) return broken("\"" + engine.api + "\" is no version of its API");
  if (*newest < least_minor) {
    return Error::failed(ErrorCode::unsupported,
                         engine.name + " " + engine.version + " speaks API " + engine.api + "; 1." +
                             std::to_string(least_minor) + " is needed",
                         "use Docker 19.03, Podman 4 or newer");
  }
  return "v1." + std::to_string(std::max(std::min(newest_minor, *newest), *least));
}

std::optional<ExecutorId> read_event(std::string_view line, const std::string& owner) {
  const auto object = json::parse_strict(line);
  if (!object || !object->is_object()) return std::nullopt;
  const auto labels = read_labels(below(below(*object, "Actor"), "Attributes"));
  const auto owned = labels.find(owner_label), id = labels.find(executor_label);
  if (owned == labels.end() || owned->second != owner || id == labels.end() || !is_valid_name(id->second))
    return std::nullopt;
  return ExecutorId(id->second);
}

std::string read_message(std::string_view body) {
  std::string text(body.substr(0, 16 * 1024));
  if (const auto parsed = json::parse_strict(body); parsed && parsed->is_object()) {
    if (const auto message = json::get_string(*parsed, "message")) text = *message;
    // Podman's own cause is shorter than its chain of messages, and says less.
  }
  std::string out;
  for (const char c : text) {
    if (out.size() >= max_message_chars) return out + "...";
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  while (!out.empty() && (out.back() == ' ' || out.back() == '.')) out.pop_back();
  return out;
}

Error refusal(const std::string& what, int status, std::string_view body) {
  const std::string message = read_message(body);
  const std::string text = what + ": the container engine answers " + std::to_string(status) +
                           (message.empty() ? std::string() : ": " + message);
  if (message.find("no space left on device") != std::string::npos)
    return Error::failed(ErrorCode::out_of_resources, text, "make room on the engine's disk");
  // Podman answers 500 to a name that is taken.
  if (message.find("name") != std::string::npos && message.find("already in use") != std::string::npos)
    return Error::failed(ErrorCode::conflict, text);
  switch (status) {
    case 400:
      return Error::failed(ErrorCode::invalid_input, text);
    case 401:
    case 403:
      return Error::failed(ErrorCode::permission_denied, text);
    case 404:
      return Error::failed(ErrorCode::not_found, text);
    case 409:
      return Error::failed(ErrorCode::conflict, text);
    case 429:
    case 503:
      return Error::try_again(ErrorCode::unavailable, text);
    default:
      break;
  }
  // A success that is none of those that the API has, and all that is told by nobody.
  if (status < 400) return Error::unknown(ErrorCode::malformed_reply, text);
  return Error::failed(ErrorCode::generic, text);
}

bool is_by_digest(const std::string& reference) {
  const std::size_t at = reference.rfind('@');
  if (at == std::string::npos) return is_digest(reference);
  const bool is_plain =
      at > 0 && reference.size() < 512 &&
      std::all_of(reference.begin(), reference.begin() + static_cast<std::ptrdiff_t>(at), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '_' || c == '-' || c == '/' || c == ':';
      });
  return is_plain && is_digest(std::string_view(reference).substr(at + 1));
}

bool is_image(const ImageFacts& image, const std::string& reference) {
  if (image.id == reference) return true;
  // A tag between name and digest says nothing.
  const std::size_t at = reference.rfind('@');
  if (at == std::string::npos) return false;
  const std::string digest = reference.substr(at);
  return std::any_of(image.digests.begin(), image.digests.end(),
                     [&](const std::string& each) { return each.ends_with(digest); });
}

std::string label_filter(const std::map<std::string, std::string>& labels,
                         const std::map<std::string, std::string>& more) {
  Json filter{{"label", Json::array()}};
  for (const auto& [name, value] : labels) filter["label"].push_back(name + "=" + value);
  for (const auto& [name, value] : more) filter[name] = Json::array({value});
  return json::dump(filter);
}

}  // namespace skep::drivers::container
