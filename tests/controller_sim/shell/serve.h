// Serves one accepted connection of skep-controller-sim.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <functional>
#include <string>

#include "tests/controller_sim/shell/hub.h"

namespace skep::controller_sim {

/// Cuts the connection without a word; nothing happens once it has ended.
using Cut = std::function<void()>;

Cut serve_plain(Hub& hub, boost::asio::ip::tcp::socket socket, const std::string& path_prefix);
Cut serve_tls(Hub& hub, boost::asio::ip::tcp::socket socket, boost::asio::ssl::context& tls,
              const std::string& path_prefix);

}  // namespace skep::controller_sim
