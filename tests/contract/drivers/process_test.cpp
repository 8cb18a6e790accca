// What only the process driver can do wrong: processes, descriptors, secrets, files.
#include <catch2/catch.hpp>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>

#include "drivers/process/process_driver.h"
#include "drivers/process/process_record.h"
#include "linux/linux_process.h"
#include "linux/linux_process_launcher.h"
#include "tests/contract/drivers/subject.h"

namespace process_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;

namespace fs = std::filesystem;

namespace {

const std::string owner = "owner-a";
const std::string connected = "echo INFO: Connected >&2; ";

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

process::Record record_of(const ProcessSubject& subject, const std::string& id) {
  const auto record = process::decode(content_of(subject.root() + "/" + id + "/record.json"));
  REQUIRE(record);
  return *record;
}

void expect_clean(ProcessSubject& subject) {
  INFO(joined(subject.residue()));
  CHECK(subject.residue().empty());
}

}  // namespace

TEST_CASE("process driver: processes that daemonise do not outlive the executor",
          "[contract][drivers][process]") {
  const bool uses_cgroups = GENERATE(true, false);
  const bool is_stopped_first = GENERATE(true, false);
  ProcessSubject subject(uses_cgroups);
  const auto driver = subject.make_driver(owner);
  const std::string marker = subject.folder.path("marker");
  // A daemon by double fork in a session of its own; one that also drops its environment; one that ignores
  // TERM.
  const std::string daemons = "(setsid sh -c 'sleep 1000 & exec sleep 1000' " + marker +
                              " >/dev/null 2>&1 &) ; "
                              "(env -i setsid sh -c 'sleep 1000; : " +
                              marker +
                              "' >/dev/null 2>&1 &) ; "
                              "(setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' " +
                              marker + " >/dev/null 2>&1 &) ; ";
  REQUIRE(driver->start(subject.script_request("e1", daemons + connected + "exec sleep 1000")));
  REQUIRE(driver->start(subject.request("e2")));
  REQUIRE(reaches(*driver, "e1", AgentPhase::connected));
  REQUIRE(wait_until([&] {
    const auto all = subject.processes();
    return std::count_if(all.begin(), all.end(), [&](const std::string& line) {
             return line.find(marker) != std::string::npos;
           }) >= 2;
  }));
  if (is_stopped_first) CHECK(driver->stop(ExecutorId("e1"), seconds(2)));
  CHECK(driver->destroy(ExecutorId("e1")));
  const auto all = subject.processes();
  INFO(joined(all));
  CHECK(std::none_of(all.begin(), all.end(),
                     [&](const std::string& line) { return line.find(marker) != std::string::npos; }));
  CHECK(driver->inspect(ExecutorId("e2"))->state == InstanceState::running);
  CHECK(driver->destroy(ExecutorId("e2")));
  expect_clean(subject);
}

TEST_CASE("process driver: skep-join killed from inside, its orphans are found",
          "[contract][drivers][process]") {
  ProcessSubject subject;
  auto driver = subject.make_driver(owner);
  REQUIRE(driver->start(subject.script_request(
      "e1", connected + "(setsid sleep 1000 &) ; sleep 1000 & kill -KILL $PPID; wait")));
  REQUIRE(reaches(*driver, "e1", InstanceState::exited));
  driver = subject.make_driver(owner);
  CHECK(driver->list()->size() == 1);
  CHECK(driver->destroy(ExecutorId("e1")));
  expect_clean(subject);
}

TEST_CASE("process driver: the agent has standard descriptors only, and skep-join none of ours",
          "[contract][drivers][process]") {
  ProcessSubject subject;
  const int low = ::open("/dev/zero", O_RDONLY);  // on purpose without O_CLOEXEC
  const int high = ::fcntl(low, F_DUPFD, 700);
  REQUIRE(high >= 700);
  const auto driver = subject.make_driver(owner);
  REQUIRE(driver->start(subject.script_request("e1", "echo $$ > pid; " + connected + "exec sleep 1000")));
  REQUIRE(reaches(*driver, "e1", AgentPhase::connected));
  ::close(low);
  ::close(high);
  const std::string agent = std::to_string(std::stol(content_of(subject.work("e1") + "/pid")));
  REQUIRE(wait_until([&] { return content_of("/proc/" + agent + "/cmdline").find("sleep") == 0; }));
  std::vector<std::string> numbers;
  for (const auto& entry : fs::directory_iterator("/proc/" + agent + "/fd"))
    numbers.push_back(entry.path().filename().string());
  std::sort(numbers.begin(), numbers.end());
  CHECK(numbers == std::vector<std::string>{"0", "1", "2"});
  CHECK(fs::read_symlink("/proc/" + agent + "/fd/0") == "/dev/null");
  const pid_t join = record_of(subject, "e1").join.pid;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(join) + "/fd")) {
    const std::string target = fs::read_symlink(entry.path()).string();
    INFO(entry.path() << " -> " << target);
    CHECK(target != "/dev/zero");
    const bool is_meant = target == "/dev/null" || target.rfind("anon_inode:", 0) == 0 ||
                          target.rfind("pipe:", 0) == 0 || target == subject.root() + "/e1/logs/join.log";
    CHECK(is_meant);
  }
  CHECK(driver->destroy(ExecutorId("e1")));
  expect_clean(subject);
}

TEST_CASE("process driver: many lives leave no descriptor behind", "[contract][drivers][process]") {
  ProcessSubject subject;
  const auto driver = subject.make_driver(owner);
  std::size_t before = 0;
  for (int i = 0; i < 12; ++i) {
    const std::string id = "e" + std::to_string(i);
    REQUIRE(driver->start(subject.request(id, i % 2 == 0 ? Behaviour::connects : Behaviour::dies)));
    if (i % 3 == 0) CHECK(driver->stop(ExecutorId(id), seconds(2)));
    CHECK(driver->destroy(ExecutorId(id)));
    if (i == 1) before = open_descriptors();
  }
  CHECK(open_descriptors() == before);
  expect_clean(subject);
}

TEST_CASE("process driver: the secret is in no command line, environment, log or record",
          "[contract][drivers][process]") {
  ProcessSubject subject;
  const auto driver = subject.make_driver(owner);
  StartRequest request =
      subject.script_request("e1", "cp \"$1\" got; stat -c %a \"$1\" > mode; echo said > said; sleep 0.2; " +
                                       connected + "exec sleep 1000");
  request.spec.agent_command.push_back("{secret_file}");
  const std::string secret = "s3cr3t-0f-this-very-test";
  request.ticket.secret = secret;
  REQUIRE(driver->start(request));
  std::vector<std::string> found;
  const auto look = [&] {
    for (const auto& entry : fs::directory_iterator("/proc")) {
      if (entry.path().filename().string().find_first_not_of("0123456789") != std::string::npos) continue;
      for (const char* name : {"/cmdline", "/environ"}) {
        if (content_of(entry.path().string() + name).find(secret) != std::string::npos)
          found.push_back(entry.path().string() + name);
      }
    }
  };
  REQUIRE(wait_until([&] {
    look();
    return driver->inspect(ExecutorId("e1"))->agent == AgentPhase::connected;
  }));
  CHECK(content_of(subject.work("e1") + "/got") == secret);  // the agent had it, and this look can find it
  CHECK(content_of(subject.work("e1") + "/mode") == "600\n");
  CHECK(fs::remove(subject.work("e1") + "/got"));
  REQUIRE(wait_until([&] { return !fs::exists(subject.root() + "/e1/control/secret"); }));
  for (const auto& entry : fs::recursive_directory_iterator(subject.root())) {
    if (entry.is_regular_file() && content_of(entry.path().string()).find(secret) != std::string::npos)
      found.push_back(entry.path().string());
  }
  INFO(joined(found));
  CHECK(found.empty());
  CHECK(driver->destroy(ExecutorId("e1")));
  expect_clean(subject);
}

TEST_CASE("process driver: a process that got the number of skep-join is left alone",
          "[contract][drivers][process]") {
  ProcessSubject subject(false);
  auto driver = subject.make_driver(owner);
  REQUIRE(driver->start(subject.request("e1", Behaviour::dies)));
  REQUIRE(reaches(*driver, "e1", InstanceState::exited));
  posix_host::LaunchRequest launch;
  launch.argv = {"/bin/sleep", "1000"};
  const auto bystander = posix_host::launch(launch);
  REQUIRE(bystander);
  process::Record record = record_of(subject, "e1");
  record.join.pid = bystander->pid;  // its start time stays that of the one who had the number before
  if (record.join.start_ticks == bystander->start_ticks) --record.join.start_ticks;
  const bool is_after_reboot = GENERATE(false, true);
  if (is_after_reboot) {  // the same number and time in another life of the machine
    record.join = *bystander;
    record.boot_id = "00000000-0000-0000-0000-000000000000";
  }
  std::ofstream(subject.root() + "/e1/record.json", std::ios::trunc) << process::encode(record);
  driver = subject.make_driver(owner);
  CHECK(driver->inspect(ExecutorId("e1"))->state == InstanceState::exited);
  CHECK(driver->recover({1, "e1"})->state == InstanceState::exited);
  CHECK(driver->stop(ExecutorId("e1"), seconds(1)));
  CHECK(driver->destroy(ExecutorId("e1")));
  CHECK(posix_host::is_alive(*bystander));
  posix_host::send_signal(*bystander, SIGKILL);
  CHECK(posix_host::wait_for_end(*bystander, seconds(10)));
  expect_clean(subject);
}

TEST_CASE("process driver: a record that a build has forged leads to nobody else",
          "[contract][drivers][process]") {
  ProcessSubject subject;
  const auto driver = subject.make_driver(owner);
  REQUIRE(driver->start(subject.request("e1")));
  REQUIRE(driver->start(subject.request("victim")));
  const process::Record original = record_of(subject, "e1"), victim = record_of(subject, "victim");
  const std::string part = GENERATE("pid", "cookie", "cgroups", "owner", "path");
  process::Record forged = original;
  if (part == "pid") forged.join = victim.join;
  if (part == "cookie") forged.cookie = victim.cookie;
  if (part == "cgroups") forged.cgroups = victim.cgroups;
  if (part == "owner") forged.owner = "owner-b";
  if (part == "path" && !victim.cgroups.empty() && !original.cgroups.empty())
    forged.cgroups = {victim.cgroups.front() + "/../" +
                      fs::path(original.cgroups.front()).filename().string()};
  std::ofstream(subject.root() + "/e1/record.json", std::ios::trunc) << process::encode(forged);
  INFO(part);
  CHECK(driver->list()->size() == 2);
  CHECK(driver->stop(ExecutorId("e1"), milliseconds(200)));
  CHECK(driver->destroy(ExecutorId("e1")));
  CHECK(driver->inspect(ExecutorId("victim"))->state == InstanceState::running);
  CHECK(reaches(*driver, "victim", AgentPhase::connected));
  CHECK(driver->destroy(ExecutorId("victim")));
  expect_clean(subject);
}

TEST_CASE("process driver: whatever a build does to its own folder, destroy gets rid of it",
          "[contract][drivers][process]") {
  ProcessSubject subject;
  const auto driver = subject.make_driver(owner);
  const std::string outside = subject.folder.path("outside");
  fs::create_directories(outside);
  std::ofstream(outside + "/precious") << "precious";
  const std::string script = GENERATE_COPY(
      std::string("mkdir -p a/b; touch a/b/c; chmod 0 a/b; chmod 500 a; "),  // nothing may be written
      "ln -s " + outside + " link; ln -s / root; ln -s nowhere dangling; mkfifo p; ",  // links and pipes
      std::string("d=.; for i in $(seq 300); do d=$d/deeeeeeeeeep; done; mkdir -p $d || true; "),
      std::string("echo garbage > ../record.json; rm -rf ../control; "),  // our own files
      std::string("rm -f ../record.json; mkdir ../record.json; "),
      "rm -rf ../control ../logs; ln -s " + outside + " ../control; ln -s " + outside + " ../logs; ",
      std::string("cd /; rm -rf \"$HOME/..\"; "));  // all of it
  INFO(script);
  REQUIRE(driver->start(subject.script_request("e1", script + ": > " + outside + "/done; exec sleep 1000")));
  REQUIRE(wait_until([&] { return fs::exists(outside + "/done"); }));
  CHECK(driver->list());
  CHECK(driver->stop(ExecutorId("e1"), milliseconds(500)));
  CHECK(driver->destroy(ExecutorId("e1")));
  CHECK(driver->inspect(ExecutorId("e1"))->state == InstanceState::absent);
  CHECK(content_of(outside + "/precious") == "precious");
  expect_clean(subject);
}

TEST_CASE("process driver: the environment is complete and its own", "[contract][drivers][process]") {
  ProcessSubject subject;
  const auto driver = subject.make_driver(owner);
  ::setenv("SKEP_TEST_LEAK", "leaked", 1);
  StartRequest request =
      subject.script_request("e1", "env > env; pwd > cwd; umask > umask; " + connected + "exec sleep 1000");
  request.spec.environment = {{"COLOUR", "blue"}};
  REQUIRE(driver->start(request));
  REQUIRE(reaches(*driver, "e1", AgentPhase::connected));
  const std::string environment = content_of(subject.work("e1") + "/env");
  CHECK(environment.find("COLOUR=blue\n") != std::string::npos);
  CHECK(environment.find("HOME=" + subject.work("e1") + "\n") != std::string::npos);
  CHECK(environment.find("leaked") == std::string::npos);
  CHECK(content_of(subject.work("e1") + "/cwd") == subject.work("e1") + "\n");
  CHECK(content_of(subject.work("e1") + "/tools/readme") == "golden\n");
  for (const auto& [name, value] : std::map<std::string, std::string>{
           {"", "x"}, {"A=B", "x"}, {"SKEP_EXECUTOR", "x"}, {"A", std::string("x\0y", 3)}}) {
    StartRequest bad = subject.request("e2");
    bad.spec.environment = {{name, value}};
    const auto refused = driver->start(bad);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == ErrorCode::invalid_input);
  }
  CHECK(driver->destroy(ExecutorId("e1")));
  expect_clean(subject);
}

TEST_CASE("process driver: skep-join that is missing or no program makes start fail clean",
          "[contract][drivers][process]") {
  ProcessSubject subject;
  const bool is_there = GENERATE(false, true);
  ProcessDriverOptions options;
  options.root = subject.root();
  options.owner_tag = owner;
  options.join_program = subject.folder.path("join");
  if (is_there) std::ofstream(options.join_program) << "no program";
  const auto driver = make_process_driver(options);
  CHECK_FALSE(driver->probe()->is_usable);
  StartRequest request = subject.request("e1");
  request.spec.image = "";
  const auto failed = driver->start(request);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().outcome == Outcome::failed);
  CHECK(failed.error().message.find(options.join_program) != std::string::npos);
  CHECK(driver->inspect(ExecutorId("e1"))->state == InstanceState::absent);
  expect_clean(subject);
}

TEST_CASE("process driver: with no descriptor left it says that it cannot see, never that there is nothing",
          "[contract][drivers][process]") {
  ProcessSubject subject(GENERATE(true, false));
  const auto driver = subject.make_driver(owner, milliseconds(500));  // for so long it tries to look
  REQUIRE(driver->start(subject.request("steady")));
  REQUIRE(reaches(*driver, "steady", AgentPhase::connected));
  rlimit old_limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &old_limit) == 0);
  const std::size_t in_use = open_descriptors();
  int failed = 0, good = 0;
  for (std::size_t spare = 0; spare < 24; ++spare) {
    INFO(spare << " descriptors are left");
    const std::string id = "e" + std::to_string(spare);
    const StartRequest request = subject.request(id);
    const rlimit low{in_use - 1 + spare, old_limit.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
    const auto listed = driver->list();
    const auto seen = driver->inspect(ExecutorId("steady"));
    const auto started = driver->start(request);
    const auto destroyed = driver->destroy(ExecutorId(id));
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &old_limit) == 0);
    CHECK((!listed || listed->size() == 1));
    CHECK((!seen || seen->state == InstanceState::running));
    if (!listed) CHECK(listed.error().outcome == Outcome::unknown);
    if (!seen) CHECK(seen.error().outcome == Outcome::unknown);
    CHECK((!started || started->state == InstanceState::running));
    started ? ++good : ++failed;
    if (destroyed) CHECK(driver->inspect(ExecutorId(id))->state == InstanceState::absent);
    CHECK(driver->destroy(ExecutorId(id)));
    posix_host::ProcessMarks marks;
    marks.cookie = "SKEP_EXECUTOR=" + owner + "/" + id + "@" + fs::weakly_canonical(subject.root()).string();
    CHECK(posix_host::find_processes(marks).empty());
  }
  CHECK(failed > 3);
  CHECK(good > 3);
  CHECK(open_descriptors() == in_use);
  CHECK(driver->inspect(ExecutorId("steady"))->state == InstanceState::running);
  CHECK(driver->destroy(ExecutorId("steady")));
  expect_clean(subject);
}

TEST_CASE("process driver: a full disk makes start fail clean, and destroying makes room again",
          "[contract][drivers][process]") {
  ProcessSubject subject;
  fs::create_directories(subject.root());
  if (::mount("skep-test", subject.root().c_str(), "tmpfs", 0, "size=1m,mode=700") != 0) {
    std::cout << "SKIPPED: a small file system cannot be mounted here" << std::endl;
    return;
  }
  {
    std::ofstream(subject.folder.path("image/big")) << std::string(700 * 1024, 'x');
    const auto driver = subject.make_driver(owner);
    REQUIRE(driver->start(subject.request("e1")));
    const auto full = driver->start(subject.request("e2"));
    REQUIRE_FALSE(full);
    INFO(full.error().message);
    CHECK(full.error().code == ErrorCode::out_of_resources);
    CHECK(full.error().outcome != Outcome::unknown);
    CHECK(driver->inspect(ExecutorId("e2"))->state == InstanceState::absent);
    CHECK(driver->inspect(ExecutorId("e1"))->state == InstanceState::running);
    std::ofstream(subject.work("e1") + "/filler") << std::string(2 << 20, 'x');  // to the last byte
    CHECK(driver->destroy(ExecutorId("e1")));
    CHECK(driver->inspect(ExecutorId("e1"))->state == InstanceState::absent);
    CHECK(driver->start(subject.request("e1")).error().code == ErrorCode::conflict);
    REQUIRE(driver->start(subject.request("e2")));  // the id was not burnt
    CHECK(driver->destroy(ExecutorId("e2")));
    expect_clean(subject);
  }
  CHECK(::umount2(subject.root().c_str(), MNT_DETACH) == 0);
}

}  // namespace process_test
