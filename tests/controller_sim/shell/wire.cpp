#include "tests/controller_sim/shell/wire.h"

#include <zlib.h>

#include <algorithm>
#include <boost/beast/http/status.hpp>

#include "simulation/controller/text.h"

namespace skep::controller_sim {
namespace {

bool has_header(const HttpReply& reply, std::string_view name) {
  return std::any_of(reply.headers.begin(), reply.headers.end(),
                     [&](const auto& header) { return equal_ignoring_case(header.first, name); });
}

}  // namespace

void compress(HttpReply& reply, const std::string& accept_encoding) {
  constexpr std::size_t worth_it = 32;
  if (accept_encoding.find("gzip") == std::string::npos || reply.body.size() < worth_it ||
      !has_header(reply, "Vary"))
    return;
  z_stream stream{};
  constexpr int gzip_window = 15 + 16;
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, gzip_window, 8, Z_DEFAULT_STRATEGY) != Z_OK) return;
  std::string packed(deflateBound(&stream, static_cast<uLong>(reply.body.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(reply.body.data());
  stream.avail_in = static_cast<uInt>(reply.body.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int result = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) return;
  reply.body = std::move(packed);
  reply.headers.emplace_back("Content-Encoding", "gzip");
}

std::string to_bytes(const HttpReply& reply, bool keep_alive, bool is_head) {
  const auto reason =
      boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(reply.status));
  std::string out = "HTTP/1.1 " + std::to_string(reply.status) + " " + std::string(reason) +
                    "\r\nServer: Jetty(12.0.16)\r\n";
  for (const auto& [name, value] : reply.headers) out += name + ": " + value + "\r\n";
  if (reply.status != 204 && !has_header(reply, "Content-Length")) {
    out += "Content-Length: " + std::to_string(reply.body.size()) + "\r\n";
  }
  if (!keep_alive) out += "Connection: close\r\n";
  out += "\r\n";
  if (is_head || reply.status == 204) return out;
  const std::size_t length =
      std::min(reply.delivery.cut_body_at.value_or(reply.body.size()), reply.body.size());
  return out + reply.body.substr(0, length);
}

}  // namespace skep::controller_sim
