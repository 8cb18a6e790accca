// A container engine behind its unix socket, as blocking calls: each asks once and repeats nothing. A reply
// that is no clear answer is an error with outcome unknown, never "absent". Errors name what could not be
// done and the engine's own words. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/http/unix_client.h"
#include "core/time.h"
#include "drivers/container/engine_texts.h"

namespace skep::drivers::container {

class Engine {
 public:
  Engine(std::string socket_path, Duration call_deadline);

  Result<EngineFacts> version();
  /// not_found/failed: the engine says that it has no such image.
  Result<ImageFacts> image(const std::string& reference);
  Result<std::vector<ListedImage>> images();
  /// Gives it an image archive (POST /images/load), made piece by piece by `next`. What is there afterwards
  /// must be looked at. A cancel by another thread: through `upload`, which is for one use.
  Result<void> load(http::UnixUpload& upload, const std::string& name,
                    const std::function<Result<std::string>()>& next);
  /// Of a load that may take that long.
  http::UnixClientOptions load_options(Duration deadline) const;
  /// That name alone, and with the last one the image. Not there: success. conflict/try_again: a container
  /// uses it.
  Result<void> remove_tag(const std::string& tag);
  Result<void> give_tag(const std::string& id, const std::string& tag);
  /// Engine ids of all containers that carry these labels, running or not.
  Result<std::vector<std::string>> list(const std::map<std::string, std::string>& labels);
  /// nullopt: the engine says that there is no such container. By engine id or name.
  Result<std::optional<ContainerFacts>> find(const std::string& container);
  /// The engine id; conflict/failed: there is a container of that name.
  Result<std::string> make(const std::string& name, const std::string& body);
  Result<void> start(const std::string& container);
  /// One that does not run, or is not there, has nothing to be told: success.
  Result<void> signal(const std::string& container, const std::string& signal);
  /// False: it still runs after that time.
  Result<bool> wait_for_end(const std::string& container, Duration deadline);
  /// Ends and removes it with its anonymous volumes; one that is not there is removed.
  Result<void> remove(const std::string& container);

 private:
  Result<http::Reply> call(const std::string& what, const std::string& method, const std::string& target,
                           const std::string& body = {}, std::optional<Duration> timeout = {});
  Result<std::string> api();
  Result<void> wait_for_removal(const std::string& container);

  http::UnixClientOptions options_;
  http::UnixClient client_;
  std::mutex lock_;  // guards api_
  std::string api_;  // empty: to be asked for, as the engine may have been replaced
  friend class EventReader;
};

/// The engine's events of one owner's containers, as lines for read_event(). For one use.
class EventReader {
 public:
  explicit EventReader(Engine& engine) : engine_(engine), stream_(engine.options_) {}
  /// Blocks until the stream ends or is cancelled; why it ended. `on_begin` runs when events come from now
  /// on.
  Error read(const std::string& owner, const std::function<void()>& on_begin,
             const std::function<void(std::string_view)>& on_line);
  void cancel() { stream_.cancel(); }  // any thread

 private:
  Engine& engine_;
  http::UnixStream stream_;
};

}  // namespace skep::drivers::container
