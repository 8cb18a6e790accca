// Thousands of broken configurations: each is refused with a line, or accepted and safe.
// Replay: SKEP_SEED=N SKEP_CASE=M build/test/bin/unit_common "mutated*"
#include <catch2/catch.hpp>
#include <cstdlib>
#include <ctime>

#include "agentd/shell/config_file.h"
#include "core/prng.h"
#include "scheduler/shell/config_file.h"
#include "tests/support/config_invariants.h"

namespace config_mutation_test {

using namespace skep;

namespace {

constexpr std::uint64_t cases = 6000;  // for each daemon

const std::string scheduler_text = R"(farm: skep
listen: 127.0.0.1:7070
token_file: /etc/skep/api.token
state_dir: /var/lib/skep
tls: {certificate: /etc/skep/cert.pem, key: /etc/skep/key.pem}
log: {level: info, format: json}
agentd: {token_file: /etc/skep/agentd.token, ca_file: /etc/skep/ca.pem}
registry: {type: embedded}
policy:
  lease: 60s
  backoff_first: 5s
  backoff_last: 80s
  max_coming_per_host: 8
rollouts: {canary_share: 10, canary_starts: 10, worse_boot_factor: 1.5, give_up_after: 2h}
controllers:
  - name: main
    url: https://jenkins.example/jenkins/
    user: skep
    token_file: /etc/skep/jenkins.token
    gate_poll: 8ms
    one_build: gate
  - name: second
    url: http://127.0.0.1:8080/
    companion: true
templates:
  - name: linux
    labels: [linux, x86]
    controllers: [main]
    resources: {cpu: 0.5, memory: 512MiB, disk: 1GiB, countable: {licence: 2}}
    environment: {A: b}
    minimum_idle: 1
    maximum: 8
    boot_deadline: 60s
  - name: tools
    labels: docker
    takes_unlabelled: true
)";

const std::string agentd_text = R"(host: h1
listen: 127.0.0.1:7071
advertise_url: https://h1.example:7071/
token_file: /etc/skep/token
state_dir: /var/lib/skep-agentd
tls: {certificate: /etc/skep/cert.pem, key: /etc/skep/key.pem}
attributes: {rack: a}
on_stop: drain
worker_threads: 8
capacity: {cpu: 8, memory: 16GiB, disk: 100GiB, max_executors: 8, countable: {licence: 4}}
registry:
  type: embedded
  scheduler_url: https://skep.example:7070/
  scheduler_ca_file: /etc/skep/ca.pem
  ttl: 15s
drivers:
  process:
    images: {base: /srv/images/base}
  container:
    socket: /run/docker.sock
    images: {base: 'sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}
    networks: [bridge, none]
    user: 1:1
    default_disk: 1GiB
    max_processes: 100
)";

const char* const values[] = {"",
                              "~",
                              "-1",
                              "0",
                              "99999999999999999999",
                              "1e9",
                              "0x10",
                              "true",
                              "[]",
                              "{}",
                              "[a]",
                              "{a: b}",
                              "\"\"",
                              "\"\\0\"",
                              "é",
                              "../../etc",
                              "a b",
                              "'",
                              "1s",
                              "0ms",
                              "-5s",
                              "99999h",
                              "1.5.2",
                              "nan",
                              "1KiB",
                              "8PiB",
                              "http://evil.example/",
                              "*x",
                              "&x y",
                              "!!int 3",
                              "https://a@b/",
                              "|\n  text",
                              "NO",
                              "linux&&x86",
                              "1000000",
                              "\"a\\nb: c\""};

std::string read_env(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

/// One change as a person, a merge or a broken disk makes it.
std::string mutated(const std::string& text, Prng& prng) {
  const auto pick = [&](std::size_t below) { return static_cast<std::size_t>(prng.below(below)); };
  std::vector<std::string> lines = lines_of(text);
  if (lines.empty()) return text;
  std::string& line = lines[pick(lines.size())];
  const std::size_t colon = line.find(": ");
  switch (pick(9)) {
    case 0:  // another value
      if (colon != std::string::npos) line = line.substr(0, colon + 2) + values[pick(std::size(values))];
      break;
    case 1:  // a letter of the key
      if (colon != std::string::npos && colon > 0) line[pick(colon)] = static_cast<char>('a' + pick(26));
      break;
    case 2:
      lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(pick(lines.size())));
      break;
    case 3:
      lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(pick(lines.size())),
                   lines[pick(lines.size())]);
      break;
    case 4:
      line.insert(0, std::string(pick(5), ' '));
      break;
    case 5:
      std::swap(lines[pick(lines.size())], lines[pick(lines.size())]);
      break;
    case 6: {  // one byte
      std::string all = joined(lines);
      all[pick(all.size())] = static_cast<char>(pick(256));
      return all;
    }
    case 7:  // cut
      return text.substr(0, pick(text.size()));
    default: {  // a value inside a flow mapping
      const std::size_t comma = line.find_first_of(",}]", pick(line.size() + 1));
      if (comma != std::string::npos) line.insert(comma, std::string(" ") + values[pick(std::size(values))]);
    }
  }
  return joined(lines);
}

template <typename Parse>
void check_mutations(const std::string& text, Parse parse) {
  const std::string seed_text = read_env("SKEP_SEED"), case_text = read_env("SKEP_CASE");
  const std::uint64_t seed =
      seed_text.empty() ? static_cast<std::uint64_t>(std::time(nullptr)) : std::stoull(seed_text);
  REQUIRE(parse(text, "c.yaml"));
  int accepted = 0;
  const std::uint64_t first = case_text.empty() ? 0 : std::stoull(case_text);
  const std::uint64_t end = case_text.empty() ? cases : first + 1;
  for (std::uint64_t i = first; i < end; ++i) {
    Prng prng(seed * 1'000'003 + i);
    std::string mutant = text;
    for (std::uint64_t changes = 1 + prng.below(3); changes > 0; --changes) mutant = mutated(mutant, prng);
    const auto config = parse(mutant, "c.yaml");
    const std::string broken = config ? test::broken_invariant(*config) : "";
    const bool is_good = config ? broken.empty() : test::names_a_place(config.error().message, "c.yaml");
    accepted += config ? 1 : 0;
    if (is_good) continue;
    FAIL_CHECK("replay: SKEP_SEED=" << seed << " SKEP_CASE=" << i << "\nbroken: " << broken
                                    << "\nmessage: " << (config ? "" : config.error().message) << "\n"
                                    << mutant);
    return;
  }
  if (case_text.empty()) CHECK((accepted > 0 && accepted < static_cast<int>(cases)));
}

}  // namespace

TEST_CASE("mutated configurations of the scheduler are refused with a line, or safe") {
  check_mutations(scheduler_text, [](const std::string& text, const char* name) {
    return scheduler::parse_config_text(text, name);
  });
}

TEST_CASE("mutated configurations of agentd are refused with a line, or safe") {
  check_mutations(agentd_text, [](const std::string& text, const char* name) {
    return agentd::parse_config_text(text, name);
  });
}

}  // namespace config_mutation_test
