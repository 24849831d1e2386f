// The other side of the tests and benchmarks of the nginx module: any number of instances in one
// process, on one thread and epoll, quick enough that nginx is what is measured. Each answer says
// which instance gave it, and what an instance does wrong is said when it is started. Whoever
// started it holds its stdin: it ends when that is closed, so that no server outlives its test.
//
// usage: backend_server LISTEN...   LISTEN is ADDRESS:PORT or lo:PORT (every address of loopback),
// then =BEHAVIOUR if it is to answer otherwise than by 200: a status (503), `reset` or `hang`.
// Prints "ready" once it listens. Whatever the behaviour, /health is answered by 200. Other paths:
//   /hold      answered once somebody has asked any instance of this process for /release
//   /status/N  answered with N
//   /forget    every other connection on which nothing is held is closed
//   /die       the end, without an answer
//   /cut       the header promises more than comes before the connection ends
//   /garbage   something that is not HTTP, and the end
// A request with an Upgrade header is answered by 101, and then everything is sent back as it came.
// Every answer's body is "ADDRESS:PORT"; X-Nth is the request's number on its connection. What a
// request has in X-Answer becomes a header line of the answer.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t kMaxRequest = 65536;

[[noreturn]] void die(const std::string& text) {
  std::fprintf(stderr, "backend_server: %s\n", text.c_str());
  std::exit(1);
}

enum class Behaviour { answer, reset, hang };

struct Instance {
  int fd = -1;
  Behaviour behaviour = Behaviour::answer;
  int status = 200;
};

struct Connection {
  bool open = false;
  bool echoes = false;
  bool held = false;
  unsigned nth = 0;
  const Instance* instance = nullptr;
  std::string name;    // "127.2.0.1:8080"
  std::string input;   // what has come of a request that is not whole yet
  std::string output;  // what did not fit into the socket
};

class Server {
 public:
  explicit Server(std::vector<Instance> instances) : instances_(std::move(instances)) {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    for (const Instance& instance : instances_)
      watch(EPOLL_CTL_ADD, instance.fd, EPOLLIN);
    watch(EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN);
    int highest = STDIN_FILENO;
    for (const Instance& instance : instances_)
      highest = std::max(highest, instance.fd);
    listener_of_.resize(static_cast<std::size_t>(highest) + 1, nullptr);
    for (const Instance& instance : instances_)
      listener_of_[static_cast<std::size_t>(instance.fd)] = &instance;
  }

  void run() {
    epoll_event events[512];
    while (true) {
      const int n = ::epoll_wait(epoll_, events, 512, -1);
      for (int i = 0; i < n; ++i) {
        const int fd = events[i].data.fd;
        if (fd == STDIN_FILENO) return;
        const auto at = static_cast<std::size_t>(fd);
        if (at < listener_of_.size() && listener_of_[at] != nullptr) {
          accept_all(*listener_of_[at]);
        } else {
          on_event(fd, events[i].events);
        }
      }
    }
  }

 private:
  void watch(int operation, int fd, std::uint32_t what) const {
    epoll_event event{};
    event.events = what;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, operation, fd, &event);
  }

  void accept_all(const Instance& instance) {
    while (true) {
      const int fd = ::accept4(instance.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (connections_.size() <= static_cast<std::size_t>(fd))
        connections_.resize(static_cast<std::size_t>(fd) + 1);
      Connection& connection = connections_[static_cast<std::size_t>(fd)];
      connection = {};
      connection.open = true;
      connection.instance = &instance;
      sockaddr_in local{};
      socklen_t size = sizeof local;
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size);
      char text[INET_ADDRSTRLEN];
      ::inet_ntop(AF_INET, &local.sin_addr, text, sizeof text);
      connection.name = std::string(text) + ":" + std::to_string(ntohs(local.sin_port));
      watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLRDHUP);
    }
  }

  void close(int fd, bool reset = false) {
    const linger at_once{1, 0};
    if (reset) ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    connections_[static_cast<std::size_t>(fd)] = {};
    ::close(fd);
  }

  void on_event(int fd, std::uint32_t what) {
    Connection& connection = connections_[static_cast<std::size_t>(fd)];
    if (!connection.open) return;
    if ((what & EPOLLOUT) != 0) {
      watch(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP);
      std::string rest;
      rest.swap(connection.output);
      send(fd, rest);
    }
    char buffer[16384];
    while (true) {
      const ssize_t n = ::recv(fd, buffer, sizeof buffer, 0);
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) return close(fd);
      if (connection.echoes) {
        send(fd, {buffer, static_cast<std::size_t>(n)});
      } else {
        connection.input.append(buffer, static_cast<std::size_t>(n));
        if (!take_requests(fd)) return;
      }
      if (static_cast<std::size_t>(n) < sizeof buffer && (what & EPOLLRDHUP) == 0) return;
    }
  }

  // Answers what is whole. False: the connection is gone.
  bool take_requests(int fd) {
    Connection& connection = connections_[static_cast<std::size_t>(fd)];
    while (connection.open && !connection.echoes) {
      const std::size_t end = connection.input.find("\r\n\r\n");
      if (end == std::string::npos) {
        if (connection.input.size() <= kMaxRequest) return true;
        close(fd);
        return false;
      }
      const std::size_t whole = end + 4 + length_of(connection.input.substr(0, end + 2));
      if (connection.input.size() < whole) return true;
      const std::string request = connection.input.substr(0, whole);
      connection.input.erase(0, whole);
      answer(fd, request);
    }
    return connection.open;
  }

  // Of the body that follows. Nobody here sends anything but plain lengths.
  static std::size_t length_of(const std::string& head) {
    const std::size_t at = head.find("\r\nContent-Length: ");
    return at == std::string::npos ? 0 : std::strtoul(head.c_str() + at + 18, nullptr, 10);
  }

  void answer(int fd, const std::string& request) {
    Connection& connection = connections_[static_cast<std::size_t>(fd)];
    ++connection.nth;
    const std::size_t from = std::min(request.find(' '), request.size() - 1) + 1;
    const std::string_view path =
        std::string_view(request).substr(from, request.find_first_of(" ?", from) - from);
    if (path == "/health") return send_answer(fd, 200);
    if (path == "/release") {
      for (std::size_t other = 0; other < connections_.size(); ++other) {
        if (!connections_[other].held) continue;
        connections_[other].held = false;
        send_answer(static_cast<int>(other), 200);
      }
      return send_answer(fd, 200);
    }
    if (path == "/forget") {
      for (std::size_t other = 0; other < connections_.size(); ++other) {
        if (connections_[other].open && !connections_[other].held &&
            other != static_cast<std::size_t>(fd))
          close(static_cast<int>(other));
      }
      return send_answer(fd, 200);
    }
    if (path == "/die") return close(fd);
    if (connection.instance->behaviour == Behaviour::reset) return close(fd, true);
    if (connection.instance->behaviour == Behaviour::hang) return;
    if (request.find("\r\nUpgrade: ") != std::string::npos) {
      connection.echoes = true;
      send(fd,
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "X-Backend: " +
               connection.name + "\r\n\r\n");
      return;
    }
    if (path == "/hold") {
      connection.held = true;
      return;
    }
    if (path == "/cut" || path == "/garbage") {
      send(fd,
           path == "/cut" ? "HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\nthe begin" : "hello\n");
      return close(fd);
    }
    std::string more;
    if (const std::size_t at = request.find("\r\nX-Answer: "); at != std::string::npos)
      more = request.substr(at + 12, request.find("\r\n", at + 2) + 2 - at - 12);
    if (path.starts_with("/status/"))
      return send_answer(fd, std::atoi(std::string(path.substr(8)).c_str()), more);
    send_answer(fd, connection.instance->status, more);
  }

  void send_answer(int fd, int status, const std::string& more = {}) {
    const Connection& connection = connections_[static_cast<std::size_t>(fd)];
    char text[2048];
    const int size = std::snprintf(text, sizeof text,
                                   "HTTP/1.1 %d X\r\nContent-Type: text/plain\r\nContent-Length: "
                                   "%zu\r\nX-Nth: %u\r\n%s\r\n%s",
                                   status, connection.name.size(), connection.nth, more.c_str(),
                                   connection.name.c_str());
    send(fd, {text, std::min(static_cast<std::size_t>(size), sizeof text - 1)});
  }

  void send(int fd, std::string_view text) {
    Connection& connection = connections_[static_cast<std::size_t>(fd)];
    if (connection.output.empty()) {
      const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
      if (n > 0) text.remove_prefix(static_cast<std::size_t>(n));
    }
    if (text.empty()) return;
    connection.output += text;
    watch(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP | EPOLLOUT);
  }

  std::vector<Instance> instances_;
  std::vector<const Instance*> listener_of_;  // by descriptor
  std::vector<Connection> connections_;       // by descriptor
  int epoll_ = -1;
};

Instance listen_on(const std::string& text) {
  Instance instance;
  const std::size_t equals = text.find('=');
  const std::string where = text.substr(0, equals);
  if (equals != std::string::npos) {
    const std::string what = text.substr(equals + 1);
    if (what == "reset") {
      instance.behaviour = Behaviour::reset;
    } else if (what == "hang") {
      instance.behaviour = Behaviour::hang;
    } else {
      instance.status = std::atoi(what.c_str());
    }
    if (instance.status < 200 || instance.status > 599) die(text + ": not a behaviour");
  }
  const std::size_t colon = where.rfind(':');
  if (colon == std::string::npos) die(text + ": not ADDRESS:PORT");
  const std::string address = where.substr(0, colon);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(static_cast<std::uint16_t>(std::atoi(where.c_str() + colon + 1)));
  instance.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(instance.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address == "lo") {
    in.sin_addr.s_addr = htonl(INADDR_ANY);
    if (::setsockopt(instance.fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) != 0)
      die("cannot keep to the loopback device: " + std::string(std::strerror(errno)));
  } else if (::inet_pton(AF_INET, address.c_str(), &in.sin_addr) != 1) {
    die(text + ": not ADDRESS:PORT");
  }
  if (::bind(instance.fd, reinterpret_cast<const sockaddr*>(&in), sizeof in) != 0 ||
      ::listen(instance.fd, 65535) != 0) {
    die("cannot listen on " + where + ": " + std::strerror(errno));
  }
  return instance;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) die("usage: backend_server LISTEN...");
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  std::vector<Instance> instances;
  for (int i = 1; i < argc; ++i)
    instances.push_back(listen_on(argv[i]));
  Server server(std::move(instances));
  std::puts("ready");
  std::fflush(stdout);
  server.run();
  return 0;
}
