// HTTP as far as one page needs it.
#include "bench/engine/checker/scraper.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string_view>
#include <thread>

namespace ballast::bench {

namespace {

constexpr timeval kPatience{5, 0};
constexpr std::string_view kRequest =
    "GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";

class Socket {
 public:
  Socket() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (fd_ < 0) throw std::runtime_error("cannot make a socket");
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof kPatience);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { ::close(fd_); }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace

std::string scrape(std::uint16_t port) {
  const Socket socket;
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(port);
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0 ||
      ::send(socket.fd(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(kRequest.size())) {
    throw std::runtime_error(std::string("nobody serves /metrics: ") + std::strerror(errno));
  }
  std::string answer;
  char buffer[65536];
  ssize_t got = 0;
  while ((got = ::recv(socket.fd(), buffer, sizeof buffer, 0)) > 0)
    answer.append(buffer, static_cast<std::size_t>(got));
  const auto head = answer.find("\r\n\r\n");
  if (got < 0 || !answer.starts_with("HTTP/1.1 200 ") || head == std::string::npos ||
      answer.find("\nballast_prober_check_lag_seconds_count ", head) == std::string::npos) {
    throw std::runtime_error("no page of metrics but: " + answer.substr(0, 200));
  }
  return answer.substr(head + 4);
}

Scraper::Scraper(std::uint16_t port, unsigned rank) {
  child_ = std::make_unique<Child>([this, port, rank] {
    pin(rank);
    auto next = std::chrono::steady_clock::now();
    while (true) {
      const std::string page = scrape(port);
      // This process alone writes; whoever reads wants figures, not an order.
      counts_[0].bytes.store(page.size(), std::memory_order_relaxed);
      counts_[0].pages.store(counts_[0].pages.load(std::memory_order_relaxed) + 1,
                             std::memory_order_relaxed);
      next += std::chrono::seconds(1);
      std::this_thread::sleep_until(next);
    }
  });
}

}  // namespace ballast::bench
