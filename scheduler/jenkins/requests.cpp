#include "scheduler/jenkins/requests.h"

#include <utility>
#include <vector>

#include "common/http/http_types.h"

namespace skep::scheduler {

std::string node_target(const std::string& node, const std::string& rest) {
  return "computer/" + http::percent_encode(node) + "/" + rest;
}

std::string create_form(const CreateNode& order) {
  std::vector<std::pair<std::string, std::string>> fields{
      {"name", order.node.text},
      {"executors", "1"},
      {"remoteFsRoot", order.remote_fs.empty() ? "." : order.remote_fs},
      {"labels", order.labels},
      {"mode", order.takes_unlabelled ? "NORMAL" : "EXCLUSIVE"},
      {"deleteExistingClients", order.is_recreation ? "true" : "false"},
      {"keepDisconnectedClients", "false"}};
  if (!order.description.empty()) fields.emplace_back("description", order.description);
  return http::form_encode(fields);
}

std::string close_form(const std::string& reason) {
  return http::form_encode({{"offlineMessage", offline_message(reason)}});
}

std::optional<std::string> without_offline_cause(std::string_view config) {
  constexpr std::string_view opening = "<temporaryOfflineCause", closing = "</temporaryOfflineCause>";
  const std::size_t start = config.find(opening);
  if (start == std::string_view::npos) return std::nullopt;
  const std::size_t tag_end = config.find('>', start);
  if (tag_end == std::string_view::npos) return std::nullopt;
  std::size_t end = tag_end + 1;
  if (config[tag_end - 1] != '/') {
    end = config.find(closing, tag_end);
    if (end == std::string_view::npos) return std::nullopt;
    end += closing.size();
  }
  std::string out(config.substr(0, start));
  out += config.substr(end);
  return out;
}

}  // namespace skep::scheduler
