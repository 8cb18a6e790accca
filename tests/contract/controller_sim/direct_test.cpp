// DirectCalls against the real adapter over HTTP: two controllers of one seed live the same random life, and
// each call is made to one of them directly and to the other by JenkinsController, its requests answered by
// ControllerModel::handle() in the same process.
//
// All requests of one call happen at one instant on both sides, so nothing is different because a request
// took time. What is left out of the comparison, because it is different by design: the texts of errors and
// warnings, QueueItem::why where DirectCalls leaves it empty, and the part of a throw-away node's name that
// keeps schedulers apart, which the adapter takes from a clock.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/http/http_client.h"
#include "core/prng.h"
#include "scheduler/jenkins/jenkins_controller.h"
#include "simulation/controller/direct.h"
#include "tests/contract/support/base64.h"

namespace skep::controller_sim::direct_test {
namespace {

using namespace scheduler;
using Permissions = std::set<std::string, std::less<>>;

constexpr std::int64_t first_wall_ms = 1'795'402'274'000;
const Permissions least_rights{"Overall/Read",     "Agent/Create",  "Agent/Delete",
                               "Agent/Disconnect", "Agent/Connect", "Job/Read"};
const std::vector<std::string> all_rights{"Overall/Read",    "Agent/Create",      "Agent/Delete",
                                          "Agent/Configure", "Agent/Disconnect",  "Agent/Connect",
                                          "Job/Read",        "Overall/Administer"};
const std::vector<std::string> labels{"",    " ",       "linux",    "linux && x86", "!windows",
                                      "a b", "\"a b\"", "linux ||", "x86||arm",     "absent",
                                      "n1",  "arm",     "built-in", "swarm",        "n2 || linux"};

/// Requests that reach the model at the instant that the test has come to.
class InstantClient : public http::Client {
 public:
  InstantClient(ControllerModel& model, const Instant& now) : model_(model), now_(now) {}

  Result<http::Reply> call(const http::Request& request, std::optional<Duration>) override {
    HttpRequest sent{request.method, "/" + request.target, request.headers, request.body};
    sent.headers.emplace_back("Authorization", "Basic " + recordings::base64("skep:skep-token"));
    if (!request.content_type.empty()) sent.headers.emplace_back("Content-Type", request.content_type);
    HttpReply reply = model_.handle(sent, now_, WallTime{first_wall_ms + to_ms(now_.time_since_epoch())});
    if (!model_.listening()) return Error::try_again(ErrorCode::unavailable, "connection refused");
    http::Reply answer;
    answer.status = reply.status;
    answer.headers = std::move(reply.headers);
    answer.body = std::move(reply.body);
    return answer;
  }
  void cancel() override {}

 private:
  ControllerModel& model_;
  const Instant& now_;
};

/// Throw-away names with what they have in common only.
std::string plain(std::string text) {
  constexpr std::string_view kick = "farm-kick-";
  for (std::size_t at = text.find(kick); at != std::string::npos; at = text.find(kick, at + 1)) {
    const std::size_t digits = at + kick.size();
    text.erase(digits, text.find_first_not_of("0123456789", digits) - digits);
  }
  return text;
}

std::string words_of(const std::vector<std::string>& words) {
  std::string out = "[";
  for (const std::string& word : words) out += plain(word) + "; ";
  return out + "]";
}

std::string told(const NodeFact& node) {
  std::vector<std::string> its_labels = node.labels;
  // Which of them comes first hangs on the hash of the whole name.
  if (node.name.find("-kick-") != std::string::npos) std::sort(its_labels.begin(), its_labels.end());
  return plain(node.name) + (node.is_offline ? " offline" : " online") +
         (node.is_temporarily_offline ? " closed (" : " open (") + node.offline_reason + ")" +
         (node.is_connected ? " connected" : "") + (node.is_idle ? " idle" : " busy") + " executors " +
         std::to_string(node.executor_count) + " builds " + words_of(node.builds) + " labels " +
         words_of(its_labels) + "\n";
}

std::string told(const std::optional<NodeFact>& node) {
  return node ? told(*node) : "absent\n";
}

std::string told(const NodesSnapshot& nodes) {
  std::string out;
  for (const NodeFact& node : nodes.nodes) out += told(node);
  return out;
}

std::string told(const std::optional<WallTime>& time) {
  return time ? std::to_string(time->ms_since_epoch) : "-";
}

std::string told(const QueueItem& item) {
  return std::to_string(item.id) + " " + item.name + " " + item.path +
         (item.is_pipeline_block ? " block " : " ") + std::string(to_string(item.stage)) + " label " +
         std::string(to_string(item.label_source)) + " " +
         (item.label ? "<" + plain(*item.label) + ">" : "none") + (item.is_flow ? " flow" : "") + " node <" +
         plain(item.matching_node) + "> " + (item.is_stopping ? "stopping " : "") +
         told(std::optional<WallTime>(item.in_queue_since)) + " " + told(item.buildable_since) + " " +
         told(item.quiet_until) + "\n";
}

std::string told(const QueueSnapshot& queue) {
  std::string out = queue.is_quieting_down ? "quieting down\n" : "";
  for (const QueueItem& item : queue.items) out += told(item);
  return out;
}

/// Without times: the adapter takes them from a clock where no read told them.
std::string told(const CompanionAnswer& answer) {
  std::string out = answer.is_base ? "base\n" : "news\n";
  CompanionAnswer timeless = answer;
  for (QueueItem& item : timeless.queue.items) {
    item.in_queue_since = {};
    item.buildable_since.reset();
  }
  for (const NodeNews& news : answer.nodes)
    out += std::to_string(static_cast<int>(news.kind)) + " " + plain(news.node) + " " + news.path + "\n";
  return out + told(timeless.queue);
}

std::string told(const ControllerProfile& profile) {
  return profile.version + " " + profile.session + " " + std::string(to_string(profile.one_build)) +
         " kick " + profile.kick + (profile.can_script ? " scripts" : "") + " missing " +
         words_of(profile.missing_permissions) + " extra " + words_of(profile.extra_permissions) +
         " warnings " + std::to_string(profile.warnings.size());
}

std::string told(const std::string& text) {
  return text;
}
std::string told(const Opening& opening) {
  return std::string(opening.has_kicked ? "kicked" : "not kicked") + (opening.was_open ? ", was open" : "");
}

template <typename T>
std::string told(const Result<T>& result) {
  if (result) {
    if constexpr (std::is_void_v<T>) {
      return "done";
    } else {
      return told(*result);
    }
  }
  return std::string("error ") + to_string(result.error().code) + ", " + to_string(result.error().outcome);
}

std::string told(const std::deque<BuildRecord>& builds) {
  const auto at = [](const std::optional<Instant>& time) {
    return time ? std::to_string(time->time_since_epoch().count()) : std::string("-");
  };
  std::string out;
  for (const BuildRecord& build : builds) {
    out += std::to_string(build.id) + " " + build.job + " #" + std::to_string(build.number) + "." +
           std::to_string(build.block) + " item " + std::to_string(build.queue_id) + " on " + build.node +
           " " + at(build.queued_at) + " " + at(build.buildable_at) + " " + at(build.assigned_at) + " " +
           at(build.started_at) + " " + at(build.ended_at) + " " + build.result + " resumed " +
           std::to_string(build.resumed) + "\n";
  }
  return out;
}

class TwoLives {
 public:
  explicit TwoLives(std::uint64_t seed)
      : dice_(seed),
        options_(options(seed, dice_)),
        asked_(options_, now_, WallTime{first_wall_ms}),
        told_(options_, now_, WallTime{first_wall_ms}) {
    start_schedulers();
    if (dice_.chance(1, 2))
      both([](ControllerModel& model, Instant now) {
        model.create_permanent_node("skep-sentinel", "", true, 1, now);
      });
  }

  void step() {
    now_ += milliseconds(dice_.chance(1, 4) ? 0 : dice_.between(0, dice_.chance(1, 20) ? 400'000 : 900));
    if (dice_.chance(1, 6)) {
      ask_companion();
    } else if (dice_.chance(3, 5)) {
      call();
    } else {
      happen();
    }
    deliver();
    REQUIRE(direct_->session() == adapter_->session());
  }

  void compare_ends() {
    both([](ControllerModel& model, Instant now) { model.advance(now); });
    CHECK(told(asked_.builds()) == told(told_.builds()));
    CHECK(asked_.take_changed_builds() == told_.take_changed_builds());
    CHECK(asked_.queue_length() == told_.queue_length());
    CHECK(words_of(asked_.node_names()) == words_of(told_.node_names()));
    CHECK(asked_.next_deadline() == told_.next_deadline());
    for (const std::string& node : told_.node_names()) {
      if (node.find("-kick-") != std::string::npos) return;  // stands at another place among the others
    }
    const Permissions everything{"Overall/Administer"};
    both([&](ControllerModel& model, Instant) { model.set_permissions("skep", everything); });
    for (const std::string target :
         {"queue/api/json?depth=1", "computer/api/json?depth=2", "api/json?depth=2"})
      CHECK(page(asked_, target) == page(told_, target));
  }

  std::size_t queue_items = 0, nodes_seen = 0, labels_by_why = 0, errors = 0, openings = 0;
  std::size_t bases = 0, node_news = 0;
  std::size_t builds() const { return told_.builds().size(); }

 private:
  static Options options(std::uint64_t seed, Prng& dice) {
    Options made;
    made.seed = seed;
    if (dice.chance(1, 2)) made.core_version = "2.528.3";
    made.users = {{"admin", "admin-token", "", {"Overall/Administer"}},
                  {"skep", "skep-token", "", least_rights}};
    if (dice.chance(1, 3)) made.users[1].permissions = {"Overall/Administer"};
    if (dice.chance(1, 3)) made.users[1].permissions.insert("Agent/Configure");
    if (dice.chance(1, 4)) made.built_in_executors = 2;
    if (dice.chance(1, 3)) made.runs_kept = 2;
    if (dice.chance(1, 4)) made.default_quiet_period = seconds(5);
    return made;
  }

  std::string page(ControllerModel& model, const std::string& target) {
    InstantClient client(model, now_);
    http::Request request;
    request.target = target;
    const auto reply = client.call(request, std::nullopt);
    return reply ? std::to_string(reply->status) + " " + reply->body : "no answer";
  }

  template <typename Do>
  void both(Do what) {
    what(asked_, now_);
    what(told_, now_);
  }

  void start_schedulers() {
    ControllerConfig config;
    config.name = ControllerId("ci");
    config.companion = true;
    const auto means = dice_.below(6);
    config.one_build = means == 0   ? ControllerConfig::OneBuild::hook
                       : means == 1 ? ControllerConfig::OneBuild::gate
                                    : ControllerConfig::OneBuild::automatic;
    adapter_ =
        std::make_unique<JenkinsController>(config, "farm", std::make_unique<InstantClient>(asked_, now_));
    direct_ = std::make_unique<DirectCalls>(told_, config, "farm", "skep");
    compare("profile", adapter_->profile(), direct_->profile(now_));
  }

  /// True: both succeeded.
  template <typename T>
  bool compare(const std::string& what, const Result<T>& by_http, const Result<T>& direct) {
    INFO("at " << to_ms(now_.time_since_epoch()) << " ms: " << what);
    if (!direct) ++errors;
    if (!by_http) UNSCOPED_INFO(by_http.error().message);
    if (!direct) UNSCOPED_INFO(direct.error().message);
    REQUIRE(told(by_http) == told(direct));
    return direct.has_value();
  }

  std::string any_node() {
    const auto names = told_.node_names();
    if (!names.empty() && dice_.chance(5, 6)) {
      const std::string& name = names[dice_.below(names.size())];
      if (name.find("-kick-") == std::string::npos) return name;
    }
    if (dice_.chance(1, 12)) return "(built-in)";
    return "n" + std::to_string(dice_.below(12));
  }
  const std::string& any_label() { return labels[dice_.below(labels.size())]; }
  std::string any_job() {
    static const std::vector<std::string> names{"app",  "folder/app", "team a/tool", "flow",
                                                "many", "wide",       "slow",        "other"};
    return names[dice_.below(names.size())];
  }

  void call() {
    const auto kind = dice_.below(100);
    if (kind < 30) return read_queue();
    if (kind < 50) {
      const auto nodes = direct_->read_nodes(now_);
      if (compare("nodes", adapter_->read_nodes(), nodes)) nodes_seen += nodes->nodes.size();
      return;
    }
    const std::string node = any_node();
    if (kind < 60) {
      compare("poll " + node, adapter_->poll_node(node), direct_->poll_node(node, now_));
    } else if (kind < 72) {
      create(node);
    } else if (kind < 80) {
      const std::string reason = dice_.chance(1, 3) ? "skep: gate" : "gate & <co>";
      compare("close " + node, adapter_->close_gate(node, reason), direct_->close_gate(node, reason, now_));
    } else if (kind < 91) {
      if (compare("open " + node, adapter_->open_gate(node), direct_->open_gate(node, now_))) ++openings;
    } else if (kind < 94) {
      compare("kick", adapter_->kick(), direct_->kick(now_));
    } else if (kind < 97) {
      compare("delete " + node, adapter_->delete_node(node), direct_->delete_node(node, now_));
    } else if (kind < 99) {
      compare("profile", adapter_->profile(), direct_->profile(now_));
    } else {
      start_schedulers();
    }
  }

  void ask_companion() {
    const auto kind = dice_.below(30);
    if (kind == 0) {
      adapter_->rebase_companion();
      direct_->rebase_companion();
    } else if (kind == 1) {
      compare("remove companion", adapter_->remove_companion(), direct_->remove_companion(now_));
    } else if (kind < 5) {
      const FaultKind fault = kind == 2   ? FaultKind::companion_absent
                              : kind == 3 ? FaultKind::companion_overflow
                                          : FaultKind::companion_other_version;
      both([&](ControllerModel& model, Instant now) { model.befall_companion(fault, 0, now); });
    }
    const bool has_news = direct_->has_companion_news(now_);
    const auto direct = direct_->ask_companion(now_);
    if (!compare("companion", adapter_->ask_companion(Duration::zero()), direct)) return;
    REQUIRE((has_news || (!direct->is_base && direct->nodes.empty())));
    REQUIRE_FALSE(direct_->has_companion_news(now_));
    bases += direct->is_base ? 1 : 0;
    node_news += direct->nodes.size();
  }

  void read_queue() {
    const auto by_http = adapter_->read_queue();
    const auto direct = direct_->read_queue(now_);
    compare("queue", by_http, direct);
    if (!direct) return;
    queue_items += direct->items.size();
    for (std::size_t i = 0; i < direct->items.size(); ++i) {
      const QueueItem& item = direct->items[i];
      if (item.label_source == LabelSource::why && item.is_pipeline_block) ++labels_by_why;
      if (!item.why.empty()) REQUIRE(plain(item.why) == plain(by_http->items[i].why));
      const bool is_read = item.stage == ItemStage::blocked || item.label_source == LabelSource::unresolved;
      const bool is_offered = item.stage == ItemStage::buildable || item.stage == ItemStage::pending;
      if (is_read && (is_offered || item.stage == ItemStage::blocked)) REQUIRE_FALSE(item.why.empty());
    }
  }

  void create(const std::string& node) {
    CreateNode order;
    static const std::vector<std::string> bad_names{"", "a/b", "ends.", "a:b", ".", "n\tn", "\xC3\xA4rger"};
    order.node = ExecutorId(dice_.chance(1, 15) ? bad_names[dice_.below(bad_names.size())] : node);
    if (dice_.chance(1, 60)) order.node = ExecutorId(std::string(256, 'n'));
    static const std::vector<std::string> words{"", "linux", "linux x86", "arm \"a b\"",
                                                "skep-one-build linux x86"};
    order.labels = words[dice_.below(words.size())];
    order.remote_fs = dice_.chance(1, 4) ? "" : "/home/agent <1>";
    order.description = dice_.chance(1, 2) ? "" : "made & sold";
    order.takes_unlabelled = dice_.chance(1, 2);
    order.is_recreation = dice_.chance(1, 4);
    compare("create " + order.node.text, adapter_->create_node(order), direct_->create_node(order, now_));
  }

  void happen() {
    const auto kind = dice_.below(100);
    if (kind < 20) {
      create_job();
    } else if (kind < 50) {
      const std::string path = any_job();
      const Parameters parameters{{"N", std::to_string(dice_.below(3))}};
      const auto quiet = dice_.chance(1, 8) ? std::optional<Duration>(seconds(3)) : std::nullopt;
      const auto first = asked_.schedule(path, now_, parameters, quiet);
      REQUIRE(told_.schedule(path, now_, parameters, quiet) == first);
    } else if (kind < 70) {
      const std::string node = any_node();
      const auto first = asked_.agent_connect(node, asked_.secret_of(node), now_);
      REQUIRE(told_.agent_connect(node, told_.secret_of(node), now_).message == first.message);
    } else if (kind < 74) {
      const std::string node = any_node();
      both([&](ControllerModel& model, Instant now) { model.agent_disconnect(node, now); });
    } else if (kind < 84) {
      finish_build();
    } else {
      intervene(dice_.below(100));
    }
  }

  /// What people do.
  void intervene(std::uint64_t kind) {
    const std::string path = any_job();
    const bool on = dice_.chance(1, 2);
    if (kind < 15) {
      both([&](ControllerModel& model, Instant now) { model.block_job(path, on, now); });
    } else if (kind < 30) {
      const auto number = static_cast<int>(dice_.between(1, 5));
      both([&](ControllerModel& model, Instant now) { model.stop_build(path, number, now); });
    } else if (kind < 40) {
      both([&](ControllerModel& model, Instant now) { model.delete_job(path, now); });
    } else if (kind < 55) {
      both([&](ControllerModel& model, Instant now) { model.set_quieting_down(on, now); });
    } else if (kind < 65) {
      const std::string name = "perm" + std::to_string(dice_.below(2)), words = any_label();
      const auto executors = static_cast<int>(dice_.between(1, 3));
      both([&](ControllerModel& model, Instant now) {
        model.create_permanent_node(name, words, on, executors, now);
      });
    } else if (kind < 85) {
      change_rights();
    } else {
      both([&](ControllerModel& model, Instant now) { model.restart(on, now); });
    }
  }

  void change_rights() {
    Permissions rights = least_rights;
    const auto kind = dice_.below(6);
    if (kind == 0) {
      rights.erase(all_rights[dice_.below(all_rights.size())]);
    } else if (kind == 1) {
      rights.clear();
      for (const std::string& right : all_rights) {
        if (right != "Overall/Administer" && dice_.chance(2, 3)) rights.insert(right);
      }
    } else if (kind < 4) {
      rights = {"Overall/Administer"};
    } else if (kind == 4) {
      rights.insert("Agent/Configure");
    }
    both([&](ControllerModel& model, Instant) { model.set_permissions("skep", rights); });
  }

  void create_job() {
    JobSpec spec;
    spec.path = any_job();
    spec.label = any_label();
    spec.concurrent = dice_.chance(1, 2);
    spec.empty_block = dice_.chance(1, 8);
    const bool is_pipeline = spec.path == "flow" || spec.path == "many" || spec.path == "wide";
    spec.kind = is_pipeline ? JobKind::pipeline : JobKind::freestyle;
    if (spec.path == "many" || spec.path == "wide") {
      spec.parallel = spec.path == "wide";
      for (int i = 0; i < 3; ++i)
        spec.blocks.push_back({any_label(), dice_.chance(1, 2) ? "stage " + std::to_string(i) : "",
                               seconds(1), "", dice_.chance(1, 5)});
    }
    both([&](ControllerModel& model, Instant) { model.create_job(spec); });
  }

  void finish_build() {
    if (running_.empty()) return;
    const auto chosen = running_.begin() + static_cast<std::ptrdiff_t>(dice_.below(running_.size()));
    const auto [node, build] = *chosen;
    running_.erase(chosen);
    REQUIRE(asked_.running_build_on(node) == told_.running_build_on(node));
    const bool is_good = dice_.chance(3, 4);
    both([&, node = node, build = build](ControllerModel& model, Instant now) {
      model.build_finished_on_agent(node, build, now, is_good);
    });
  }

  /// What both tell their agents.
  void deliver() {
    both([](ControllerModel& model, Instant now) { model.advance(now); });
    const auto commands = told_.take_agent_commands(), others = asked_.take_agent_commands();
    REQUIRE(commands.size() == others.size());
    for (std::size_t i = 0; i < commands.size(); ++i) {
      const AgentCommand& command = commands[i];
      REQUIRE(command.kind == others[i].kind);
      REQUIRE(command.agent == others[i].agent);
      REQUIRE(command.build == others[i].build);
      REQUIRE(command.connection == others[i].connection);
      REQUIRE(command.remote_fs == others[i].remote_fs);
      if (command.kind == AgentCommandKind::run_build || command.kind == AgentCommandKind::resume_build)
        running_.emplace_back(command.agent, command.build);
    }
  }

  Prng dice_;
  Instant now_{};
  Options options_;
  ControllerModel asked_;  // by HTTP
  ControllerModel told_;   // directly
  std::unique_ptr<JenkinsController> adapter_;
  std::unique_ptr<DirectCalls> direct_;
  std::vector<std::pair<std::string, std::uint64_t>> running_;
};

std::vector<std::uint64_t> seeds() {
  if (const char* replay = std::getenv("SKEP_SEED")) return {std::strtoull(replay, nullptr, 10)};
  std::vector<std::uint64_t> all;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) all.push_back(seed);
  return all;
}

}  // namespace

TEST_CASE("a direct call tells what the adapter reads over HTTP", "[direct]") {
  std::size_t items = 0, nodes = 0, by_why = 0, errors = 0, openings = 0, builds = 0;
  std::size_t bases = 0, node_news = 0;
  const auto chosen = seeds();
  for (const std::uint64_t seed : chosen) {
    INFO("replay: SKEP_SEED=" << seed << " contract_controller_direct '[direct]'");
    TwoLives lives(seed);
    for (int i = 0; i < 400; ++i) lives.step();
    lives.compare_ends();
    items += lives.queue_items;
    nodes += lives.nodes_seen;
    by_why += lives.labels_by_why;
    errors += lives.errors;
    openings += lives.openings;
    builds += lives.builds();
    bases += lives.bases;
    node_news += lives.node_news;
  }
  if (chosen.size() == 1) return;
  // A life in which nothing happens proves nothing.
  INFO(items << " items, " << nodes << " nodes, " << by_why << " labels from texts, " << errors << " errors, "
             << openings << " openings, " << builds << " builds, " << bases << " bases, " << node_news
             << " events of nodes");
  CHECK(items > 5'000);
  CHECK(nodes > 5'000);
  CHECK(by_why > 200);
  CHECK(errors > 500);
  CHECK(openings > 300);
  CHECK(builds > 500);
  CHECK(bases > 500);
  CHECK(node_news > 500);
}

}  // namespace skep::controller_sim::direct_test
