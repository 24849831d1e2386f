// What OpenSSL reads and writes during one call: bytes that have come, bytes that are to go out. An
// SSL object gets a BIO of ours that stands for them, in place of OpenSSL's memory BIOs, which
// would hold buffers for every idle connection. Used by tls_streams; one thread.
#pragma once

#include <openssl/ssl.h>

#include <string>
#include <string_view>

namespace ballast::checker {

struct TlsIo {
  std::string_view in;
  std::string out;
  std::string untrusted;  // whose certificate was refused, by its own account

  // Gives a new SSL object its BIO; false for want of memory.
  [[nodiscard]] static bool give(SSL* ssl);
  // What is attached to it now, or null.
  [[nodiscard]] static TlsIo* of(const SSL* ssl);
};

// Attaches an SSL object for as long as this lives. Nobody but OpenSSL is called meanwhile.
class TlsAttached {
 public:
  TlsAttached(SSL* ssl, TlsIo& io);
  ~TlsAttached();
  TlsAttached(const TlsAttached&) = delete;
  TlsAttached& operator=(const TlsAttached&) = delete;

 private:
  BIO* bio_;
};

}  // namespace ballast::checker
