#include "tests/support/certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>

namespace skep::test {
namespace {

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using X509Ptr = std::unique_ptr<X509, decltype(&X509_free)>;

Key make_key() {
  return {EVP_EC_gen("P-256"), EVP_PKEY_free};
}

void add_extension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  if (extension == nullptr) throw std::runtime_error("bad extension " + value);
  X509_add_ext(cert, extension, -1);
  X509_EXTENSION_free(extension);
}

X509Ptr make_x509(const std::string& name, EVP_PKEY* key, X509* issuer, bool is_expired) {
  static long serial = 1;
  X509Ptr cert(X509_new(), X509_free);
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -7200);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), is_expired ? -3600 : 86'400);
  X509_set_pubkey(cert.get(), key);
  X509_NAME* subject = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509* signer = issuer == nullptr ? cert.get() : issuer;
  X509_set_issuer_name(cert.get(), X509_get_subject_name(signer));
  if (issuer == nullptr) {
    add_extension(cert.get(), signer, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(cert.get(), signer, NID_key_usage, "critical,keyCertSign,cRLSign");
  }
  return cert;
}

template <typename Write>
void write_pem(const std::string& file, Write write) {
  FILE* out = std::fopen(file.c_str(), "w");
  if (out == nullptr) throw std::runtime_error("cannot write " + file);
  write(out);
  std::fclose(out);
  ::chmod(file.c_str(), 0600);
}

}  // namespace

TempFolder::TempFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "skep-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempFolder::write(const std::string& name, const std::string& text, int mode) const {
  std::ofstream(file(name), std::ios::binary) << text;
  ::chmod(file(name).c_str(), static_cast<mode_t>(mode));
  return file(name);
}

Certificate make_certificate(const TempFolder& folder, const std::string& stem, const std::string& names,
                             bool is_expired) {
  const Key ca_key = make_key(), key = make_key();
  const X509Ptr ca = make_x509("test CA of " + stem, ca_key.get(), nullptr, false);
  X509_sign(ca.get(), ca_key.get(), EVP_sha256());
  const X509Ptr cert = make_x509(stem, key.get(), ca.get(), is_expired);
  add_extension(cert.get(), ca.get(), NID_subject_alt_name, names);
  X509_sign(cert.get(), ca_key.get(), EVP_sha256());
  Certificate files{folder.file(stem + ".pem"), folder.file(stem + ".key"), folder.file(stem + "-ca.pem")};
  write_pem(files.ca_file, [&](FILE* out) { PEM_write_X509(out, ca.get()); });
  write_pem(files.cert_file, [&](FILE* out) { PEM_write_X509(out, cert.get()); });
  write_pem(files.key_file,
            [&](FILE* out) { PEM_write_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  return files;
}

}  // namespace skep::test
