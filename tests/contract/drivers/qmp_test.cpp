// A QEMU that lies, hangs up in mid-reply or says nothing: one clear error, by the deadline.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <chrono>
#include <cstring>
#include <thread>

#include "drivers/qemu/qmp.h"
#include "tests/support/temp_folder.h"

namespace qmp_test {

using namespace skep;
using namespace skep::test;
using drivers::qemu::qmp_call;

namespace {

const std::string greeting =
    R"({"QMP":{"version":{"qemu":{"micro":1,"minor":2,"major":7},"package":""},"capabilities":[]}})";

/// Says its lines, one after each that it hears, the first at once; then hangs up or stays silent.
class Liar {
 public:
  Liar(std::vector<std::string> says, bool hangs_up)
      : folder_("qmp"), fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path().c_str(), sizeof address.sun_path - 1);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(fd_, 4) == 0);
    thread_ = std::thread([this, says = std::move(says), hangs_up] {
      const int peer = ::accept(fd_, nullptr, nullptr);
      char heard[4096];
      for (std::size_t i = 0; i < says.size(); ++i) {
        if (i > 0 && ::read(peer, heard, sizeof heard) <= 0) break;
        if (::send(peer, says[i].data(), says[i].size(), MSG_NOSIGNAL) < 0) break;
      }
      if (hangs_up) {
        ::shutdown(peer, SHUT_WR);
      }
      while (::read(peer, heard, sizeof heard) > 0) {
      }
      ::close(peer);
    });
  }
  ~Liar() {
    thread_.join();
    ::close(fd_);
  }
  Liar(const Liar&) = delete;
  Liar& operator=(const Liar&) = delete;
  std::string path() const { return folder_.path("q.sock"); }

 private:
  TempFolder folder_;
  int fd_;
  std::thread thread_;
};

Result<std::string> ask(std::vector<std::string> says, bool hangs_up) {
  const Liar liar(std::move(says), hangs_up);
  return qmp_call(liar.path(), {"query-status", {}, -1}, milliseconds(300));
}

}  // namespace

TEST_CASE("qmp: good answers come through, with events and replies to others between them",
          "[contract][drivers][qemu]") {
  const auto answer = ask({greeting + "\r\n", "{\"event\":\"X\"}\n{\"return\":{},\"id\":1}\n",
                           "{\"return\":{},\"id\":77}\n{\"return\":{\"status\":\"running\"},\"id\":2}\n"},
                          false);
  if (!answer) FAIL(answer.error().message);
  CHECK(*answer == R"({"status":"running"})");
}

TEST_CASE("qmp: a peer that is no QEMU, breaks off or is silent is an error of unknown outcome",
          "[contract][drivers][qemu]") {
  const std::string capable = "{\"return\":{},\"id\":1}\n";
  for (const auto& says :
       std::vector<std::vector<std::string>>{{},
                                             {"SSH-2.0-x\r\n"},
                                             {greeting},
                                             {greeting + "\n"},
                                             {greeting + "\n", "{\"return\":{},\"id\""},
                                             {greeting + "\n", capable},
                                             {greeting + "\n", capable, "{\"return\":{\"sta"},
                                             {greeting + "\n", capable, "no\n"},
                                             {greeting + "\n", capable, "{\"id\":2}\n"}}) {
    for (const bool hangs_up : {true, false}) {
      const auto begin = std::chrono::steady_clock::now();
      const auto answer = ask(says, hangs_up);
      REQUIRE_FALSE(answer);
      INFO(answer.error().message);
      CHECK(answer.error().outcome == Outcome::unknown);
      CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(5));
    }
  }
}

TEST_CASE("qmp: a refusal is QEMU's own, and did not happen", "[contract][drivers][qemu]") {
  const auto answer =
      ask({greeting + "\n", "{\"return\":{},\"id\":1}\n", "{\"error\":{\"desc\":\"not now\"},\"id\":2}\n"},
          false);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().outcome == Outcome::failed);
  CHECK(answer.error().message.find("not now") != std::string::npos);
}

TEST_CASE("qmp: nobody there is told apart", "[contract][drivers][qemu]") {
  const TempFolder folder("qmp");
  CHECK(qmp_call(folder.path("none"), {"quit", {}, -1}, seconds(1)).error().code == ErrorCode::not_found);
}

}  // namespace qmp_test
