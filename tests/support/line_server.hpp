// A listening socket of the test's own process that says one line to whoever connects and closes,
// as agents do. Turned by the test, so that nothing happens behind its back.
#pragma once

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <string>

#include "shm/endpoint.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::tests {

class LineServer {
 public:
  explicit LineServer(std::string line) : line_(std::move(line)) { listen(); }
  LineServer(const LineServer&) = delete;
  LineServer& operator=(const LineServer&) = delete;
  ~LineServer() { close(); }

  [[nodiscard]] const shm::Endpoint& endpoint() const noexcept { return endpoint_; }
  void say(std::string line) { line_ = std::move(line); }

  // Answers who is waiting; how many were answered in all.
  std::size_t turn() {
    for (int fd = -1; (fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; ++served_) {
      REQUIRE(::send(fd, line_.data(), line_.size(), MSG_NOSIGNAL) ==
              static_cast<ssize_t>(line_.size()));
      // What was said to us is read first: unread, it would turn the end into a reset.
      char said[256];
      while (::recv(fd, said, sizeof said, MSG_DONTWAIT) > 0) {
      }
      ::close(fd);
    }
    return served_;
  }
  // From now on it is refused.
  void close() {
    if (listener_ >= 0) ::close(listener_);
    listener_ = -1;
  }
  void listen() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    REQUIRE(listener_ >= 0);
    const int one = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_storage address;
    const socklen_t length = endpoint_.to_sockaddr(address);
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(::listen(listener_, 128) == 0);
  }

 private:
  shm::Endpoint endpoint_ = local_endpoint(free_port());
  std::string line_;
  int listener_ = -1;
  std::size_t served_ = 0;
};

}  // namespace ballast::tests
