// Which certificate authorities a TLS peer must come from, read once and shared by all connections.
//
// cpprest reads the system's bundle for each connection before it asks us: 50 ms of processor time with
// OpenSSL 3.0 and Debian's 140 authorities, for every POST that has a connection of its own. http_client.cpp
// puts an empty function in the place of OpenSSL's, so that nothing is trusted until `trust()` says so.
#pragma once

#include <string>

struct ssl_ctx_st;

namespace skep::http {

/// Makes `context` trust what the PEM file holds, or the system's authorities when `ca_file` is empty
/// (OpenSSL's own rules, SSL_CERT_FILE and SSL_CERT_DIR included). A file that was changed is read again.
/// Thread-safe. Throws boost::system::system_error when the PEM file cannot be used; the context trusts
/// nobody then.
void trust(ssl_ctx_st* context, const std::string& ca_file);

}  // namespace skep::http
