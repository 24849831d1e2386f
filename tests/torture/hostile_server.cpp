// A server that answers checks in every wrong way: for `torture_test.py`, which sets ballastd upon
// it. Each connection draws its misbehaviour from a seeded generator: resets and closes in every
// phase, answers cut off, bits turned, bytes without end, one byte at a time, silence. One thread,
// epoll; it ends when its standard input does, and so with whoever started it.
//
//   hostile_server SEED KIND:ADDRESS:PORT...
//
// KIND names what a right answer would look like: http, redis, smtp, postgres, mysql, agent, grpc,
// tls, udp; and `prime` is TLS with a key exchange that is dear (huge_prime.hpp). It prints "ready"
// when all are listening.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#ifdef BALLAST_WITH_TLS
#include "tests/torture/huge_prime.hpp"
#endif

namespace {

using Clock = std::chrono::steady_clock;
using Random = std::mt19937_64;

constexpr std::size_t kEndless = std::size_t{2} << 20;  // bytes, by when everybody must have left
constexpr std::size_t kPiece = 64 << 10;
constexpr auto kDrip = std::chrono::milliseconds(3);

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "hostile_server: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(2);
}

std::string repeat(std::string_view piece, std::size_t bytes) {
  std::string all;
  while (all.size() < bytes)
    all += piece;
  return all;
}

std::string random_bytes(Random& random, std::size_t count) {
  std::string bytes(count, '\0');
  for (char& byte : bytes)
    byte = static_cast<char>(random());
  return bytes;
}

std::string frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string body) {
  const auto size = static_cast<std::uint32_t>(body.size());
  std::string bytes;
  for (const std::uint32_t byte :
       {size >> 16, size >> 8, size, std::uint32_t{type}, std::uint32_t{flags}, stream >> 24,
        stream >> 16, stream >> 8, stream}) {
    bytes += static_cast<char>(byte);
  }
  return bytes + body;
}

// What a good server of the kind would say.
std::string right_answer(const std::string& kind) {
  using namespace std::string_literals;
  if (kind == "http") return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  if (kind == "redis") return "+PONG\r\n";
  if (kind == "smtp") return "220 mail ready\r\n250 ok\r\n221 bye\r\n";
  if (kind == "postgres") return "N"s + "R\0\0\0\x08\0\0\0\0"s;
  if (kind == "mysql")
    return "\x2e\0\0\0\x0a"
           "5.7.1\0"s +
           std::string(39, 'x');
  if (kind == "agent") return "up 75% maxconn:30 # fine\n";
  if (kind == "grpc") {
    return frame(4, 0, 0, "") + frame(4, 1, 0, "") + frame(1, 4, 1, "\x88") +
           frame(0, 0, 1, "\0\0\0\0\x02\x08\x01"s) + frame(1, 5, 1, "\x88");
  }
  if (kind == "tls") return "\x16\x03\x03\0\x2c\x02\0\0\x28\x03\x03"s + std::string(39, 'r');
  return "pong";
}

// Floods that are grammatical for the kind.
constexpr std::size_t kFloods = 9;  // of a kind, at most
std::string flood(const std::string& kind, std::size_t which, Random& random) {
  using namespace std::string_literals;
  if (kind == "http") {
    switch (which % 6) {
      case 0:
        return "HTTP/1.1 200 OK\r\n" + repeat("X-More: of the same\r\n", kEndless);
      case 1:
        return "HTTP/1.1 200 OK\r\nX-Long: " + repeat("y", kEndless);
      case 2:
        return "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n" +
               repeat("z", kEndless);
      case 3:
        return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
               repeat("1\r\na\r\n", kEndless);
      case 4:
        return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" +
               repeat("c", 4096);
      default:
        return repeat("HTTP/1.1 100 Continue\r\n\r\n", kEndless);
    }
  }
  if (kind == "grpc") {
    switch (which % kFloods) {
      case 0:
        return frame(4, 0, 0, "") + repeat(frame(6, 0, 0, "12345678"), kEndless);
      case 1:
        return repeat(frame(4, 0, 0, "\0\x03\0\0\0\x64"s), kEndless);
      case 2:
        return frame(4, 0, 0, "") + frame(1, 0, 1, "\x88") +
               repeat(frame(9, 0, 1, "\x88\x88"), kEndless);
      case 3:
        return frame(4, 0, 0, "") + frame(1, 4, 1, "\x88") +
               repeat(frame(0, 0, 1, random_bytes(random, 9000)), kEndless);
      case 4:  // headers that go on and on with nothing
        return frame(4, 0, 0, "") + frame(1, 0, 1, "\x88") + repeat(frame(9, 0, 1, ""), kEndless);
      case 5:  // a long header put into the table, and meant thousands of times
        return frame(4, 0, 0, "") +
               frame(1, 0, 1,
                     "\x88\x40\x01"s + "y\x7f\xa1\x1e" + std::string(4000, 'y') +
                         std::string(8000, '\xbe')) +
               repeat(frame(9, 0, 1, std::string(16000, '\xbe')), kEndless);
      case 6:  // no window for the call; then one that grows beyond its limit
        return frame(4, 0, 0, "\0\x04\0\0\0\0"s) +
               repeat(frame(8, 0, 1, "\x7f\xff\xff\xff"s), kEndless);
      case 7:  // settings to be answered, each of another size of table
        return repeat(frame(4, 0, 0, "\0\x01\0\0\0\0\0\x01\0\x01\0\0"s), kEndless);
      default:
        return frame(4, 0, 0, "") + frame(7, 0, 0, "\0\0\0\0\0\0\0\x0b"s + std::string(9000, 'g'));
    }
  }
  if (kind == "tls") return repeat("\x16\x03\x03\x3f\xff"s + std::string(0x3fff, 'h'), kEndless);
  if (kind == "smtp") return repeat("220-and one more line\r\n", kEndless);
  return repeat(right_answer(kind), kEndless);
}

// What a connection does, step by step.
struct Plan {
  bool listens_first = true;  // waits for the peer's first bytes
  std::shared_ptr<const std::string> bytes;
  bool drips = false;
  enum class End { close, reset, stay } end = End::close;
};

Plan draw(const std::string& kind, Random& random,
          const std::vector<std::shared_ptr<const std::string>>& floods) {
  Plan plan;
  plan.listens_first = random() % 8 != 0;
  plan.end = static_cast<Plan::End>(random() % 3);
  std::string answer = right_answer(kind);
  switch (random() % 8) {
    case 0:  // nothing at all
      answer.clear();
      break;
    case 1:
    case 2:  // cut off
      answer.resize(random() % (answer.size() + 1));
      break;
    case 3:  // bits turned
      for (std::size_t n = 1 + random() % 4; n > 0; --n)
        answer[random() % answer.size()] ^= static_cast<char>(1U << random() % 8);
      break;
    case 4:
      answer = random_bytes(random, 1 + random() % 300);
      break;
    case 5:  // right, and more than was asked for
      answer += right_answer(kind) + random_bytes(random, random() % 40);
      break;
    case 6:  // right, a byte at a time
      plan.drips = true;
      break;
    default:
      if (random() % 4 == 0) {
        plan.bytes = floods[random() % floods.size()];
        return plan;
      }
  }
  plan.bytes = std::make_shared<const std::string>(std::move(answer));
  return plan;
}

struct Connection {
  Plan plan;
  std::size_t sent = 0;
  bool asked = false;
  bool ended = false;
#ifdef BALLAST_WITH_TLS
  SSL* ssl = nullptr;
#endif
};

class Server {
 public:
  explicit Server(std::uint64_t seed) : random_(seed), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    add(STDIN_FILENO, EPOLLIN);
  }

  void listen_on(const std::string& kind, const char* address, int port) {
    const bool udp = kind == "udp";
    const int fd =
        socket(AF_INET, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    if (inet_pton(AF_INET, address, &at.sin_addr) != 1) die("address");
    if (bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) die("bind");
    if (!udp && listen(fd, 1024) != 0) die("listen");
    if (floods_[kind].empty()) {
      for (std::size_t i = 0; i < kFloods; ++i)
        floods_[kind].push_back(std::make_shared<const std::string>(flood(kind, i, random_)));
    }
    listeners_[fd] = kind;
    add(fd, EPOLLIN);
  }

  void run() {
    std::vector<epoll_event> events(512);
    for (;;) {
      const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 1);
      for (int i = 0; i < n; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        if (fd == STDIN_FILENO) return;
        if (const auto found = listeners_.find(fd); found != listeners_.end()) {
          found->second == "udp" ? answer_datagrams(fd) : accept_all(fd, found->second);
        } else {
          on_event(fd, events[static_cast<std::size_t>(i)].events);
        }
      }
      drip();
    }
  }

 private:
  void add(int fd, std::uint32_t what) {
    epoll_event event{};
    event.events = what;
    event.data.fd = fd;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  void accept_all(int listener, const std::string& kind) {
    for (;;) {
      const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      Connection& connection = connections_[fd];
#ifdef BALLAST_WITH_TLS
      if (kind == "prime") {
        connection = Connection{};
        connection.ssl = prime_.on(fd);
        add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
        continue;
      }
#endif
      connection = Connection{draw(kind, random_, floods_[kind])};
      if (!connection.plan.listens_first) connection.asked = true;
      add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
      if (connection.plan.drips) dripping_.push_back({fd, Clock::now()});
    }
  }

  void answer_datagrams(int fd) {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    char bytes[2048];
    while (recvfrom(fd, bytes, sizeof bytes, 0, reinterpret_cast<sockaddr*>(&from), &length) >= 0) {
      const Plan plan = draw("udp", random_, floods_["udp"]);
      for (std::size_t n = random_() % 3; n > 0; --n) {
        sendto(fd, plan.bytes->data(), std::min<std::size_t>(plan.bytes->size(), 60'000), 0,
               reinterpret_cast<sockaddr*>(&from), length);
      }
    }
  }

  void on_event(int fd, std::uint32_t what) {
    const auto found = connections_.find(fd);
    if (found == connections_.end()) return;
    if ((what & (EPOLLERR | EPOLLHUP)) != 0) return drop(fd);
    Connection& connection = found->second;
#ifdef BALLAST_WITH_TLS
    if (connection.ssl != nullptr) {
      const int did = SSL_do_handshake(connection.ssl);
      const int why = SSL_get_error(connection.ssl, did);
      if (did != 1 && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) drop(fd);
      return;
    }
#endif
    if ((what & (EPOLLIN | EPOLLRDHUP)) != 0) {
      char bytes[4096];
      ssize_t got = 0;
      while ((got = read(fd, bytes, sizeof bytes)) > 0)
        connection.asked = true;
      if (got == 0) return drop(fd);
      // Asked again on a connection that is kept: the same once more.
      if (connection.asked && connection.ended) {
        connection.sent = 0;
        connection.ended = false;
      }
    }
    go_on(fd, connection);
  }

  // Sends what the socket takes; false if the connection is gone.
  bool go_on(int fd, Connection& connection, std::size_t at_most = kPiece) {
    if (!connection.asked || connection.ended) return true;
    const std::string& bytes = *connection.plan.bytes;
    if (connection.plan.drips) at_most = 1;
    while (connection.sent < bytes.size()) {
      const ssize_t sent = send(fd, bytes.data() + connection.sent,
                                std::min(at_most, bytes.size() - connection.sent), MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) return true;
      if (sent < 0) return drop(fd), false;
      connection.sent += static_cast<std::size_t>(sent);
      if (connection.plan.drips && connection.sent < bytes.size()) return true;
    }
    connection.ended = true;
    if (connection.plan.end == Plan::End::stay) return true;
    if (connection.plan.end == Plan::End::reset) {
      const linger now{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    return drop(fd), false;
  }

  void drip() {
    const auto now = Clock::now();
    while (!dripping_.empty() && now - dripping_.front().when >= kDrip) {
      const int fd = dripping_.front().fd;
      dripping_.pop_front();
      const auto found = connections_.find(fd);
      if (found == connections_.end() || !found->second.plan.drips) continue;
      if (go_on(fd, found->second)) dripping_.push_back({fd, now});
    }
  }

  void drop(int fd) {
#ifdef BALLAST_WITH_TLS
    if (const auto found = connections_.find(fd); found != connections_.end())
      SSL_free(found->second.ssl);
#endif
    connections_.erase(fd);
    close(fd);
  }

  struct Dripping {
    int fd;
    Clock::time_point when;
  };

  Random random_;
  int epoll_;
  std::map<int, std::string> listeners_;
  std::map<std::string, std::vector<std::shared_ptr<const std::string>>> floods_;
  std::map<int, Connection> connections_;
  std::deque<Dripping> dripping_;
#ifdef BALLAST_WITH_TLS
  ballast::tests::HugePrime prime_;
#endif
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: hostile_server SEED KIND:ADDRESS:PORT...\n", stderr);
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
  Server server(std::strtoull(argv[1], nullptr, 10));
  for (int i = 2; i < argc; ++i) {
    const std::string text = argv[i];
    const auto first = text.find(':');
    const auto second = text.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) die("KIND:ADDRESS:PORT");
    server.listen_on(text.substr(0, first), text.substr(first + 1, second - first - 1).c_str(),
                     std::atoi(text.c_str() + second + 1));
  }
  std::puts("ready");
  std::fflush(stdout);
  server.run();
  return 0;
}
