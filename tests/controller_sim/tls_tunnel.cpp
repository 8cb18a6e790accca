#include "tests/controller_sim/tls_tunnel.h"

#include <boost/asio/local/connect_pair.hpp>
#include <boost/asio/write.hpp>

namespace skep::controller_sim {

namespace asio = boost::asio;
using boost::system::error_code;

TlsTunnel::TlsTunnel(asio::ip::tcp::socket socket, asio::ssl::context& tls)
    : far_(std::move(socket), tls), near_(far_.get_executor()) {}

void TlsTunnel::accept(std::function<void(Socket)> then) {
  far_.async_handshake(asio::ssl::stream_base::server,
                       [self = shared_from_this(), then = std::move(then)](error_code error) {
                         if (!error) then(self->open(self->far_.get_executor()));
                       });
}

Socket TlsTunnel::connect(asio::io_context& near) {
  far_.handshake(asio::ssl::stream_base::client);
  return open(near.get_executor());
}

void TlsTunnel::cut() {
  error_code ignored;
  far_.lowest_layer().close(ignored);
  near_.close(ignored);
}

Socket TlsTunnel::open(const asio::any_io_executor& near) {
  asio::local::stream_protocol::socket other(near);
  asio::local::connect_pair(near_, other);
  // In the context's own thread: the caller of connect() is another.
  asio::post(far_.get_executor(), [self = shared_from_this()] {
    self->carry(self->far_, self->near_, self->inwards_);
    self->carry(self->near_, self->far_, self->outwards_);
  });
  return other;
}

template <typename From, typename To>
void TlsTunnel::carry(From& from, To& to, Chunk& chunk) {
  from.async_read_some(asio::buffer(chunk), [this, self = shared_from_this(), &from, &to, &chunk](
                                                error_code error, std::size_t bytes) {
    if (error) return cut();
    asio::async_write(to, asio::buffer(chunk.data(), bytes),
                      [this, self, &from, &to, &chunk](error_code failure, std::size_t) {
                        if (failure) return cut();
                        carry(from, to, chunk);
                      });
  });
}

}  // namespace skep::controller_sim
