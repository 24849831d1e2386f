// A real server process for tests and benchmarks: forked, single-threaded, good or ill-behaved as
// asked. It dies with its parent, or when killed; the kernel then closes its sockets as it would
// those of any crashed server.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "shm/endpoint.hpp"

namespace ballast::tests {

enum class Behaviour : std::uint8_t {
  good,             // answers 200 and keeps the connection
  closes_after,     // answers 200 as if it kept the connection, then closes it
  times_out_idle,   // as closes_after, but says "408" first
  answers_once,     // answers 200 as if it kept the connection, closes it at the next request
  closes_politely,  // answers 200 with "Connection: close"
  unhealthy,        // answers 503 and keeps the connection
  hangs,            // accepts and never answers
  half,             // sends half of an answer and then nothing
  half_and_closes,  // sends half of an answer and closes
  garbage,          // answers with bytes that are no HTTP
  huge_headers,     // never stops sending headers
  endless_body,     // 200, then a body without end
  drips,            // one byte every 20 ms
  closes_at_once,   // accepts and closes
  resets_at_once,   // accepts and resets
  banner,           // says hello on connect and ignores what it is told
};

// An unused port below the ephemeral range on 127.0.0.1 (or ::1).
[[nodiscard]] std::uint16_t free_port(shm::Family family = shm::Family::ipv4);
[[nodiscard]] shm::Endpoint local_endpoint(std::uint16_t port,
                                           shm::Family family = shm::Family::ipv4);

class TinyServer {
 public:
  // Listening on all of `endpoints` when the constructor returns. Aborts if it cannot.
  TinyServer(Behaviour behaviour, std::vector<shm::Endpoint> endpoints);
  ~TinyServer();
  TinyServer(const TinyServer&) = delete;
  TinyServer& operator=(const TinyServer&) = delete;

  // SIGKILL; returns as soon as the signal is sent, or, if `wait`, when the process is gone.
  void kill(bool wait = true);
  void pause();   // SIGSTOP
  void resume();  // SIGCONT
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

 private:
  pid_t pid_ = -1;
};

}  // namespace ballast::tests
