#include "drivers/container/archive_texts.h"

#include <algorithm>
#include <optional>

#include "common/json/json.h"

namespace skep::drivers::container {
namespace {

using json::Json;

constexpr const char* docker_manifest = "manifest.json";
constexpr const char* oci_index = "index.json";
constexpr std::size_t max_layers = 1000;
constexpr int max_nesting = 3;

Error no_archive(const std::string& what) {
  return Error::failed(ErrorCode::invalid_input, "it is no image archive that can be loaded: " + what,
                       "make it by docker save or podman save, of one image");
}

/// A name from outside, fit for a message.
std::string shown(const std::string& name) {
  std::string text = name.substr(0, 200);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; },
      '?');
  return "\"" + text + "\"";
}

std::string text_in(const Json& object, const char* key) {
  const auto text = object.is_object() ? json::get_string(object, key) : Result<std::string>(std::string());
  return text ? *text : std::string();
}

/// "blobs/sha256/..." for "sha256:..."; empty when it is none.
std::string blob_of(const Json& descriptor) {
  constexpr std::string_view kind = "sha256:";
  const std::string digest = text_in(descriptor, "digest");
  const bool is_plain = digest.rfind(kind, 0) == 0 && digest.size() == kind.size() + 64 &&
                        digest.find_first_not_of("0123456789abcdef", kind.size()) == std::string::npos;
  return is_plain ? "blobs/sha256/" + digest.substr(kind.size()) : std::string();
}

Result<Json> parsed(const ArchiveContent& content, const std::string& name) {
  const auto text = content.texts.find(name);
  if (text == content.texts.end()) return no_archive(shown(name) + " is not in it, is no JSON, or too large");
  auto out = json::parse_strict(text->second);
  if (!out) return no_archive(shown(name) + ": " + out.error().message);
  return out;
}

std::string count_of(std::size_t images) {
  return "it holds " + std::to_string(images) + " images, not one";
}

Result<ImageArchive> read_docker(const ArchiveContent& content) {
  const auto list = parsed(content, docker_manifest);
  if (!list) return list.error();
  if (!list->is_array()) return no_archive(std::string(docker_manifest) + " is no list");
  if (list->size() != 1) return no_archive(count_of(list->size()));
  const Json& image = list->front();
  ImageArchive out;
  out.configuration = text_in(image, "Config");
  const auto layers = image.is_object() ? image.find("Layers") : image.end();
  if (out.configuration.empty() || layers == image.end() || !layers->is_array())
    return no_archive(std::string(docker_manifest) + " names no configuration or no layers");
  for (const Json& layer : *layers) out.layers.push_back(layer.is_string() ? layer.get<std::string>() : "");
  return out;
}

bool is_attestation(const Json& descriptor) {
  const auto platform = descriptor.find("platform");
  return platform != descriptor.end() && text_in(*platform, "architecture") == "unknown";
}

Result<ImageArchive> read_oci(const ArchiveContent& content) {
  std::string name = oci_index;
  for (int depth = 0; depth < max_nesting; ++depth) {
    const auto document = parsed(content, name);
    if (!document) return document.error();
    const auto manifests = document->is_object() ? document->find("manifests") : document->end();
    if (document->is_object() && manifests == document->end()) {  // a manifest
      const auto configuration = document->find("config"), layers = document->find("layers");
      if (configuration == document->end() || layers == document->end() || !layers->is_array())
        return no_archive(name + " names no configuration or no layers");
      ImageArchive out;
      out.configuration = blob_of(*configuration);
      for (const Json& layer : *layers) out.layers.push_back(blob_of(layer));
      return out;
    }
    if (!document->is_object() || !manifests->is_array()) return no_archive(name + " lists no images");
    std::vector<std::string> images;
    for (const Json& each : *manifests) {
      if (each.is_object() && !is_attestation(each)) images.push_back(blob_of(each));
    }
    if (images.size() != 1) return no_archive(count_of(images.size()));
    name = images.front();
  }
  return no_archive("its indexes are nested too deep");
}

}  // namespace

Result<ImageArchive> read_archive(const ArchiveContent& content) {
  const bool is_docker = content.names.count(docker_manifest) > 0;
  if (!is_docker && content.names.count(oci_index) == 0)
    return no_archive("it has neither manifest.json nor index.json");
  auto out = is_docker ? read_docker(content) : read_oci(content);
  if (!out) return out;
  if (out->layers.size() > max_layers)
    return no_archive("it has " + std::to_string(out->layers.size()) + " layers");
  for (const std::string& layer : out->layers) {
    if (content.names.count(layer) == 0) return no_archive("its layer " + shown(layer) + " is missing");
  }
  const auto configuration = parsed(content, out->configuration);
  if (!configuration) return configuration.error();
  out->architecture = text_in(*configuration, "architecture");
  out->os = text_in(*configuration, "os");
  if (out->os.empty()) return no_archive("its configuration names no system");
  return out;
}

std::set<std::string> names_to_leave_out() {
  return {docker_manifest, oci_index, "repositories", "oci-layout"};
}

std::string manifest_of(const ImageArchive& archive, const std::string& tag) {
  return json::dump(Json::array({Json{
      {"Config", archive.configuration}, {"RepoTags", Json::array({tag})}, {"Layers", archive.layers}}}));
}

Result<void> check_platform(const ImageArchive& archive, const std::string& engine_architecture,
                            const std::string& engine_os) {
  const auto differs = [](const std::string& a, const std::string& b) {
    return !a.empty() && !b.empty() && a != b;
  };
  if (!differs(archive.architecture, engine_architecture) && !differs(archive.os, engine_os)) return {};
  return Error::failed(ErrorCode::unsupported,
                       "it is an image for " + archive.os + "/" + archive.architecture +
                           ", and the container engine runs " + engine_os + "/" + engine_architecture,
                       "build it for this host, or list it only where it can run");
}

}  // namespace skep::drivers::container
