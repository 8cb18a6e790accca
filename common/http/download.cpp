#include "common/http/download.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <limits>
#include <mutex>

#include "common/http/trust.h"
#include "core/url.h"

namespace skep::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace wire = boost::beast::http;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr std::uint32_t max_head_bytes = 64 * 1024;
constexpr std::size_t piece_bytes = 256 * 1024;

std::string base64(const std::string& text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

std::string target_of(const std::string& url) {
  const std::size_t slash = url.find('/', url.find("://") + 3);
  return slash == std::string::npos ? "/" : url.substr(slash);
}

/// Host header: as the address has it.
std::string authority_of(const std::string& url) {
  const std::size_t begin = url.find("://") + 3;
  return url.substr(begin, url.find('/', begin) - begin);
}

}  // namespace

struct Download::Impl {
  explicit Impl(DownloadOptions o) : options(std::move(o)) {}

  /// Runs one operation to its end, in this thread.
  template <class Start>
  error_code step(Start start) {
    error_code result = asio::error::operation_aborted;
    start([&result](error_code failure, auto&&...) { result = failure; });
    io->restart();
    io->run();
    return result;
  }

  Error network_error(const std::string& what, error_code failure) const {
    if (is_cancelled) return Error::try_again(ErrorCode::unavailable, "fetching " + url + " was stopped");
    if (failure == beast::error::timeout)
      return Error::try_again(ErrorCode::timed_out, what + " took too long");
    return Error::try_again(ErrorCode::unavailable, what + ": " + failure.message());
  }

  beast::tcp_stream& tcp() { return beast::get_lowest_layer(*stream); }

  Result<void> connect(const UrlParts& parts) {
    const bool is_secure = parts.scheme == "https";
    asio::ip::tcp::resolver resolver(*io);
    asio::ip::tcp::resolver::results_type found;
    error_code failure = step([&](auto done) {
      resolver.async_resolve(
          parts.host, std::to_string(parts.port),
          [&found, done](error_code error, asio::ip::tcp::resolver::results_type results) mutable {
            found = std::move(results);
            done(error);
          });
    });
    if (failure) return network_error("cannot find " + parts.host, failure);
    tcp().expires_after(options.head_timeout);
    failure = step([&](auto done) { tcp().async_connect(found, done); });
    if (failure) return network_error("cannot connect to " + authority_of(url), failure);
    if (!is_secure) return {};
    error_code no_address;
    asio::ip::make_address(parts.host, no_address);
    // RFC 6066: addresses are no server names.
    if (no_address && SSL_set_tlsext_host_name(stream->native_handle(), parts.host.c_str()) != 1)
      return Error::failed(ErrorCode::invalid_input, "\"" + parts.host + "\" is no name for TLS");
    stream->set_verify_callback(asio::ssl::host_name_verification(parts.host));
    failure = step([&](auto done) { stream->async_handshake(asio::ssl::stream_base::client, done); });
    if (failure) return network_error("TLS with " + authority_of(url) + " was refused", failure);
    return {};
  }

  /// The same operation on the plain or on the encrypted stream.
  template <class Operation>
  error_code on_stream(bool is_secure, Operation operation) {
    return step([&](auto done) {
      if (is_secure) return operation(*stream, done);
      operation(tcp(), done);
    });
  }

  Result<void> ask(const DownloadRequest& request, bool is_secure) {
    wire::request<wire::empty_body> out;
    out.method(wire::verb::get);
    out.target(target_of(url));
    out.version(11);
    out.set(wire::field::host, authority_of(url));
    out.set(wire::field::user_agent, "skep");
    out.set(wire::field::connection, "close");
    if (!options.basic_user.empty())
      out.set(wire::field::authorization,
              "Basic " + base64(options.basic_user + ":" + options.basic_password));
    if (request.offset > 0 && !request.etag.empty()) {
      out.set(wire::field::range, "bytes=" + std::to_string(request.offset) + "-");
      out.set(wire::field::if_range, request.etag);
    }
    tcp().expires_after(options.head_timeout);
    error_code failure =
        on_stream(is_secure, [&out](auto& s, auto done) { wire::async_write(s, out, done); });
    if (failure) return network_error("cannot ask for " + url, failure);
    failure = on_stream(is_secure,
                        [this](auto& s, auto done) { wire::async_read_header(s, buffer, *parser, done); });
    if (!failure) return {};
    const bool is_cut = failure == wire::error::end_of_stream || failure == wire::error::partial_message;
    if (failure.category() == make_error_code(wire::error::bad_method).category() && !is_cut)
      return Error::failed(ErrorCode::malformed_reply,
                           "what answers at " + url + " is no HTTP: " + failure.message());
    return network_error("no answer to GET " + url, failure);
  }

  DownloadReply reply() const {
    const auto& head = parser->get();
    const auto text = [&head](wire::field field) { return std::string(head[field]); };
    DownloadReply out;
    out.status = static_cast<int>(head.result_int());
    out.content_range = text(wire::field::content_range);
    out.etag = text(wire::field::etag);
    out.location = text(wire::field::location);
    out.content_encoding = text(wire::field::content_encoding);
    if (const auto length = parser->content_length()) out.content_length = *length;
    return out;
  }

  Result<void> read_body(const DownloadRequest& request, const DownloadHead& head, bool is_secure,
                         const std::function<Result<void>(std::string_view)>& on_bytes) {
    std::uint64_t at = head.offset;
    const Clock::time_point end = began + options.total_timeout;
    Clock::time_point window = Clock::now();
    std::int64_t window_bytes = 0;
    while (!parser->is_done()) {
      auto& body = parser->get().body();
      body.data = piece.data();
      body.size = piece.size();
      tcp().expires_at(std::min(Clock::now() + options.rate_window, end));
      error_code failure = on_stream(
          is_secure, [this](auto& s, auto done) { wire::async_read_some(s, buffer, *parser, done); });
      if (failure == wire::error::need_buffer) failure = {};
      const std::size_t count = piece.size() - body.size;
      at += count;
      window_bytes += static_cast<std::int64_t>(count);
      if (at > request.max_bytes)
        return Error::failed(ErrorCode::too_large, url + " is longer than the " +
                                                       std::to_string(request.max_bytes) + " bytes expected");
      if (count > 0) {
        if (auto taken = on_bytes({piece.data(), count}); !taken) return taken;
      }
      const Clock::time_point now = Clock::now();
      if (now >= end && !parser->is_done())
        return Error::try_again(
            ErrorCode::timed_out,
            url + " did not come whole within " + std::to_string(to_ms(options.total_timeout) / 1000) + " s");
      if (failure == beast::error::timeout && !is_cancelled)
        return Error::try_again(ErrorCode::timed_out,
                                url + " fell silent after " + std::to_string(at) + " bytes");
      if (now >= window + options.rate_window) {
        const auto least =
            std::max<std::int64_t>(1, options.min_bytes_per_second * to_ms(options.rate_window) / 1000);
        if (window_bytes < least && !parser->is_done())
          return Error::try_again(ErrorCode::timed_out,
                                  url + " is too slow: " + std::to_string(window_bytes) + " bytes in " +
                                      std::to_string(to_ms(options.rate_window)) + " ms");
        window = now;
        window_bytes = 0;
      }
      if (failure) return network_error(url + " broke off after " + std::to_string(at) + " bytes", failure);
    }
    if (head.total && at != *head.total)
      return Error::try_again(ErrorCode::unavailable, url + " broke off after " + std::to_string(at) +
                                                          " of " + std::to_string(*head.total) + " bytes");
    return {};
  }

  Result<void> get(const DownloadRequest& request,
                   const std::function<Result<void>(const DownloadHead&)>& on_head,
                   const std::function<Result<void>(std::string_view)>& on_bytes) {
    const auto parts = split_url(request.url);
    if (!parts)
      return Error::failed(ErrorCode::invalid_input,
                           "\"" + request.url + "\" is no http:// or https:// address");
    asio::ssl::context context(asio::ssl::context::tls_client);
    using Context = asio::ssl::context;
    context.set_options(Context::no_sslv2 | Context::no_sslv3 | Context::no_tlsv1 | Context::no_tlsv1_1);
    context.set_verify_mode(asio::ssl::verify_peer);
    const bool is_secure = parts->scheme == "https";
    if (is_secure) trust(context.native_handle(), options.ca_file);
    {
      const std::lock_guard<std::mutex> guard(lock);
      if (is_cancelled) return Error::try_again(ErrorCode::unavailable, "fetching is stopped");
      url = request.url;
      began = Clock::now();
      stream.reset();
      io = std::make_unique<asio::io_context>(1);
      stream = std::make_unique<beast::ssl_stream<beast::tcp_stream>>(*io, context);
      buffer = {};
      parser = std::make_unique<wire::response_parser<wire::buffer_body>>();
      parser->header_limit(max_head_bytes);
      parser->body_limit(std::numeric_limits<std::uint64_t>::max());  // ours is max_bytes
    }
    if (auto connected = connect(*parts); !connected) return connected;
    if (auto asked = ask(request, is_secure); !asked) return asked;
    const auto head = judge_head(request, reply());
    if (!head) return head.error();
    if (auto taken = on_head(*head); !taken) return taken;
    return read_body(request, *head, is_secure, on_bytes);
  }

  DownloadOptions options;
  std::string url;
  Clock::time_point began;
  std::atomic<bool> is_cancelled{false};
  std::mutex lock;  // guards io and stream against cancel() while they are replaced
  std::unique_ptr<asio::io_context> io;
  std::unique_ptr<beast::ssl_stream<beast::tcp_stream>> stream;
  beast::flat_buffer buffer;
  std::unique_ptr<wire::response_parser<wire::buffer_body>> parser;
  std::array<char, piece_bytes> piece{};
};

Download::Download(DownloadOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Download::~Download() = default;

Result<void> Download::get(const DownloadRequest& request,
                           const std::function<Result<void>(const DownloadHead&)>& on_head,
                           const std::function<Result<void>(std::string_view)>& on_bytes) {
  const auto close = [this] {
    const std::lock_guard<std::mutex> guard(impl_->lock);
    impl_->stream.reset();
  };
  try {
    auto result = impl_->get(request, on_head, on_bytes);
    close();
    return result;
  } catch (const std::exception& error) {  // a CA file that is none, no descriptor left
    close();
    return Error::try_again(ErrorCode::unavailable, "cannot fetch " + request.url + ": " + error.what());
  }
}

void Download::cancel() {
  const std::lock_guard<std::mutex> guard(impl_->lock);
  impl_->is_cancelled = true;
  if (!impl_->stream) return;
  // Between two operations nothing runs; the next one finds the socket closed.
  asio::post(*impl_->io, [impl = impl_.get()] {
    error_code ignored;
    if (impl->stream) impl->tcp().socket().close(ignored);
  });
}

}  // namespace skep::http
