// What only the QEMU driver can do wrong: a sandbox that is not shut, images, secrets, clones that share
// something, residue.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <ctime>
#include <iostream>
#include <thread>

#include "drivers/qemu/accelerator.h"
#include "drivers/qemu/image_check.h"
#include "drivers/qemu/vm_record.h"
#include "linux/linux_process.h"
#include "linux/linux_run.h"
#include "tests/contract/drivers/qemu_subject.h"

namespace qemu_test {

using namespace skep;
using namespace skep::test;
using namespace skep::drivers;
namespace fs = std::filesystem;

namespace {

const std::string owner = "owner-a";
const std::string connected = "echo INFO: Connected >&2; exec sleep 1000";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct Fixture {
  explicit Fixture(StartMode mode = StartMode::warm_clone) : subject(mode) {}
  QemuSubject subject;
  std::unique_ptr<Driver> driver = subject.make_driver(owner);

  void start(const StartRequest& request) {
    const auto started = driver->start(request);
    if (!started) FAIL(started.error().message);
    REQUIRE(started->state == InstanceState::running);
  }
  /// Starts it, and waits for what its script tells on the console after `mark`.
  std::string run(const StartRequest& request, const std::string& mark) {
    start(request);
    const std::string& id = request.spec.id.text;
    const bool is_told =
        wait_until([&] { return !subject.told(id, mark).empty(); }, std::chrono::seconds(60));
    if (!is_told) FAIL("nothing told by " << id << ": " << subject.console(id));
    return subject.told(id, mark);
  }
  qemu::VmRecord record(const std::string& id) {
    const auto read = qemu::Layout::read_record(subject.place(id));
    if (!read) FAIL(read.error().message);
    return *read;
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

/// Listens on loopback, and closes each connection at once.
class Listener {
 public:
  Listener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(::listen(fd_, 16) == 0);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] {
      for (int peer = 0; (peer = ::accept(fd_, nullptr, nullptr)) >= 0;) ::close(peer);
    });
  }
  ~Listener() {
    ::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  const std::string& port() const { return port_; }

 private:
  int fd_;
  std::string port_;
  std::thread thread_;
};

/// "yes" or "no": can the guest connect to that port of this host's loopback?
std::string can_reach(const std::string& port) {
  return "$(timeout 20 nc 10.0.2.2 " + port + " </dev/null >/dev/null 2>&1 && echo yes || echo no)";
}

}  // namespace

TEST_CASE("qemu driver: a guest reaches its controller and nothing else of this host",
          "[contract][drivers][qemu]") {
  Fixture f;
  const Listener controller, other, listed;
  auto options = f.subject.options(owner);
  options.networks = {"filtered", "open"};
  options.reach = {"127.0.0.1:" + listed.port()};
  f.driver = make_qemu_driver(options);
  const std::string script = "echo \"REACH " + can_reach(controller.port()) + " " + can_reach(listed.port()) +
                             " " + can_reach(other.port()) + "\"; " + connected;
  StartRequest request = f.subject.script_request("e1", script);
  request.ticket.url = "http://127.0.0.1:" + controller.port() + "/";
  CHECK(f.run(request, "REACH") == "yes yes no");
  // Without the filter the same guest reaches it: the test sees the filter and not a network that is down.
  StartRequest unfiltered = f.subject.script_request("e2", script);
  unfiltered.ticket.url = request.ticket.url;
  unfiltered.spec.network = "open";
  CHECK(f.run(unfiltered, "REACH") == "yes yes yes");
  CHECK(f.record("e1").filter == "skep-vm-" + std::to_string(f.record("e1").user.value_or(0)));
  CHECK(f.record("e2").filter.empty());
  f.expect_nothing_left({"e1", "e2"});
}

TEST_CASE("qemu driver: where a filter cannot be had, a filtered machine is refused",
          "[contract][drivers][qemu]") {
  Fixture f;
  auto options = f.subject.options(owner);
  options.networks = {"filtered", "none"};
  options.users = 0;
  f.driver = make_qemu_driver(options);
  const auto report = f.driver->probe();
  REQUIRE(report);
  INFO(report->detail);
  CHECK(has(report->detail, "NO machine with network \"filtered\" can start"));
  const auto refused = f.driver->start(f.subject.request("e1"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().outcome == Outcome::failed);
  CHECK(has(refused.error().message, "cannot be filtered"));
  StartRequest unknown = f.subject.request("e1");
  unknown.spec.network = "open";
  CHECK(f.driver->start(unknown).error().code == ErrorCode::invalid_input);  // this host does not allow it
  f.expect_nothing_left({});
}

TEST_CASE("qemu driver: QEMU is shut in, and the secret is nowhere but in the guest",
          "[contract][drivers][qemu]") {
  Fixture f;
  f.start(f.subject.request("e1"));
  REQUIRE(reaches(*f.driver, "e1", AgentPhase::connected));
  const auto record = f.record("e1");
  const std::string place = "/proc/" + std::to_string(record.qemu.pid) + "/";
  const std::string status = content_of(place + "status");
  INFO(status);
  REQUIRE(record.user);
  CHECK(has(status, "Uid:\t" + std::to_string(*record.user) + "\t" + std::to_string(*record.user)));
  CHECK(has(status, "CapEff:\t0000000000000000"));
  CHECK(has(status, "Seccomp:\t2"));
  std::string shown = content_of(place + "cmdline") + content_of(place + "environ");
  for (const auto& entry : fs::recursive_directory_iterator(f.subject.place("e1"))) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name != qemu::overlay_file) shown += content_of(entry.path().string());
  }
  CHECK_FALSE(shown.empty());
  CHECK_FALSE(has(shown, "secret-of-e1"));
  f.expect_nothing_left({"e1"});
}

TEST_CASE("qemu driver: two clones share no name, machine id, secret or random stream",
          "[contract][drivers][qemu]") {
  Fixture f;
  const std::string script =
      "echo \"SELF $(hostname) $(cat /etc/machine-id) $(head -c 32 /dev/urandom | sha256sum | cut -c1-64) "
      "$(date +%s)\"; " +
      connected;
  std::vector<std::vector<std::string>> seen;
  for (const char* id : {"e1", "e2"}) {
    std::istringstream words(f.run(f.subject.script_request(id, script), "SELF"));
    std::vector<std::string> parts;
    for (std::string word; words >> word;) parts.push_back(word);
    REQUIRE(parts.size() == 4);
    CHECK(parts[0] == id);
    CHECK(parts[1].size() == 32);
    CHECK(parts[2].size() == 64);
    CHECK(std::abs(std::stol(parts[3]) - std::time(nullptr)) < 30);
    INFO(f.record(id).detail);
    CHECK(has(f.record(id).detail, "cloned from template"));
    seen.push_back(parts);
  }
  for (const std::size_t part : {0u, 1u, 2u}) CHECK(seen[0][part] != seen[1][part]);
  f.expect_nothing_left({"e1", "e2"});
}

TEST_CASE("qemu driver: a template of another QEMU or a spoilt one does not serve",
          "[contract][drivers][qemu]") {
  Fixture f;
  auto options = f.subject.options(owner);
  options.warm_folder = f.subject.folder + "/own-warm";
  f.driver = make_qemu_driver(options);
  f.start(f.subject.request("e1"));
  CHECK(has(f.record("e1").detail, "cloned"));
  const auto about = [&] {
    for (const auto& entry : fs::directory_iterator(options.warm_folder)) return entry.path().string();
    return std::string();
  };
  REQUIRE_FALSE(about().empty());
  std::string text = content_of(about() + "/about.json");
  const std::size_t at = text.find("\"version\":\"");
  REQUIRE(at != std::string::npos);
  std::ofstream(about() + "/about.json") << text.substr(0, at + 11) << "1" << text.substr(at + 11);
  f.start(f.subject.request("e2"));
  CHECK(has(f.record("e2").detail, "booted"));
  CHECK(about().empty());  // the next one is made anew
  f.expect_nothing_left({"e1", "e2"});
}

TEST_CASE("qemu driver: broken images are refused by name, and the base is never written",
          "[contract][drivers][qemu]") {
  Fixture f;
  const auto& good = f.subject.tiny.image;
  const std::string copy = f.subject.folder + "/image";
  const auto fresh_copy = [&] {
    fs::remove_all(copy);
    fs::copy(good.folder, copy);
    for (const auto& file : good.files())
      fs::permissions(copy + "/" + file.name, fs::perms::owner_read | fs::perms::owner_write);
  };
  auto options = f.subject.options(owner);
  options.images["base"].folder = copy;
  int id = 0;
  const auto refusal = [&](const std::string& file) {
    f.driver = make_qemu_driver(options);
    const auto report = f.driver->probe();
    REQUIRE(report);
    CHECK(report->images.empty());
    const auto started = f.driver->start(f.subject.request("e" + std::to_string(++id)));
    REQUIRE_FALSE(started);
    INFO(started.error().message);
    CHECK(started.error().outcome == Outcome::failed);
    CHECK(has(started.error().message, file));
    CHECK(has(report->detail, started.error().message));
    return started.error().code;
  };
  fresh_copy();
  {
    std::fstream flip(copy + "/disk.qcow2", std::ios::in | std::ios::out | std::ios::binary);
    flip.seekp(1'000'000);
    flip.put('\x5a');
  }
  CHECK(refusal("disk.qcow2") == ErrorCode::conflict);
  fresh_copy();
  fs::resize_file(copy + "/initrd", 100'000);
  CHECK(refusal("initrd") == ErrorCode::conflict);
  fresh_copy();
  fs::remove(copy + "/kernel");
  CHECK(refusal("kernel") == ErrorCode::not_found);
  fresh_copy();
  f.driver = make_qemu_driver(options);
  REQUIRE(f.driver->probe()->images == std::vector<std::string>{"base"});
  for (const auto& file : good.files())
    CHECK((fs::status(copy + "/" + file.name).permissions() & fs::perms::owner_write) == fs::perms::none);
  // Changed after it was checked: seen before the next start.
  fs::permissions(copy + "/initrd", fs::perms::owner_read | fs::perms::owner_write);
  std::ofstream(copy + "/initrd", std::ios::app) << "x";
  CHECK(refusal("initrd") == ErrorCode::conflict);
  f.expect_nothing_left({});
}

TEST_CASE("qemu driver: what one executor wrote no later one sees, and the image stays as it is",
          "[contract][drivers][qemu]") {
  Fixture f;
  const std::string search =
      "for p in /skep/work /tmp /etc /root /dev/shm; do [ -e $p/canary ] && echo found $p; done; ";
  const std::string plant =
      "for p in /skep/work /tmp /etc /root /dev/shm; do echo x > $p/canary; done; echo x >> /etc/golden; "
      "sync; ";
  const std::string tell =
      "echo \"HITS $({ " + search + "wc -l < /etc/golden; } | tr '\\n' ' ')\"; " + connected;
  CHECK(f.run(f.subject.script_request("e1", plant + tell), "HITS") ==
        "found /skep/work found /tmp found /etc found /root found /dev/shm 2 ");  // the search finds what is
                                                                                  // there
  CHECK(f.run(f.subject.script_request("e2", tell), "HITS") == "1 ");
  f.expect_nothing_left({"e1", "e2"});
  qemu::ImageCheck check;
  CHECK(check.check("base", f.subject.tiny.image, minutes(1)));
}

TEST_CASE("qemu driver: a console that is flooded fills no disk", "[contract][drivers][qemu]") {
  Fixture f;
  f.start(f.subject.script_request("e1", "yes 0123456789012345678901234567890123456789 > /dev/console"));
  const std::string log = f.subject.place("e1") + "/serial.log";
  REQUIRE(wait_until([&] { return fs::exists(log + ".old"); }, std::chrono::seconds(60)));
  std::error_code ignored;
  const auto first = fs::last_write_time(log + ".old", ignored);
  REQUIRE(wait_until([&] { return fs::last_write_time(log + ".old", ignored) != first; },
                     std::chrono::seconds(60)));
  std::uintmax_t size = 0;
  for (const auto& entry : fs::directory_iterator(f.subject.place("e1"))) {
    if (entry.path().filename() != qemu::overlay_file && entry.is_regular_file(ignored))
      size += entry.file_size(ignored);
  }
  CHECK(size < 600 * 1024);
  CHECK(f.driver->inspect(ExecutorId("e1"))->state == InstanceState::running);
  f.expect_nothing_left({"e1"});
}

TEST_CASE("qemu driver: a guest that never boots is told apart, and ended", "[contract][drivers][qemu]") {
  Fixture f(StartMode::cold);
  auto options = f.subject.options(owner);
  options.images["base"].command_line = "console=ttyS0 rdinit=/nothing init=/nothing root=/nothing";
  f.driver = make_qemu_driver(options);
  f.start(f.subject.request("e1"));
  REQUIRE(wait_until([&] { return has(f.subject.console("e1"), "panic"); }, std::chrono::seconds(60)));
  const auto instance = f.driver->inspect(ExecutorId("e1"));
  CHECK(instance->state == InstanceState::running);
  CHECK(instance->agent == AgentPhase::none);
  CHECK(f.driver->stop(ExecutorId("e1"), milliseconds(100)));
  const auto ended = f.driver->inspect(ExecutorId("e1"));
  CHECK(ended->state == InstanceState::exited);
  INFO(ended->message);
  CHECK(has(ended->message, "panic"));
  f.expect_nothing_left({"e1"});
}

TEST_CASE("qemu driver: a QEMU that was killed is seen, told and cleaned away", "[contract][drivers][qemu]") {
  Fixture f;
  f.start(f.subject.request("e1"));
  REQUIRE(reaches(*f.driver, "e1", AgentPhase::connected));
  ::kill(f.record("e1").qemu.pid, SIGKILL);
  REQUIRE(reaches(*f.driver, "e1", InstanceState::exited));
  CHECK(f.driver->inspect(ExecutorId("e1"))->agent == AgentPhase::ended);
  f.expect_nothing_left({"e1"});
}

TEST_CASE("qemu driver: programs that are missing or fail at once", "[contract][drivers][qemu]") {
  Fixture f(StartMode::cold);
  for (const char* program : {"/no/qemu", "/bin/false"}) {
    auto options = f.subject.options(owner);
    options.program = program;
    f.driver = make_qemu_driver(options);
    CHECK_FALSE(f.driver->probe()->is_usable);
    const auto started = f.driver->start(f.subject.request("e1"));
    REQUIRE_FALSE(started);
    INFO(started.error().message);
    CHECK(started.error().outcome != Outcome::unknown);
    f.expect_nothing_left({});
  }
  auto options = f.subject.options(owner);
  options.image_program = "/bin/false";
  f.driver = make_qemu_driver(options);
  CHECK(has(f.driver->start(f.subject.request("e1")).error().message, "disk"));
  f.expect_nothing_left({});
}

TEST_CASE("qemu driver: a full disk is told, and leaves nothing", "[contract][drivers][qemu]") {
  Fixture f(StartMode::cold);
  const std::string full = f.subject.folder + "/full";
  fs::create_directories(full);
  posix_host::LaunchRequest mount;
  mount.argv = {"mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", full};
  mount.environment = posix_host::basic_environment();
  const auto mounted = posix_host::run_program(mount, seconds(10));
  if (!mounted || mounted->exit_code != 0) {
    std::cout << "SKIPPED: no right to mount a small disk" << std::endl;
    return;
  }
  auto options = f.subject.options(owner);
  options.root = full + "/executors";
  f.driver = make_qemu_driver(options);
  const auto started = f.driver->start(f.subject.request("e1"));
  REQUIRE_FALSE(started);
  INFO(started.error().message);
  CHECK(started.error().outcome == Outcome::try_again);
  CHECK(f.driver->list()->empty());
  f.driver.reset();
  mount.argv = {"umount", full};
  CHECK(posix_host::run_program(mount, seconds(10))->exit_code == 0);
  f.expect_nothing_left(std::vector<std::string>());
}

TEST_CASE("qemu driver: an accelerator is believed when a kernel runs on it, and the trial ends in time",
          "[contract][drivers][qemu]") {
  const auto& image = tiny_image().image;
  CHECK(qemu::try_out("qemu-system-x86_64", image, qemu::Accelerator::tcg, seconds(90)).empty());
  const auto begin = std::chrono::steady_clock::now();
  CHECK(has(qemu::try_out("qemu-system-x86_64", image, qemu::Accelerator::tcg, milliseconds(100)),
            "within 100 ms"));
  qemu::AcceleratorChoice choice("qemu-system-x86_64", qemu::AcceleratorChoice::Wish::automatic);
  const auto chosen = choice.choose(image);
  REQUIRE(chosen);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(30));
  std::cout << "accelerator of this machine: " << chosen->why << std::endl;
  CHECK(choice.choose(image)->why == chosen->why);
}

TEST_CASE("qemu driver: a template that a killed agentd left half-made goes with its QEMU",
          "[contract][drivers][qemu]") {
  Fixture f;
  auto options = f.subject.options(owner);
  options.warm_folder = f.subject.folder + "/own-warm";
  fs::create_directories(options.warm_folder + "/new");
  std::ofstream(options.warm_folder + "/new/ram") << "half";
  posix_host::LaunchRequest launch;
  launch.argv = {"/bin/sleep", "1000"};
  launch.environment = {{"SKEP_EXECUTOR", owner + "/.template@" + f.subject.root()}};
  const auto ours = posix_host::launch(launch);
  launch.environment = {{"SKEP_EXECUTOR", "owner-b/.template@" + f.subject.root()}};
  const auto foreign = posix_host::launch(launch);
  REQUIRE(ours);
  REQUIRE(foreign);
  f.driver = make_qemu_driver(options);
  CHECK(f.driver->probe()->is_usable);
  CHECK_FALSE(posix_host::is_alive(*ours));
  CHECK_FALSE(fs::exists(options.warm_folder + "/new"));
  CHECK(posix_host::is_alive(*foreign));
  posix_host::send_signal(*foreign, SIGKILL);
  CHECK(posix_host::wait_for_end(*foreign, seconds(10)));
  f.expect_nothing_left({});
}

TEST_CASE("qemu driver: how long it takes", "[contract][drivers][qemu]") {
  using Clock = std::chrono::steady_clock;
  const auto ms = [](Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); };
  for (const StartMode mode : {StartMode::cold, StartMode::warm_clone}) {
    Fixture f(mode);
    if (mode == StartMode::warm_clone) {  // the template is made before
      f.start(f.subject.request("first"));
      CHECK(f.driver->destroy(ExecutorId("first")));
    }
    std::vector<double> start, join, destroy;
    const int count = mode == StartMode::cold ? 1 : 5;
    for (int i = 0; i < count; ++i) {
      const std::string id = "e" + std::to_string(i);
      const auto begin = Clock::now();
      f.start(f.subject.request(id));
      start.push_back(ms(Clock::now() - begin));
      CHECK(reaches(*f.driver, id, AgentPhase::connected));
      join.push_back(ms(Clock::now() - begin));
      const auto end = Clock::now();
      CHECK(f.driver->destroy(ExecutorId(id)));
      destroy.push_back(ms(Clock::now() - end));
    }
    for (auto* times : {&start, &join, &destroy}) std::sort(times->begin(), times->end());
    const auto middle = static_cast<std::size_t>(count / 2);
    std::cout << "qemu, " << to_string(mode) << ": start " << start[middle] << " ms, join-ready "
              << join[middle] << " ms, destroy " << destroy[middle] << " ms (medians of " << count << ")"
              << std::endl;
    f.expect_nothing_left({});
  }
}

}  // namespace qemu_test
