// A reply as bytes, with gzip where Jenkins would.
#pragma once

#include <string>

#include "simulation/controller/controller_model.h"

namespace skep::controller_sim {

/// Compresses the body when the request allows it and the reply says that it varies by it.
void compress(HttpReply& reply, const std::string& accept_encoding);
/// Head and body of the reply. `keep_alive` adds the matching Connection header; a HEAD reply brings its own
/// length.
std::string to_bytes(const HttpReply& reply, bool keep_alive, bool is_head);

}  // namespace skep::controller_sim
