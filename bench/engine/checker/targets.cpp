// One thread on epoll. A connection has no state: a request is taken as whole when its bytes end
// with the empty line, which it does on loopback.
#include "bench/engine/checker/targets.hpp"

#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "bench/support/program.hpp"
#include "tests/support/tiny_server.hpp"

namespace ballast::bench {

namespace {

constexpr std::size_t kPerSubnet = 250;
constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

int listen_everywhere(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // On all addresses of the loopback device, and nowhere else.
  if (::setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) != 0)
    throw std::runtime_error("the targets cannot be kept to the loopback device");
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0 ||
      ::listen(fd, 65535) != 0) {
    throw std::runtime_error(std::string("the targets cannot listen: ") + std::strerror(errno));
  }
  return fd;
}

std::uint64_t to_ns(const timespec& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U +
         static_cast<std::uint64_t>(time.tv_nsec);
}

class Server {
 public:
  Server(int listener, bool by_time, Arrivals& arrivals)
      : listener_(listener),
        by_time_(by_time),
        arrivals_(arrivals),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    add(listener_);
  }

  [[noreturn]] void run() {
    epoll_event events[512];
    while (true) {
      const int n = ::epoll_wait(epoll_, events, 512, -1);
      for (int i = 0; i < n; ++i)
        events[i].data.fd == listener_ ? on_connection() : on_readable(events[i].data.fd);
    }
  }

 private:
  void add(int fd) const {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  static void count(std::atomic<std::uint64_t>& counter) {
    // This process alone writes it; whoever reads wants a figure, not an order.
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  void on_connection() {
    while (true) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      count(arrivals_.connections);
      if (by_time_) {
        const int on = 1;
        ::setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
      }
      add(fd);
    }
  }

  void on_readable(int fd) {
    char buffer[4096];
    alignas(cmsghdr) char control[256];
    iovec part{buffer, sizeof buffer};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (by_time_) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
    }
    const ssize_t n = ::recvmsg(fd, &message, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      ::close(fd);
      return;
    }
    const std::string_view request(buffer, static_cast<std::size_t>(n));
    if (!request.ends_with("\r\n\r\n")) return;
    count(arrivals_.requests);
    if (by_time_) note_time(message);
    ::send(fd, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
    // As servers do: without being asked to keep the connection, this side closes it.
    const bool closes = request.find(" HTTP/1.0\r\n") != std::string_view::npos ||
                        request.find("Connection: close") != std::string_view::npos ||
                        request.find("connection: close") != std::string_view::npos;
    if (closes) ::close(fd);
  }

  void note_time(msghdr& message) {
    timespec when{};
    ::clock_gettime(CLOCK_REALTIME, &when);  // for want of the kernel's
    for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one)) {
      if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SCM_TIMESTAMPNS)
        std::memcpy(&when, CMSG_DATA(one), sizeof when);
    }
    const std::uint64_t bin = (to_ns(when) - arrivals_.begin_ns) / 1'000'000U;
    if (bin >= Arrivals::kBins) return;
    auto& counter = arrivals_.requests_in[bin];
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  int listener_;
  bool by_time_;
  Arrivals& arrivals_;
  int epoll_;
};

}  // namespace

std::vector<shm::Endpoint> target_endpoints(std::size_t count, std::uint16_t port) {
  std::vector<shm::Endpoint> out;
  for (std::size_t i = 0; i < count; ++i) {
    shm::Endpoint endpoint = tests::local_endpoint(port);
    endpoint.address[1] = 1;
    endpoint.address[2] = static_cast<std::uint8_t>(i / kPerSubnet);
    endpoint.address[3] = static_cast<std::uint8_t>(1 + i % kPerSubnet);
    out.push_back(endpoint);
  }
  return out;
}

bool leave_the_network() noexcept {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const bool up = fd >= 0 && ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  ::close(fd);
  return up;
}

std::uint64_t connections_begun() {
  std::ifstream file("/proc/self/net/snmp");
  std::vector<std::string> names, values;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("Tcp:")) continue;
    std::istringstream words(line);
    std::vector<std::string>& into = names.empty() ? names : values;
    for (std::string word; words >> word;)
      into.push_back(word);
  }
  const auto found = std::find(names.begin(), names.end(), "ActiveOpens");
  const auto place = static_cast<std::size_t>(found - names.begin());
  if (place >= values.size()) throw std::runtime_error("/proc/self/net/snmp has no ActiveOpens");
  return std::strtoull(values[place].c_str(), nullptr, 10);
}

Targets::Targets(const TargetsOptions& options) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  arrivals_[0].begin_ns = to_ns(now);
  const int listener = listen_everywhere(options.port);
  child_ = std::make_unique<Child>([&, listener] {
    allow_descriptors();
    if (!options.at_ease) {
      pin(options.rank);
      run_at_real_time();
    }
    Server(listener, options.by_time, arrivals_[0]).run();
  });
  ::close(listener);
}

}  // namespace ballast::bench
