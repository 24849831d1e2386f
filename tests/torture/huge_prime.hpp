// A TLS server that means to keep its clients busy: it agrees on keys over a field whose prime, of
// 10,000 bits, it has made up. A client that takes part computes for a second or so; this side,
// which keeps its own secret short, for a few milliseconds. For `hostile_server`; dies with it.
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace ballast::tests {

class HugePrime {
 public:
  HugePrime() : context_(SSL_CTX_new(TLS_server_method())) {
    SSL_CTX_set_max_proto_version(context_, TLS1_2_VERSION);
    SSL_CTX_set_security_level(context_, 0);
    SSL_CTX_set_cipher_list(context_, "DHE");
    SSL_CTX_set0_tmp_dh_pkey(context_, parameters());
    EVP_PKEY* key = EVP_RSA_gen(2048);
    X509* shown = X509_new();
    X509_set_version(shown, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(shown), -3600);
    X509_gmtime_adj(X509_getm_notAfter(shown), 86'400);
    X509_set_pubkey(shown, key);
    X509_sign(shown, key, EVP_sha256());
    SSL_CTX_use_certificate(context_, shown);
    SSL_CTX_use_PrivateKey(context_, key);
    X509_free(shown);
    EVP_PKEY_free(key);
  }
  ~HugePrime() { SSL_CTX_free(context_); }
  HugePrime(const HugePrime&) = delete;
  HugePrime& operator=(const HugePrime&) = delete;

  [[nodiscard]] SSL* on(int fd) {
    SSL* ssl = SSL_new(context_);
    SSL_set_fd(ssl, fd);
    SSL_set_accept_state(ssl);
    return ssl;
  }

 private:
  static EVP_PKEY* parameters() {
    BIGNUM* prime = BN_new();  // odd is enough: nobody has the time to find out more
    BN_rand(prime, 10'000, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    BIGNUM* generator = BN_new();
    BN_set_word(generator, 2);
    OSSL_PARAM_BLD* build = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_P, prime);
    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_FFC_G, generator);
    OSSL_PARAM_BLD_push_long(build, OSSL_PKEY_PARAM_DH_PRIV_LEN, 225);
    OSSL_PARAM* params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX* context = EVP_PKEY_CTX_new_from_name(nullptr, "DH", nullptr);
    EVP_PKEY* made = nullptr;
    EVP_PKEY_fromdata_init(context);
    EVP_PKEY_fromdata(context, &made, EVP_PKEY_KEY_PARAMETERS, params);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(generator);
    BN_free(prime);
    return made;
  }

  SSL_CTX* context_;
};

}  // namespace ballast::tests
