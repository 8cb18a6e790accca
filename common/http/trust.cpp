#include "common/http/trust.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <boost/asio/ssl/error.hpp>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>

namespace skep::http {
namespace {

struct FreeStore {
  void operator()(X509_STORE* store) const { X509_STORE_free(store); }
};
using Store = std::unique_ptr<X509_STORE, FreeStore>;

/// What tells one state of a file from the next; equal for a file that is not there twice.
struct Stamp {
  std::filesystem::file_time_type written_at;
  std::uintmax_t bytes = 0;
  bool operator==(const Stamp&) const = default;
};

Stamp stamp_of(const std::string& file) {
  std::error_code absent;
  Stamp stamp{std::filesystem::last_write_time(file, absent), 0};
  stamp.bytes = std::filesystem::file_size(file, absent);
  return stamp;
}

std::string system_bundle() {
  const char* named = std::getenv(X509_get_default_cert_file_env());
  return named != nullptr ? named : X509_get_default_cert_file();
}

[[noreturn]] void throw_last(const std::string& what) {
  throw boost::system::system_error(static_cast<int>(ERR_get_error()), boost::asio::error::get_ssl_category(),
                                    what);
}

/// OpenSSL fills in what it derives of a certificate at its first verification: here, before several threads
/// share it.
void derive_extensions(X509_STORE* store) {
  STACK_OF(X509_OBJECT)* objects = X509_STORE_get0_objects(store);
  for (int i = 0; i < sk_X509_OBJECT_num(objects); ++i) {
    X509* certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i));
    if (certificate != nullptr) X509_check_purpose(certificate, -1, 0);
  }
}

Store read_store(const std::string& ca_file) {
  Store store(X509_STORE_new());
  if (!store) throw_last("X509_STORE_new");
  if (ca_file.empty()) {
    X509_STORE_set_default_paths(store.get());
  } else if (X509_STORE_load_locations(store.get(), ca_file.c_str(), nullptr) != 1) {
    throw_last(ca_file);
  }
  derive_extensions(store.get());
  ERR_clear_error();  // an absent bundle is no error: then nobody is trusted
  return store;
}

struct Known {
  Stamp stamp;
  Store store;
};

}  // namespace

void trust(ssl_ctx_st* context, const std::string& ca_file) {
  static std::mutex lock;  // guards `known`
  static std::map<std::string, Known> known;
  const Stamp now = stamp_of(ca_file.empty() ? system_bundle() : ca_file);
  const std::lock_guard<std::mutex> guard(lock);
  Known& entry = known[ca_file];
  if (!entry.store || entry.stamp != now) entry = {now, read_store(ca_file)};
  SSL_CTX_set1_cert_store(context, entry.store.get());
}

}  // namespace skep::http
