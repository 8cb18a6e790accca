#include "scheduler/jenkins/requests.h"

#include <catch2/catch.hpp>

namespace requests_test {

using namespace skep;
using namespace skep::scheduler;

TEST_CASE("the form of createSlave says everything that Jenkins would otherwise choose") {
  CreateNode order;
  order.node = ExecutorId("farm-linux-1-1abc");
  order.labels = "linux x86 \"a b\"";
  order.remote_fs = "/home/agent";
  order.description = "farm linux";
  CHECK(create_form(order) ==
        "name=farm-linux-1-1abc&executors=1&remoteFsRoot=%2Fhome%2Fagent&labels=linux%20x86%20%22a%20b%22&"
        "mode=EXCLUSIVE"
        "&deleteExistingClients=false&keepDisconnectedClients=false&description=farm%20linux");
  order.takes_unlabelled = true;
  order.is_recreation = true;
  order.labels = "";
  order.description = "";
  CHECK(create_form(order) ==
        "name=farm-linux-1-1abc&executors=1&remoteFsRoot=%2Fhome%2Fagent&labels=&mode=NORMAL"
        "&deleteExistingClients=true&keepDisconnectedClients=false");
}

TEST_CASE("every offline reason of ours can be told from those of people") {
  CHECK(close_form("waiting") == "offlineMessage=skep%3A%20waiting");
  CHECK(close_form("skep: waiting") == "offlineMessage=skep%3A%20waiting");
}

TEST_CASE("node names are percent-encoded in targets") {
  CHECK(node_target("a b/c", "doDelete") == "computer/a%20b%2Fc/doDelete");
}

TEST_CASE("the offline flag is cut out of a node's configuration, and nothing else") {
  CHECK(without_offline_cause(
            "<a>\n  <temporaryOfflineCause class=\"x\"><m>q</m></temporaryOfflineCause><name>n</name></a>") ==
        "<a>\n  <name>n</name></a>");
  CHECK(without_offline_cause("<a><temporaryOfflineCause class=\"x\"/><name>n</name></a>") ==
        "<a><name>n</name></a>");
  CHECK_FALSE(without_offline_cause("<a><name>n</name></a>"));
  CHECK_FALSE(without_offline_cause("<a><temporaryOfflineCause class=\"x\"><m>q</m></a>"));
  CHECK_FALSE(without_offline_cause("<temporaryOfflineCause"));
}

}  // namespace requests_test
