// What the container driver says to an engine, and how it reads answers: good ones as facts, all others as
// errors.
#include <catch2/catch.hpp>

#include "common/json/json.h"
#include "drivers/container/engine_texts.h"

namespace engine_texts_test {

using namespace skep;
using namespace skep::drivers::container;

namespace {

const std::string digest = "sha256:" + std::string(64, 'a');
const std::string hex_id = std::string(64, 'b');

ContainerPlan plan() {
  ContainerPlan plan;
  plan.owner = "skep-h1";
  plan.id = ExecutorId("e1");
  plan.epoch = 7;
  plan.template_name = "linux";
  plan.image_id = digest;
  plan.argv = {"/usr/bin/skep-join", "--ticket", "/skep/control/ticket"};
  plan.environment = {{"A", "b"}};
  plan.user = "1000:1000";
  plan.network = "none";
  plan.control_folder = "/var/lib/skep/containers/skep-h1/run/e1/control";
  plan.cpu_millis = 1500;
  plan.memory_bytes = 256 << 20;
  plan.disk_bytes = 400;
  plan.max_processes = 100;
  plan.max_open_files = 1024;
  return plan;
}

std::string container_text(const std::string& status, const std::string& more = {}) {
  return R"({"Id":")" + hex_id + R"(","Image":")" + digest + R"(","State":{"Status":")" + status +
         R"(","ExitCode":6,"OOMKilled":false},"Config":{"Labels":{"skep.owner":"o","skep.executor":"e1","skep.epoch":"3"}})" +
         more + "}";
}

template <typename T>
void expect_broken(const Result<T>& read) {
  REQUIRE_FALSE(read);
  CHECK(read.error().code == ErrorCode::malformed_reply);
  CHECK(read.error().outcome == Outcome::unknown);
  CHECK_FALSE(read.error().message.empty());
}

}  // namespace

TEST_CASE("engine texts: a container is made locked down", "[unit][drivers]") {
  const auto body = json::parse_strict(create_body(plan()));
  REQUIRE(body);
  const json::Json& host = (*body)["HostConfig"];
  CHECK((*body)["Image"] == digest);
  CHECK((*body)["User"] == "1000:1000");
  CHECK((*body)["Entrypoint"].size() == 3);
  CHECK((*body)["Env"] == json::Json({"A=b"}));
  CHECK((*body)["Labels"] == json::Json({{"skep.owner", "skep-h1"},
                                         {"skep.executor", "e1"},
                                         {"skep.epoch", "7"},
                                         {"skep.template", "linux"}}));
  CHECK(host["ReadonlyRootfs"] == true);
  CHECK(host["Privileged"] == false);
  CHECK(host["CapDrop"] == json::Json({"ALL"}));
  CHECK(host["SecurityOpt"] == json::Json({"no-new-privileges"}));
  CHECK(host["NetworkMode"] == "none");
  CHECK(host["RestartPolicy"]["Name"] == "no");
  CHECK(host["NanoCpus"] == 1'500'000'000);
  CHECK(host["Memory"] == 256 << 20);
  CHECK(host["MemorySwap"] == 256 << 20);
  CHECK(host["PidsLimit"] == 100);
  REQUIRE(host["Mounts"].size() == 1);  // nothing of the host but the control folder
  CHECK(host["Mounts"][0]["Source"] == plan().control_folder);
  CHECK(host["Mounts"][0]["Target"] == "/skep/control");
  CHECK(host.count("Binds") == 0);
  CHECK(host.count("CapAdd") == 0);
  CHECK(host.count("Devices") == 0);
}

TEST_CASE("engine texts: all that can be written is limited, an image's volumes too", "[unit][drivers]") {
  ContainerPlan with_volumes = plan();
  with_volumes.volumes = {"/data", "/tmp"};
  const auto body = json::parse_strict(create_body(with_volumes));
  REQUIRE(body);
  const json::Json& places = (*body)["HostConfig"]["Tmpfs"];
  CHECK(places.size() == 5);
  CHECK(places["/skep/work"].get<std::string>().ends_with("size=200"));
  CHECK(places["/tmp"].get<std::string>().ends_with("size=100"));
  for (const char* place : {"/var/tmp", "/run", "/data"})
    CHECK(places[place].get<std::string>().ends_with("size=50"));
}

TEST_CASE("engine texts: what a container is", "[unit][drivers]") {
  const auto facts = read_container(container_text("exited"));
  REQUIRE(facts);
  CHECK(facts->engine_id == hex_id);
  CHECK(facts->image_id == digest);
  CHECK(facts->state == ContainerState::ended);
  CHECK(facts->exit_code == 6);
  CHECK(facts->label(owner_label) == "o");
  CHECK(facts->label("none").empty());
  CHECK(read_container(container_text("running"))->state == ContainerState::running);
  CHECK(read_container(container_text("created"))->state == ContainerState::made);
  CHECK(read_container(container_text("removing"))->state == ContainerState::leaving);
  // Podman: an image's id without its kind.
  const auto plain = read_container(R"({"Id":")" + hex_id + R"(","Image":")" + digest.substr(7) +
                                    R"(","State":{"Status":"running"}})");
  REQUIRE(plain);
  CHECK(plain->image_id == digest);
  CHECK(plain->labels.empty());
}

TEST_CASE("engine texts: an answer that is not what the API says is never taken for an answer",
          "[unit][drivers]") {
  for (const std::string& text : std::vector<std::string>{
           "", "null", "[]", "{}", "{\"Id\":1}", container_text("strange"),
           R"({"Id":")" + hex_id.substr(1) + R"("})", container_text("running").substr(0, 60),
           container_text("running") + "x", R"({"Id":"../../x","Image":"a","State":{"Status":"running"}})"}) {
    INFO(text);
    expect_broken(read_container(text));
    if (text.find("Image") == std::string::npos) expect_broken(read_image(text));
    expect_broken(read_wait(text));
    if (text != "[]") expect_broken(read_list(text, {}));
  }
  expect_broken(read_created(R"({"Id":"short"})"));
  expect_broken(read_image(R"({"Id":"debian"})"));
}

TEST_CASE("engine texts: a list holds what was asked for, or is not believed", "[unit][drivers]") {
  const std::string one = R"({"Id":")" + hex_id + R"(","Labels":{"skep.owner":"o","x":"y"}})";
  CHECK(read_list("[]", {{"skep.owner", "o"}})->empty());
  CHECK(*read_list("[" + one + "]", {{"skep.owner", "o"}}) == std::vector<std::string>{hex_id});
  expect_broken(read_list("[" + one + "]", {{"skep.owner", "p"}}));
  expect_broken(read_list(R"([{"Id":")" + hex_id + R"("}])", {{"skep.owner", "o"}}));
  expect_broken(read_list(R"([{"Labels":{"skep.owner":"o"}}])", {{"skep.owner", "o"}}));
}

TEST_CASE("engine texts: an API version that both speak", "[unit][drivers]") {
  const auto chosen = [](const std::string& newest, const std::string& least) {
    return choose_api({"Docker", "1", newest, least});
  };
  CHECK(*chosen("1.41", "1.12") == "v1.41");
  CHECK(*chosen("1.40", "1.12") == "v1.40");
  CHECK(*chosen("1.52", "1.24") == "v1.41");
  CHECK(*chosen("1.52", "1.44") == "v1.44");
  CHECK(chosen("1.30", "1.12").error().code == ErrorCode::unsupported);
  for (const char* text : {"", "1", "2.0", "1.x", "1.4 1", "1.-3", "1.99999999999"})
    expect_broken(chosen(text, "1.12"));
}

TEST_CASE("engine texts: which engine it is", "[unit][drivers]") {
  const auto docker = read_version(
      R"({"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12","Components":[{"Name":"Engine"}]})");
  REQUIRE(docker);
  CHECK(docker->name == "Docker");
  const auto podman = read_version(
      R"({"Version":"4.3.1","ApiVersion":"1.41","MinAPIVersion":"1.24","Components":[1,{"Name":"Podman Engine"}]})");
  REQUIRE(podman);
  CHECK(podman->name == "Podman");
  expect_broken(read_version("{}"));
}

TEST_CASE("engine texts: images are named by digest, and compared by it", "[unit][drivers]") {
  CHECK(is_by_digest(digest));
  CHECK(is_by_digest("registry.example:5000/a/b@" + digest));
  CHECK(is_by_digest("a/b:1@" + digest));
  for (const std::string& text :
       {std::string("debian"), std::string("debian:12"), std::string("sha256:abc"), "@" + digest,
        "a b@" + digest, digest + "0", std::string(), "md5:" + digest.substr(7)}) {
    INFO(text);
    CHECK_FALSE(is_by_digest(text));
  }
  const std::string other = "sha256:" + std::string(64, 'c');
  const ImageFacts image{digest, {"docker.io/a/b@" + other}, {}};
  CHECK(is_image(image, digest));
  CHECK(is_image(image, "a/b@" + other));
  CHECK(is_image(image, "a/b:1@" + other));
  CHECK_FALSE(is_image(image, other));
  CHECK_FALSE(is_image(image, "a/b@" + digest));
}

TEST_CASE("engine texts: a list of images, without the names that are none", "[unit][drivers]") {
  const std::string id = "sha256:" + std::string(64, 'a');
  const auto list =
      read_images(R"([{"Id": ")" + id + R"(", "RepoTags": ["<none>:<none>", "a:1"], "RepoDigests": null},
                                    {"Id": ")" +
                  std::string(64, 'b') + R"("}])");
  REQUIRE(list);
  REQUIRE(list->size() == 2);
  CHECK((*list)[0].id == id);
  CHECK((*list)[0].tags == std::vector<std::string>{"a:1"});
  CHECK((*list)[1].id == "sha256:" + std::string(64, 'b'));
  for (const char* text : {"{}", "", R"([{"Id": "short"}])", "[1]"}) expect_broken(read_images(text));
}

TEST_CASE("engine texts: an error in the answer to a load is one, whatever its status", "[unit][drivers]") {
  CHECK(read_load(""));
  CHECK(read_load(R"({"stream": "Loaded image: a:1\n"})"));
  const auto refused = read_load(
      "{\"stream\": \"x\"}\n{\"errorDetail\": {\"message\": \"bad tar\"}, \"error\": \"bad tar\"}\n");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().outcome == Outcome::failed);
  CHECK(refused.error().message.find("bad tar") != std::string::npos);
  const auto full = read_load(R"({"error": "write /x: no space left on device"})");
  REQUIRE_FALSE(full);
  CHECK(full.error().code == ErrorCode::out_of_resources);
  CHECK(full.error().outcome == Outcome::try_again);
}

TEST_CASE("engine texts: refusals become errors that tell what to do", "[unit][drivers]") {
  struct Case {
    int status;
    const char* body;
    ErrorCode code;
    Outcome outcome;
  };
  for (const Case& each : std::vector<Case>{
           {404, R"({"message":"No such image: x"})", ErrorCode::not_found, Outcome::failed},
           {409, R"({"message":"Conflict."})", ErrorCode::conflict, Outcome::failed},
           {500, R"({"message":"the container name \"/x\" is already in use"})", ErrorCode::conflict,
            Outcome::failed},
           {500, R"({"message":"write /x: no space left on device"})", ErrorCode::out_of_resources,
            Outcome::failed},
           {500, "<html>", ErrorCode::generic, Outcome::failed},
           {503, "", ErrorCode::unavailable, Outcome::try_again},
           {403, "", ErrorCode::permission_denied, Outcome::failed},
           {302, "", ErrorCode::malformed_reply, Outcome::unknown},
       }) {
    const Error error = refusal("cannot do x", each.status, each.body);
    INFO(error.message);
    CHECK(error.code == each.code);
    CHECK(error.outcome == each.outcome);
    CHECK(error.message.rfind("cannot do x: ", 0) == 0);
    CHECK(error.message.find(std::to_string(each.status)) != std::string::npos);
  }
  const std::string long_one = refusal("x", 500, std::string(100'000, '\n')).message;
  CHECK(long_one.size() < 700);
  CHECK(long_one.find('\n') == std::string::npos);
}

TEST_CASE("engine texts: an event is ours or nothing", "[unit][drivers]") {
  const auto event = [](const std::string& labels) {
    return read_event(
        R"({"Type":"container","Action":"die","Actor":{"ID":"x","Attributes":{)" + labels + "}}}", "o");
  };
  CHECK(event(R"("skep.owner":"o","skep.executor":"e1")") == ExecutorId("e1"));
  CHECK_FALSE(event(R"("skep.owner":"p","skep.executor":"e1")"));
  CHECK_FALSE(event(R"("skep.owner":"o","skep.executor":"../e1")"));
  CHECK_FALSE(event(R"("skep.owner":"o")"));
  for (const char* text : {"", "[]", "{}", "{\"Actor\":1}", "{\"Actor\":{\"Attributes\":[]}}", "nonsense"})
    CHECK_FALSE(read_event(text, "o"));
}

TEST_CASE("engine texts: what Podman says of a container that it removed half", "[unit][drivers]") {
  CHECK(is_half_removed(
      R"({"cause":"container not known","message":"getting container from store \"646\": container not known","response":500})"));
  for (const char* other :
       {"", "{}", "[]", R"({"cause":7})", R"({"cause":"database is locked","response":500})",
        R"({"message":"container not known"})"})
    CHECK_FALSE(is_half_removed(other));
}

}  // namespace engine_texts_test
