// Accepting, reading a line and answering; see bridge_server.hpp.
#include "tools/ballast/bridge_server.hpp"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "tools/ballast/bridge_answer.hpp"

namespace ballast::tools {
namespace {

constexpr std::size_t kOwnDescriptors = 32;  // the standard ones, the table's files, and some air
constexpr std::uint64_t kRestMs = 100;

std::uint64_t steady_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

// Raises the soft limit as far as it needs to be, and says how many connections that leaves.
std::size_t room_for(std::size_t connections) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::min<std::size_t>(connections, 256);
  const rlim_t wanted = connections + kOwnDescriptors;
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = std::min(wanted, limit.rlim_max);
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
  }
  const rlim_t open = std::min(limit.rlim_cur, wanted);
  return open > 2 * kOwnDescriptors ? open - kOwnDescriptors
                                    : std::min(connections, kOwnDescriptors);
}

bool watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

shm::Result<BridgeServer> BridgeServer::listen(const shm::Endpoint& at, const Limits& limits,
                                               Answer answer) {
  sockaddr_storage address{};
  const socklen_t length = at.to_sockaddr(address);
  const std::string where = at.to_text();
  const int listener =
      socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (listener < 0) return shm::system_error(errno, "listen on", where);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), length) != 0 ||
      ::listen(listener, 1024) != 0) {
    const int code = errno;
    ::close(listener);
    return shm::system_error(
        code, "listen on", where,
        code == EADDRINUSE ? "somebody else does; choose another with --listen" : "");
  }
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0 || !watch(epoll, listener)) {
    const int code = errno;
    ::close(listener);
    if (epoll >= 0) ::close(epoll);
    return shm::system_error(code, "wait for connections on", where);
  }
  return BridgeServer(listener, epoll, {room_for(limits.connections), limits.deadline_ms},
                      std::move(answer));
}

BridgeServer::BridgeServer(int listener, int epoll, const Limits& limits, Answer answer)
    : listener_(listener), epoll_(epoll), limits_(limits), answer_(std::move(answer)) {}

BridgeServer::BridgeServer(BridgeServer&& other) noexcept
    : listener_(std::exchange(other.listener_, -1)),
      epoll_(std::exchange(other.epoll_, -1)),
      limits_(other.limits_),
      answer_(std::move(other.answer_)),
      connections_(std::move(other.connections_)),
      by_fd_(std::move(other.by_fd_)) {}

BridgeServer::~BridgeServer() {
  for (const Connection& connection : connections_)
    ::close(connection.fd);
  if (listener_ >= 0) ::close(listener_);
  if (epoll_ >= 0) ::close(epoll_);
}

void BridgeServer::close(Connections::iterator connection) {
  ::close(connection->fd);  // which takes it out of the epoll set, too
  by_fd_.erase(connection->fd);
  connections_.erase(connection);
}

bool BridgeServer::serve(Connection& connection, std::uint64_t now_ms) {
  std::array<char, kMaxAgentLine + 2> buffer;
  const ssize_t got = recv(connection.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0) return errno != EAGAIN && errno != EINTR;
  connection.line.append(buffer.data(), static_cast<std::size_t>(got));
  const auto end = connection.line.find_first_of("\r\n");
  // Who has said all ends the line, too; and one that is too long will not become right.
  const bool is_whole = end != std::string::npos || (got == 0 && !connection.line.empty()) ||
                        connection.line.size() > kMaxAgentLine;
  if (!is_whole) return got == 0;
  const std::string answer = answer_(std::string_view(connection.line).substr(0, end), now_ms);
  // The first and only line of a new connection always fits what the kernel keeps for it.
  if (!answer.empty()) {
    static_cast<void>(
        !send(connection.fd, answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  shutdown(connection.fd, SHUT_WR);
  return true;
}

// Out of descriptors, or of memory: the oldest makes room, and if there is none we wait, without
// turning round and round.
void BridgeServer::rest(std::uint64_t now_ms) {
  if (!connections_.empty()) {
    close(connections_.begin());
    return;
  }
  resting_until_ms_ = now_ms + kRestMs;
  epoll_ctl(epoll_, EPOLL_CTL_DEL, listener_, nullptr);
}

void BridgeServer::accept_all(std::uint64_t now_ms) {
  constexpr int kAtOnce = 256;  // then those that wait with a question have their turn
  for (int i = 0; i < kAtOnce; ++i) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) rest(now_ms);
      if (errno == ECONNABORTED || errno == EINTR) continue;
      return;
    }
    Connection connection{fd, now_ms + limits_.deadline_ms, {}};
    if (serve(connection, now_ms)) {
      ::close(fd);
      continue;
    }
    if (connections_.size() >= limits_.connections) close(connections_.begin());
    if (!watch(epoll_, fd)) {
      ::close(fd);
      continue;
    }
    connections_.push_back(std::move(connection));
    by_fd_[fd] = std::prev(connections_.end());
  }
}

shm::Status BridgeServer::run(int stop_fd) {
  if (!watch(epoll_, stop_fd)) return shm::system_error(errno, "wait for", "the signal to stop");
  std::array<epoll_event, 256> events;
  for (;;) {
    std::uint64_t now_ms = steady_ms();
    std::uint64_t wake_ms = resting_until_ms_;
    if (!connections_.empty() && (wake_ms == 0 || connections_.front().deadline_ms < wake_ms))
      wake_ms = connections_.front().deadline_ms;
    const int timeout =
        wake_ms == 0 ? -1 : static_cast<int>(wake_ms > now_ms ? wake_ms - now_ms : 0);
    const int count = epoll_wait(epoll_, events.data(), events.size(), timeout);
    if (count < 0 && errno != EINTR) return shm::system_error(errno, "wait for", "connections");
    now_ms = steady_ms();
    bool accepts = false;
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == stop_fd) return shm::Done{};
      if (fd == listener_) {
        accepts = true;  // last: a new connection may get the number of one that is closed here
        continue;
      }
      if (const auto found = by_fd_.find(fd);
          found != by_fd_.end() && serve(*found->second, now_ms)) {
        close(found->second);
      }
    }
    while (!connections_.empty() && connections_.front().deadline_ms <= now_ms)
      close(connections_.begin());
    if (resting_until_ms_ != 0 && resting_until_ms_ <= now_ms) {
      resting_until_ms_ = 0;
      watch(epoll_, listener_);
    }
    if (accepts) accept_all(now_ms);
  }
}

}  // namespace ballast::tools
