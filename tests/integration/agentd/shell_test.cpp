// The real shell in this process: HTTP, strand, pool and SQLite, over a driver in memory.
#include <catch2/catch.hpp>

#include <atomic>
#include <fstream>
#include <future>

#include "common/http/http_server.h"
#include "tests/integration/agentd/fixture.h"

namespace shell_test {

using namespace skep;
using namespace skep::agentd;
using namespace skep::test;

TEST_CASE("agentd: an executor's life over HTTP, each request sent twice", "[integration][agentd]") {
  Fixture f;
  f.start();
  const ExecutorOrder order = make_order("a1", "memory");
  for (int i = 0; i < 2; ++i) CHECK(f.api->put(order).status == 202);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::booting; }));
  f.driver->set_agent("a1", AgentPhase::started);
  CHECK(wait_until([&] { return f.api->state("a1") == ExecutorState::joining; }));
  f.driver->set_agent("a1", AgentPhase::connected);
  CHECK(wait_until([&] { return f.api->state("a1") == ExecutorState::idle; }));
  LeaseRenewal renewal{1, seconds(60), {{ExecutorId("a1"), true}, {ExecutorId("b1"), false}}};
  const http::Reply leases = f.api->call("POST", "v1/leases", json::dump(json::encode(renewal)));
  REQUIRE(leases.status == 200);
  CHECK(json::decode_lease_reply(*json::parse_strict(leases.body))->not_here ==
        std::vector<ExecutorId>{ExecutorId("b1")});
  CHECK(f.api->destroy("a1", 1).status == 202);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::gone; }));
  const http::Reply again = f.api->destroy("a1", 1);
  CHECK(again.status == 200);
  CHECK(json::decode_executor_report(*json::parse_strict(again.body))->state == ExecutorState::gone);
  CHECK(f.api->put(order).status == 409);
  CHECK(f.host->starts["a1"] == 1);
  CHECK(f.host->instances.empty());
}

TEST_CASE("agentd: a blocking query wakes when something changes, and ends with its wait",
          "[integration][agentd]") {
  Fixture f;
  f.start();
  const std::uint64_t index = f.api->report()->index;
  auto waiting = std::async(std::launch::async, [&] {
    const Api other(f.daemon->url());
    return other.report("?index=" + std::to_string(index) + "&wait=60s");
  });
  CHECK(waiting.wait_for(std::chrono::milliseconds(200)) == std::future_status::timeout);
  CHECK(f.api->put(make_order("a1", "memory")).status == 202);
  REQUIRE(waiting.wait_for(std::chrono::seconds(10)) == std::future_status::ready);
  const auto woken = waiting.get();
  REQUIRE(woken);
  CHECK(woken->index > index);
  CHECK(woken->executors.size() == 1);

  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::booting; }));
  const std::uint64_t last = f.api->report()->index;
  const auto timed_out = f.api->report("?index=" + std::to_string(last) + "&wait=100ms");
  REQUIRE(timed_out);
  CHECK(timed_out->index == last);
  CHECK(f.api->report("?index=0&wait=0s"));
  CHECK(f.api->report("?index=1&wait=60s"));  // another index: at once
}

TEST_CASE("agentd: many waiting queries are all answered by one change", "[integration][agentd]") {
  Fixture f;
  f.start();
  const std::uint64_t index = f.api->report()->index;
  std::vector<std::future<std::optional<HostReport>>> waiting;
  for (int i = 0; i < 20; ++i) {
    waiting.push_back(std::async(std::launch::async, [&] {
      return Api(f.daemon->url()).report("?index=" + std::to_string(index) + "&wait=60s");
    }));
  }
  REQUIRE(wait_until([&] {
    return f.api->call("GET", "metrics").body.find("skep_agentd_waiting_queries_count 20") !=
           std::string::npos;
  }));
  CHECK(f.api->call("POST", "v1/drain", R"({"reason":"test"})").status == 200);
  for (auto& query : waiting) {
    REQUIRE(query.wait_for(std::chrono::seconds(10)) == std::future_status::ready);
    const auto report = query.get();
    REQUIRE(report);
    CHECK(report->is_draining);
  }
}

TEST_CASE("agentd: state, epoch and drain survive a restart; executors are adopted",
          "[integration][agentd]") {
  Fixture f;
  f.start();
  CHECK(f.api->put(make_order("a1", "memory", 5)).status == 202);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::booting; }));
  CHECK(f.api->call("POST", "v1/drain", R"({"reason":"new disk"})").status == 200);
  const auto before = f.api->report();
  f.stop();
  f.host->instances["stray"] = f.host->instances["a1"];
  f.host->instances["stray"].id = ExecutorId("stray");
  f.start();
  REQUIRE(wait_until([&] {
    return f.api->state("a1") == ExecutorState::booting && f.api->state("stray") == ExecutorState::gone;
  }));
  const auto after = f.api->report();
  REQUIRE(after);
  CHECK(after->epoch_seen == 5);
  CHECK(after->is_draining);
  CHECK(after->drain_reason == "new disk");
  CHECK(after->index > before->index);
  CHECK(after->boot_id != before->boot_id);
  CHECK(f.host->starts["a1"] == 1);
  CHECK(f.host->instances.count("stray") == 0);
  const http::Reply stale = f.api->put(make_order("a2", "memory", 4));
  REQUIRE(stale.status == 409);
  REQUIRE(error_in(stale));
  CHECK(error_in(stale)->code == ErrorCode::stale_epoch);
  CHECK(json::parse_strict(stale.body)->at("epoch") == 5);
  CHECK(f.api->put(make_order("a2", "memory", 5)).status == 503);
  CHECK(f.api->call("POST", "v1/undrain").status == 200);
  CHECK(f.api->put(make_order("a2", "memory", 5)).status == 202);
}

TEST_CASE("agentd: every bad request gets one error that names the place and changes nothing",
          "[integration][agentd]") {
  Fixture f;
  f.start();
  const std::string good = json::dump(json::encode(make_order("a1", "memory")));
  json::Json without_id = *json::parse_strict(good);
  without_id["spec"].erase("id");
  json::Json wrong_type = *json::parse_strict(good);
  wrong_type["lease_ms"] = "long";
  struct Case {
    std::string method, target, body;
    int status;
    std::string says;
  };
  const std::vector<Case> cases{
      {"PUT", "v1/executors/a1", "", 400, "JSON"},
      {"PUT", "v1/executors/a1", "{", 400, "JSON"},
      {"PUT", "v1/executors/a1", "[]", 400, "no object"},
      {"PUT", "v1/executors/a1", good.substr(0, good.size() / 2), 400, "JSON"},
      {"PUT", "v1/executors/a1", json::dump(without_id), 400, "id"},
      {"PUT", "v1/executors/a1", json::dump(wrong_type), 400, "lease_ms"},
      {"PUT", "v1/executors/a1", good + good, 400, "JSON"},
      {"PUT", "v1/executors/a1", "\xff\xfe", 400, "JSON"},
      {"PUT", "v1/executors/a2", good, 400, "a2"},
      {"PUT", "v1/executors/UPPER", good, 400, "UPPER"},
      {"PUT", "v1/executors/..%2Fa1", good, 404, ""},
      {"DELETE", "v1/executors/a1", "", 400, "epoch"},
      {"DELETE", "v1/executors/a1?epoch=-1", "", 400, "epoch"},
      {"DELETE", "v1/executors/a1?epoch=0", "", 400, "epoch 0"},
      {"DELETE", "v1/executors/-?epoch=1", "", 400, "executor id"},
      {"GET", "v1/executors?index=x", "", 400, "index"},
      {"GET", "v1/executors?index=1&wait=soon", "", 400, "wait"},
      {"POST", "v1/leases", "{}", 400, ""},
      {"POST", "v1/leases", R"({"epoch":1,"lease_ms":0,"executors":[]})", 400, "lease"},
      {"POST", "v1/drain", R"({"reason":7})", 400, "reason"},
      {"POST", "v1/drain", "[1]", 400, "no object"},
      {"POST", "v1/executors/a1", "{}", 405, ""},
      {"GET", "v1/nothing", "", 404, ""},
      {"PUT", "v1/executors/a1", std::string((1u << 20) + 1, ' '), 413, ""},
  };
  const std::uint64_t index = f.api->report()->index;
  for (const Case& one : cases) {
    INFO(one.method << " " << one.target << " " << one.body.substr(0, 100));
    const http::Reply reply = f.api->call(one.method, one.target, one.body);
    CHECK(reply.status == one.status);
    const auto error = error_in(reply);
    REQUIRE(error);
    INFO(error->message);
    CHECK_FALSE(error->message.empty());
    CHECK(error->message.find(one.says) != std::string::npos);
    CHECK(reply.body.find("secret-of") == std::string::npos);
  }
  CHECK(f.api->report()->index == index);
  CHECK(f.host->starts.empty());
}

TEST_CASE("agentd: the secret is in no file of the state folder", "[integration][agentd]") {
  Fixture f;
  f.start();
  CHECK(f.api->put(make_order("a1", "memory")).status == 202);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::booting; }));
  bool has_id = false;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(f.config.state_dir)) {
    if (!entry.is_regular_file()) continue;
    const std::string text = content_of(entry.path().string());
    CHECK(text.find("secret-of-a1") == std::string::npos);
    has_id = has_id || text.find("\"a1\"") != std::string::npos;
  }
  CHECK(has_id);
}

TEST_CASE("agentd: with a full disk orders are refused and nothing starts; destroying goes on",
          "[integration][agentd]") {
  Fixture f;
  f.start();
  CHECK(f.api->put(make_order("a1", "memory")).status == 202);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::booting; }));
  REQUIRE(f.daemon->limit_state_size(1));
  ExecutorOrder big = make_order("a2", "memory");
  big.spec.environment["PADDING"] = std::string(300'000, 'x');
  const http::Reply refused = f.api->put(big);
  CHECK(refused.status == 507);
  REQUIRE(error_in(refused));
  CHECK(error_in(refused)->outcome == Outcome::try_again);
  CHECK(f.api->state("a2") == ExecutorState::gone);
  CHECK(f.host->starts.count("a2") == 0);
  CHECK(f.api->destroy("a1", 1).status == 202);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::gone; }));
  REQUIRE(f.daemon->limit_state_size(1 << 30));
  CHECK(f.api->put(big).status == 202);
}

TEST_CASE("agentd: different executors are made at once, one executor never twice at once",
          "[integration][agentd]") {
  Fixture f;
  f.host->starts_wait_for = 4;
  f.start();
  for (int i = 0; i < 4; ++i) CHECK(f.api->put(make_order("a" + std::to_string(i), "memory")).status == 202);
  REQUIRE(wait_until([&] {
    const auto report = f.api->report();
    return report &&
           std::count_if(report->executors.begin(), report->executors.end(),
                         [](const ExecutorReport& e) { return e.state == ExecutorState::booting; }) == 4;
  }));
  CHECK(f.host->most_starts_at_once == 4);
  std::vector<std::thread> senders;
  for (int t = 0; t < 4; ++t) {
    senders.emplace_back([&, t] {
      const Api own(f.daemon->url());
      for (int i = 0; i < 10; ++i) {
        f.driver->set_agent("a" + std::to_string(t), i % 2 == 0 ? AgentPhase::started : AgentPhase::none);
        own.put(make_order("a" + std::to_string((t + i) % 4), "memory"));
      }
      own.destroy("a" + std::to_string(t), 1);
    });
  }
  for (std::thread& sender : senders) sender.join();
  CHECK(wait_until([&] {
    const std::lock_guard<std::mutex> guard(f.host->lock);
    return f.host->instances.empty();
  }));
  CHECK_FALSE(f.host->has_overlap);
}

TEST_CASE("agentd: announces itself to a scheduler, which may come later", "[integration][agentd]") {
  Fixture f;
  std::mutex lock;
  std::vector<HostAnnouncement> seen;
  auto scheduler = http::make_server({});
  REQUIRE(scheduler);
  std::atomic<bool> is_ready{false};
  (*scheduler)->route("PUT", "/v1/hosts/{id}", [&](http::ServerRequest request, http::Responder respond) {
    if (!is_ready) return respond({503, "{}", "application/json", {}});
    const auto body = json::parse_strict(request.body);
    const auto announcement =
        body ? json::decode_host_announcement(*body) : Result<HostAnnouncement>(body.error());
    const std::lock_guard<std::mutex> guard(lock);
    if (announcement && request.captures["id"] == "h1") seen.push_back(*announcement);
    respond({200, "{}", "application/json", {}});
  });
  REQUIRE((*scheduler)->start());
  f.config.registry.type = RegistryConfig::Type::embedded;
  f.config.registry.scheduler_url = (*scheduler)->url();
  f.config.registry.ttl = seconds(3);
  f.start();
  is_ready = true;
  REQUIRE(wait_until([&] {
    const std::lock_guard<std::mutex> guard(lock);
    return seen.size() >= 2;
  }));
  CHECK(seen[0].host.text == "h1");
  CHECK(seen[0].agentd_url == f.daemon->url());
  CHECK(seen[0].boot_id == f.api->report()->boot_id);
  f.stop();
  (*scheduler)->stop();
}

TEST_CASE("agentd: health, host and metrics", "[integration][agentd]") {
  Fixture f;
  f.start();
  CHECK(f.api->call("GET", "healthz").status == 200);
  CHECK(f.api->put(make_order("a1", "memory")).status == 202);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::booting; }));
  const http::Reply host = f.api->call("GET", "v1/host");
  REQUIRE(host.status == 200);
  const auto report = json::decode_host_report(*json::parse_strict(host.body));
  REQUIRE(report);
  CHECK(report->executors.empty());
  CHECK(report->drivers == std::vector<std::string>{"memory"});
  CHECK(report->images == std::vector<std::string>{"debian"});
  const std::string metrics = f.api->call("GET", "metrics").body;
  CHECK(metrics.find("skep_agentd_orders_accepted_total 1") != std::string::npos);
  CHECK(metrics.find(R"(skep_agentd_executors_count{state="booting"} 1)") != std::string::npos);
  CHECK(metrics.find("a1") == std::string::npos);
}

TEST_CASE("agentd: a stop ends waiting queries and keeps executors; drain and remove wait for them",
          "[integration][agentd]") {
  Fixture f;
  f.start();
  CHECK(f.api->put(make_order("a1", "memory")).status == 202);
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::booting; }));
  const std::uint64_t index = f.api->report()->index;
  auto waiting = std::async(std::launch::async, [&, url = f.daemon->url()] {
    return Api(url).call("GET", "v1/executors?index=" + std::to_string(index) + "&wait=60s").status;
  });
  CHECK(waiting.wait_for(std::chrono::milliseconds(100)) == std::future_status::timeout);
  const auto begin = std::chrono::steady_clock::now();
  f.stop();
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
  REQUIRE(waiting.wait_for(std::chrono::seconds(5)) == std::future_status::ready);
  CHECK(waiting.get() != 404);
  CHECK(f.host->instances.size() == 1);
  f.start();
  REQUIRE(wait_until([&] { return f.api->state("a1") == ExecutorState::booting; }));
  f.daemon->request_stop(GENERATE(OnStop::drain, OnStop::remove));
  CHECK(f.daemon->wait_until_ready_to_end(seconds(10)));
  CHECK(f.host->instances.empty());
}

TEST_CASE("agentd: a second agentd on the same state, and a broken state, are refused with one clear error",
          "[integration][agentd]") {
  Fixture f;
  f.start();
  const auto second = Daemon::make(f.config, {});
  REQUIRE_FALSE(second);
  CHECK(second.error().message.find("state.db") != std::string::npos);
  f.stop();
  std::ofstream(f.config.state_dir + "/state.db", std::ios::trunc | std::ios::binary)
      << "this is no database at all, only text";
  std::filesystem::remove(f.config.state_dir + "/state.db-wal");
  const auto broken = Daemon::make(f.config, {});
  REQUIRE_FALSE(broken);
  CHECK(broken.error().message.find("state.db") != std::string::npos);
}

TEST_CASE("agentd: beyond loopback it needs a token, and with one it asks for it", "[integration][agentd]") {
  Fixture f;
  f.config.listen = "0.0.0.0:0";
  auto open = Daemon::make(f.config, {});
  REQUIRE(open);
  CHECK_FALSE((*open)->start());
  open->reset();
  const std::string token_file = f.folder.path("token");
  std::ofstream(token_file) << "correct-horse";
  std::filesystem::permissions(token_file,
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  f.config.listen = "127.0.0.1:0";
  f.config.token_file = token_file;
  auto made = Daemon::make(f.config, {});
  REQUIRE(made);
  REQUIRE((*made)->start());
  CHECK(Api((*made)->url()).call("GET", "v1/executors").status == 401);
  CHECK(Api((*made)->url(), "wrong").call("GET", "v1/executors").status == 401);
  CHECK(Api((*made)->url(), "correct-horse").call("GET", "v1/executors").status == 200);
}

}  // namespace shell_test
