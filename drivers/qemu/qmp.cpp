#include "drivers/qemu/qmp.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "drivers/qemu/qmp_texts.h"

namespace skep::drivers::qemu {
namespace {

using posix_host::UnixStream;
using Clock = std::chrono::steady_clock;

Error about(const QmpCall& call, Error error) {
  error.message = "QMP " + call.name + ": " + error.message;
  return error;
}

}  // namespace

QmpSession::QmpSession(UnixStream stream, std::string socket, Duration deadline)
    : stream_(std::move(stream)), socket_(std::move(socket)), limit_(Clock::now() + deadline) {}

Result<QmpSession> QmpSession::open(const std::string& socket, Duration deadline) {
  auto stream = UnixStream::connect(socket);
  if (!stream) return stream.error();
  QmpSession session(std::move(*stream), socket, deadline);
  const auto first = session.line();
  if (!first) return first.error();
  auto greeting = read_greeting(*first);
  if (!greeting) return greeting.error();
  session.version_ = std::move(greeting->version);
  const auto capable = session.ask({"qmp_capabilities", {}, -1});
  if (!capable) return capable.error();
  return session;
}

Duration QmpSession::left() const {
  return std::max(Duration::zero(), std::chrono::duration_cast<Duration>(limit_ - Clock::now()));
}

Result<std::string> QmpSession::line() {
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

Result<std::string> QmpSession::ask(const QmpCall& call) {
  const std::uint64_t id = ++last_id_;
  const std::string text = qmp_command(call.name, id, call.arguments) + "\n";
  const auto sent =
      call.file < 0 ? stream_.send(text, left()) : stream_.send_with_file(text, call.file, left());
  if (!sent) return about(call, sent.error());
  for (;;) {
    const auto said = line();
    if (!said) return about(call, said.error());
    const auto reply = read_qmp_reply(*said, id);
    if (!reply) return about(call, reply.error());
    if (*reply) return **reply;
  }
}

Result<std::string> QmpSession::ask(const std::vector<QmpCall>& calls) {
  Result<std::string> answer = std::string();
  for (const QmpCall& call : calls) {
    answer = ask(call);
    if (!answer) break;
  }
  return answer;
}

Result<std::string> qmp_call(const std::string& socket, const QmpCall& call, Duration deadline) {
  auto session = QmpSession::open(socket, deadline);
  if (!session) return session.error();
  return session->ask(call);
}

}  // namespace skep::drivers::qemu
