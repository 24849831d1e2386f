// A tiny blocking HTTP/1.1 client: see http_client.hpp.
#include "tools/demo/http_client.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

namespace ballast::tools::demo {
namespace {

std::string request_for(std::string_view path) {
  return fmt::format("GET {} HTTP/1.1\r\nHost: demo\r\n\r\n", path);
}

// Whether the server has closed a connection on which nothing is expected.
bool is_stale(int fd) noexcept {
  char byte = 0;
  return !(recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

Outcome outcome_of_errno(int code) noexcept {
  return code == ETIMEDOUT ? Outcome::timeout : Outcome::reset;
}

// The number after `name` (which brings its ": ") in a head, or -1.
long header_number(std::string_view head, std::string_view name) noexcept {
  const std::size_t at = head.find(name);
  if (at == std::string_view::npos) return -1;
  long value = -1;
  const char* begin = head.data() + at + name.size();
  std::from_chars(begin, head.data() + head.size(), value);
  return value;
}

Outcome outcome_of_status(long status) noexcept {
  if (status == 429 || status == 503) return Outcome::overload;
  return status >= 200 && status < 400 ? Outcome::success : Outcome::server_error;
}

}  // namespace

HttpClient::~HttpClient() {
  for (const auto& [port, fd] : kept_)
    close(fd);
  for (const int fd : waiting_)
    close(fd);
}

Reply HttpClient::get(std::uint16_t port, std::string_view path) {
  int fd = -1;
  if (const auto kept = kept_.find(port); kept != kept_.end()) {
    fd = kept->second;
    kept_.erase(kept);
    if (is_stale(fd)) {
      close(fd);
      fd = -1;
    }
  }
  Reply reply;
  if (fd < 0) {
    reply.outcome = connect_to(port, fd);
    if (reply.outcome != Outcome::success) return reply;
  }
  reply.outcome = send_all(fd, request_for(path));
  if (reply.outcome == Outcome::success) reply = receive(fd);
  // An answer that means failure leaves the connection good; anything else does not.
  if (reply.status != 0)
    kept_[port] = fd;
  else
    close(fd);
  return reply;
}

bool HttpClient::leave_waiting(std::uint16_t port, std::string_view path) {
  int fd = -1;
  if (connect_to(port, fd) != Outcome::success) return false;
  waiting_.push_back(fd);
  return send_all(fd, request_for(path)) == Outcome::success;
}

Outcome HttpClient::connect_to(std::uint16_t port, int& fd) const {
  const int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (made < 0) return Outcome::connect_failure;
  const int on = 1;
  setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  Outcome outcome = Outcome::success;
  if (connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno != EINPROGRESS) {
      outcome = Outcome::connect_failure;
    } else if (!wait_for(made, POLLOUT)) {
      outcome = Outcome::timeout;
    } else {
      int code = 0;
      socklen_t length = sizeof code;
      getsockopt(made, SOL_SOCKET, SO_ERROR, &code, &length);
      if (code != 0) outcome = Outcome::connect_failure;
    }
  }
  if (outcome == Outcome::success)
    fd = made;
  else
    close(made);
  return outcome;
}

bool HttpClient::wait_for(int fd, short events) const noexcept {
  pollfd wanted{fd, events, 0};
  int ready = 0;
  do {
    ready = poll(&wanted, 1, static_cast<int>(timeout_ms_));
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

Outcome HttpClient::send_all(int fd, std::string_view bytes) const noexcept {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!wait_for(fd, POLLOUT)) return Outcome::timeout;
    } else if (errno != EINTR) {
      return outcome_of_errno(errno);
    }
  }
  return Outcome::success;
}

Reply HttpClient::receive(int fd) const {
  Reply reply;
  char buffer[4096];  // a whole answer of the demo's servers is a tenth of this
  std::size_t filled = 0;
  std::size_t wanted = 0;  // bytes of the whole answer, once its head is there
  while (wanted == 0 || filled < wanted) {
    if (filled == sizeof buffer) return {Outcome::server_error, 0, -1};
    const ssize_t got = recv(fd, buffer + filled, sizeof buffer - filled, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) {
      if (!wait_for(fd, POLLIN)) return {Outcome::timeout, 0, -1};
      continue;
    }
    if (got < 0) return {outcome_of_errno(errno), 0, -1};
    if (got == 0) return {Outcome::reset, 0, -1};
    filled += static_cast<std::size_t>(got);
    if (wanted != 0) continue;
    const std::string_view seen(buffer, filled);
    const std::size_t end = seen.find("\r\n\r\n");
    if (end == std::string_view::npos) continue;
    const std::string_view head = seen.substr(0, end);
    const long length = header_number(head, "\r\nContent-Length: ");
    const long status = header_number(head, "HTTP/1.1 ");
    if (length < 0 || status < 100) return {Outcome::server_error, 0, -1};
    wanted = end + 4 + static_cast<std::size_t>(length);
    reply = {outcome_of_status(status), static_cast<int>(status),
             static_cast<int>(header_number(head, "\r\nX-Server: "))};
  }
  return reply;
}

}  // namespace ballast::tools::demo
