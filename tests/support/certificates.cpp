// With OpenSSL's library, which can date a certificate as a test needs it; the command cannot.
#include "tests/support/certificates.hpp"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <atomic>
#include <fstream>
#include <stdexcept>

namespace ballast::tests {

namespace {

void need(bool held, const char* what) {
  if (!held) throw std::runtime_error(std::string("certificates: ") + what);
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(length));
  BIO_free(bio);
  return text;
}

std::string pem_of(X509* certificate) {
  BIO* bio = BIO_new(BIO_s_mem());
  need(PEM_write_bio_X509(bio, certificate) == 1, "write a certificate");
  return text_of(bio);
}

std::string pem_of(EVP_PKEY* key) {
  BIO* bio = BIO_new(BIO_s_mem());
  need(PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
       "write a key");
  return text_of(bio);
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  need(extension != nullptr, value.c_str());
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509* blank(const Wish& wish, EVP_PKEY* key) {
  static std::atomic<long> serial{1};
  X509* made = X509_new();
  X509_set_version(made, X509_VERSION_3);
  // Relaxed: only to be another number each time.
  ASN1_INTEGER_set(X509_get_serialNumber(made), serial.fetch_add(1, std::memory_order_relaxed));
  X509_gmtime_adj(X509_getm_notBefore(made), wish.from_seconds);
  X509_gmtime_adj(X509_getm_notAfter(made), wish.until_seconds);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(wish.common_name.c_str()), -1,
                             -1, 0);
  X509_set_pubkey(made, key);
  return made;
}

}  // namespace

struct Authority::Parts {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = nullptr;
};

Authority::Authority(const std::string& common_name) : parts_(std::make_unique<Parts>()) {
  X509* made = blank({common_name, {}, -86'400, 86'400}, parts_->key);
  parts_->certificate = made;
  X509_set_issuer_name(made, X509_get_subject_name(made));
  extend(made, made, NID_basic_constraints, "critical,CA:TRUE");
  extend(made, made, NID_key_usage, "critical,keyCertSign,cRLSign");
  extend(made, made, NID_subject_key_identifier, "hash");
  need(X509_sign(made, parts_->key, EVP_sha256()) > 0, "sign");
  certificate_ = pem_of(made);
}

Authority::~Authority() {
  X509_free(parts_->certificate);
  EVP_PKEY_free(parts_->key);
}

Pem Authority::sign(const Wish& wish) const {
  EVP_PKEY* key = wish.rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
  X509* made = blank(wish, key);
  X509_set_issuer_name(made, X509_get_subject_name(parts_->certificate));
  std::string names;
  for (const std::string& name : wish.names)
    names += (names.empty() ? "" : ",") + name;
  if (!names.empty()) extend(made, parts_->certificate, NID_subject_alt_name, names);
  extend(made, parts_->certificate, NID_authority_key_identifier, "keyid");
  need(X509_sign(made, parts_->key, EVP_sha256()) > 0, "sign");
  Pem pem{pem_of(made), pem_of(key)};
  X509_free(made);
  EVP_PKEY_free(key);
  return pem;
}

std::string write_file(const std::string& directory, const std::string& name,
                       const std::string& text) {
  std::string path = directory + "/" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

}  // namespace ballast::tests
