#include "common/config/config_reader.h"

#include <catch2/catch.hpp>
#include <chrono>

#include "agentd/shell/config_file.h"
#include "scheduler/shell/config_file.h"
#include "tests/support/config_invariants.h"

namespace config_reader_test {

using namespace skep;

namespace {

const std::string good_scheduler = R"(farm: skep
state_dir: /var/lib/skep
controllers:
  - name: main
    url: https://jenkins.example/jenkins/
    user: skep
    token_file: /etc/skep/token
templates:
  - name: linux
    labels: [linux, x86]
    resources: {cpu: 1, memory: 1GiB}
)";

std::string message_of(const std::string& text) {
  const auto config = scheduler::parse_config_text(text, "s.yaml");
  return config ? "" : config.error().message;
}

std::string with(const std::string& line) {
  return good_scheduler + line + "\n";
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), by);
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a good file is accepted") {
  CHECK(message_of(good_scheduler).empty());
}

TEST_CASE("a problem names file, line, key path, what was found and what is allowed") {
  const std::string message = message_of(replaced(good_scheduler, "memory: 1GiB", "memory: lots"));
  CHECK(has(message,
            "s.yaml:11: templates[0].resources.memory: found \"lots\"; allowed: a size such as 512MiB"));
}

TEST_CASE("an unknown key is an error with the nearest known one") {
  const std::string message = message_of(with("farn: x"));
  CHECK(has(message, "s.yaml:12: farn: found an unknown key"));
  CHECK(has(message, "did you mean \"farm\"?"));
  CHECK_FALSE(has(message_of(with("zzzzzzzz: x")), "did you mean"));
  CHECK(has(message_of(replaced(good_scheduler, "user: skep", "usr: skep")), "controllers[0].usr"));
}

TEST_CASE("the companion needs the hook's means") {
  const auto controller = [](const std::string& keys) {
    return replaced(good_scheduler, "    user: skep\n", "    user: skep\n" + keys);
  };
  const auto with_it = scheduler::parse_config_text(controller("    companion: true\n"), "s.yaml");
  REQUIRE(with_it);
  CHECK(with_it->logic.controllers[0].companion);
  CHECK_FALSE(scheduler::parse_config_text(good_scheduler, "s.yaml")->logic.controllers[0].companion);
  CHECK(message_of(controller("    companion: true\n    one_build: hook\n")).empty());
  CHECK(message_of(controller("    companion: false\n    one_build: gate\n")).empty());
  CHECK(has(message_of(controller("    companion: true\n    one_build: gate\n")),
            "s.yaml:7: controllers[0].companion: found true with one_build: gate; allowed: one_build: auto"));
  CHECK(has(message_of(controller("    companion: 7\n")), "s.yaml:7: controllers[0].companion"));
}

TEST_CASE("how versions of images are tried: defaults, and every mistake with its place") {
  const auto section = [](const std::string& keys) { return with("rollouts: {" + keys + "}"); };
  CHECK(scheduler::parse_config_text(good_scheduler, "s.yaml")->logic.rollouts == scheduler::RolloutPolicy{});
  const auto all = scheduler::parse_config_text(
      section("canary_share: 0, canary_starts: 3, worse_join_rate: 5, worse_boot_factor: 1.5, "
              "worse_build_rate: 100, give_up_after: 30m"),
      "s.yaml");
  REQUIRE(all);
  CHECK(all->logic.rollouts == scheduler::RolloutPolicy{0, 3, 5, 150, 100, minutes(30)});
  for (const char* bad : {"canary_share: 101", "canary_share: -1", "canary_starts: 0", "worse_join_rate: 101",
                          "worse_boot_factor: 0.5", "worse_boot_factor: 101", "worse_boot_factor: twice",
                          "worse_build_rate: x", "give_up_after: 0s", "give_up_after: 3"}) {
    const std::string key = std::string(bad).substr(0, std::string(bad).find(':'));
    INFO(bad);
    CHECK(has(message_of(section(bad)), "s.yaml:12: rollouts." + key + ": found "));
  }
  CHECK(has(message_of(section("canary_shares: 1")), "did you mean \"canary_share\"?"));
  CHECK(has(message_of(section("worse_boot_factor: 0.5")), "a factor from 1 to 100"));
}

TEST_CASE("a change of the companion needs a restart") {
  const auto off = scheduler::parse_config_text(good_scheduler, "s.yaml");
  auto on = off;
  REQUIRE((off && on));
  on->logic.controllers[0].companion = true;
  CHECK(scheduler::keys_that_need_a_restart(*off, *off).empty());
  CHECK(scheduler::keys_that_need_a_restart(*off, *on).size() == 1);
}

TEST_CASE("every problem of a file is told at once") {
  std::string text = replaced(good_scheduler, "farm: skep", "farm: NO_GOOD");
  text = replaced(text, "cpu: 1", "cpu: -1");
  const std::string message = message_of(text + "listen: [1]\n");
  CHECK(has(message, "s.yaml:1: farm"));
  CHECK(has(message, "s.yaml:11: templates[0].resources.cpu"));
  CHECK(has(message, "s.yaml:12: listen: found a list"));
}

TEST_CASE("a key twice is an error, wherever it stands") {
  CHECK(has(message_of(with("farm: skep")), "s.yaml:12: farm: found the key twice"));
  CHECK(
      has(message_of(replaced(good_scheduler, "{cpu: 1,", "{cpu: 1, cpu: 2,")), "cpu: found the key twice"));
  CHECK(has(message_of(with("    environment: {A: b, A: c}")), "environment.A: found the key twice"));
}

TEST_CASE("wrong types are told as what they are") {
  CHECK(has(message_of(replaced(good_scheduler, "state_dir: /var/lib/skep", "state_dir: {a: b}")),
            "found a mapping"));
  CHECK(has(message_of(replaced(good_scheduler, "state_dir: /var/lib/skep", "state_dir:")), "found nothing"));
  CHECK(has(message_of(with("policy: 7")), "policy: found \"7\"; allowed: a mapping"));
  CHECK(has(message_of(with("policy: {lease: 1}")), "policy.lease"));
  CHECK(has(message_of(with("policy: {launch_attempts: 1.5}")), "a whole number from 1 to 100"));
  CHECK(has(message_of(with("policy: {launch_attempts: 99999999999999999999}")),
            "a whole number from 1 to 100"));
  CHECK(has(message_of(with("? [a, b]\n: c")), "a key that is no text"));
}

TEST_CASE("what is no mapping at all, or no YAML, names a line") {
  for (const std::string text :
       {"- a\n", "just text\n", "a: [\n", "a: b: c\n", "\t- x", "a: *nobody\n", "%", "\"", "a:\n - b\n  c"}) {
    const std::string message = message_of(text);
    INFO(text << " -> " << message);
    CHECK(test::names_a_place(message, "s.yaml"));
  }
  CHECK(test::names_a_place(message_of(""), "s.yaml"));
  CHECK(test::names_a_place(message_of("# nothing\n"), "s.yaml"));
}

TEST_CASE("aliases may share a part, and cannot make a small file endless") {
  CHECK(message_of(replaced(good_scheduler, "[linux, x86]", "&labels [linux, x86]") +
                   "  - name: other\n    labels: *labels\n")
            .empty());
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string last = "*a" + std::to_string(i - 1), name = "a" + std::to_string(i);
    bomb += name + ": &" + name + " [" + last;
    for (int k = 0; k < 8; ++k) bomb += ", " + last;
    bomb += "]\n";
  }
  const auto started = std::chrono::steady_clock::now();
  CHECK(has(message_of(bomb), "too large; allowed: 100000 entries"));
  CHECK(has(message_of("a: &a [*a, *a, *a, *a]\n"), "s.yaml:1: nested too deeply"));
  CHECK(has(message_of("a: &a {b: *a}\n"), "nested too deeply"));
  CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(10));
}

TEST_CASE("deep nesting is refused, many brackets are not") {
  CHECK(has(message_of("a: " + std::string(500'000, '[')), "s.yaml:1: "));
  CHECK(has(message_of("a: " + std::string(17, '[') + std::string(17, ']')), "nested too deeply"));
  std::string many = good_scheduler;
  for (int i = 0; i < 1500; ++i) many += "  - {name: t" + std::to_string(i) + ", labels: [a]}\n";
  CHECK(message_of(many).empty());
}

TEST_CASE("a file with a thousand problems tells a hundred, each in one line") {
  std::string text = good_scheduler;
  for (int i = 0; i < 1000; ++i) text += "k" + std::to_string(i) + ": \"a\\nb\"\n";
  const std::string message = message_of(text);
  CHECK(std::count(message.begin(), message.end(), '\n') == 100);
  CHECK(has(message, "900 more problems"));
  const std::string odd = message_of(with("log: {level: \"x\\n\\e[31mred\"}"));
  CHECK(odd.find('\n') == std::string::npos);
  CHECK(odd.find('\x1b') == std::string::npos);
}

TEST_CASE("a file that is absent, a folder or too large is refused by name") {
  CHECK(has(scheduler::load_config_file("/nonexistent/s.yaml").error().message, "/nonexistent/s.yaml"));
  CHECK_FALSE(scheduler::load_config_file("/"));
}

TEST_CASE("addresses: no plain http beyond this machine without a word, no user in them") {
  const auto url = [](const std::string& to) {
    return message_of(replaced(good_scheduler, "https://jenkins.example/jenkins/", to));
  };
  CHECK(url("http://127.0.0.1:8080/jenkins").empty());
  CHECK(url("http://localhost:8080").empty());
  CHECK(url("http://[::1]:8080").empty());
  for (const std::string to :
       {"http://jenkins.example/", "http://127.evil.example/", "http://localhost.evil.example/",
        "http://127.0.0.1.evil.example/", "ftp://x/", "jenkins.example", "https://", "http:///x",
        "https://skep:secret@jenkins.example/"}) {
    INFO(to);
    CHECK(has(url(to), "s.yaml:5: controllers[0].url"));
  }
  CHECK_FALSE(has(url("https://skep:pw9@jenkins.example/"), "pw9"));
  CHECK(message_of(replaced(good_scheduler, "url: https://jenkins.example/jenkins/",
                            "url: http://jenkins.example/\n    allow_http: true"))
            .empty());
}

TEST_CASE("agentd's own file") {
  const auto problem = [](const std::string& text) {
    const auto config = agentd::parse_config_text(text, "a.yaml");
    return config ? std::string() : config.error().message;
  };
  CHECK(problem("state_dir: /s\nregistry: {type: none}\n").empty());
  CHECK(has(problem("registry: {type: none}\n"), "a.yaml:1: state_dir: found nothing"));
  CHECK(has(problem("state_dir: /s\nregistry: {scheduler_url: 'http://skep.example/'}\n"),
            "a.yaml:2: registry.scheduler_url"));
  CHECK(
      problem("state_dir: /s\nregistry: {scheduler_url: 'http://skep.example', allow_http: true}\n").empty());
  CHECK(has(problem("state_dir: /s\nregistry: {type: none}\ntls: {key: /k}\n"), "a.yaml:3: tls.key"));
}

TEST_CASE("agentd's image catalogue: every mistake is named with its place") {
  const std::string digest(64, 'a');
  const auto parsed = [](const std::string& images) {
    return agentd::parse_config_text("state_dir: /s\nregistry: {type: none}\n" + images, "a.yaml");
  };
  const auto with_entry = [&](const std::string& entry, const std::string& more = {}) {
    return parsed("images:\n" + more + "  catalogue:\n    - " + entry + "\n");
  };
  const auto problem = [](const Result<agentd::AgentdConfig>& config) {
    return config ? std::string() : config.error().message;
  };
  const std::string file = "{name: f.tar, sha256: " + digest + ", bytes: 1000}";
  const std::string rest = "version: '2', url: 'https://n.example/r', ";
  CHECK_FALSE(parsed("")->images.is_enabled);
  const auto good = with_entry("{name: base, " + rest + "files: [" + file + "]}");
  REQUIRE(good);
  CHECK(good->images.is_enabled);
  REQUIRE(good->images.catalogue.size() == 1);
  const auto& entry = good->images.catalogue[0];
  CHECK(entry.channel == "stable");
  CHECK(entry.url == "https://n.example/r/");
  CHECK(entry.is_prefetched);
  CHECK(entry.unpacked_bytes == 8000 + (64 << 20));
  CHECK(has(problem(with_entry("{name: Base, " + rest + "files: [" + file + "]}")),
            "a.yaml:5: images.catalogue[0].name"));
  CHECK(
      has(problem(with_entry("{name: base, version: .2, url: 'https://n.example/', files: [" + file + "]}")),
          "images.catalogue[0].version"));
  CHECK(
      has(problem(with_entry("{name: base, version: '2', url: 'http://n.example/', files: [" + file + "]}")),
          "images.catalogue[0].url"));
  CHECK(problem(with_entry("{name: base, version: '2', url: 'http://n.example/', files: [" + file + "]}",
                           "  allow_http: true\n"))
            .empty());
  CHECK(has(problem(with_entry("{name: base, " + rest + "files: []}")), "found 0 files; allowed: one tar"));
  CHECK(has(problem(with_entry("{name: base, " + rest + "format: iso, files: [" + file + "]}")),
            "directory_tar"));
  CHECK(has(problem(with_entry("{name: base, " + rest + "filse: [" + file + "]}")), "files"));
  const std::vector<std::string> bad_files{
      "{name: ../f, sha256: " + digest + ", bytes: 1}", "{name: f, sha256: ABC, bytes: 1}",
      "{name: f, sha256: " + digest + "}", "{name: f, sha256: " + digest + ", bytes: 0}"};
  for (const std::string& bad : bad_files) {
    INFO(bad);
    CHECK(has(problem(with_entry("{name: base, " + rest + "files: [" + bad + "]}")),
              "images.catalogue[0].files[0]."));
  }
  CHECK(has(problem(with_entry("{name: base, " + rest + "files: [" + file + "]}", "  max_bytes: 60MiB\n")),
            "a.yaml:4: images.max_bytes"));
  CHECK(problem(with_entry(
                    "{name: base, " + rest + "prefetch: false, unpacked_bytes: 2000, files: [" + file + "]}",
                    "  max_bytes: 3000\n"))
            .empty());
  CHECK(has(
      problem(with_entry("{name: base, " + rest + "files: [" + file + "]}", "  fetch: {max_bytes: 999}\n")),
      "at most images.fetch.max_bytes"));
  const std::string one = "{name: base, " + rest + "files: [" + file + "]}";
  CHECK(has(problem(with_entry(one + "\n    - " + one)), "base@2 twice"));
  CHECK(
      has(problem(with_entry(one + "\n    - {name: base, version: '3', url: 'https://n.example/', files: [" +
                             file + "]}")),
          "a.yaml:6: images.catalogue[1].channel"));
  CHECK(has(problem(with_entry(one + "\ndrivers: {process: {images: {base: /srv/base}}}")),
            "drivers.process.images"));
}

TEST_CASE("agentd's container driver: images by digest only, and on only where it is named") {
  const auto parsed = [](const std::string& driver) {
    return agentd::parse_config_text("state_dir: /s\nregistry: {type: none}\n" + driver, "a.yaml");
  };
  const std::string digest = "sha256:" + std::string(64, 'a');
  CHECK_FALSE(parsed("")->container.is_enabled);
  CHECK_FALSE(parsed("drivers: {container: {enabled: false, images: {base: '" + digest + "'}}}\n")
                  ->container.is_enabled);
  const auto good = parsed("drivers:\n  container:\n    images: {base: 'a/b@" + digest +
                           "'}\n    networks: [none, bridge]\n    user: 1000:1000\n    default_disk: 2GiB\n");
  REQUIRE(good);
  CHECK(good->container.is_enabled);
  CHECK(good->container.images.at("base") == "a/b@" + digest);
  CHECK(good->container.networks == std::vector<std::string>{"none", "bridge"});
  CHECK(good->container.user == "1000:1000");
  CHECK(good->container.default_disk_bytes == std::int64_t{2} << 30);
  CHECK(parsed("drivers: {container: {}}\n")->container.networks == std::vector<std::string>{"bridge"});
  for (const char* bad : {"images: {base: 'debian:12'}", "socket: docker.sock", "join_program: skep-join",
                          "max_processes: 1", "default_disk: 1", "privileged: true"}) {
    const auto refused = parsed("drivers: {container: {" + std::string(bad) + "}}\n");
    INFO(bad);
    REQUIRE_FALSE(refused);
    CHECK(has(refused.error().message, "a.yaml:3: drivers.container."));
  }
}

TEST_CASE("an agentd's machines have images with digests, networks that are known, and users of their own") {
  const auto parsed = [](const std::string& driver) {
    return agentd::parse_config_text("state_dir: /s\nregistry: {type: none}\n" + driver, "a.yaml");
  };
  const std::string digest(64, 'a');
  const std::string image = "images: {base: {folder: /i, kernel: {file: k, sha256: " + digest +
                            "}, initrd: {file: i, sha256: " + digest + "}}}";
  const auto good = parsed("drivers:\n  qemu:\n    " + image +
                           "\n    reach: ['repo.example:443', '192.0.2.1:53/udp']\n    accelerator: tcg\n");
  if (!good) FAIL(good.error().message);
  CHECK(good->qemu.is_enabled);
  CHECK(good->qemu.images.at("base").kernel_sha256 == digest);
  CHECK(good->qemu.networks == std::vector<std::string>{"filtered"});
  CHECK(good->qemu.reach.size() == 2);
  for (const char* bad :
       {"networks: [bridge]", "reach: [nowhere]", "accelerator: xen", "first_user: 0", "users: -1",
        "join_program: skep-join", "images: {base: {folder: i}}",
        "images: {base: {folder: /i, kernel: {file: k, sha256: ab}, initrd: {file: i, sha256: ab}}}"}) {
    const auto refused = parsed("drivers: {qemu: {" + std::string(bad) + "}}\n");
    INFO(bad);
    REQUIRE_FALSE(refused);
    CHECK(has(refused.error().message, "drivers.qemu."));
  }
}

TEST_CASE("a template's network and start are for drivers that have them") {
  const auto starting = [](const std::string& driver) {
    return message_of(replaced(
        good_scheduler, "    labels:", "    driver: " + driver + "\n    start: warm_clone\n    labels:"));
  };
  CHECK(starting("qemu").empty());
  CHECK(has(starting("container"), ".start"));
  const auto with_driver = [](const std::string& driver) {
    return message_of(replaced(good_scheduler,
                               "    labels:", "    driver: " + driver + "\n    network: none\n    labels:"));
  };
  CHECK(with_driver("container").empty());
  CHECK(has(with_driver("process"), ".network"));
}

}  // namespace config_reader_test
