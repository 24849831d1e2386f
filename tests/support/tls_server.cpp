// Blocking OpenSSL, as simple as it gets: what is under test is on the other side.
#include "tests/support/tls_server.hpp"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <stdexcept>
#include <string_view>

namespace ballast::tests {

namespace {

X509* certificate_of(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509* made = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  return made;
}

int choose_alpn(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_length,
                const unsigned char* in, unsigned in_length, void* wanted) {
  const auto& name = *static_cast<const std::string*>(wanted);
  for (unsigned at = 0; at < in_length; at += in[at] + 1U) {
    const std::string_view one(reinterpret_cast<const char*>(in + at + 1), in[at]);
    if (one != name) continue;
    *out = in + at + 1;
    *out_length = in[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

SSL_CTX* context_of(const TlsServerOptions& options) {
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (options.only_tls12) SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  if (options.finite_field) {
    SSL_CTX_set1_groups_list(context, "ffdhe2048:ffdhe3072");
    SSL_CTX_set_cipher_list(context, "DHE");
    SSL_CTX_set_dh_auto(context, 1);
  }
  X509* certificate = certificate_of(options.pem.certificate);
  BIO* bio = BIO_new_mem_buf(options.pem.key.data(), static_cast<int>(options.pem.key.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  SSL_CTX_use_certificate(context, certificate);
  SSL_CTX_use_PrivateKey(context, key);
  if (options.behaviour == TlsBehaviour::big_chain) {
    for (int i = 0; i < 2000; ++i)
      SSL_CTX_add1_chain_cert(context, certificate);
  }
  // Each connection has a process of its own: only tickets outlive it.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  if (!options.client_ca.empty()) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate_of(options.client_ca));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>("t"), 1);
  }
  if (!options.alpn.empty()) {
    SSL_CTX_set_alpn_select_cb(context, choose_alpn, const_cast<std::string*>(&options.alpn));
  }
  return context;
}

void serve(SSL_CTX* context, int fd, TlsBehaviour behaviour) {
  if (behaviour == TlsBehaviour::half) {
    constexpr std::string_view kStart("\x16\x03\x03\x00\x7a\x02\x00", 7);
    send(fd, kStart.data(), kStart.size(), MSG_NOSIGNAL);
    pause();
  }
  if (behaviour == TlsBehaviour::drops) {
    char byte = 0;
    recv(fd, &byte, 1, 0);
    return;
  }
  SSL* ssl = SSL_new(context);
  SSL_set_fd(ssl, fd);
  if (SSL_accept(ssl) != 1) return;
  if (behaviour == TlsBehaviour::greets) SSL_write(ssl, "hello", 5);
  std::array<char, 16384> bytes{};
  int n = 0;
  while ((n = SSL_read(ssl, bytes.data(), bytes.size())) > 0) {
    while (behaviour == TlsBehaviour::updates) {
      if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1 || SSL_do_handshake(ssl) != 1) return;
    }
    while (behaviour == TlsBehaviour::tickets) {
      if (SSL_new_session_ticket(ssl) != 1 || SSL_do_handshake(ssl) != 1) return;
    }
    if (SSL_write(ssl, bytes.data(), n) <= 0) return;
    if (behaviour == TlsBehaviour::cuts) return;
    if (behaviour == TlsBehaviour::closes) break;
  }
  SSL_shutdown(ssl);
}

}  // namespace

TlsServer::TlsServer(const shm::Endpoint& endpoint, const TlsServerOptions& options) {
  sockaddr_storage address{};
  const socklen_t length = endpoint.to_sockaddr(address);
  const int listener = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      listen(listener, 1024) != 0) {
    close(listener);
    throw std::runtime_error("the TLS server cannot listen");
  }
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    signal(SIGCHLD, SIG_IGN);
    SSL_CTX* context = context_of(options);
    const pid_t server = getpid();
    while (true) {
      const int fd = accept(listener, nullptr, nullptr);
      if (fd < 0) continue;
      if (fork() == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != server) _exit(1);
        serve(context, fd, options.behaviour);
        _exit(0);
      }
      close(fd);
    }
  }
  close(listener);
}

TlsServer::~TlsServer() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

}  // namespace ballast::tests
