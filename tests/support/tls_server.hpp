// A real TLS server in processes of its own, one a connection, good or ill-behaved as asked. It
// dies with its parent, or with this object.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "shm/endpoint.hpp"
#include "tests/support/certificates.hpp"

namespace ballast::tests {

enum class TlsBehaviour : std::uint8_t {
  echoes,     // says back what it hears
  closes,     // says it back once, then close_notify and the end
  cuts,       // says it back once, then the end without close_notify
  greets,     // says "hello" first, then echoes
  updates,    // answers with key updates that ask for others, without end
  tickets,    // answers with new sessions, without end
  half,       // half of its first words, and nothing more
  drops,      // closes the connection in the middle of the handshake
  big_chain,  // shows 2,000 certificates
};

struct TlsServerOptions {
  Pem pem;
  TlsBehaviour behaviour = TlsBehaviour::echoes;
  bool only_tls12 = false;
  bool finite_field = false;  // no curves: keys are agreed on by DHE (TLS 1.2: with an RSA key)
  std::string client_ca;      // a certificate is asked for that this one has signed
  std::string alpn;           // the protocol that is chosen, if it is offered
};

class TlsServer {
 public:
  // Listening when the constructor returns. Throws if it cannot.
  TlsServer(const shm::Endpoint& endpoint, const TlsServerOptions& options);
  ~TlsServer();
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

 private:
  pid_t pid_ = -1;
};

}  // namespace ballast::tests
