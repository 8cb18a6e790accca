// A stand-in controller in virtual time, with agents that do what they are told at once or when the test says
// so.
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "simulation/controller/controller_model.h"
#include "simulation/controller/text.h"

namespace skep::controller_sim {

inline std::string quoted_name(const std::string& name) {
  return "\xE2\x80\x98" + name + "\xE2\x80\x99";
}

inline std::string percent_encode_form(const std::string& text) {
  static constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += digits[byte >> 4U];
    out += digits[byte & 15U];
  }
  return out;
}

struct Farm {
  explicit Farm(std::string core = "2.479.3", std::vector<User> users = {})
      : options(make_options(std::move(core), std::move(users))),
        model(options, now, WallTime{1'795'402'274'000}) {}

  static Options make_options(std::string core, std::vector<User> users) {
    Options made;
    made.core_version = std::move(core);
    if (!users.empty()) made.users = std::move(users);
    return made;
  }

  HttpReply send(const std::string& method, const std::string& target, const std::string& body = {},
                 const std::string& type = "application/x-www-form-urlencoded; charset=UTF-8") {
    HttpRequest request{method, target, {{"Authorization", authorization}}, body};
    if (!body.empty()) request.headers.emplace_back("Content-Type", type);
    return model.handle(request, now, wall());
  }
  HttpReply get(const std::string& target) { return send("GET", target); }
  HttpReply post(const std::string& target, const std::string& body = {}) {
    return send("POST", target, body);
  }
  WallTime wall() const { return {1'795'402'274'000 + to_ms(now - Instant{})}; }

  void pass(Duration time) {
    now += time;
    model.advance(now);
  }
  /// Runs until the condition holds; fails after `limit` of virtual time.
  template <typename Condition>
  void until(Condition condition, Duration limit = seconds(20)) {
    const Instant end = now + limit;
    while (!condition()) {
      const auto next = model.next_deadline();
      REQUIRE((next && *next <= end));
      now = *next > now ? *next : now;
      model.advance(now);
    }
  }

  std::string create(const std::string& name, const std::string& labels, const std::string& extra = {}) {
    const HttpReply reply =
        post("/plugin/swarm/createSlave", "name=" + name +
                                              "&executors=1&remoteFsRoot=%2Fhome%2Fagent&labels=" + labels +
                                              "&mode=EXCLUSIVE" + extra);
    REQUIRE(reply.status == 200);
    return model.secret_of(name);
  }
  void connect(const std::string& name) {
    REQUIRE(model.agent_connect(name, model.secret_of(name), now).status == 101);
    until([&] { return model.agent_online(name); });
  }
  void close_gate(const std::string& name) {
    REQUIRE(post("/computer/" + name + "/changeOfflineCause", "offlineMessage=gate").status == 302);
  }
  void open_gate(const std::string& name) {
    REQUIRE(post("/computer/" + name + "/toggleOffline", "offlineMessage=").status == 302);
  }
  void sentinel() { model.create_permanent_node("skep-sentinel", "", true, 1, now); }

  void job(const std::string& path, const std::string& label, bool empty_block = false) {
    JobSpec spec;
    spec.path = path;
    spec.label = label;
    spec.concurrent = true;
    spec.empty_block = empty_block;
    model.create_job(spec);
  }
  void pipeline(const std::string& path, const std::string& label) {
    JobSpec spec;
    spec.path = path;
    spec.kind = JobKind::pipeline;
    spec.label = label;
    model.create_job(spec);
  }
  std::int64_t schedule(const std::string& path, int number = 0) {
    const auto id = model.schedule(path, now, {{"N", std::to_string(number)}});
    REQUIRE(id.has_value());
    return *id;
  }
  /// Finishes the newest build of a node, as its agent would.
  void finish(const std::string& node) {
    for (auto build = model.builds().rbegin(); build != model.builds().rend(); ++build) {
      if (build->node == node && !build->ended_at) return model.build_finished_on_agent(node, build->id, now);
    }
    FAIL("no build runs on " << node);
  }
  std::size_t builds_on(const std::string& node) const {
    std::size_t count = 0;
    for (const BuildRecord& build : model.builds()) count += build.node == node ? 1 : 0;
    return count;
  }
  std::string why(std::int64_t id) {
    const HttpReply reply = get("/queue/item/" + std::to_string(id) + "/api/json?tree=why");
    return json_string_field(reply.body, "why").value_or("null");
  }

  Instant now{};
  std::string authorization = "Basic YWRtaW46YWRtaW4tdG9rZW4=";  // admin:admin-token
  Options options;
  ControllerModel model;
};

}  // namespace skep::controller_sim
