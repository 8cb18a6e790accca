// What only the container driver can do wrong: a sandbox that is not shut, limits, secrets, residue, strange
// containers.
#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <iostream>

#include "common/http/unix_client.h"
#include "common/json/json.h"
#include "drivers/container/engine.h"
#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"
#include "tests/contract/drivers/container_subject.h"

namespace container_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace {

const std::string owner = "owner-a";
const std::string connected = "echo INFO: Connected >&2; ";

struct Fixture {
  std::string kind = GENERATE(from_range(subject_kinds()));
  ContainerSubject subject{kind};
  std::unique_ptr<Driver> driver = subject.make_driver(owner);

  /// Starts it, and waits until its script has told `name` into its control folder.
  std::string run(const StartRequest& request, const std::string& name) {
    const auto started = driver->start(request);
    if (!started) FAIL(started.error().message);
    const std::string& id = request.spec.id.text;
    if (!wait_until([&] { return !subject.told(id, name).empty(); }, std::chrono::seconds(40)))
      FAIL("nothing told by " << id << ": " << driver->inspect(request.spec.id)->message);
    return subject.told(id, name);
  }
  std::string ask(const std::string& method, const std::string& target, const std::string& body = {}) const {
    http::UnixClientOptions options;
    options.socket_path = subject.engine.socket;
    http::Request request;
    request.method = method;
    request.target = "v1.41/" + target;
    request.body = body;
    request.content_type = "application/json";
    const auto reply = http::UnixClient(options).call(request);
    if (!reply) FAIL(reply.error().message);
    if (reply->status >= 400) FAIL(method << " " << target << ": " << reply->body);
    return reply->body;
  }
  void expect_nothing_left(const std::vector<std::string>& ids) {
    for (const std::string& id : ids) {
      const auto destroyed = driver->destroy(ExecutorId(id));
      if (!destroyed) FAIL_CHECK(destroyed.error().message);
    }
    const auto left = subject.residue();
    INFO(joined(left));
    CHECK(left.empty());
  }
};

/// A script that tells all that `commands` print as `name`, whole or not at all.
std::string telling(const std::string& name, const std::string& commands) {
  const std::string place = "/skep/control/" + name;
  return "{ " + commands + "; } > " + place + ".part 2>&1; mv " + place + ".part " + place + "; " +
         connected + "exec sleep 1000";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("container driver: the sandbox is shut", "[contract][drivers][container]") {
  Fixture f;
  StartRequest request = f.subject.script_request(
      "e1", telling("report",
                    "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; cat /proc/1/comm; "
                    "for d in / /etc /bin /usr/bin /root /var /skep; do touch $d/x && echo wrote $d; done; "
                    "echo x >> /etc/golden && echo changed image; "
                    "for d in /skep/work /tmp /var/tmp /run /dev/shm /skep/control; do touch $d/x && echo "
                    "may write $d; done; "
                    "ls /sys/class/net; pwd; echo home=$HOME; mount -t tmpfs x /tmp && echo mounted; "
                    "mknod /tmp/disk b 8 0 && echo made a device; ulimit -n; echo COLOUR=$COLOUR"));
  request.spec.environment = {{"COLOUR", "blue"}};
  const std::string report = f.run(request, "report");
  INFO(report);
  CHECK(has(report, "CapEff:\t0000000000000000"));
  CHECK(has(report, "CapBnd:\t0000000000000000"));
  CHECK(has(report, "NoNewPrivs:\t1"));
  CHECK(has(report, "skep-join"));
  CHECK_FALSE(has(report, "wrote "));
  CHECK_FALSE(has(report, "changed image"));
  for (const char* place : {"/skep/work", "/tmp", "/var/tmp", "/run", "/dev/shm", "/skep/control"})
    CHECK(has(report, std::string("may write ") + place));
  CHECK_FALSE(has(report, "eth0"));
  CHECK(has(report, "\n/skep/work\nhome=/skep/work\n"));
  CHECK_FALSE(has(report, "mounted"));
  CHECK_FALSE(has(report, "made a device"));
  CHECK(has(report, "\n4096\n"));
  CHECK(has(report, "COLOUR=blue"));
  f.expect_nothing_left({"e1"});
}

TEST_CASE("container driver: limits hold", "[contract][drivers][container]") {
  Fixture f;
  ContainerDriverOptions options = f.subject.options(owner);
  options.max_processes = 40;
  f.driver = make_container_driver(options);
  StartRequest small =
      f.subject.script_request("e1", "( for i in $(seq 100); do sleep 500 & done ) 2> /skep/control/forks; " +
                                         telling("disk",
                                                 "dd if=/dev/zero of=$HOME/big bs=1M count=64; dd "
                                                 "if=/dev/zero of=/tmp/big bs=1M count=64"));
  small.spec.resources.disk_bytes = 16 << 20;
  small.spec.resources.cpu_millis = 500;
  const std::string disk = f.run(small, "disk");
  INFO(disk);
  CHECK(has(disk, "No space left"));
  CHECK_FALSE(has(disk, "64+0 records out"));
  CHECK(has(f.subject.told("e1", "forks"), "can't fork"));
  const auto shown = json::parse_strict(f.ask("GET", "containers/skep-e1/json"));
  REQUIRE(shown);
  CHECK((*shown)["HostConfig"]["PidsLimit"] == 40);
  const bool has_cpu =
      (*shown)["HostConfig"]["NanoCpus"] == 500'000'000 || (*shown)["HostConfig"]["CpuQuota"] == 50'000;
  CHECK(has_cpu);

  // Memory, and what is in the work space counts.
  StartRequest hungry = f.subject.script_request(
      "e2", telling("memory", "dd if=/dev/zero of=$HOME/big bs=1M count=200; echo code=$?"));
  hungry.spec.resources.memory_bytes = 64 << 20;
  hungry.spec.resources.disk_bytes = 512 << 20;
  const auto started = f.driver->start(hungry);
  if (!started) FAIL(started.error().message);
  CHECK(wait_until([&] {
    return has(f.subject.told("e2", "memory"), "code=") ||
           f.driver->inspect(ExecutorId("e2"))->state == InstanceState::exited;
  }));
  CHECK_FALSE(has(f.subject.told("e2", "memory"), "code=0"));
  f.expect_nothing_left({"e1", "e2"});
}

TEST_CASE("container driver: the engine never shows the secret", "[contract][drivers][container]") {
  Fixture f;
  const std::string secret = "s3cr3t-0f-this-very-test";
  StartRequest request = f.subject.script_request(
      "e1", "cp \"$1\" \"$HOME/got\"; stat -c %a \"$1\" > /skep/control/mode; " +
                telling("got", "sha256sum < $HOME/got; rm $HOME/got; cat /proc/*/cmdline /proc/*/environ"));
  request.spec.agent_command.push_back("{secret_file}");
  request.ticket.secret = secret;
  const std::string got = f.run(request, "got");
  // Of the secret, as sha256sum says: the agent had it.
  CHECK(has(got, "5e3e0256227174008678979ee9a0d0864e77c54e"));
  CHECK(f.subject.told("e1", "mode") == "600\n");
  CHECK_FALSE(has(got, secret));
  CHECK_FALSE(has(f.ask("GET", "containers/skep-e1/json"), secret));
  CHECK_FALSE(has(f.ask("GET", "containers/skep-e1/logs?stdout=1&stderr=1"), secret));
  REQUIRE(reaches(*f.driver, "e1", AgentPhase::connected));
  REQUIRE(wait_until([&] { return !std::filesystem::exists(f.subject.control(owner, "e1") + "/secret"); }));
  for (const auto& entry : std::filesystem::recursive_directory_iterator(f.subject.root())) {
    if (entry.is_regular_file()) CHECK_FALSE(has(content_of(entry.path().string()), secret));
  }
  f.expect_nothing_left({"e1"});
}

TEST_CASE("container driver: as a user of its own, it still gets its ticket",
          "[contract][drivers][container]") {
  Fixture f;
  ContainerDriverOptions options = f.subject.options(owner);
  options.user = "1234:2345";
  f.driver = make_container_driver(options);
  const std::string who = f.run(
      f.subject.script_request("e1", telling("who", "id -u; id -g; touch /tmp/x $HOME/x && echo ok")), "who");
  CHECK(who == "1234\n2345\nok\n");
  REQUIRE(reaches(*f.driver, "e1", AgentPhase::connected));
  auto* delivery = dynamic_cast<TicketDelivery*>(f.driver.get());
  Ticket ticket = plain_request("e1").ticket;
  ticket.attempt = 2;
  CHECK(delivery->deliver_ticket(ExecutorId("e1"), ticket));
  CHECK(wait_until([&] { return f.driver->inspect(ExecutorId("e1"))->ticket_attempt == 2; }));
  f.expect_nothing_left({"e1"});
}

TEST_CASE("container driver: the next executor finds nothing of the one before",
          "[contract][drivers][container]") {
  Fixture f;
  drivers::container::Engine engine(f.subject.engine.socket, seconds(30));
  // Put together by the shell, so that the command line itself is no hit.
  const std::string search =
      "mark=SKEP-CAN; mark=${mark}ARY; "
      "hits() { find / \\( -path /proc -o -path /sys \\) -prune -o -type f -exec grep -l $mark {} + "
      "2>/dev/null; "
      "find / \\( -path /proc -o -path /sys \\) -prune -o -name canary -print 2>/dev/null; "
      "ps | grep '[5]4321'; env | grep SKEP_CAN; }; ";
  const std::string plant =
      "for d in / /bin /etc /root /usr/bin /var/tmp /run /home /dev /skep /skep/work /skep/control /tmp "
      "/dev/shm $HOME; do "
      "echo $mark 2>/dev/null > $d/canary; done 2>/dev/null; echo $mark 2>/dev/null >> /etc/golden; cp "
      "/bin/sh /bin/busybox 2>/dev/null; "
      "echo '* * * * * echo hi' 2>/dev/null > /etc/crontab; setsid sleep 54321 & ";
  const std::string image =
      "find / \\( -path /proc -o -path /sys -o -path /dev -o -path /skep -o -path /run "
      "-o -path /etc/hosts -o -path /etc/hostname -o -path /etc/resolv.conf \\) -prune "
      "-o -type f -print | sort | xargs sha256sum | sha256sum";
  std::string first_sum;
  constexpr int rounds = 3;
  for (int round = 0; round < rounds; ++round) {
    const std::string before = "searches-" + std::to_string(round), after = "plants-" + std::to_string(round);
    const std::string found =
        f.run(f.subject.script_request(before, search + telling("hits", "hits; echo end; " + image)), "hits");
    INFO(found);
    REQUIRE(found.rfind("end\n", 0) == 0);
    if (first_sum.empty()) first_sum = found;
    CHECK(found == first_sum);  // and the image's files are what they were
    CHECK(f.driver->destroy(ExecutorId(before)));
    const std::string planted =
        f.run(f.subject.script_request(after, search + plant + telling("hits", "hits; echo end")), "hits");
    INFO(planted);
    CHECK(has(planted, std::string(container::work_place) + "/canary"));  // the search finds what is there
    CHECK(has(planted, "/dev/shm/canary"));
    CHECK(has(planted, "54321"));
    CHECK(f.driver->destroy(ExecutorId(after)));
  }
  const auto facts = engine.image(f.subject.engine.image);
  REQUIRE(facts);
  CHECK(facts->id == f.subject.engine.image);
  f.expect_nothing_left({});
}

TEST_CASE("container driver: one that was renamed or paused is found, ended and removed",
          "[contract][drivers][container]") {
  Fixture f;
  f.run(f.subject.script_request("e1", telling("up", "echo up")), "up");
  f.ask("POST", "containers/skep-e1/rename?name=mine-now");
  f.driver = f.subject.make_driver(owner);
  CHECK(f.driver->list()->size() == 1);
  CHECK(f.driver->inspect(ExecutorId("e1"))->state == InstanceState::running);
  f.ask("POST", "containers/mine-now/pause");
  CHECK(f.driver->inspect(ExecutorId("e1"))->state == InstanceState::running);
  f.expect_nothing_left({"e1"});
}

TEST_CASE("container driver: containers of others are never touched", "[contract][drivers][container]") {
  Fixture f;
  const auto made = json::parse_strict(f.ask(
      "POST", "containers/create?name=skep-e1",
      R"({"Image":")" + f.subject.engine.image +
          R"(","Entrypoint":["/bin/sleep","1000"],"HostConfig":{"NetworkMode":"none",)"
          R"("Ulimits":[{"Name":"nofile","Soft":99,"Hard":99},{"Name":"nproc","Soft":99,"Hard":99}]}})"));
  REQUIRE(made);
  CHECK(f.driver->list()->empty());
  CHECK(f.driver->inspect(ExecutorId("e1"))->state == InstanceState::absent);
  CHECK(f.driver->start(f.subject.request("e1")).error().code == ErrorCode::conflict);
  CHECK(f.driver->stop(ExecutorId("e1"), milliseconds(10)));
  CHECK(f.driver->destroy(ExecutorId("e1")).error().code == ErrorCode::conflict);
  f.ask("GET", "containers/skep-e1/json");
  f.ask("DELETE", "containers/skep-e1?force=1&v=1");
  f.expect_nothing_left({});
}

TEST_CASE("container driver: an image that is not there, or no digest", "[contract][drivers][container]") {
  Fixture f;
  ContainerDriverOptions options = f.subject.options(owner);
  options.images["missing"] = "sha256:" + std::string(64, '0');
  options.images["elsewhere"] = "registry.invalid/a/b@sha256:" + std::string(64, '1');
  f.driver = make_container_driver(options);
  const auto report = f.driver->probe();
  REQUIRE(report);
  INFO(report->detail);
  CHECK(report->is_usable);
  CHECK(report->images == std::vector<std::string>{"base"});
  CHECK(has(report->detail, "\"missing\""));
  for (const char* image : {"missing", "elsewhere"}) {
    StartRequest request = f.subject.request("e1");
    request.spec.image = image;
    const auto started = f.driver->start(request);
    REQUIRE_FALSE(started);
    CHECK(started.error().code == ErrorCode::not_found);
    CHECK(started.error().outcome == Outcome::failed);
    CHECK(has(started.error().message, image));
    CHECK(has(started.error().message, options.images[image]));
  }
  f.expect_nothing_left({"e1"});
}

TEST_CASE("container driver: a program that is not in the image fails clean",
          "[contract][drivers][container]") {
  Fixture f;
  ContainerDriverOptions options = f.subject.options(owner);
  options.join_program = "/no/skep-join";
  f.driver = make_container_driver(options);
  const auto started = f.driver->start(f.subject.request("e1"));
  REQUIRE_FALSE(started);
  INFO(started.error().message);
  CHECK(started.error().outcome == Outcome::failed);
  CHECK(has(started.error().message, "/no/skep-join"));
  CHECK(f.driver->inspect(ExecutorId("e1"))->state == InstanceState::absent);
  f.expect_nothing_left({});
}

TEST_CASE("container driver: how long it takes", "[contract][drivers][container]") {
  Fixture f;
  using Clock = std::chrono::steady_clock;
  std::vector<double> start, destroy;
  const auto ms = [](Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); };
  for (int i = 0; i < 5; ++i) {
    const std::string id = "e" + std::to_string(i);
    const StartRequest request = f.subject.request(id);
    const auto begin = Clock::now();
    REQUIRE(f.driver->start(request));
    const auto middle = Clock::now();
    REQUIRE(f.driver->destroy(ExecutorId(id)));
    start.push_back(ms(middle - begin));
    destroy.push_back(ms(Clock::now() - middle));
  }
  std::sort(start.begin(), start.end());
  std::sort(destroy.begin(), destroy.end());
  std::cout << f.kind << " " << f.subject.engine.version << ": start " << start[2] << " ms, destroy "
            << destroy[2] << " ms (medians of 5)" << std::endl;
  f.expect_nothing_left({});
}

TEST_CASE("container driver: what a crashed engine left of a container goes with its executor",
          "[contract][drivers][container]") {
  Fixture f;
  f.run(f.subject.script_request("e1", connected + "env > /skep/control/env; exec sleep 1000"), "env");
  const std::string folder = f.subject.root() + "/" + owner + "/run/e1";
  const std::string number = content_of(folder + "/container");
  REQUIRE(number.size() == 64);
  const std::string inside = f.subject.told("e1", "env");
  const std::size_t mark = inside.find("SKEP_EXECUTOR=");
  REQUIRE(mark != std::string::npos);

  const std::string helper = f.subject.folder.path("containerd-shim");
  std::filesystem::copy_file("/bin/sh", helper);
  const auto launch = [](std::vector<std::string> argv, const std::string& executor) {
    posix_host::LaunchRequest request;
    request.argv = std::move(argv);
    if (!executor.empty()) request.environment["SKEP_EXECUTOR"] = executor;
    const auto launched = posix_host::launch(request);
    REQUIRE(launched);
    return *launched;
  };
  const std::string wait = "while :; do sleep 1; done";
  const auto of_it = launch({helper, "-c", wait, "-id", number}, "");
  const auto of_another = launch({helper, "-c", wait, "-id", std::string(64, 'a')}, "");
  const std::string cookie = inside.substr(mark + 14, inside.find('\n', mark) - mark - 14);
  const auto forgotten = launch({"/bin/sleep", "1000"}, cookie);
  const auto others = launch({"/bin/sleep", "1000"}, owner + "/e1@/somewhere/else");

  f.expect_nothing_left({"e1"});
  CHECK_FALSE(posix_host::is_alive(of_it));
  CHECK_FALSE(posix_host::is_alive(forgotten));
  CHECK(posix_host::is_alive(of_another));
  CHECK(posix_host::is_alive(others));
  for (const auto& each : {of_it, of_another, forgotten, others}) {
    posix_host::send_signal(each, SIGKILL);
    posix_host::reap(each.pid);
  }
}

}  // namespace container_test
