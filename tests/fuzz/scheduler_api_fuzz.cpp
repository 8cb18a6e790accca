// What strangers may send to the scheduler's API, through the whole of it: a daemon in this process, on
// loopback. Input: a line with the method, a line with the target, then the body.
#include <filesystem>

#include "common/log/log.h"
#include "scheduler/shell/daemon.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/certificates.h"
#include "tests/support/raw_peer.h"

namespace {

struct Subject {
  Subject() {
    skep::log::initialize("error", "text");
    auto config = skep::scheduler::parse_config_text("state_dir: " + folder.path().string() +
                                                         "\nlisten: 127.0.0.1:0\ncontrollers: [{name: main, "
                                                         "url: 'http://127.0.0.1:1/', poll_interval: 5m}]\n"
                                                         "templates: [{name: linux, labels: [linux]}]\n",
                                                     "fuzz.yaml");
    SKEP_ASSERT(config);
    daemon = std::make_unique<skep::scheduler::Daemon>(std::move(*config), folder.file("none.yaml"));
    SKEP_ASSERT(daemon->start());
    const std::string url = daemon->url();
    port = std::stoi(url.substr(url.rfind(':') + 1));
  }

  skep::test::TempFolder folder;
  std::unique_ptr<skep::scheduler::Daemon> daemon;
  int port = 0;
  std::unique_ptr<skep::test::RawConnection> peer;
};

bool is_clean(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) return false;
  }
  return !text.empty() && text.size() < 2000;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Subject subject;
  std::string_view text = skep::fuzz::as_text(data, size);
  const std::string_view method = skep::fuzz::take_line(text), target = skep::fuzz::take_line(text);
  // Heads that are no HTTP are cpprest's own part; tests/integration/http sends those.
  if (!is_clean(method) || !is_clean(target) || text.size() > 4000) return 0;
  const std::string request = std::string(method) + " /" + std::string(target) +
                              " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(text.size()) +
                              "\r\n\r\n" + std::string(text);
  if (!subject.peer) subject.peer = skep::test::connect_raw(subject.port);
  SKEP_ASSERT(subject.peer);
  const std::string reply = subject.peer->write(request) ? subject.peer->read_message() : "";
  const bool is_answer = reply.rfind("HTTP/1.1 ", 0) == 0;
  SKEP_ASSERT(!is_answer || reply.rfind("HTTP/1.1 5", 0) != 0);
  if (!is_answer || reply.find("Connection: close") != std::string::npos ||
      reply.rfind("HTTP/1.1 400", 0) == 0)
    subject.peer.reset();
  return 0;
}
