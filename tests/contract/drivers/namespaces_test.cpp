// What only namespaces promise: a root of their own over an image that stays as it is, and nothing that
// outlives an executor or is seen by another. Hidden from a run without names: the kinds that it is for have
// runs of their own.
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <iostream>

#include "agentd/images/content.h"
#include "drivers/process/process_record.h"
#include "linux/linux_process.h"
#include "linux/linux_run.h"
#include "tests/contract/drivers/subject.h"

namespace namespaces_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;
namespace fs = std::filesystem;

namespace {

const std::string owner = "owner-a";
const std::string connected = "echo INFO: Connected >&2; exec sleep 1000";

std::vector<std::string> kinds() {
  std::vector<std::string> all;
  for (const std::string& kind : subject_kinds()) {
    if (kind == "namespaces" || kind == "users") all.push_back(kind);
  }
  // GENERATE needs one: the test then says so and ends.
  if (all.empty()) all.emplace_back("none");
  return all;
}

std::string finder_script(const std::string& mark);

struct Fixture {
  std::string kind = GENERATE(from_range(kinds()));
  ProcessSubject subject{
      true, kind == "users" ? ProcessSubject::Kind::namespaces_and_users : ProcessSubject::Kind::namespaces};
  std::unique_ptr<Driver> driver = subject.make_driver(owner);

  bool cannot_run() const {
    if (kind == "none") std::cout << "SKIPPED: no namespaces here" << std::endl;
    return kind == "none";
  }
  void start(const StartRequest& request) {
    const auto started = driver->start(request);
    if (!started) FAIL(started.error().message);
    REQUIRE(started->state == InstanceState::running);
  }
  /// What a build wrote to that file of its work directory, once it is there.
  std::string written(const std::string& id, const std::string& file) {
    const std::string path = subject.work(id) + "/" + file;
    if (!wait_until([&] { return fs::exists(path); }, std::chrono::seconds(30)))
      FAIL(id << " wrote no " << file << ": " << content_of(subject.root() + "/" + id + "/logs/join.log"));
    return content_of(path);
  }
  std::string run(const std::string& id, const std::string& script) {
    start(subject.script_request(id, "{ " + script + "\n} > half 2>&1; mv half out; " + connected));
    return written(id, "out");
  }
  void expect_nothing_found(const std::string& id, const std::string& mark) {
    const std::string found = run(id, finder_script(mark));
    INFO(id << " found: " << found);
    CHECK(found.empty());
  }
  void expect_nothing_left(const std::vector<std::string>& ids) {
    for (const std::string& id : ids) {
      const auto destroyed = driver->destroy(ExecutorId(id));
      if (!destroyed) FAIL_CHECK(destroyed.error().message);
    }
    INFO(joined(subject.residue()));
    CHECK(subject.residue().empty());
  }
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string digest_of(const std::string& folder) {
  const auto digest = agentd::images::hash_tree(folder, {});
  REQUIRE(digest);
  return *digest;
}

/// Command lines on this host that hold `mark`.
std::vector<std::string> processes_with(const std::string& mark) {
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string line = content_of(entry.path().string() + "/cmdline");
    if (has(line, mark)) found.push_back(entry.path().filename().string());
  }
  return found;
}

/// Leaves its marks wherever it can.
std::string canary_script(const std::string& mark) {
  return "M=" + mark +
         "\n"
         "for d in . /tmp /var/tmp \"$HOME\" /dev/shm /dev /etc/cron.d /var/spool/cron/crontabs /root /run "
         "/tools /opt /; do\n"
         "  mkdir -p $d; echo $M > $d/$M; done\n"
         "echo $M >> /tools/readme; echo $M > /etc/profile; rm -f /tools/old; mkdir -p /tools/readme.d\n"
         "ipcmk -M 4096; ipcmk -Q; echo $M > /proc/sys/kernel/domainname; echo $M > "
         "/proc/sys/kernel/core_pattern\n"
         "hostname $M; export MARK=$M\n"
         "(setsid env -i /bin/sh -c \"trap '' TERM HUP; : $M; while :; do sleep 1; done\" </dev/null "
         ">/dev/null 2>&1 &)\n"
         "(setsid sleep 1001 $M </dev/null >/dev/null 2>&1 &)\n";
}

/// Says what it finds of them. Its own command line does not hold the mark.
std::string finder_script(const std::string& mark) {
  return "M=" + mark.substr(0, 9) + "; M=${M}" + mark.substr(9) +
         "\n"
         "find / -xdev -name \"*$M*\" 2>/dev/null; find /tmp /dev /dev/shm -name \"*$M*\" 2>/dev/null\n"
         "for d in /tools /etc /tmp /var /root /run /opt /dev/shm /skep/work; do\n"
         "  grep -rls $M $d 2>/dev/null | grep -v /skep/work/half; done\n"
         "for p in /proc/[0-9]*/cmdline /proc/[0-9]*/environ /proc/sys/kernel/domainname "
         "/proc/sys/kernel/hostname; do\n"
         "  case \"$({ tr '\\0' ' ' < $p; } 2>/dev/null)\" in *$M*) echo found $p;; esac; done\n"
         "ipcs -m -q | grep -c '^0x' | grep -v '^0$'\n";
}

}  // namespace

TEST_CASE("namespaces: what a canary leaves is found by nobody, and the image is as it was",
          "[.][contract][drivers][namespaces]") {
  Fixture f;
  if (f.cannot_run()) return;
  const std::string mark = "skepcanary" + std::to_string(::getpid()) + f.kind;
  const std::string image = f.subject.folder.path("image");
  for (const char* name : {"old", "readme2"}) std::ofstream(image + "/tools/" + name) << "golden\n";
  const std::string before = digest_of(image);
  std::vector<std::string> ids;
  for (int round = 0; round < 4; ++round) {
    const std::string number = std::to_string(round);
    const std::string canary = "c" + number, beside = "b" + number, later = "l" + number;
    // The finder finds: in the executor that has the marks.
    f.start(f.subject.script_request(
        canary, canary_script(mark) + "{ " + finder_script(mark) + "} > half; mv half out; " + connected));
    const std::string own = f.written(canary, "out");
    CHECK(has(own, "/tmp/" + mark));
    CHECK(has(own, "/dev/shm/" + mark));
    CHECK(has(own, "found /proc/"));
    CHECK(processes_with(mark).size() >= 3);
    if (f.kind == "namespaces") CHECK(has(own, "/tools/readme"));  // where it may change the image's files
    f.expect_nothing_found(beside, mark);                          // another one, at the same time
    CHECK(f.driver->destroy(ExecutorId(canary)));
    CHECK(processes_with(mark).empty());
    f.expect_nothing_found(later, mark);
    for (const std::string& id : {beside, later}) CHECK(f.driver->destroy(ExecutorId(id)));
    ids.insert(ids.end(), {canary, beside, later});
  }
  CHECK(digest_of(image) == before);
  std::error_code ignored;
  for (const char* place :
       {"/tmp", "/var/tmp", "/dev/shm", "/dev", "/etc/cron.d", "/var/spool/cron", "/root", "/opt", "/"})
    CHECK_FALSE(fs::exists(std::string(place) + "/" + mark, ignored));
  CHECK_FALSE(has(content_of("/proc/sys/kernel/core_pattern"), mark));
  f.expect_nothing_left(ids);
}

TEST_CASE("namespaces: a build has no rights, and sees nobody", "[.][contract][drivers][namespaces]") {
  Fixture f;
  if (f.cannot_run()) return;
  const std::string out =
      f.run("e1",
            "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; echo uid $(id -u) host $(hostname)\n"
            "echo pids $(ls -d /proc/[0-9]* | wc -l); ls -d /proc/1/root/tools; cat /proc/1/environ\n"
            "touch /usr/x /proc/sys/kernel/hostname; echo x > /proc/sys/kernel/hostname; mknod d c 1 3; "
            "umount /usr\n"
            "mount -t tmpfs x /skep/work; ls /dev/kvm /dev/sda /dev/vda /sys/kernel; cat /tools/readme; pwd\n"
            "perl -e '$r = syscall(" +
                std::to_string(SYS_keyctl) + ", 0, -3, 0); print \"keyring $r $!\\n\"'; ls /skep/control/..");
  INFO(out);
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"})
    CHECK(has(out, std::string(set) + ":\t0000000000000000"));
  CHECK(has(out, "NoNewPrivs:\t1"));
  CHECK(has(out, "Seccomp:\t2"));
  CHECK(has(out, "uid " + (f.kind == "users" ? "740" : std::to_string(::geteuid()))));
  CHECK(has(out, " host e1\n"));
  CHECK(has(out, "keyring -1 Operation not permitted"));
  CHECK(has(out, "golden"));
  CHECK(has(out, "/skep/work"));
  CHECK(has(out, "cannot touch '/usr/x': Read-only file system"));
  CHECK_FALSE(has(out, "SKEP_EXECUTOR"));  // process 1 keeps its environment to itself
  CHECK_FALSE(has(out, f.subject.root() + "/e1/record"));
  for (const char* thing : {"/dev/kvm\n", "/dev/sda\n", "/dev/vda\n", "/sys/kernel:"})
    CHECK_FALSE(has(out, thing));
  const auto pids = out.find("pids ");
  REQUIRE(pids != std::string::npos);
  CHECK(std::stoi(out.substr(pids + 5)) < 10);
  CHECK_FALSE(fs::exists("/usr/x"));
  f.expect_nothing_left({"e1"});
}

TEST_CASE("namespaces: the end of skep-sandbox is the end of all inside",
          "[.][contract][drivers][namespaces]") {
  Fixture f;
  if (f.cannot_run()) return;
  const std::string mark = "skepmark" + std::to_string(::getpid()) + f.kind;
  f.run("e1", "(setsid env -i sleep 1001 " + mark + " &) ; (setsid sleep 1001 " + mark + " &)");
  REQUIRE(wait_until([&] { return processes_with(mark).size() >= 2; }));
  const process::Layout layout{fs::weakly_canonical(f.subject.root()), owner};
  const auto record = layout.read_record(ExecutorId("e1"));
  REQUIRE(record);
  CHECK(record->user.has_value() == (f.kind == "users"));
  posix_host::send_signal(record->join, SIGKILL);
  CHECK(wait_until([&] { return processes_with(mark).empty(); }, std::chrono::seconds(10)));
  CHECK(reaches(*f.driver, "e1", InstanceState::exited));
  f.expect_nothing_left({"e1"});
}

TEST_CASE("namespaces: executors at one time have different users", "[.][contract][drivers][namespaces]") {
  Fixture f;
  if (f.cannot_run() || f.kind != "users") return;
  const std::string first = f.run("e1", "id -u"), second = f.run("e2", "id -u");
  CHECK(first != second);
  CHECK(f.driver->destroy(ExecutorId("e1")));
  CHECK(f.run("e3", "id -u") != second);
  CHECK(has(f.run("e4", "echo x >> /tools/readme || echo refused; echo x > /new || echo refused too"),
            "refused too"));
  f.expect_nothing_left({"e2", "e3", "e4"});
}

TEST_CASE("namespaces: the network is the host's or none, as the host allows it",
          "[.][contract][drivers][namespaces]") {
  Fixture f;
  if (f.cannot_run()) return;
  StartRequest shut = f.subject.script_request("e1", "cat /proc/net/dev > half; mv half out; " + connected);
  shut.spec.network = "none";
  f.start(shut);
  const std::string devices = f.written("e1", "out");
  CHECK(std::count(devices.begin(), devices.end(), ':') == 1);
  CHECK(has(devices, "lo:"));
  CHECK(f.run("e2", "cat /proc/net/route") == content_of("/proc/net/route"));
  StartRequest strange = f.subject.request("e3");
  strange.spec.network = "bridge";
  const auto refused = f.driver->start(strange);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::invalid_input);
  CHECK(has(refused.error().message, "not allowed on this host"));
  f.expect_nothing_left({"e1", "e2"});
}

TEST_CASE("namespaces: where they cannot be had nothing is started, and the reason is told",
          "[.][contract][drivers][namespaces]") {
  Fixture f;
  if (f.cannot_run()) return;
  auto options = f.subject.options(owner);
  std::string reason;
  const std::string obstacle = GENERATE("rights", "bind", "join");
  if (obstacle == "rights") {
    if (::geteuid() != 0) return;  // an ordinary user has none to lose
    const std::string program = f.subject.folder.path("weak");
    std::ofstream(program) << "#!/bin/sh\nexec setpriv --bounding-set -all --inh-caps -all "
                           << bin("skep-sandbox") << " \"$@\"\n";
    fs::permissions(program, fs::perms::owner_all);
    options.sandbox->program = program;
    reason = "cannot make a namespace of processes: Operation not permitted";
  } else if (obstacle == "bind") {
    options.sandbox->binds.emplace_back("/nowhere");
    reason = "cannot bind /nowhere";
  } else {
    options.join_program = "/nowhere/skep-join";
    reason = "cannot start /nowhere/skep-join inside";
  }
  f.driver = make_process_driver(options);
  const auto report = f.driver->probe();
  REQUIRE(report);
  INFO(report->detail);
  if (obstacle != "join") {  // an image may hold it
    CHECK_FALSE(report->is_usable);
    CHECK(has(report->detail, reason));
  }
  const auto refused = f.driver->start(f.subject.request("e1"));
  REQUIRE_FALSE(refused);
  INFO(refused.error().message);
  CHECK(refused.error().outcome == Outcome::failed);
  CHECK(has(refused.error().message, reason));
  CHECK(f.driver->inspect(ExecutorId("e1"))->state == InstanceState::absent);
  f.expect_nothing_left({});
}

}  // namespace namespaces_test
