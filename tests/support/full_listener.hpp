// A listening socket of the test's own process whose queue can be filled, so that the kernel drops
// the next SYN as it does while a listener is being torn down.
#pragma once

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "shm/endpoint.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::tests {

class FullListener {
 public:
  FullListener() : endpoint_(local_endpoint(free_port())) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    REQUIRE(listener_ >= 0);
    const int one = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_storage address;
    const socklen_t length = endpoint_.to_sockaddr(address);
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) == 0);
    REQUIRE(::listen(listener_, 0) == 0);
  }
  FullListener(const FullListener&) = delete;
  FullListener& operator=(const FullListener&) = delete;
  ~FullListener() {
    for (const int fd : fillers_)
      ::close(fd);
    ::close(listener_);
  }

  [[nodiscard]] const shm::Endpoint& endpoint() const noexcept { return endpoint_; }

  // A waiting connection other than those of `fill`, or -1.
  [[nodiscard]] int try_accept() const {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0 || !is_filler(fd)) return fd;
      ::close(fd);
    }
  }

  // Fills the queue: a backlog of 0 holds one connection.
  void fill() {
    sockaddr_storage address;
    const socklen_t length = endpoint_.to_sockaddr(address);
    fillers_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(fillers_.back(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  }

 private:
  [[nodiscard]] bool is_filler(int accepted) const {
    sockaddr_in theirs{};
    socklen_t size = sizeof theirs;
    ::getpeername(accepted, reinterpret_cast<sockaddr*>(&theirs), &size);
    for (const int fd : fillers_) {
      sockaddr_in ours{};
      size = sizeof ours;
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&ours), &size);
      if (ours.sin_port == theirs.sin_port) return true;
    }
    return false;
  }

  shm::Endpoint endpoint_;
  int listener_ = -1;
  std::vector<int> fillers_;
};

// Reads what has come on a connection; once it is a whole request, answers it. True when it has.
inline bool answer_request(int fd) {
  char bytes[1024];
  const ssize_t got = ::recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (got <= 0) return false;
  const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  REQUIRE(::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(answer.size()));
  return true;
}

}  // namespace ballast::tests
