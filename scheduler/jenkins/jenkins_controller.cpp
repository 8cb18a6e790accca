#include "scheduler/jenkins/jenkins_controller.h"

#include <algorithm>
#include <chrono>
#include <string_view>

#include "scheduler/jenkins/answers.h"
#include "scheduler/jenkins/requests.h"
#include "scheduler/jenkins/scripts.h"
#include "scheduler/jenkins/texts.h"

namespace skep::scheduler {
namespace {

// Square brackets are percent-encoded: proxies refuse bare ones.
const char* const queue_target =
    "queue/api/"
    "json?tree=items%5Bid,inQueueSince,blocked,buildable,pending,stuck,buildableStartMilliseconds,timestamp,"
    "why,"
    "task%5Bname,fullDisplayName,url,labelExpression%5D%5D";
const char* const node_fields =
    "displayName,offline,temporarilyOffline,offlineCauseReason,absoluteRemotePath,idle,numExecutors,"
    "executors%5Bnumber,idle,currentExecutable%5Bnumber,url%5D%5D";

/// A read that got no answer at all: whatever the reason, nothing is known.
Error unanswered(Error error, const std::string& what) {
  error.outcome = Outcome::unknown;
  error.message = what + ": " + error.message;
  return error;
}

Error left_alone(const std::string& what, const NodeFact& node) {
  return Error::failed(ErrorCode::conflict, what + ": somebody else set it offline (" +
                                                node.offline_reason.substr(0, 100) + "); it is left alone");
}

bool has_line(std::string_view text, std::string_view wanted) {
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line == wanted) return true;
  }
  return false;
}

}  // namespace

JenkinsController::JenkinsController(ControllerConfig config, std::string farm,
                                     std::unique_ptr<http::Client> client)
    : config_(std::move(config)), throw_away_prefix_(throw_away_prefix(farm)), client_(std::move(client)) {
  // Names are never used twice, not even by the scheduler that is started after this one.
  const auto ticks = std::chrono::system_clock::now().time_since_epoch() / std::chrono::microseconds(1);
  throw_away_salt_ = std::to_string(ticks);
}

std::string JenkinsController::session() const {
  const std::lock_guard<std::mutex> guard(lock_);
  return session_;
}

Result<http::Reply> JenkinsController::send(http::Request request, std::optional<Duration> total_timeout) {
  request.headers.emplace_back("Accept-Language",
                               "en");  // texts are formatted in the language of the request
  auto reply = client_->call(request, total_timeout);
  if (!reply) return reply;
  const std::string session = http::header_value(reply->headers, "X-Jenkins-Session");
  if (!session.empty()) {
    const std::lock_guard<std::mutex> guard(lock_);
    if (session != session_) {
      labels_.forget();
      if (!session_.empty()) companion_.forget_session();
    }
    session_ = session;
  }
  return reply;
}

Result<http::Reply> JenkinsController::get(const std::string& target) {
  http::Request request;
  request.target = target;
  return send(std::move(request));
}

Result<http::Reply> JenkinsController::post(const std::string& target, const std::string& body,
                                            const std::string& content_type, bool is_repeatable) {
  http::Request request;
  request.method = "POST";
  request.target = target;
  request.body = body;
  request.content_type = content_type;
  request.is_repeatable = is_repeatable;
  return send(std::move(request));
}

Result<http::Reply> JenkinsController::post_repeatable(const std::string& target, const std::string& body) {
  return post(target, body, form_type, true);
}

Result<http::Reply> JenkinsController::read_json(const std::string& target, const std::string& what) {
  auto reply = get(target);
  if (!reply) return unanswered(reply.error(), what);
  if (auto checked = check_json(*reply, what); !checked) return checked.error();
  return reply;
}

Result<QueueSnapshot> JenkinsController::read_queue() {
  LabelMemory::Before before;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    before = labels_.before();
  }
  const auto reply = read_json(queue_target, "reading the queue");
  if (!reply) return reply.error();
  auto items = parse_queue_reply(reply->body);
  if (!items) return items.error();
  const ScriptLabels scripted = labels_by_script(*items);
  {
    const std::lock_guard<std::mutex> guard(lock_);
    labels_.settle(*items, scripted, before);
  }
  QueueSnapshot snapshot;
  snapshot.items = std::move(*items);
  for (const QueueItem& item : snapshot.items) {
    snapshot.is_quieting_down =
        snapshot.is_quieting_down || item.why.starts_with("Jenkins is about to shut down");
  }
  if (!config_.companion) return snapshot;
  const std::lock_guard<std::mutex> guard(lock_);
  companion_.note_read(snapshot);
  return snapshot;
}

/// One call for all items whose label no script has told yet; nothing when the account may not, or it fails:
/// the other sources remain.
ScriptLabels JenkinsController::labels_by_script(const std::vector<QueueItem>& items) {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (!can_script_) return {};
    const bool is_needed = std::any_of(items.begin(), items.end(),
                                       [this](const QueueItem& item) { return labels_.wants_script(item); });
    if (!is_needed) return {};
  }
  const auto output = run_script(label_listing_script, label_listing_marker, "reading labels by script");
  if (!output) return {};
  auto labels = parse_label_listing(*output);
  return labels ? std::move(*labels) : ScriptLabels{};
}

Result<NodesSnapshot> JenkinsController::read_nodes() {
  std::uint64_t created_before = 0;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    created_before = labels_.creations();
  }
  const auto reply = read_json(
      std::string("computer/api/json?tree=computer%5B") + node_fields + ",assignedLabels%5Bname%5D%5D",
      "reading the nodes");
  if (!reply) return reply.error();
  auto list = parse_nodes_reply(reply->body);
  if (!list) return list.error();
  std::vector<std::string> names;
  names.reserve(list->snapshot.nodes.size());
  for (const NodeFact& node : list->snapshot.nodes) names.push_back(node.name);
  const std::lock_guard<std::mutex> guard(lock_);
  labels_.note_nodes(std::move(names), list->has_agents, created_before);
  return std::move(list->snapshot);
}

Result<std::optional<NodeFact>> JenkinsController::poll_node(const std::string& node) {
  const std::string what = "looking at node " + node;
  auto reply = get(node_target(node, std::string("api/json?tree=") + node_fields));
  if (!reply) return unanswered(reply.error(), what);
  if (is_absent(*reply)) return std::optional<NodeFact>();
  if (auto checked = check_json(*reply, what); !checked) return checked.error();
  auto fact = parse_node_reply(reply->body, node);
  if (!fact) return fact.error();
  return std::optional<NodeFact>(std::move(*fact));
}

Result<std::string> JenkinsController::create_node(const CreateNode& order) {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    labels_.note_creation(order.node.text);
  }
  const auto reply = post(create_target, create_form(order), form_type);
  if (!reply) return reply.error();
  return read_created(*reply, order.node.text);
}

Result<void> JenkinsController::close_gate(const std::string& node, const std::string& reason) {
  const std::string what = "closing the gate of node " + node;
  const auto reply = post_repeatable(node_target(node, "changeOfflineCause"), close_form(reason));
  if (!reply) return reply.error();
  if (reply->status == 500) {
    // The answer for a Computer whose node is deleted already.
    const auto fact = poll_node(node);
    if (fact && (!*fact || (*fact)->executor_count == 0)) return {};
  }
  return check_node_order(*reply, what);
}

Result<Opening> JenkinsController::open_gate(const std::string& node) {
  const std::string what = "opening the gate of node " + node;
  auto fact = poll_node(node);
  if (!fact) return fact.error();
  if (!*fact) return Error::failed(ErrorCode::not_found, what + ": the node does not exist");
  KickMeans means;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    means = kick_;
  }
  const bool was_open = !(*fact)->is_temporarily_offline;
  if (!was_open) {
    if (!(*fact)->offline_reason.starts_with(our_offline_prefix)) return left_alone(what, **fact);
    if (means == KickMeans::config_xml) {
      const auto opened = open_by_config(node, (*fact)->offline_reason, what);
      if (!opened) return opened.error();
      if (*opened) return Opening{true, false};
    }
    if (auto opened = toggle_open(node, what); !opened) return opened.error();
  }
  return Opening{means == KickMeans::config_xml && kick_by_config(node), was_open};
}

/// toggleOffline flips: it is never sent again before the node was looked at.
Result<void> JenkinsController::toggle_open(const std::string& node, const std::string& what) {
  const auto reply = post(node_target(node, "toggleOffline"), "offlineMessage=", form_type);
  auto opened = reply ? check_node_order(*reply, what) : Result<void>(reply.error());
  if (opened || opened.error().outcome != Outcome::unknown) return opened;
  const auto fact = poll_node(node);
  if (!fact) return opened;
  if (!*fact) return Error::failed(ErrorCode::not_found, what + ": the node does not exist any more");
  if (!(*fact)->is_temporarily_offline) return {};
  return Error::try_again(ErrorCode::unavailable,
                          what + ": it is still closed after " + opened.error().message);
}

/// Cores from 2.482 on keep the offline flag in the node: its configuration, posted back without the flag,
/// opens the gate and kicks at once. Older cores write the flag into the configuration, too, but never read
/// it from there (recording 08 of 2.479.3): only the node itself tells. False: toggle instead.
Result<bool> JenkinsController::open_by_config(const std::string& node, const std::string& closed_as,
                                               const std::string& what) {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (!config_opens_) return false;
  }
  const auto config = get(node_target(node, "config.xml"));
  if (!config || config->status != 200) return false;
  const auto opened_config = without_offline_cause(config->body);
  if (!opened_config) return false;
  const auto reply = post(node_target(node, "config.xml"), *opened_config, xml_type);
  const bool is_acknowledged = reply && reply->status == 200;
  if (reply && !is_acknowledged && reply->status < 500) return false;
  const auto fact = poll_node(node);
  if (fact && *fact && !(*fact)->is_temporarily_offline) return true;
  if (!is_acknowledged) return reply ? error_of(*reply, what, Asked::order) : reply.error();
  if (!fact) return fact.error();
  if (!*fact) return Error::failed(ErrorCode::not_found, what + ": the node does not exist any more");
  if (!(*fact)->offline_reason.starts_with(our_offline_prefix)) return left_alone(what, **fact);
  // It was open, took its build and was closed again: once is enough.
  if (!(*fact)->is_idle || (*fact)->offline_reason != closed_as) return true;
  const std::lock_guard<std::mutex> guard(lock_);
  config_opens_ = false;  // until the next profile
  return false;
}

Result<void> JenkinsController::kick() {
  KickMeans means;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    means = kick_;
  }
  if (means == KickMeans::script && run_script(kick_script, kick_marker, "kicking the queue")) return {};
  return kick_by_other_node();
}

/// The node's own configuration, read AFTER opening and posted back unchanged: what was read before would
/// close it again. A part of the opening, since a close in between would be undone.
bool JenkinsController::kick_by_config(const std::string& opened) {
  const auto config = get(node_target(opened, "config.xml"));
  if (!config || config->status != 200 || without_offline_cause(config->body)) return false;
  const auto reply = post(node_target(opened, "config.xml"), config->body, xml_type);
  return reply && reply->status == 200;
}

Result<void> JenkinsController::kick_by_other_node() {
  const CreateNode order = next_throw_away();
  const auto created = create_node(order);
  if (created || created.error().outcome == Outcome::unknown) dispose(order.node.text);
  if (!created) return created.error();
  return {};
}

CreateNode JenkinsController::next_throw_away() {
  const std::lock_guard<std::mutex> guard(lock_);
  return throw_away_order(throw_away_prefix_ + throw_away_salt_ + "-" + std::to_string(++throw_aways_));
}

void JenkinsController::dispose(const std::string& throw_away) {
  const bool is_gone = delete_node(throw_away).has_value();
  if (is_gone) return dispose_left_overs();
  const std::lock_guard<std::mutex> guard(lock_);
  left_overs_.insert(throw_away);
}

void JenkinsController::dispose_left_overs() {
  std::set<std::string> names;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    names.swap(left_overs_);  // so that nobody else deletes them, too
  }
  for (const std::string& name : names) {
    if (delete_node(name)) continue;
    const std::lock_guard<std::mutex> guard(lock_);
    left_overs_.insert(name);
  }
}

Result<void> JenkinsController::delete_node(const std::string& node) {
  const auto reply = post_repeatable(node_target(node, "doDelete"), "");
  if (!reply) return reply.error();
  if (is_absent(*reply)) return {};
  return check_node_order(*reply, "deleting node " + node);
}

Result<std::string> JenkinsController::run_script(const std::string& script, std::string_view marker,
                                                  const std::string& what) {
  const auto reply = post_repeatable("scriptText", http::form_encode({{"script", script}}));
  if (!reply) return reply.error();
  if (reply->status != 200) {
    Error error = error_of(*reply, what, Asked::order);
    if (error.code == ErrorCode::permission_denied) {
      const std::lock_guard<std::mutex> guard(lock_);
      can_script_ = false;  // until the next profile
    }
    return error;
  }
  // 200 is also the answer for a script that throws or does not compile; a compiler may quote the line of the
  // marker.
  if (!has_line(reply->body, marker)) {
    return Error::failed(ErrorCode::malformed_reply,
                         what + ": the script did not run to its end: " +
                             reply->body.substr(0, std::min<std::size_t>(reply->body.find('\n'), 160)));
  }
  return reply->body;
}

}  // namespace skep::scheduler
