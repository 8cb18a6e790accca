#include "tests/contract/controller_sim/stage.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <regex>

#include "common/json/json.h"
#include "tests/contract/support/base64.h"

namespace skep::controller_sim {
namespace {

constexpr std::int64_t first_wall_ms = 1'795'402'274'000;

/// "" for nobody.
std::string authorization(const std::string& as) {
  if (as == "none") return "";
  const std::string account = as == "token of skep" ? "skep:skep-token"
                              : as == "token"       ? "admin:admin-token"
                              : as == "password"    ? "admin:admin-password"
                              : as == "wrong token" ? "admin:wrong"
                                                    : "";
  INFO("the recording authenticates as \"" << as << "\"");
  REQUIRE_FALSE(account.empty());
  return "Basic " + recordings::base64(account);
}

Options options_of(const std::string& core, const std::string& root_url) {
  Options options;
  options.core_version = core;
  options.root_url = root_url;
  options.users = {{"admin", "admin-token", "admin-password", {"Overall/Administer"}},
                   {"skep", "skep-token", "skep-password", {}}};
  // Where a recording saw t0..t1, its table stops there; elsewhere it was shorter than what lay between two
  // requests.
  options.assignment_least = options.assignment_most = milliseconds(1);
  return options;
}

}  // namespace

Stage::Stage(const std::string& core, const std::string& root_url)
    : core_(core), model_(options_of(core, root_url), now_, WallTime{first_wall_ms}) {}

std::int64_t Stage::wall_ms() const {
  return first_wall_ms + to_ms(now_ - start_);
}

void Stage::pass_to(std::int64_t at_ms) {
  const Instant due = start_ + milliseconds(at_ms) + late_;
  if (due > now_) {
    advance(due);
  } else {
    late_ += now_ - due;
  }
}

void Stage::pass(Duration time) {
  advance(now_ + time);
}

void Stage::until(const std::string& what, const std::function<bool()>& condition, Duration limit) {
  const Instant end = now_ + limit;
  while (!condition()) {
    INFO(what);
    REQUIRE(now_ < end);
    advance(now_ + milliseconds(1));
  }
}

void Stage::advance(Instant until) {
  obey();
  while (true) {
    Instant next = until;
    if (const auto deadline = model_.next_deadline()) next = std::min(next, *deadline);
    for (const auto& [id, build] : builds_) next = std::min(next, build.end);
    now_ = std::max(now_, next);
    for (auto build = builds_.begin(); build != builds_.end();) {
      if (build->second.end > now_) {
        ++build;
        continue;
      }
      model_.build_finished_on_agent(build->second.node, build->first, now_);
      build = builds_.erase(build);
    }
    model_.advance(now_);
    obey();
    if (now_ >= until) return;
  }
}

/// Agents run what they are told, and end when the controller closes their channel.
void Stage::obey() {
  for (auto& [id, reply] : model_.take_finished_replies()) finished_.emplace(id, std::move(reply));
  for (const AgentCommand& command : model_.take_agent_commands()) {
    switch (command.kind) {
      case AgentCommandKind::run_build:
        builds_[command.build] = {command.agent, now_ + command.duration};
        break;
      case AgentCommandKind::resume_build:  // it went on meanwhile
        if (builds_.count(command.build) == 0)
          builds_[command.build] = {command.agent, now_ + command.duration};
        break;
      case AgentCommandKind::stop_build:
        builds_.erase(command.build);
        break;
      case AgentCommandKind::close_channel:
        agents_.erase(command.agent);
        break;
    }
  }
}

HttpReply Stage::send(const std::string& as, const std::string& method, const std::string& target,
                      const std::string& body, const HeaderList& headers) {
  HttpRequest request{method, target, headers, body};
  if (const std::string account = authorization(as); !account.empty())
    request.headers.emplace_back("Authorization", account);
  HttpReply reply = model_.handle(request, now_, WallTime{wall_ms()});
  obey();
  if (target.find("crumbIssuer") != std::string::npos) remember_session(reply);
  return reply;
}

void Stage::remember_session(const HttpReply& reply) {
  for (const auto& [name, value] : reply.headers) {
    if (name == "Set-Cookie" && value.rfind("JSESSIONID", 0) == 0) cookie_ = value.substr(0, value.find(';'));
  }
  std::smatch found;
  if (std::regex_search(reply.body, found, std::regex("[0-9a-f]{64}"))) crumb_ = found.str();
}

HttpReply Stage::finished(std::uint64_t parked) {
  until("the answer that had to wait", [&] { return finished_.count(parked) == 1; });
  HttpReply reply = std::move(finished_.at(parked));
  finished_.erase(parked);
  return reply;
}

void Stage::log_in(const std::string& user, const std::string& password) {
  const HttpReply reply =
      send("none", "POST", "/j_spring_security_check", "j_username=" + user + "&j_password=" + password,
           {{"Content-Type", "application/x-www-form-urlencoded"}});
  REQUIRE(reply.status == 302);
  remember_session(reply);
}

HttpReply Stage::order(const std::string& target, const std::string& body) {
  const HttpReply reply = send("token", "POST", target, body,
                               {{"Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"}});
  INFO("POST " << target << " " << body << " -> " << reply.status);
  REQUIRE(reply.status < 400);
  return reply;
}

void Stage::job(const std::string& path, const std::string& label, Duration duration) {
  JobSpec spec;
  spec.path = path;
  spec.label = label;
  spec.duration = duration;
  spec.concurrent = true;
  model_.create_job(spec);
}

std::int64_t Stage::schedule(const std::string& path) {
  const auto id = model_.schedule(path, now_, {{"NUMBER", std::to_string(++scheduled_)}});
  INFO(path);
  REQUIRE(id.has_value());
  return *id;
}

std::int64_t Stage::press(const std::string& path, std::optional<Duration> quiet) {
  const auto id = model_.schedule(path, now_, {}, quiet);
  INFO(path);
  REQUIRE(id.has_value());
  queued_.push_back(*id);
  return *id;
}

void Stage::renew_items(const std::vector<std::string>& jobs) {
  for (const std::int64_t id : queued_) order("/queue/cancelItem", "id=" + std::to_string(id));
  queued_.clear();
  for (const std::string& job : jobs) press(job);
}

void Stage::sentinel() {
  model_.create_permanent_node("skep-sentinel", "", true, 1, now_);
}

void Stage::create_node(const std::string& name, const std::string& labels) {
  order("/plugin/swarm/createSlave",
        "name=" + name + "&executors=1&remoteFsRoot=%2Fhome%2Fagent&labels=" + labels + "&mode=EXCLUSIVE");
}

void Stage::connect(const std::string& node) {
  INFO("agent of " << node);
  const ConnectResult result = model_.agent_connect(node, model_.secret_of(node), now_);
  REQUIRE(result.status == 101);
  agents_[node] = result.connection;
  until("the agent is connected", [&] { return model_.agent_online(node); });
}

void Stage::kill_agent(const std::string& node) {
  INFO("agent of " << node);
  REQUIRE(agents_.count(node) == 1);
  std::erase_if(builds_, [&](const auto& entry) { return entry.second.node == node; });
  model_.agent_disconnect(node, now_, agents_[node]);
  agents_.erase(node);
  obey();
}

bool Stage::is_assigned(const std::string& node) {
  const HttpReply reply = send("token", "GET", "/computer/" + node + "/api/json?tree=idle");
  return reply.status == 200 && json::parse_strict(reply.body)->at("idle") == false;
}

bool Stage::is_running(const std::string& node) {
  const auto& builds = model_.builds();
  return std::any_of(builds.begin(), builds.end(), [&](const BuildRecord& build) {
    return build.node == node && build.started_at && !build.ended_at;
  });
}

}  // namespace skep::controller_sim
