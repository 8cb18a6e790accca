// Two versions that talk to each other: a field that one of them does not know is left out, or passed over.
#include "common/json/agentd_codec.h"

#include <catch2/catch.hpp>

#include "common/json/json.h"

namespace agentd_codec_test {

using namespace skep;
using json::Json;

ExecutorOrder full_order() {
  ExecutorOrder order;
  order.epoch = 7;
  order.spec.id = ExecutorId("f-small-1-ab12");
  order.spec.template_name = TemplateName("small");
  order.spec.driver = "container";
  order.spec.network = "none";
  order.spec.start = StartMode::warm_clone;
  order.ticket = {"http://controller/", "f-small-1-ab12", "secret", 2};
  order.is_busy = true;
  return order;
}

HostReport full_report() {
  HostReport report;
  report.host = HostId("h1");
  report.index = 3;
  report.is_draining = true;
  report.drain_reason = "a new disk";
  ExecutorReport executor;
  executor.id = ExecutorId("f-small-1-ab12");
  executor.state = ExecutorState::idle;
  executor.agent = AgentPhase::connected;
  executor.is_lease_expired = true;
  executor.message = "a message";
  report.executors.push_back(executor);
  return report;
}

TEST_CASE("codec: what the version before does not send has its default") {
  Json order = json::encode(full_order());
  order.erase("is_busy");
  order["spec"].erase("network");
  order["spec"].erase("start");
  order["ticket"].erase("attempt");
  const auto read = json::decode_executor_order(order);
  REQUIRE(read);
  CHECK_FALSE(read->is_busy);
  CHECK(read->ticket.attempt == 1);

  LeaseRenewal renewal;
  renewal.epoch = 7;
  renewal.number = 12;
  Json lease = json::encode(renewal);
  lease.erase("number");
  const auto leases = json::decode_lease_renewal(lease);
  REQUIRE(leases);
  CHECK(leases->number == 0);
  const auto earlier_reply = json::decode_lease_reply({{"epoch_seen", 3}, {"not_here", {"f-a-1-x"}}});
  REQUIRE(earlier_reply);
  CHECK(earlier_reply->leaving.empty());
  LeaseReply leaving;
  leaving.leaving = {ExecutorId("f-a-1-y")};
  CHECK(json::decode_lease_reply(json::encode(leaving))->leaving == leaving.leaving);

  Json report = json::encode(full_report());
  report["executors"][0].erase("is_lease_expired");
  report["executors"][0].erase("message");
  report.erase("drain_reason");
  const auto host = json::decode_host_report(report);
  REQUIRE(host);
  CHECK(host->is_draining);
  CHECK(host->executors.at(0).agent == AgentPhase::connected);
  CHECK_FALSE(host->executors.at(0).is_lease_expired);
}

TEST_CASE("codec: what only the next version knows is passed over") {
  Json order = json::encode(full_order());
  order["priority"] = 5;
  order["spec"]["gpu"] = {{"model", "x"}};
  const auto read = json::decode_executor_order(order);
  REQUIRE(read);
  CHECK(*read == full_order());

  Json report = json::encode(full_report());
  report["zone"] = "b";
  report["executors"][0]["temperature"] = 40;
  const auto host = json::decode_host_report(report);
  REQUIRE(host);
  CHECK(*host == full_report());
}

TEST_CASE("codec: a state that only the next version knows refuses the whole report") {
  Json report = json::encode(full_report());
  report["executors"][0]["state"] = "paused";
  CHECK_FALSE(json::decode_host_report(report));
}

}  // namespace agentd_codec_test
