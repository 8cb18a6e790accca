// The image part of agentd's API and metrics:
//   GET  /v1/images                  what the host has, fetches and lacks
//   POST /v1/images/{name}/pull      fetch it now; 202 with the image, also when it is there already
//   POST /v1/images/{name}/verify    read it against its digests; 202 with the image
#include <utility>

#include "agentd/shell/daemon_impl.h"
#include "common/json/agentd_codec.h"
#include "common/shell/clock.h"

namespace skep::agentd {
namespace {

using http::Responder;
using http::ServerRequest;
using images::ImageStatus;
using images::StoreStatus;
using json::Json;

Json time_of(WallTime time) {
  return time.ms_since_epoch == 0 ? Json(nullptr) : Json(time.ms_since_epoch);
}

Json encode_image(const ImageStatus& image) {
  Json holders = Json::array();
  for (const ExecutorId& executor : image.holders) holders.push_back(executor.text);
  return {{"name", image.name},
          {"version", image.version},
          {"channel", image.channel},
          {"format", image.format},
          {"digest", image.digest},
          {"state", images::to_string(image.state)},
          {"is_wanted", image.is_wanted},
          {"references", image.references},
          {"bytes", image.bytes},
          {"done_bytes", image.done_bytes},
          {"total_bytes", image.total_bytes},
          {"in_use_by", std::move(holders)},
          {"problem", image.problem},
          {"hint", image.hint},
          {"attempts", image.attempts},
          {"retry_in_ms", image.retry_in ? Json(to_ms(*image.retry_in)) : Json(nullptr)},
          {"used_at_ms", time_of(image.used_at)},
          {"verified_at_ms", time_of(image.verified_at)}};
}

void answer_json(const Responder& respond, int status, const Json& body) {
  respond({status, json::dump(body), "application/json", {}});
}

void answer_failure(const Responder& respond, const Error& error) {
  const int status = error.code == ErrorCode::not_found ? 404 : error.code == ErrorCode::conflict ? 409 : 503;
  answer_json(respond, status, json::encode_error(error));
}

const char* in_words(bool is_pull) {
  return is_pull ? "an operator has an image pulled" : "an operator has an image verified";
}

}  // namespace

void Daemon::Impl::add_image_routes() {
  server->route("GET", "/v1/images", [this](const ServerRequest&, const Responder& respond) {
    const auto answer = [respond](const Result<StoreStatus>& status) {
      if (!status) return answer_failure(respond, status.error());
      Json list = Json::array();
      for (const ImageStatus& image : status->images) list.push_back(encode_image(image));
      answer_json(respond, 200,
                  {{"folder", status->folder},
                   {"used_bytes", status->used_bytes},
                   {"max_bytes", status->max_bytes},
                   {"images", std::move(list)}});
    };
    if (images == nullptr) return answer(StoreStatus{});
    images->status(answer);
  });
  for (const bool is_pull : {true, false}) {
    const std::string path = std::string("/v1/images/{name}/") + (is_pull ? "pull" : "verify");
    server->route("POST", path, [this, is_pull](const ServerRequest& request, const Responder& respond) {
      const auto answer = [respond](const Result<ImageStatus>& image) {
        if (!image) return answer_failure(respond, image.error());
        answer_json(respond, 202, encode_image(*image));
      };
      const std::string name = request.captures.at("name");
      if (images == nullptr)
        return answer(Error::failed(ErrorCode::not_found, "this host has no image catalogue",
                                    "list images in its configuration: docs/how-to/images.md"));
      log::write(log::Level::info, in_words(is_pull), {{"image", name.substr(0, 120)}});
      is_pull ? images->pull(name, answer) : images->verify(name, answer);
    });
  }
}

void Daemon::Impl::set_image_metrics(const StoreStatus& status) {
  const auto number = [](std::uint64_t value) { return static_cast<double>(value); };
  const images::ImageCounters& counters = status.counters;
  for (const auto& [name, help, value] :
       {std::tuple("skep_image_fetched_bytes_total", "Over the network", counters.fetched_bytes),
        std::tuple("skep_image_fetches_total", "Tries that ended", counters.fetches),
        std::tuple("skep_image_fetch_failures_total", "Tries that failed", counters.fetch_failures),
        std::tuple("skep_image_verifications_total", "Copies read against their digests",
                   counters.verifications),
        std::tuple("skep_image_verify_failures_total", "Copies that were changed or not readable",
                   counters.verify_failures),
        std::tuple("skep_image_evictions_total", "Copies removed to make room", counters.evictions)}) {
    metrics.set_counter(name, help, {}, number(value));
  }
  metrics.set_gauge("skep_image_cache_bytes", "On disk, and reserved by fetches", {},
                    number(status.used_bytes));
  metrics.set_gauge("skep_image_cache_limit_bytes", "images.max_bytes", {}, number(status.max_bytes));
  const std::int64_t now = shell::wall_now().ms_since_epoch;
  for (const ImageStatus& image : status.images) {
    if (!image.is_wanted) continue;
    const metrics::Labels labels{{"image", image.name + "@" + image.version}};
    metrics.set_gauge("skep_image_ready", "1 while executors can be made from it", labels,
                      image.references.empty() ? 0 : 1);
    metrics.set_gauge("skep_image_in_use_count", "Executors that were made from it", labels,
                      static_cast<double>(image.holders.size()));
    const bool is_known = image.verified_at.ms_since_epoch != 0;
    metrics.set_gauge("skep_image_age_seconds", "Since it was last read against its digests; -1: never",
                      labels,
                      is_known ? static_cast<double>(now - image.verified_at.ms_since_epoch) / 1000 : -1);
  }
}

}  // namespace skep::agentd
