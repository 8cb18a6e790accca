#include "tests/controller_sim/shell/serve.h"
#include "tests/controller_sim/shell/session.h"

namespace skep::controller_sim {

Cut serve_plain(Hub& hub, boost::asio::ip::tcp::socket socket, const std::string& path_prefix) {
  return start_session(hub, PlainStream(std::move(socket)), path_prefix);
}

}  // namespace skep::controller_sim
