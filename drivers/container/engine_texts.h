// What is said to a container engine and what it answers, as values: Docker Engine API 1.40 and newer, which
// Podman speaks too (https://docs.docker.com/reference/api/engine/). Reading is strict where something is
// done because of it: a reply that is not what the API says is malformed_reply, never "nothing". Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.h"
#include "core/result.h"

namespace skep::drivers::container {

// Labels of a container. The lease is not among them: labels can never be changed, a lease is renewed; it is
// in agentd's own records.
inline constexpr const char* owner_label = "skep.owner";
inline constexpr const char* executor_label = "skep.executor";
inline constexpr const char* epoch_label = "skep.epoch";
inline constexpr const char* template_label = "skep.template";

// Places inside a container.
inline constexpr const char* control_place = "/skep/control";
inline constexpr const char* work_place = "/skep/work";

/// All that one container is made of.
struct ContainerPlan {
  std::string owner;
  ExecutorId id;
  Epoch epoch = 0;
  std::string template_name;
  std::string image_id;              // sha256:...
  std::vector<std::string> volumes;  // places that the image declares as volumes: they become tmpfs
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;
  std::string user;                               // "uid:gid"
  std::string network;                            // none, host, bridge or a network's name
  std::string control_folder;                     // on the host
  std::int64_t cpu_millis = 0, memory_bytes = 0;  // 0: no limit
  std::int64_t disk_bytes = 0;  // of all that can be written: half is the work space, a quarter /tmp
  std::int64_t max_processes = 0, max_open_files = 0;
  std::int64_t max_user_processes = 0;  // of all containers with that user together; 0: as the engine has it
};

/// The body of POST /containers/create.
std::string create_body(const ContainerPlan& plan);

enum class ContainerState { made, running, ended, leaving };

struct ContainerFacts {
  std::string engine_id;
  std::string image_id;
  std::map<std::string, std::string> labels;
  ContainerState state = ContainerState::made;
  int exit_code = 0;
  int pid = 0;  // of its first process, where the engine numbers processes; 0: none
  bool was_out_of_memory = false;

  std::string label(const std::string& name) const;
};

struct ImageFacts {
  std::string id;
  std::vector<std::string> digests;  // name@sha256:...
  std::vector<std::string> volumes;
};

/// One image of a list.
struct ListedImage {
  std::string id;  // sha256:...
  std::vector<std::string> tags, digests;
};

struct EngineFacts {
  std::string name;     // "Docker", "Podman", for people
  std::string version;  // of the engine
  std::string api, least_api;
  std::string architecture{}, os{};  // that it runs, as Go names them: amd64, linux; empty: it does not say
};

Result<ContainerFacts> read_container(std::string_view body);
/// Engine ids of the containers in a list that was asked for by labels; malformed_reply when one lacks them.
Result<std::vector<std::string>> read_list(std::string_view body,
                                           const std::map<std::string, std::string>& labels);
Result<std::string> read_created(std::string_view body);
Result<int> read_wait(std::string_view body);
/// What Podman (4.3) answers with status 500, until it is removed, to each question about a container that it
/// was killed in the removal of: its storage is gone, so nothing of it runs.
bool is_half_removed(std::string_view body);
Result<ImageFacts> read_image(std::string_view body);
Result<std::vector<ListedImage>> read_images(std::string_view body);
/// The answer to an archive that was to be loaded, with status 200: JSON objects one after the other, of
/// which one may be an error (Docker: {"error": ...}; Podman too). Success: none is.
Result<void> read_load(std::string_view body);
Result<EngineFacts> read_version(std::string_view body);

/// "v1.41", or the nearest that this engine speaks; unsupported when it is too old.
Result<std::string> choose_api(const EngineFacts& engine);

/// Whose container one line of the event stream speaks of; nullopt: not one of `owner`, or nothing that we
/// know.
std::optional<ExecutorId> read_event(std::string_view line, const std::string& owner);

/// What the engine says about its refusal, in one line of bounded length.
std::string read_message(std::string_view body);
/// The refusal of a request as an error: `what` as in "cannot make container x".
Error refusal(const std::string& what, int status, std::string_view body);

/// sha256:<64 hex digits>, or name@sha256:<64 hex digits>: what cannot mean another image tomorrow.
bool is_by_digest(const std::string& reference);
/// Is this image the one that `reference` names?
bool is_image(const ImageFacts& image, const std::string& reference);

/// {"label":["a=b"]} for a query, not percent-encoded. `more` are further filters, each with one value.
std::string label_filter(const std::map<std::string, std::string>& labels,
                         const std::map<std::string, std::string>& more = {});

}  // namespace skep::drivers::container
