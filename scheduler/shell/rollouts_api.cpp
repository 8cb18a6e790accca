// Versions of images, for operators (docs/design/rollouts.md):
//   GET  /v1/images                                     those with a version or a rollout on record
//   POST /v1/images/{image}/rollout {"version","share","hold","now","dry_run"}
//   POST /v1/images/{image}/rollback {"dry_run"}
// Orders are answered with the image as it is afterwards, or would be.
#include <string>
#include <utility>

#include "common/shell/clock.h"
#include "scheduler/shell/api_body.h"
#include "scheduler/shell/api_codec.h"
#include "scheduler/shell/daemon.h"

namespace skep::scheduler {
namespace {

using http::Responder;
using http::ServerReply;
using http::ServerRequest;
using json::Json;

struct Wanted {
  RolloutOrder order;
  bool is_dry = false;
};

Result<Wanted> read_rollout(const ServerRequest& request) {
  const auto body = body_of(request);
  if (!body) return body.error();
  if (auto checked = only_keys(*body, {"version", "share", "hold", "now", "dry_run"}); !checked)
    return checked.error();
  Wanted wanted;
  wanted.order.image = request.captures.at("image");
  const auto version = json::get_string(*body, "version");
  if (!version) return Error::failed(ErrorCode::invalid_input, "\"version\" is missing or no text");
  wanted.order.version = *version;
  if (body->contains("share") && !(*body)["share"].is_null()) {
    const auto share = json::get_int64(*body, "share");
    if (!share || *share < 1 || *share > 100)
      return Error::failed(ErrorCode::invalid_input, "\"share\" is no number from 1 to 100");
    wanted.order.share = static_cast<int>(*share);
  }
  for (const auto& [key, flag] :
       {std::pair("hold", &wanted.order.holds), std::pair("now", &wanted.order.is_now),
        std::pair("dry_run", &wanted.is_dry)}) {
    const auto given = flag_of(*body, key);
    if (!given) return given.error();
    *flag = *given;
  }
  if (wanted.order.is_now && (wanted.order.holds || wanted.order.share))
    return Error::failed(ErrorCode::invalid_input,
                         "\"now\" is without a canary, \"hold\" and \"share\" are of one",
                         "leave one of them out");
  return wanted;
}

ServerReply image_reply(const ImageStatus& status, bool is_dry) {
  Json out = to_json(status);
  out["dry_run"] = is_dry;
  return json_reply(out);
}

const Error not_leading =
    Error::failed(ErrorCode::conflict, "this scheduler does not lead any more; nothing was changed",
                  "say it to the scheduler that leads");

}  // namespace

void Daemon::add_rollout_routes() {
  server_->route("GET", "/v1/images", [this](const ServerRequest&, const Responder& responder) {
    ask(responder, [](SchedulerLogic& logic) {
      return json_reply(list_to_json(logic.status(shell::now(), shell::wall_now()).images));
    });
  });
  server_->route("POST", "/v1/images/{image}/rollout",
                 [this](const ServerRequest& request, const Responder& responder) {
                   auto wanted = read_rollout(request);
                   if (!wanted) return responder(error_reply(wanted.error()));
                   ask(responder, [this, wanted = std::move(*wanted)](SchedulerLogic& logic) {
                     const auto made = logic.rolled_out(wanted.order, shell::wall_now());
                     if (!made) return error_reply(made.error());
                     if (!wanted.is_dry) handle(RollOutImage{wanted.order});
                     return may_act() ? image_reply(*made, wanted.is_dry) : error_reply(not_leading);
                   });
                 });
  server_->route("POST", "/v1/images/{image}/rollback",
                 [this](const ServerRequest& request, const Responder& responder) {
                   const auto body = body_of(request);
                   if (!body) return responder(error_reply(body.error()));
                   if (auto checked = only_keys(*body, {"dry_run"}); !checked)
                     return responder(error_reply(checked.error()));
                   const auto is_dry = flag_of(*body, "dry_run");
                   if (!is_dry) return responder(error_reply(is_dry.error()));
                   ask(responder,
                       [this, image = request.captures.at("image"), is_dry = *is_dry](SchedulerLogic& logic) {
                         const auto made = logic.rolled_back(image, shell::wall_now());
                         if (!made) return error_reply(made.error());
                         if (!is_dry) handle(RollBackImage{image});
                         return may_act() ? image_reply(*made, is_dry) : error_reply(not_leading);
                       });
                 });
}

void Daemon::set_rollout_metrics(const StatusSnapshot& status) {
  for (const ImageStatus& each : status.images) {
    if (!each.image.rollout) continue;
    const Rollout& rollout = *each.image.rollout;
    for (const RolloutState state : {RolloutState::pulling, RolloutState::canary, RolloutState::rolling,
                                     RolloutState::done, RolloutState::stopped}) {
      metrics_.set_gauge("skep_rollout_state", "1 for the state of the image's last rollout",
                         {{"image", each.image.name}, {"state", std::string(to_string(state))}},
                         rollout.state == state ? 1 : 0);
    }
    double ready = 0;
    for (const ImageAtHost& host : each.hosts) ready += host.is_ready ? 1 : 0;
    metrics_.set_gauge("skep_rollout_hosts", "hosts that serve the image", {{"image", each.image.name}},
                       static_cast<double>(each.hosts.size()));
    metrics_.set_gauge("skep_rollout_hosts_ready", "those of them that have the wanted version",
                       {{"image", each.image.name}}, ready);
    for (const auto& [which, figures] :
         {std::pair("old", &rollout.old_figures), std::pair("new", &rollout.new_figures)}) {
      const metrics::Labels labels{{"image", each.image.name}, {"version", which}};
      metrics_.set_gauge("skep_rollout_joined", "starts that joined since the rollout began", labels,
                         figures->joined);
      metrics_.set_gauge("skep_rollout_failed", "starts that failed since the rollout began", labels,
                         figures->failed);
      metrics_.set_gauge("skep_rollout_boot_seconds", "median of order to joined since the rollout began",
                         labels, static_cast<double>(median_boot_ms(*figures)) / 1000.0);
      metrics_.set_gauge("skep_rollout_lost_builds",
                         "builds lost with their executor since the rollout began", labels,
                         figures->lost_builds);
    }
  }
}

}  // namespace skep::scheduler
