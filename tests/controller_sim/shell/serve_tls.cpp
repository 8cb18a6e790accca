#include "tests/controller_sim/shell/serve.h"
#include "tests/controller_sim/shell/session.h"

namespace skep::controller_sim {

Cut serve_tls(Hub& hub, boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& tls,
              const std::string& path_prefix) {
  return start_session(hub, TlsStream(std::move(socket), tls), path_prefix);
}

}  // namespace skep::controller_sim
