#include "bench/replies_data.h"

#include "common/json/json.h"

namespace skep::bench {

using scheduler::ItemStage;
using scheduler::QueueItem;

std::string queue_body(const scheduler::QueueSnapshot& queue) {
  std::string body = R"({"_class":"hudson.model.Queue","items":[)";
  bool is_first = true;
  for (const QueueItem& item : queue.items) {
    const bool is_buildable = item.stage == ItemStage::buildable;
    body += is_first ? "" : ",";
    is_first = false;
    body += is_buildable ? R"({"_class":"hudson.model.Queue$BuildableItem","blocked":false,"buildable":true)"
                         : R"({"_class":"hudson.model.Queue$BlockedItem","blocked":true,"buildable":false)";
    body += R"(,"id":)" + std::to_string(item.id);
    body += R"(,"inQueueSince":)" + std::to_string(item.in_queue_since.ms_since_epoch);
    body += R"(,"stuck":false,"task":{"_class":"hudson.model.FreeStyleProject","fullDisplayName":)";
    body += json::dump(json::Json(item.name));
    body += R"(,"name":"build","url":"http://controller.example:8080/jenkins/)" + item.path + "\"";
    if (item.label) body += R"(,"labelExpression":)" + json::dump(json::Json(*item.label));
    body += R"(},"why":)" + json::dump(json::Json(item.why));
    body += R"(,"buildableStartMilliseconds":)" + std::to_string(item.in_queue_since.ms_since_epoch);
    body += R"(,"pending":false})";
  }
  body += "]}";
  return body;
}

Result<http::Reply> CannedClient::call(const http::Request& request, std::optional<Duration> total_timeout) {
  static_cast<void>(request);
  static_cast<void>(total_timeout);
  http::Reply reply;
  reply.status = 200;
  reply.headers = {{"Content-Type", "application/json;charset=utf-8"},
                   {"X-Jenkins", "2.479.3"},
                   {"X-Jenkins-Session", "s"}};
  reply.body = *body_;
  return reply;
}

}  // namespace skep::bench
