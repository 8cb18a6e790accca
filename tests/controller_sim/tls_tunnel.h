// Takes TLS off a connection: carries its bytes to and from a socket of this process. So the stand-ins speak
// HTTP and WebSocket over one kind of stream; for each kind their templates take the compiler a minute.
#pragma once

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <functional>
#include <memory>

namespace skep::controller_sim {

/// A TCP connection, or the near end of a tunnel.
using Socket = boost::asio::generic::stream_protocol::socket;

/// Keeps itself until either end closes; then it cuts the other without a word. One thread runs the socket's
/// context.
class TlsTunnel : public std::enable_shared_from_this<TlsTunnel> {
 public:
  TlsTunnel(boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& tls);

  /// As the server. `then` is called once TLS stands, and never when it fails.
  void accept(std::function<void(Socket)> then);
  /// As the client; blocks, and throws boost::system::system_error. `near` is of the caller's own context.
  Socket connect(boost::asio::io_context& near);
  void cut();

 private:
  static constexpr std::size_t chunk_bytes = 16384;  // a TLS record
  using Chunk = std::array<char, chunk_bytes>;

  Socket open(const boost::asio::any_io_executor& near);
  template <typename From, typename To>
  void carry(From& from, To& to, Chunk& chunk);

  boost::asio::ssl::stream<boost::asio::ip::tcp::socket> far_;
  boost::asio::local::stream_protocol::socket near_;
  Chunk inwards_{}, outwards_{};
};

}  // namespace skep::controller_sim
