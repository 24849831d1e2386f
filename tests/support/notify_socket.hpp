// systemd's end of sd_notify: a datagram socket that keeps what it is told until the test asks.
#pragma once

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include "tests/support/temp_dir.hpp"

namespace ballast::tests {

class NotifySocket {
 public:
  enum class Kind { file, abstract };

  explicit NotifySocket(Kind kind = Kind::file) {
    const std::string path = kind == Kind::file
                                 ? dir_.path() + "/notify"
                                 : "@ballast-test-notify-" + std::to_string(::getpid());
    address_ = path;
    sockaddr_un here{};
    here.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof here.sun_path);
    std::memcpy(here.sun_path, path.data(), path.size());
    if (kind == Kind::abstract) here.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() +
                                               (kind == Kind::file ? 1 : 0));
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    REQUIRE(socket_ >= 0);
    REQUIRE(::bind(socket_, reinterpret_cast<const sockaddr*>(&here), length) == 0);
  }
  ~NotifySocket() { ::close(socket_); }
  NotifySocket(const NotifySocket&) = delete;
  NotifySocket& operator=(const NotifySocket&) = delete;

  // For NOTIFY_SOCKET.
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

  // The next message; fails the test if none comes.
  [[nodiscard]] std::string next() const {
    pollfd wanted{socket_, POLLIN, 0};
    constexpr int kLimitMs = 30'000;
    REQUIRE(::poll(&wanted, 1, kLimitMs) == 1);
    std::array<char, 4096> bytes{};
    const ssize_t got = ::recv(socket_, bytes.data(), bytes.size(), 0);
    REQUIRE(got >= 0);
    return {bytes.data(), static_cast<std::size_t>(got)};
  }
  // Whether nothing comes for so long; what does come is taken.
  [[nodiscard]] bool is_quiet_for_ms(int ms) const {
    pollfd wanted{socket_, POLLIN, 0};
    if (::poll(&wanted, 1, ms) == 0) return true;
    static_cast<void>(next());
    return false;
  }
  // The next message that begins so; what comes before it is passed over.
  [[nodiscard]] std::string next_of(const std::string& beginning) const {
    for (;;) {
      const std::string message = next();
      if (message.starts_with(beginning)) return message;
    }
  }

 private:
  TempDir dir_;
  std::string address_;
  int socket_ = -1;
};

}  // namespace ballast::tests
