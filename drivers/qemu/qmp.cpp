#include "drivers/qemu/qmp.h"

#include <chrono>
#include <optional>

#include "drivers/qemu/qmp_texts.h"
#include "linux/linux_socket.h"

namespace skep::drivers::qemu {
namespace {

using posix_host::UnixStream;
using Clock = std::chrono::steady_clock;

class Session {
 public:
  Session(UnixStream stream, std::string socket, Duration deadline)
      : stream_(std::move(stream)), socket_(std::move(socket)), limit_(Clock::now() + deadline) {}

  Result<std::string> line() {
    for (;;) {
      const std::size_t end = bytes_.find('\n');
      if (end != std::string::npos) {
        std::string line = bytes_.substr(0, end);
        bytes_.erase(0, end + 1);
        if (!line.empty() && line.back() == '\r') line.pop_back();
        return line;
      }
      if (bytes_.size() > max_qmp_line)
        return Error::unknown(ErrorCode::too_large, "QEMU at " + socket_ + " sends a line without an end");
      const auto more = stream_.receive(left());
      if (!more)
        return Error::unknown(more.error().code,
                              "QEMU at " + socket_ + " does not answer: " + more.error().message);
      if (more->empty())
        return Error::unknown(ErrorCode::unavailable,
                              "QEMU at " + socket_ + " ended the connection before its reply");
      bytes_ += *more;
    }
  }

  Result<std::string> ask(const QmpCall& call) {
    const std::uint64_t id = ++last_id_;
    const std::string text = qmp_command(call.name, id, call.arguments) + "\n";
    if (auto sent =
            call.file < 0 ? stream_.send(text, left()) : stream_.send_with_file(text, call.file, left());
        !sent)
      return about(call, sent.error());
    for (;;) {
      const auto said = line();
      if (!said) return about(call, said.error());
      const auto reply = read_qmp_reply(*said, id);
      if (!reply) return about(call, reply.error());
      if (*reply) return **reply;
    }
  }

 private:
  Duration left() const {
    return std::max(Duration::zero(), std::chrono::duration_cast<Duration>(limit_ - Clock::now()));
  }
  Error about(const QmpCall& call, Error error) const {
    error.message = "QMP " + call.name + ": " + error.message;
    return error;
  }

  UnixStream stream_;
  std::string socket_;
  Clock::time_point limit_;
  std::string bytes_;
  std::uint64_t last_id_ = 0;
};

}  // namespace

Result<std::string> qmp_call(const std::string& socket, const std::vector<QmpCall>& calls, Duration deadline,
                             std::string* version) {
  auto stream = UnixStream::connect(socket);
  if (!stream) return stream.error();
  Session session(std::move(*stream), socket, deadline);
  const auto first = session.line();
  if (!first) return first.error();
  const auto greeting = read_greeting(*first);
  if (!greeting) return greeting.error();
  if (version != nullptr) *version = greeting->version;
  auto answer = session.ask({"qmp_capabilities", {}, -1});
  for (const QmpCall& call : calls) {
    if (!answer) return answer;
    answer = session.ask(call);
  }
  return answer;
}

}  // namespace skep::drivers::qemu
