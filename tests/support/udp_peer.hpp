// A UDP socket of the test's own process, for checks to talk to.
#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shm/endpoint.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::tests {

// A port on which nothing is bound for UDP either.
inline shm::Endpoint free_udp_endpoint(shm::Family family = shm::Family::ipv4) {
  for (;;) {
    const shm::Endpoint endpoint = local_endpoint(free_port(family), family);
    sockaddr_storage address;
    const socklen_t length = endpoint.to_sockaddr(address);
    const int fd = ::socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    const bool free = ::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0;
    ::close(fd);
    if (free) return endpoint;
  }
}

class UdpPeer {
 public:
  explicit UdpPeer(shm::Family family = shm::Family::ipv4) : UdpPeer(free_udp_endpoint(family)) {}
  explicit UdpPeer(const shm::Endpoint& endpoint) : endpoint_(endpoint) {
    sockaddr_storage address;
    const socklen_t length = endpoint_.to_sockaddr(address);
    fd_ = ::socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    REQUIRE(fd_ >= 0);
    REQUIRE(::bind(fd_, reinterpret_cast<sockaddr*>(&address), length) == 0);
  }
  UdpPeer(const UdpPeer&) = delete;
  UdpPeer& operator=(const UdpPeer&) = delete;
  ~UdpPeer() { close(); }

  [[nodiscard]] const shm::Endpoint& endpoint() const noexcept { return endpoint_; }

  // The next datagram that has come; its sender is whom `answer` answers.
  [[nodiscard]] std::optional<std::string> receive() {
    std::string bytes(65536, '\0');
    from_length_ = sizeof from_;
    const ssize_t got = ::recvfrom(fd_, bytes.data(), bytes.size(), 0,
                                   reinterpret_cast<sockaddr*>(&from_), &from_length_);
    if (got < 0) return std::nullopt;
    bytes.resize(static_cast<std::size_t>(got));
    return bytes;
  }
  void answer(std::string_view bytes) {
    REQUIRE(::sendto(fd_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from_),
                     from_length_) == static_cast<ssize_t>(bytes.size()));
  }
  // From now on the kernel refuses what is sent here.
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  shm::Endpoint endpoint_;
  int fd_ = -1;
  sockaddr_storage from_{};
  socklen_t from_length_ = 0;
};

}  // namespace ballast::tests
