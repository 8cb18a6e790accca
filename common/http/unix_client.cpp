#include "common/http/unix_client.h"

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <limits>
#include <mutex>

namespace skep::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace wire = boost::beast::http;
using boost::system::error_code;
using Stream = beast::basic_stream<asio::local::stream_protocol>;

constexpr std::uint32_t max_head_bytes = 64 * 1024;

Error error_of(error_code error, bool is_sent, const UnixClientOptions& options) {
  const std::string peer = "the peer at " + options.socket_path;
  if (error == beast::error::timeout)
    return Error::unknown(ErrorCode::timed_out, peer + " did not answer in time");
  if (!is_sent)
    return Error::try_again(ErrorCode::unavailable, "cannot connect to " + peer + ": " + error.message());
  if (error == wire::error::body_limit) {
    return Error::unknown(ErrorCode::too_large, peer + " answered with more than " +
                                                    std::to_string(options.max_reply_bytes) + " bytes");
  }
  const bool is_cut = error == wire::error::end_of_stream || error == wire::error::partial_message;
  if (error.category() == make_error_code(wire::error::bad_method).category() && !is_cut)
    return Error::unknown(ErrorCode::malformed_reply, peer + " sent what is no HTTP: " + error.message());
  return Error::unknown(ErrorCode::unavailable,
                        "the answer of " + peer + " broke off" + (is_cut ? "" : ": " + error.message()));
}

template <class Parser>
Reply head_of(const Parser& parser) {
  Reply reply;
  reply.status = static_cast<int>(parser.get().result_int());
  for (const auto& field : parser.get()) reply.headers.emplace_back(field.name_string(), field.value());
  return reply;
}

}  // namespace

namespace unix_detail {

/// One request and one answer over one connection, all in the thread that runs `io`.
template <class Body>
struct Exchange {
  Exchange(const Request& request, const UnixClientOptions& options) : to(options.socket_path) {
    out.method_string(request.method);
    out.target("/" + request.target);
    out.version(11);
    out.set(wire::field::host, "localhost");
    out.set(wire::field::connection, "close");
    for (const auto& [name, value] : request.headers) out.set(name, value);
    if (!request.content_type.empty()) out.set(wire::field::content_type, request.content_type);
    out.body() = request.body;
    out.prepare_payload();
    parser.header_limit(max_head_bytes);
  }

  template <class Next>
  void send(Duration timeout, Next next) {
    stream.expires_after(timeout);  // of all that follows
    stream.async_connect(to, [this, next](error_code failure) {
      if (failure) return end(failure);
      is_sent = true;
      wire::async_write(stream, out, [this, next](error_code error, std::size_t) {
        // A peer may answer and close before it has read all.
        const bool may_have_answered =
            error == asio::error::broken_pipe || error == asio::error::connection_reset;
        error && !may_have_answered ? end(error) : next();
      });
    });
  }
  void end(error_code error) {
    failure_code = error;
    beast::error_code ignored;
    stream.socket().close(ignored);
  }

  asio::local::stream_protocol::endpoint to;
  asio::io_context io{1};
  Stream stream{io};
  beast::flat_buffer buffer;
  wire::request<wire::string_body> out;
  wire::response_parser<Body> parser;
  error_code failure_code;
  bool is_sent = false;
};

}  // namespace unix_detail

namespace {

using unix_detail::Exchange;

Error unusable(const UnixClientOptions& options, const std::exception& error) {
  return Error::try_again(ErrorCode::unavailable,
                          "cannot connect to the peer at " + options.socket_path + ": " + error.what());
}

}  // namespace

Result<Reply> UnixClient::call(const Request& request, std::optional<Duration> timeout) const {
  try {
    Exchange<wire::string_body> exchange(request, options_);
    exchange.parser.body_limit(options_.max_reply_bytes);
    exchange.send(timeout.value_or(options_.total_timeout), [&exchange] {
      // The head apart: Beast 1.74 forgets that a body is too long when it reads both at once.
      wire::async_read_header(
          exchange.stream, exchange.buffer, exchange.parser, [&exchange](error_code failure, std::size_t) {
            if (failure) return exchange.end(failure);
            wire::async_read(exchange.stream, exchange.buffer, exchange.parser,
                             [&exchange](error_code error, std::size_t) { exchange.end(error); });
          });
    });
    exchange.io.run();
    if (exchange.failure_code) return error_of(exchange.failure_code, exchange.is_sent, options_);
    Reply reply = head_of(exchange.parser);
    reply.body = std::move(exchange.parser.get().body());
    return reply;
  } catch (const std::exception& error) {  // a path that is too long, no descriptor left
    return unusable(options_, error);
  }
}

struct UnixStream::Impl {
  using Talk = Exchange<wire::buffer_body>;

  void read_some(const std::function<void(std::string_view)>& on_text) {
    auto& body = talk->parser.get().body();
    body.data = chunk.data();
    body.size = chunk.size();
    wire::async_read_some(talk->stream, talk->buffer, talk->parser,
                          [this, &on_text](error_code error, std::size_t) {
                            if (error == wire::error::need_buffer) error = {};
                            const std::size_t count = chunk.size() - talk->parser.get().body().size;
                            if (count > 0) on_text({chunk.data(), count});
                            if (error) return talk->end(error);
                            if (!talk->parser.is_done()) read_some(on_text);
                          });
  }

  UnixClientOptions options;
  std::mutex lock;  // guards the two below
  bool is_cancelled = false;
  std::unique_ptr<Talk> talk;
  std::array<char, 4096> chunk{};
};

UnixStream::UnixStream(UnixClientOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
}
UnixStream::~UnixStream() = default;

Result<void> UnixStream::read(const Request& request, const std::function<void(const Reply&)>& on_head,
                              const std::function<void(std::string_view)>& on_text) {
  const UnixClientOptions& options = impl_->options;
  const Error cancelled = Error::try_again(ErrorCode::unavailable, "the stream was ended by us");
  try {
    {
      const std::lock_guard<std::mutex> guard(impl_->lock);
      if (impl_->is_cancelled) return cancelled;
      impl_->talk = std::make_unique<Impl::Talk>(request, options);
    }
    Impl::Talk& talk = *impl_->talk;
    talk.parser.body_limit(std::numeric_limits<std::uint64_t>::max());
    talk.send(options.total_timeout, [this, &talk, &on_head, &on_text] {
      wire::async_read_header(talk.stream, talk.buffer, talk.parser,
                              [this, &talk, &on_head, &on_text](error_code error, std::size_t) {
                                if (error) return talk.end(error);
                                on_head(head_of(talk.parser));
                                talk.stream.expires_never();
                                if (!talk.parser.is_done()) impl_->read_some(on_text);
                              });
    });
    talk.io.run();
    const std::lock_guard<std::mutex> guard(impl_->lock);
    if (impl_->is_cancelled) return cancelled;
    if (talk.failure_code) return error_of(talk.failure_code, talk.is_sent, options);
    return {};
  } catch (const std::exception& error) {
    return unusable(options, error);
  }
}

void UnixStream::cancel() {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  impl_->is_cancelled = true;
  if (!impl_->talk) return;
  Impl::Talk* talk = impl_->talk.get();
  asio::post(talk->io, [talk] { talk->end(asio::error::operation_aborted); });
}

struct UnixUpload::Impl {
  struct Talk {
    explicit Talk(const UnixClientOptions& options) : to(options.socket_path) {
      parser.body_limit(options.max_reply_bytes);
      parser.header_limit(max_head_bytes);
    }
    void begin(Duration timeout, Duration silence_limit) {
      watch(total, timeout);
      stream.async_connect(to, [this, silence_limit](error_code failure) {
        if (failure) return end(failure);
        is_sent = true;
        // Both at once: a peer that refuses answers before it took all.
        wire::async_read_header(stream, buffer, parser, [this](error_code error, std::size_t) {
          if (error) return end(error);
          wire::async_read(stream, buffer, parser, [this](error_code e, std::size_t) { end(e); });
        });
        watch(silence, silence_limit);
        wire::async_write_header(stream, serializer, [this, silence_limit](error_code error, std::size_t) {
          if (error) return end(error);
          write_piece(silence_limit);
        });
      });
    }
    void write_piece(Duration silence_limit) {
      if (is_over) return;
      auto made = (*next)();
      if (!made) {
        own_failure = made.error();
        return end({});
      }
      piece = std::move(*made);
      const auto then = [this, silence_limit, is_last = piece.empty()](error_code error, std::size_t) {
        if (is_over) return;
        silence.cancel();
        const bool may_have_answered =
            error == asio::error::broken_pipe || error == asio::error::connection_reset;
        if (error && !may_have_answered) return end(error);
        if (!error && !is_last) write_piece(silence_limit);
      };
      watch(silence, silence_limit);
      if (piece.empty())
        asio::async_write(stream, wire::make_chunk_last(), then);
      else
        asio::async_write(stream, wire::make_chunk(asio::const_buffer(piece.data(), piece.size())), then);
    }
    void watch(asio::steady_timer& timer, Duration limit) {
      timer.expires_after(limit);
      timer.async_wait([this](error_code error) {
        if (!error) end(beast::error::timeout);
      });
    }
    void end(error_code error) {
      if (is_over) return;
      is_over = true;
      failure_code = error;
      total.cancel();
      silence.cancel();
      beast::error_code ignored;
      stream.socket().close(ignored);
    }

    asio::local::stream_protocol::endpoint to;
    asio::io_context io{1};
    Stream stream{io};
    asio::steady_timer total{io}, silence{io};
    beast::flat_buffer buffer;
    wire::request<wire::empty_body> out;
    wire::request_serializer<wire::empty_body> serializer{out};
    wire::response_parser<wire::string_body> parser;
    const std::function<Result<std::string>()>* next = nullptr;
    std::string piece;
    std::optional<Error> own_failure;
    error_code failure_code;
    bool is_sent = false, is_over = false;
  };

  UnixClientOptions options;
  std::mutex lock;  // guards the two below
  bool is_cancelled = false;
  std::unique_ptr<Talk> talk;
};

UnixUpload::UnixUpload(UnixClientOptions options) : impl_(std::make_unique<Impl>()) {
  impl_->options = std::move(options);
}
UnixUpload::~UnixUpload() = default;

Result<Reply> UnixUpload::send(const Request& request, const std::function<Result<std::string>()>& next,
                               Duration silence) {
  const UnixClientOptions& options = impl_->options;
  const Error cancelled = Error::unknown(ErrorCode::unavailable, "it was ended by us");
  try {
    {
      const std::lock_guard<std::mutex> guard(impl_->lock);
      if (impl_->is_cancelled) return cancelled;
      impl_->talk = std::make_unique<Impl::Talk>(options);
    }
    Impl::Talk& talk = *impl_->talk;
    talk.out.method_string(request.method);
    talk.out.target("/" + request.target);
    talk.out.version(11);
    talk.out.set(wire::field::host, "localhost");
    talk.out.set(wire::field::connection, "close");
    talk.out.set(wire::field::content_type, request.content_type);
    talk.out.chunked(true);
    talk.next = &next;
    talk.begin(options.total_timeout, silence);
    talk.io.run();
    const std::lock_guard<std::mutex> guard(impl_->lock);
    if (talk.own_failure) return *talk.own_failure;
    if (impl_->is_cancelled) return cancelled;
    if (talk.failure_code) return error_of(talk.failure_code, talk.is_sent, options);
    Reply reply = head_of(talk.parser);
    reply.body = std::move(talk.parser.get().body());
    return reply;
  } catch (const std::exception& error) {
    return unusable(options, error);
  }
}

void UnixUpload::cancel() {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  impl_->is_cancelled = true;
  if (!impl_->talk) return;
  Impl::Talk* talk = impl_->talk.get();
  asio::post(talk->io, [talk] { talk->end(asio::error::operation_aborted); });
}

}  // namespace skep::http
