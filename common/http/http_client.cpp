#include "common/http/http_client.h"

#include <cpprest/http_client.h>
#include <openssl/ssl.h>
#include <pplx/threadpool.h>

#include <atomic>
#include <future>
#include <mutex>
#include <set>

#include "common/http/gunzip.h"
#include "common/http/trust.h"
#include "core/url.h"

// Taken by libcpprest instead of OpenSSL's, which see trust.h. Where a platform does not take it, connections
// only cost more: trust() replaces what was read.
extern "C" [[gnu::visibility("default")]] int SSL_CTX_set_default_verify_paths(SSL_CTX* /*context*/) {
  return 1;
}

namespace skep::http {
namespace {

using web::http::client::http_client;
using web::http::client::http_client_config;

/// cpprest sends a request again by itself when a kept connection turns out to be closed. For most POSTs that
/// could mean twice, so each of these has a connection of its own.
bool needs_own_connection(const Request& request) {
  return request.method == "POST" && !request.is_repeatable;
}

/// One call's shared state: it outlives the caller when the peer ignores the cancellation.
struct Flight {
  pplx::cancellation_token_source cancel;
  std::promise<void> done;
  std::atomic<bool> is_too_large{false};
  std::mutex lock;  // guards what follows until `done`
  bool has_reply = false;
  Reply reply;
  std::string failure;
  bool is_reply_broken = false;
};

/// Phases in which nothing of the request can have reached the peer; texts of cpprest's asio client.
bool was_never_sent(const std::string& what) {
  for (const char* phase : {"Failed to connect", "Error resolving", "Error in SSL handshake",
                            "Error connecting", "No valid endpoints"}) {
    if (what.find(phase) != std::string::npos) return true;
  }
  return false;
}

class CpprestClient : public Client {
 public:
  CpprestClient(ClientOptions options, web::uri base)
      : options_(std::move(options)), base_(std::move(base)), prefix_(base_.path()) {
    if (prefix_.empty() || prefix_.back() != '/') prefix_ += '/';
  }

  Result<Reply> call(const Request& request, std::optional<Duration> total_timeout) override {
    try {
      const Duration timeout = total_timeout.value_or(options_.total_timeout);
      auto reply = call_or_throw(request, timeout);
      // cpprest leaves a body that meets a closed connection to us.
      const bool is_broken =
          !reply && reply.error().code == ErrorCode::unavailable && reply.error().outcome == Outcome::unknown;
      if (!is_broken || request.body.empty() || needs_own_connection(request)) return reply;
      {
        const std::lock_guard<std::mutex> guard(lock_);
        kept_.reset();  // its other connections are as old
      }
      auto again = call_or_throw(request, timeout);
      return again ? again : reply;  // the first one may have arrived, whatever became of the second
    } catch (const std::exception& e) {
      return Error::failed(ErrorCode::invalid_input, where(request) + ": " + e.what());
    }
  }

  void cancel() override {
    const std::lock_guard<std::mutex> guard(lock_);
    is_cancelled_ = true;
    for (const auto& flight : flights_) flight->cancel.cancel();
  }

 private:
  std::string where(const Request& request) const {
    return request.method + " " + options_.base_url + request.target.substr(0, request.target.find('?'));
  }

  std::shared_ptr<http_client> client_for(const Request& request) {
    const auto made = [this] {
      http_client_config config;
      config.set_max_redirects(0);
      config.set_timeout(std::chrono::duration_cast<std::chrono::microseconds>(
          std::max<Duration>(options_.total_timeout, minutes(2))));
      config.set_ssl_context_callback([file = options_.ca_file](boost::asio::ssl::context& context) {
        using Context = boost::asio::ssl::context;
        context.set_options(Context::no_sslv2 | Context::no_sslv3 | Context::no_tlsv1 | Context::no_tlsv1_1);
        trust(context.native_handle(), file);
      });
      return std::make_shared<http_client>(web::uri_builder()
                                               .set_scheme(base_.scheme())
                                               .set_host(base_.host())
                                               .set_port(base_.port())
                                               .to_uri(),
                                           config);
    };
    if (needs_own_connection(request)) return made();
    const auto now = std::chrono::steady_clock::now();
    const std::lock_guard<std::mutex> guard(lock_);
    if (!kept_ || now - last_call_ > options_.fresh_connection_after) kept_ = made();
    last_call_ = now;
    return kept_;
  }

  web::http::http_request build(const Request& request, const std::shared_ptr<Flight>& flight) const {
    web::http::http_request out(request.method);
    out.set_request_uri(web::uri(prefix_ + request.target));
    auto& headers = out.headers();
    headers.add("User-Agent", options_.user_agent);
    if (options_.ask_for_gzip) headers.add("Accept-Encoding", "gzip");
    if (!options_.bearer_token.empty()) {
      headers.add("Authorization", "Bearer " + options_.bearer_token);
    } else if (!options_.basic_user.empty()) {
      const std::string pair = options_.basic_user + ":" + options_.basic_password;
      headers.add("Authorization", "Basic " + utility::conversions::to_base64(
                                                  std::vector<unsigned char>(pair.begin(), pair.end())));
    }
    for (const auto& [name, value] : request.headers) headers.add(name, value);
    if (needs_own_connection(request)) headers.add("Connection", "close");
    if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
      out.set_body(request.body,
                   request.content_type.empty() ? "application/octet-stream" : request.content_type);
    }
    const std::size_t cap = options_.max_reply_bytes;
    out.set_progress_handler(
        [weak = std::weak_ptr<Flight>(flight), cap](web::http::message_direction::direction direction,
                                                    utility::size64_t so_far) {
          if (direction != web::http::message_direction::download || so_far <= cap) return;
          if (const auto strong = weak.lock()) {
            strong->is_too_large = true;
            strong->cancel.cancel();
          }
        });
    return out;
  }

  static void launch(http_client& client, const web::http::http_request& request,
                     const std::shared_ptr<Flight>& flight) {
    auto token = flight->cancel.get_token();
    client.request(request, token)
        .then([flight](web::http::http_response response) {
          {
            const std::lock_guard<std::mutex> guard(flight->lock);
            flight->reply.status = response.status_code();
            for (const auto& [name, value] : response.headers())
              flight->reply.headers.emplace_back(name, value);
          }
          return response.extract_vector();
        })
        .then([flight](pplx::task<std::vector<unsigned char>> body) {
          {
            const std::lock_guard<std::mutex> guard(flight->lock);
            try {
              const std::vector<unsigned char> bytes = body.get();
              flight->reply.body.assign(bytes.begin(), bytes.end());
              flight->has_reply = true;
            } catch (const pplx::task_canceled&) {
              flight->failure = "cancelled";
            } catch (const std::exception& e) {
              flight->failure = e.what();
            }
          }
          flight->done.set_value();
        });
  }

  Result<Reply> call_or_throw(const Request& request, Duration total_timeout) {
    const auto flight = std::make_shared<Flight>();
    {
      const std::lock_guard<std::mutex> guard(lock_);
      if (is_cancelled_)
        return Error::try_again(ErrorCode::unavailable, where(request) + ": this client was stopped");
      flights_.insert(flight);
    }
    auto finished = flight->done.get_future();
    const std::shared_ptr<http_client> client = client_for(request);
    launch(*client, build(request, flight), flight);
    bool is_late = false;
    if (finished.wait_for(total_timeout) != std::future_status::ready) {
      is_late = true;
      flight->cancel.cancel();
      finished.wait_for(seconds(2));
    }
    const std::lock_guard<std::mutex> guard(lock_);
    flights_.erase(flight);
    if (is_late && !needs_own_connection(request)) kept_.reset();
    return verdict(request, *flight, is_late, total_timeout);
  }

  Result<Reply> verdict(const Request& request, Flight& flight, bool is_late, Duration total_timeout) const {
    const std::lock_guard<std::mutex> guard(flight.lock);
    const std::string place = where(request);
    if (flight.is_too_large)
      return Error::unknown(ErrorCode::too_large, place + ": the reply is larger than " +
                                                      std::to_string(options_.max_reply_bytes) + " bytes");
    if (is_late) {
      return Error::unknown(ErrorCode::timed_out, place + ": no complete answer within " +
                                                      std::to_string(to_ms(total_timeout)) + " ms");
    }
    if (!flight.has_reply) {
      const std::string message = place + ": " + (flight.failure.empty() ? "no answer" : flight.failure);
      return was_never_sent(flight.failure) ? Error::try_again(ErrorCode::unavailable, message)
                                            : Error::unknown(ErrorCode::unavailable, message);
    }
    const std::string length = header_value(flight.reply.headers, "Content-Length");
    if (!length.empty() && request.method != "HEAD" && length != std::to_string(flight.reply.body.size()) &&
        flight.reply.status != 204 && flight.reply.status != 304) {
      return Error::unknown(ErrorCode::unavailable,
                            place + ": the connection ended before the body was complete");
    }
    if (header_value(flight.reply.headers, "Content-Encoding") == "gzip") {
      auto body = gunzip(flight.reply.body, options_.max_reply_bytes);
      if (!body) {
        Error error = body.error();
        error.message = place + ": " + error.message;
        return error;
      }
      flight.reply.body = std::move(*body);
    }
    return std::move(flight.reply);
  }

  const ClientOptions options_;
  const web::uri base_;
  std::string prefix_;
  std::mutex lock_;  // guards what follows
  std::shared_ptr<http_client> kept_;
  std::chrono::steady_clock::time_point last_call_{};
  std::set<std::shared_ptr<Flight>> flights_;
  bool is_cancelled_ = false;
};

/// cpprest's process-wide thread pool: small, and started once before its first use.
void initialize_threads() {
  static const bool once = [] {
    crossplat::threadpool::initialize_with_threads(8);
    // What cpprest makes at its first use: here, before several threads come to it at once.
    static_cast<void>(pplx::get_ambient_scheduler());
    static_cast<void>(web::http::http_response(web::http::status_codes::OK).to_string());
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

Result<std::unique_ptr<Client>> make_client(ClientOptions options) {
  try {
    initialize_threads();
    web::uri base(options.base_url);
    const bool is_http = base.scheme() == "http" || base.scheme() == "https";
    if (!is_http || !split_url(options.base_url)) {
      return Error::failed(ErrorCode::invalid_input,
                           "\"" + options.base_url + "\" is no http:// or https:// address");
    }
    if (!options.ca_file.empty())
      trust(boost::asio::ssl::context(boost::asio::ssl::context::tls_client).native_handle(),
            options.ca_file);
    return std::unique_ptr<Client>(std::make_unique<CpprestClient>(std::move(options), std::move(base)));
  } catch (const boost::system::system_error& e) {
    return Error::failed(ErrorCode::invalid_input,
                         "the CA file " + options.ca_file + " cannot be used: " + e.what());
  } catch (const std::exception& e) {
    return Error::failed(ErrorCode::invalid_input,
                         "\"" + options.base_url + "\" is no usable address: " + e.what());
  }
}

}  // namespace skep::http
