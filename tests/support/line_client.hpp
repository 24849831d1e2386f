// A client of a line protocol on a Unix socket, for tests whose server runs on the same thread: it
// never blocks, so the test turns the server's loop until what it waits for is there.
#pragma once

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <string_view>

#include "engine/text/unix_socket.hpp"

namespace ballast::tests {

class LineClient {
 public:
  explicit LineClient(const std::string& path) {
    const auto connected = engine::connect_unix(path);
    REQUIRE_MESSAGE(connected, connected.error().to_text());
    fd_ = *connected;
  }
  ~LineClient() { close(); }
  LineClient(const LineClient&) = delete;
  LineClient& operator=(const LineClient&) = delete;

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void finish() const { ::shutdown(fd_, SHUT_WR); }

  // As much as is taken at once.
  std::size_t say(std::string_view text) const {
    const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? 0 : static_cast<std::size_t>(sent);
  }

  // Reads what there is. True once a line is complete, or the server has closed.
  bool look() {
    std::array<char, 65536> buffer;  // NOLINT: filled by the kernel
    for (;;) {
      const ssize_t got = ::recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) break;
      if (got <= 0) {
        ended_ = true;
        break;
      }
      in_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return ended_ || in_.find('\n') != std::string::npos;
  }
  // The next line that has been read; "closed" if there is none and will be none.
  std::string line() {
    const auto end = in_.find('\n');
    if (end == std::string::npos) return ended_ ? "closed" : "";
    std::string line = in_.substr(0, end);
    in_.erase(0, end + 1);
    return line;
  }
  [[nodiscard]] bool has_line() const { return in_.find('\n') != std::string::npos; }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  int fd_ = -1;
  std::string in_;
  bool ended_ = false;
};

}  // namespace ballast::tests
