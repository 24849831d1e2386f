// The server's process is a copy of the test's: it keeps none of the test's descriptors but its own
// listeners, or connections that the test closes would stay open here.
#include "tests/support/tiny_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace ballast::tests {

namespace {

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::abort();
}

int try_listen(const shm::Endpoint& endpoint) {
  sockaddr_storage address{};
  const socklen_t length = endpoint.to_sockaddr(address);
  const int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(fd, 4096) == 0) {
    return fd;
  }
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

class Server {
 public:
  Server(Behaviour behaviour, const std::vector<int>& listeners)
      : behaviour_(behaviour), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    for (const int fd : listeners)
      add(fd, true);
  }

  [[noreturn]] void run() {
    while (true) {
      epoll_event events[64];
      const int n = epoll_wait(epoll_, events, 64, dripping_.empty() ? -1 : 20);
      for (int i = 0; i < n; ++i) {
        const int fd = static_cast<int>(events[i].data.u64 & 0xFFFFFFFF);
        (events[i].data.u64 >> 32) != 0 ? on_accept(fd) : on_readable(fd);
      }
      if (n == 0) drip();
    }
  }

 private:
  void add(int fd, bool listener) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = static_cast<std::uint64_t>(listener) << 32 | static_cast<std::uint32_t>(fd);
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  void on_accept(int listener) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    if (behaviour_ == Behaviour::closes_at_once) {
      close(fd);
      return;
    }
    if (behaviour_ == Behaviour::resets_at_once) return reset(fd);
    if (behaviour_ == Behaviour::banner) say(fd, "220 tiny server\r\n");
    if (behaviour_ == Behaviour::drips) dripping_[fd] = 0;
    add(fd, false);
  }

  static void reset(int fd) {
    const linger now{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
  }

  static void say(int fd, std::string_view text) {
    static_cast<void>(send(fd, text.data(), text.size(), MSG_NOSIGNAL));
  }

  void drop(int fd) {
    dripping_.erase(fd);
    seen_.erase(fd);
    answered_.erase(fd);
    close(fd);
  }

  void on_readable(int fd) {
    char buffer[4096];
    const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return drop(fd);
    std::string& seen = seen_[fd];
    seen.append(buffer, static_cast<std::size_t>(n));
    if (seen.find("\r\n\r\n") == std::string::npos) return;
    seen.clear();
    answer(fd);
  }

  void answer(int fd) {
    constexpr std::string_view kGood = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    switch (behaviour_) {
      case Behaviour::good:
        return say(fd, kGood);
      case Behaviour::closes_after:
        say(fd, kGood);
        return drop(fd);
      case Behaviour::answers_once:
        if (!answered_.insert(fd).second) return drop(fd);
        return say(fd, kGood);
      case Behaviour::times_out_idle:
        say(fd, kGood);
        say(fd, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n");
        return drop(fd);
      case Behaviour::closes_politely:
        say(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        return drop(fd);
      case Behaviour::unhealthy:
        return say(fd, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
      case Behaviour::half:
        return say(fd, kGood.substr(0, 30));
      case Behaviour::half_and_closes:
        say(fd, kGood.substr(0, 30));
        return drop(fd);
      case Behaviour::garbage:
        return say(fd, std::string_view("\x16\x03\x01\x00\x02\x02(\r\n\x00\xff\n", 12));
      case Behaviour::huge_headers:
        return flood(fd, "HTTP/1.1 200 OK\r\n", "X-Filler: 0123456789012345678901234567890\r\n");
      case Behaviour::endless_body:
        return flood(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                     "10\r\n0123456789abcdef\r\n");
      case Behaviour::hangs:
      case Behaviour::drips:
      case Behaviour::banner:
      case Behaviour::closes_at_once:
      case Behaviour::resets_at_once:
        return;
    }
  }

  // Sends until the other side has had enough, which is the thing under test; blocks meanwhile.
  void flood(int fd, std::string_view start, std::string_view again) {
    std::string text;
    while (text.size() < 16384)
      text += again;
    say(fd, start);
    while (true) {
      const ssize_t n = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) return drop(fd);
      if (n < static_cast<ssize_t>(text.size())) usleep(1000);
    }
  }

  void drip() {
    constexpr std::string_view kSlow = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    for (auto& [fd, sent] : dripping_) {
      say(fd, sent < kSlow.size() ? kSlow.substr(sent, 1) : "x");
      ++sent;
    }
  }

  Behaviour behaviour_;
  int epoll_;
  std::unordered_map<int, std::string> seen_;
  std::unordered_set<int> answered_;
  std::unordered_map<int, std::size_t> dripping_;
};

}  // namespace

shm::Endpoint local_endpoint(std::uint16_t port, shm::Family family) {
  shm::Endpoint endpoint;
  endpoint.family = family;
  endpoint.port = port;
  if (family == shm::Family::ipv4) {
    endpoint.address[0] = 127;
    endpoint.address[3] = 1;
  } else {
    endpoint.address[15] = 1;
  }
  return endpoint;
}

std::uint16_t free_port(shm::Family family) {
  // Where to start differs from process to process, so that tests run side by side.
  static unsigned next = static_cast<unsigned>(getpid()) * 37;
  for (int tries = 0; tries < 20000; ++tries) {
    const auto port = static_cast<std::uint16_t>(12000 + next++ % 20000);
    const int fd = try_listen(local_endpoint(port, family));
    if (fd < 0) continue;
    close(fd);
    return port;
  }
  die("no free port");
}

TinyServer::TinyServer(Behaviour behaviour, std::vector<shm::Endpoint> endpoints) {
  // Listening before the fork: whoever connects after the constructor is served.
  std::vector<int> listeners;
  for (const shm::Endpoint& endpoint : endpoints) {
    listeners.push_back(try_listen(endpoint));
    if (listeners.back() < 0) die(endpoint.to_text().c_str());
  }
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ < 0) die("fork");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(0);
    // The test's own descriptors lie below, between and above the listeners.
    int next = 3;
    for (const int fd : listeners) {
      if (fd > next) {
        close_range(static_cast<unsigned>(next), static_cast<unsigned>(fd - 1), 0);
      }
      next = fd + 1;
    }
    close_range(static_cast<unsigned>(next), ~0U, 0);
    Server(behaviour, listeners).run();
  }
  for (const int fd : listeners)
    close(fd);
}

TinyServer::~TinyServer() {
  kill();
}

void TinyServer::kill(bool wait) {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  if (!wait) return;
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void TinyServer::pause() {
  ::kill(pid_, SIGSTOP);
}
void TinyServer::resume() {
  ::kill(pid_, SIGCONT);
}

}  // namespace ballast::tests
