// The demo's six servers: nginx, each one process of its own with a configuration of its own, so
// that kill -9 of its pid kills the whole server, as when a host loses one. Each names itself in
// the header X-Server of every answer.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "tools/demo/board.hpp"
#include "tools/demo/process.hpp"

namespace ballast::tools::demo {

inline constexpr const char* kSlowPath = "/slow";  // answered over more than a minute

class Servers {
 public:
  // Starts all of them, on free loopback ports below 32768 (above, they could meet an outgoing
  // connection's). Their files go under `directory`. Failure, in one line, if one does not start.
  explicit Servers(const std::string& directory);

  [[nodiscard]] std::uint16_t port(std::size_t server) const { return servers_[server].port; }
  [[nodiscard]] pid_t pid(std::size_t server) const { return servers_[server].process.pid(); }
  [[nodiscard]] std::string address(std::size_t server) const;
  // The server that listens on a port, or kNobody.
  [[nodiscard]] unsigned at_port(std::uint16_t port) const noexcept;
  [[nodiscard]] unsigned at_address(const std::string& address) const;

  void strike(std::size_t server) {
    servers_[server].wanted = false;
    servers_[server].process.strike();
  }
  void wait(std::size_t server) { servers_[server].process.wait(); }
  // Starts a killed one again, on the port that it had; returns when it answers.
  void start_again(std::size_t server);
  // From now on it answers every request for a key with 500, or well again. Checks go on to pass.
  void set_sick(std::size_t server, bool sick) const;
  // The first one that should be running and is not, or kNobody.
  [[nodiscard]] unsigned find_dead() noexcept;
  // What a server's log says last.
  [[nodiscard]] std::string last_words(std::size_t server) const;

 private:
  struct Server {
    std::uint16_t port = 0;
    std::string directory;
    Process process;
    bool wanted = false;
  };

  void write_configuration(std::size_t server);
  // Whether it answers; false if another program has taken its port.
  bool launch(std::size_t server);

  std::string nginx_;
  std::array<Server, kServers> servers_;
};

}  // namespace ballast::tools::demo
