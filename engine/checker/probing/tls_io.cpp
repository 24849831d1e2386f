// The BIO's five functions.
#include "engine/checker/probing/tls_io.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>

#include <algorithm>
#include <cstring>

namespace ballast::checker {

namespace {

int bio_write(BIO* bio, const char* bytes, int length) {
  auto* io = static_cast<TlsIo*>(BIO_get_data(bio));
  if (io == nullptr || length <= 0) return -1;
  io->out.append(bytes, static_cast<std::size_t>(length));
  return length;
}

int bio_read(BIO* bio, char* bytes, int length) {
  BIO_clear_retry_flags(bio);
  auto* io = static_cast<TlsIo*>(BIO_get_data(bio));
  if (io == nullptr || length <= 0) return -1;
  const std::size_t n = std::min(io->in.size(), static_cast<std::size_t>(length));
  if (n == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  std::memcpy(bytes, io->in.data(), n);
  io->in.remove_prefix(n);
  return static_cast<int>(n);
}

long bio_ctrl(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int bio_create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

// Made once, for the process's life; null: no memory.
BIO_METHOD* bio_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "ballast");
    if (made == nullptr) return made;
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_ctrl);
    BIO_meth_set_create(made, bio_create);
    return made;
  }();
  return method;
}

}  // namespace

bool TlsIo::give(SSL* ssl) {
  BIO* bio = bio_method() == nullptr ? nullptr : BIO_new(bio_method());
  if (bio == nullptr) return false;
  SSL_set_bio(ssl, bio, bio);
  return true;
}

TlsIo* TlsIo::of(const SSL* ssl) {
  return static_cast<TlsIo*>(BIO_get_data(SSL_get_rbio(ssl)));
}

TlsAttached::TlsAttached(SSL* ssl, TlsIo& io) : bio_(SSL_get_rbio(ssl)) {
  ERR_clear_error();
  BIO_set_data(bio_, &io);
}

TlsAttached::~TlsAttached() {
  BIO_set_data(bio_, nullptr);
}

}  // namespace ballast::checker
