// QEMU's command line, QMP, the control port's lines, the filter: what is written, and what is read of
// replies from outside.
#include <catch2/catch.hpp>

#include <algorithm>

#include "common/json/json.h"
#include "drivers/qemu/guest_texts.h"
#include "drivers/qemu/net_filter_texts.h"
#include "drivers/qemu/qemu_texts.h"
#include "drivers/qemu/qmp_texts.h"
#include "join/guest_texts.h"

namespace qemu_texts_test {

using namespace skep;
using namespace skep::drivers::qemu;

namespace {

const std::string digest(64, 'a');

VmImage image() {
  return {"/images/a,b", {"kernel", digest}, {"initrd", digest}, {"disk.qcow2", digest}, "quiet panic=-1"};
}

VmPlan plan() {
  VmPlan plan;
  plan.program = "qemu";
  plan.id = ExecutorId("e1");
  plan.image = image();
  plan.processors = 2;
  plan.memory_bytes = std::int64_t{128} << 20;
  plan.user = 70'001;
  return plan;
}

bool has(const std::vector<std::string>& argv, const std::string& option, const std::string& value) {
  for (std::size_t i = 0; i + 1 < argv.size(); ++i) {
    if (argv[i] == option && argv[i + 1] == value) return true;
  }
  return false;
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += word + " ";
  return all;
}

GuestStart guest_start() {
  GuestStart start;
  start.name = "e1";
  start.machine_id = std::string(32, 'b');
  start.entropy = "00ff10";
  start.hosts = {{"ci.example", "192.0.2.7"}};
  start.argv = {"/usr/bin/skep-join", "--", "a \"b\"\n"};
  start.environment = {{"A", "b c"}};
  start.ticket = {"http://ci.example/", "e1", "the-secret", 3};
  return start;
}

}  // namespace

TEST_CASE("qemu texts: a machine has what it was given and nothing by default") {
  const auto argv = command_line(plan());
  INFO(joined(argv));
  CHECK(argv.front() == "qemu");
  for (const char* flag : {"-nodefaults", "-no-user-config", "-no-reboot"})
    CHECK(std::count(argv.begin(), argv.end(), flag) == 1);
  CHECK(has(argv, "-sandbox", "on,obsolete=deny,spawn=deny,resourcecontrol=deny"));
  CHECK(has(argv, "-runas", "70001:70001"));
  CHECK(has(argv, "-m", "128M"));
  CHECK(has(argv, "-smp", "2"));
  CHECK(has(argv, "-kernel", "/images/a,b/kernel"));
  CHECK(has(argv, "-append", "quiet panic=-1"));
  CHECK(has(argv, "-netdev", "user,id=net,ipv6=off"));
  CHECK(joined(argv).find("disk.qcow2") == std::string::npos);  // the base is its overlay's business
  CHECK(joined(argv).find("-incoming") == std::string::npos);
}

TEST_CASE(
    "qemu texts: without a user of its own QEMU may not change its user; without a disk or network it has "
    "none") {
  VmPlan bare = plan();
  bare.user.reset();
  bare.has_network = false;
  bare.image.disk = {};
  const auto argv = command_line(bare);
  CHECK(has(argv, "-sandbox", "on,obsolete=deny,spawn=deny,resourcecontrol=deny,elevateprivileges=deny"));
  CHECK(joined(argv).find("-runas") == std::string::npos);
  CHECK(has(argv, "-nic", "none"));
  CHECK(joined(argv).find("virtio-blk") == std::string::npos);
}

TEST_CASE("qemu texts: a template and its clone are the same machine") {
  VmPlan made = plan(), clone = plan();
  made.memory_file = VmPlan::MemoryFile{"ram", true, false};
  made.is_shut = true;
  clone.memory_file = VmPlan::MemoryFile{"/warm/a,b/ram", false, true};
  const auto of_template = command_line(made), of_clone = command_line(clone);
  CHECK(has(of_template, "-object", "memory-backend-file,id=ram,size=128M,mem-path=ram,share=on"));
  CHECK(has(of_clone, "-object", "memory-backend-file,id=ram,size=128M,mem-path=/warm/a,,b/ram,share=off"));
  CHECK(has(of_clone, "-incoming", "defer"));
  CHECK(has(of_template, "-netdev", "user,id=net,ipv6=off,restrict=on"));
  const auto devices = [](const std::vector<std::string>& argv) {
    std::vector<std::string> all;
    for (std::size_t i = 0; i + 1 < argv.size(); ++i) {
      for (const char* option : {"-device", "-machine", "-cpu", "-smp", "-m", "-append", "-accel"}) {
        if (argv[i] == option) all.push_back(argv[i] + " " + argv[i + 1]);
      }
    }
    return all;
  };
  CHECK(devices(of_template) == devices(of_clone));
}

TEST_CASE("qemu texts: an overlay names its base whatever its path") {
  CHECK(overlay_command_line("qemu-img", "/a,b/disk", "/o") ==
        std::vector<std::string>{"qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-o",
                                 "backing_file=/a,,b/disk", "/o"});
}

TEST_CASE("qemu texts: an image that cannot be meant is refused before a file is touched") {
  CHECK(problem_of(image()).empty());
  const auto broken = [](auto change) {
    VmImage each = image();
    change(each);
    return problem_of(each);
  };
  CHECK_FALSE(broken([](VmImage& i) { i.folder = "relative"; }).empty());
  CHECK_FALSE(broken([](VmImage& i) { i.kernel.name = "../kernel"; }).empty());
  CHECK_FALSE(broken([](VmImage& i) { i.initrd.name = ""; }).empty());
  CHECK_FALSE(broken([](VmImage& i) { i.disk.sha256 = std::string(63, 'a'); }).empty());
  CHECK_FALSE(broken([](VmImage& i) { i.disk.sha256 = std::string(64, 'A'); }).empty());
  CHECK_FALSE(broken([](VmImage& i) { i.command_line = "a\nb"; }).empty());
  CHECK(broken([](VmImage& i) { i.disk = {}; }).empty());
}

TEST_CASE("qmp: a greeting tells the version, with what the packager says of it") {
  const auto greeting = read_greeting(
      R"({"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1"}, "capabilities": ["oob"]}})");
  REQUIRE(greeting);
  CHECK(greeting->version == "7.2.22 Debian 1");
  for (const char* line :
       {"", "{}", "[]", R"({"QMP":1})", R"({"QMP":{"version":{"qemu":{"major":7}}}})", "HTTP/1.1 200 OK"})
    CHECK(read_greeting(line).error().outcome == Outcome::unknown);
}

TEST_CASE("qmp: replies are ours, of others, events, refusals, or no QMP") {
  CHECK(*json::parse_strict(qmp_command("getfd", 7, R"({"fdname":"x"})")) ==
        *json::parse_strict(R"({"execute":"getfd","id":7,"arguments":{"fdname":"x"}})"));
  CHECK(*read_qmp_reply(R"({"return":{"a":1},"id":7})", 7) == std::optional<std::string>(R"({"a":1})"));
  CHECK(*read_qmp_reply(R"({"return":{},"id":6})", 7) == std::nullopt);
  CHECK(*read_qmp_reply(R"({"event":"STOP","timestamp":{}})", 7) == std::nullopt);
  const auto refused =
      read_qmp_reply(R"({"id":7,"error":{"class":"GenericError","desc":"no such thing"}})", 7);
  CHECK(refused.error().outcome == Outcome::failed);
  CHECK(refused.error().message.find("no such thing") != std::string::npos);
  CHECK(read_qmp_reply(R"({"error":{"desc":"bad JSON"}})", 7).error().outcome == Outcome::failed);
  for (const char* line :
       {"", "[]", "{}", R"({"id":7})", R"({"return":1,"error":{},"id":7})", R"({"return":1)"})
    CHECK(read_qmp_reply(line, 7).error().outcome == Outcome::unknown);
  CHECK(*read_run_state(R"({"status":"running"})") == "running");
  CHECK(read_run_state("{}").error().outcome == Outcome::unknown);
}

TEST_CASE("control port: what the host says the guest reads, and the other way round") {
  const auto start = join::read_host_line(with_time(encode(guest_start()), 1234));
  REQUIRE(start);
  const auto& told = std::get<join::HostStarts>(*start);
  CHECK(told.name == "e1");
  CHECK(told.machine_id == std::string(32, 'b'));
  CHECK(told.entropy == std::string("\0\xff\x10", 3));
  CHECK(told.time_ms == 1234);
  CHECK(told.hosts.at("ci.example") == "192.0.2.7");
  CHECK(told.argv == guest_start().argv);
  CHECK(told.environment.at("A") == "b c");
  CHECK(told.ticket.attempt == 3);
  CHECK(told.ticket.text.find("the-secret") != std::string::npos);
  CHECK(std::holds_alternative<join::HostAsks>(*join::read_host_line(hello_line())));
  CHECK(std::holds_alternative<join::HostStops>(*join::read_host_line(stop_line())));
  CHECK(std::get<join::HostTicket>(*join::read_host_line(ticket_line(R"({"attempt":9})"))).attempt == 9);

  CHECK(std::get<GuestHello>(*read_guest_line(join::hello_text(true))).waits);
  const auto took = std::get<GuestTook>(*read_guest_line(join::taken_text(false, 4)));
  CHECK((!took.is_start && took.attempt == 4));
  CHECK(std::get<GuestStatus>(*read_guest_line(join::status_text("{\"a\":1}\n"))).text == "{\"a\":1}\n");
  CHECK(attempt_of(encode(guest_start())) == 3);
  CHECK(attempt_of(R"({"attempt":8})") == 8);
  CHECK(attempt_of("x") == 0);
}

TEST_CASE("control port: what nobody says is refused, by both sides, without a secret in the words") {
  for (const char* line :
       {"", "x", "[]", "{}", R"({"type":"hello"})", R"({"type":"taken","what":"all","attempt":1})",
        R"({"type":"taken","what":"start","attempt":-1})",
        R"({"type":"taken","what":"start","attempt":4294967296})", R"({"type":"status","text":1})",
        R"({"type":"start"})"})
    CHECK_FALSE(read_guest_line(line));
  CHECK_FALSE(read_guest_line(join::status_text(std::string(max_guest_line, 'a'))));
  const auto broken = [](const char* key, const json::Json& value) {
    auto text = *json::parse_strict(with_time(encode(guest_start()), 1));
    text[key] = value;
    const auto read = join::read_host_line(json::dump(text));
    if (!read) CHECK(read.error().message.find("the-secret") == std::string::npos);
    return !read;
  };
  CHECK(broken("version", 2));
  CHECK(broken("name", "../x"));
  CHECK(broken("machine_id", "zz"));
  CHECK(broken("entropy", "abc"));
  CHECK(broken("time_ms", -1));
  CHECK(broken("hosts", json::Json{{"a\n1.2.3.4 evil", "1.2.3.4"}}));
  CHECK(broken("hosts", json::Json{{"a", "1.2.3.4\n"}}));
  CHECK(broken("argv", json::Json::array()));
  CHECK(broken("argv", json::Json{1}));
  CHECK(broken("environment", json::Json{{"A", 1}}));
  CHECK(broken("ticket", json::Json::object()));
  CHECK(broken("type", "begin"));
}

TEST_CASE("control port: a controller on the host's loopback is 10.0.2.2 inside") {
  CHECK(url_inside("http://127.0.0.1:8080/jenkins/") == "http://10.0.2.2:8080/jenkins/");
  CHECK(url_inside("https://localhost/") == "https://10.0.2.2/");
  CHECK(url_inside("http://[::1]:80/x") == "http://10.0.2.2:80/x");
  CHECK(url_inside("http://127.evil.example/") == "http://127.evil.example/");
  CHECK(url_inside("https://ci.example/") == "https://ci.example/");
}

TEST_CASE("filter: only what is listed, and only for that user") {
  const std::string text = filter_text(70'001, {{"192.0.2.7", 443, false}, {"192.0.2.8", 53, true}});
  INFO(text);
  CHECK(text.find("create table inet skep-vm-70001\n") == 0);
  const std::size_t first = text.find("ip daddr 192.0.2.7 tcp dport 443 accept");
  const std::size_t second = text.find("ip daddr 192.0.2.8 udp dport 53 accept");
  const std::size_t refusal = text.find("reject with icmpx");
  REQUIRE(first != std::string::npos);
  REQUIRE(second != std::string::npos);
  CHECK((first < refusal && second < refusal));
  CHECK(text.find("meta skuid 70001 jump machine") != std::string::npos);
  CHECK(text.find("!=") == std::string::npos);  // packets without a user are nobody's
}

TEST_CASE("filter: addresses are host and port, and nothing that nft would read otherwise") {
  CHECK(reach_from("ci.example:443") == Reach{"ci.example", 443, false});
  CHECK(reach_from("192.0.2.1:53/udp") == Reach{"192.0.2.1", 53, true});
  CHECK(reach_from("192.0.2.1:53/tcp") == Reach{"192.0.2.1", 53, false});
  for (const char* text : {"", "host", "host:", ":80", "host:0", "host:65536", "host:80/icmp", "a b:80",
                           "a;b:80", "a:80;x", "a:8 0", "::1:80", "a\n:80"})
    CHECK_FALSE(reach_from(text));
}

}  // namespace qemu_texts_test
