#include "drivers/container/engine.h"

#include <utility>

#include "common/http/http_types.h"

namespace skep::drivers::container {
namespace {

constexpr std::size_t max_reply_bytes = 16u << 20;
constexpr std::size_t max_event_bytes = 64 * 1024;

Error prefixed(const std::string& what, Error error) {
  error.message = what + ": " + error.message;
  return error;
}

bool is_good(const http::Reply& reply) {
  return reply.status >= 200 && reply.status < 300;
}

/// What has no answer that counts: it may be so or not.
Error unclear(const std::string& what, const http::Reply& reply) {
  Error error = refusal(what, reply.status, reply.body);
  error.outcome = Outcome::unknown;
  return error;
}

}  // namespace

Engine::Engine(std::string socket_path, Duration call_deadline)
    : options_{std::move(socket_path), call_deadline, max_reply_bytes}, client_(options_) {}

Result<std::string> Engine::api() {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (!api_.empty()) return api_;
  }
  const auto engine = version();
  if (!engine) return engine.error();
  auto chosen = choose_api(*engine);
  if (!chosen) return chosen;
  const std::lock_guard<std::mutex> guard(lock_);
  api_ = *chosen;
  return chosen;
}

Result<http::Reply> Engine::call(const std::string& what, const std::string& method,
                                 const std::string& target, const std::string& body,
                                 std::optional<Duration> timeout) {
  const auto prefix = api();
  if (!prefix) {  // nothing was asked for yet
    Error error = prefixed(what, prefix.error());
    if (error.outcome == Outcome::unknown) error.outcome = Outcome::try_again;
    return error;
  }
  http::Request request;
  request.method = method;
  request.target = *prefix + "/" + target;
  request.body = body;
  if (!body.empty()) request.content_type = "application/json";
  auto reply = client_.call(request, timeout);
  if (reply) return reply;
  if (reply.error().code == ErrorCode::unavailable) {
    const std::lock_guard<std::mutex> guard(lock_);
    api_.clear();
  }
  return prefixed(what, reply.error());
}

Result<EngineFacts> Engine::version() {
  http::Request request;
  request.target = "version";
  const auto reply = client_.call(request);
  if (!reply) return prefixed("cannot ask the container engine for its version", reply.error());
  if (!is_good(*reply)) return unclear("cannot ask for its version", *reply);
  return read_version(reply->body);
}

Result<ImageFacts> Engine::image(const std::string& reference) {
  const std::string what = "cannot look at image " + reference;
  const auto reply = call(what, "GET", "images/" + http::percent_encode(reference) + "/json");
  if (!reply) return reply.error();
  if (reply->status == 404) return refusal(what, 404, reply->body);
  if (!is_good(*reply)) return unclear(what, *reply);
  auto facts = read_image(reply->body);
  if (!facts) return prefixed(what, facts.error());
  return facts;
}

Result<std::vector<ListedImage>> Engine::images() {
  const std::string what = "cannot list images";
  const auto reply = call(what, "GET", "images/json");
  if (!reply) return reply.error();
  if (reply->status != 200) return unclear(what, *reply);
  auto all = read_images(reply->body);
  if (!all) return prefixed(what, all.error());
  return all;
}

http::UnixClientOptions Engine::load_options(Duration deadline) const {
  http::UnixClientOptions options = options_;
  options.total_timeout = deadline;
  return options;
}

Result<void> Engine::load(http::UnixUpload& upload, const std::string& name,
                          const std::function<Result<std::string>()>& next) {
  const std::string what = "cannot load image " + name;
  const auto prefix = api();
  if (!prefix) return prefixed(what, prefix.error());
  http::Request request;
  request.method = "POST";
  request.target = *prefix + "/images/load?quiet=1";
  request.content_type = "application/x-tar";
  const auto reply = upload.send(request, next, options_.total_timeout);
  if (!reply) return prefixed(what, reply.error());
  if (reply->status != 200) return refusal(what, reply->status, reply->body);
  if (auto loaded = read_load(reply->body); !loaded) return prefixed(what, loaded.error());
  return {};
}

Result<void> Engine::remove_tag(const std::string& tag) {
  const std::string what = "cannot remove image " + tag;
  const auto reply = call(what, "DELETE", "images/" + tag);
  if (!reply) return reply.error();
  if (is_good(*reply) || reply->status == 404) return {};
  if (reply->status != 409) return unclear(what, *reply);
  Error error = refusal(what, reply->status, reply->body);
  error.outcome = Outcome::try_again;
  return error;
}

Result<void> Engine::give_tag(const std::string& id, const std::string& tag) {
  const std::string what = "cannot give image " + id + " the name " + tag;
  const std::size_t colon = tag.rfind(':');
  const auto reply =
      call(what, "POST",
           "images/" + id + "/tag?" +
               http::form_encode({{"repo", tag.substr(0, colon)}, {"tag", tag.substr(colon + 1)}}));
  if (!reply) return reply.error();
  if (is_good(*reply) || reply->status == 404) return {};
  return unclear(what, *reply);
}

Result<std::vector<std::string>> Engine::list(const std::map<std::string, std::string>& labels) {
  const std::string what = "cannot list containers";
  const auto reply = call(
      what, "GET", "containers/json?" + http::form_encode({{"all", "1"}, {"filters", label_filter(labels)}}));
  if (!reply) return reply.error();
  if (reply->status != 200) return unclear(what, *reply);
  auto ids = read_list(reply->body, labels);
  if (!ids) return prefixed(what, ids.error());
  return ids;
}

Result<std::optional<ContainerFacts>> Engine::find(const std::string& container) {
  const std::string what = "cannot look at container " + container;
  const auto reply = call(what, "GET", "containers/" + container + "/json");
  if (!reply) return reply.error();
  if (reply->status == 404) return std::optional<ContainerFacts>();
  if (reply->status == 500 && is_half_removed(reply->body)) {
    ContainerFacts facts;
    facts.engine_id = container;
    facts.state = ContainerState::leaving;
    return std::optional<ContainerFacts>(std::move(facts));
  }
  if (reply->status != 200) return unclear(what, *reply);
  auto facts = read_container(reply->body);
  if (!facts) return prefixed(what, facts.error());
  return std::optional<ContainerFacts>(std::move(*facts));
}

Result<std::string> Engine::make(const std::string& name, const std::string& body) {
  const std::string what = "cannot make container " + name;
  const auto reply = call(what, "POST", "containers/create?" + http::form_encode({{"name", name}}), body);
  if (!reply) return reply.error();
  if (reply->status != 201) return refusal(what, reply->status, reply->body);
  auto id = read_created(reply->body);
  if (!id) return prefixed(what, id.error());
  return id;
}

Result<void> Engine::start(const std::string& container) {
  const std::string what = "cannot start container " + container;
  const auto reply = call(what, "POST", "containers/" + container + "/start");
  if (!reply) return reply.error();
  if (is_good(*reply) || reply->status == 304) return {};
  return refusal(what, reply->status, reply->body);
}

Result<void> Engine::signal(const std::string& container, const std::string& signal) {
  const std::string what = "cannot send " + signal + " to container " + container;
  const auto reply =
      call(what, "POST", "containers/" + container + "/kill?" + http::form_encode({{"signal", signal}}));
  if (!reply) return reply.error();
  if (is_good(*reply) || reply->status == 404 || reply->status == 409) return {};
  return unclear(what, *reply);
}

Result<bool> Engine::wait_for_end(const std::string& container, Duration deadline) {
  const std::string what = "cannot wait for the end of container " + container;
  const auto reply =
      call(what, "POST", "containers/" + container + "/wait?condition=not-running", {}, deadline);
  if (!reply && reply.error().code == ErrorCode::timed_out) return false;
  if (!reply) return reply.error();
  if (reply->status == 404) return true;
  if (!is_good(*reply)) return unclear(what, *reply);
  const auto code = read_wait(reply->body);
  if (!code) return prefixed(what, code.error());
  return true;
}

Result<void> Engine::remove(const std::string& container) {
  const std::string what = "cannot remove container " + container;
  const auto reply = call(what, "DELETE", "containers/" + container + "?force=1&v=1");
  if (!reply) return reply.error();
  if (is_good(*reply) || reply->status == 404) return {};
  // Somebody removes it already.
  if (reply->status == 409) return wait_for_removal(container);
  return unclear(what, *reply);
}

Result<void> Engine::wait_for_removal(const std::string& container) {
  const std::string what = "cannot wait for the removal of container " + container;
  const auto reply = call(what, "POST", "containers/" + container + "/wait?condition=removed");
  if (!reply) return reply.error();
  if (is_good(*reply) || reply->status == 404) return {};
  return unclear(what, *reply);
}

Error EventReader::read(const std::string& owner, const std::function<void()>& on_begin,
                        const std::function<void(std::string_view)>& on_line) {
  const std::string what = "cannot read events";
  const auto prefix = engine_.api();
  if (!prefix) return prefixed(what, prefix.error());
  http::Request request;
  request.target =
      *prefix + "/events?" +
      http::form_encode({{"filters", label_filter({{owner_label, owner}}, {{"type", "container"}})}});
  int status = 0;
  std::string line;
  const auto ended = stream_.read(
      request,
      [&](const http::Reply& head) {
        status = head.status;
        if (status == 200) on_begin();
      },
      [&](std::string_view text) {
        line += text;
        std::size_t begin = 0;
        for (std::size_t end = 0; (end = line.find('\n', begin)) != std::string::npos; begin = end + 1) {
          if (status == 200) on_line(std::string_view(line).substr(begin, end - begin));
        }
        line.erase(0, begin);
        if (line.size() > max_event_bytes) line.clear();
      });
  if (!ended) return prefixed(what, ended.error());
  if (status != 200) return refusal(what, status, line);
  return Error::try_again(ErrorCode::unavailable, what + ": the container engine ended the stream");
}

}  // namespace skep::drivers::container
