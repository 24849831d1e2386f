// Accepting, reading lines, taking turns, and getting rid of clients that do not behave.
#include "engine/checker/control/control_server.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>
#include <vector>

#include "engine/text/unix_socket.hpp"

namespace ballast::checker {

using std::chrono::steady_clock;

namespace {

constexpr Milliseconds kFlushPeriod{5};
constexpr Milliseconds kFree{1};  // what a request may take without a pause after it
constexpr int kBacklog = 64;
constexpr std::size_t kTellBytes = std::size_t{64} << 10;  // unread, beyond which nothing is told

std::string refusal_line(const char* code, const std::string& text) {
  // Both are ours, and have nothing that JSON would have to escape.
  return std::string(R"({"ok":false,"code":")") + code + R"(","error":")" + text + "\"}";
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

struct ControlServer::Client {
  ClientId id = 0;
  int fd = -1;
  Peer peer;
  State state = State::reading;
  bool watched = false;
  bool ended = false;      // it sends nothing more
  std::string in;          // from the first byte that is not served
  std::size_t looked = 0;  // of `in`, for the end of a line
  std::size_t line = 0;    // length of the complete first line, while queued
  std::size_t blanks = 0;  // lines since the last request
  std::string out;
  std::size_t sent = 0;                  // of `out`
  steady_clock::time_point since_idle;   // the last answer, or the start
  steady_clock::time_point since_begun;  // of the line in `in`
  steady_clock::time_point since_sent;   // when it last took something

  [[nodiscard]] std::size_t unsent() const { return out.size() - sent; }
};

ControlServer::ControlServer(Loop& loop, OnRequest on_request, OnGone on_gone, ControlLimits limits)
    : loop_(loop),
      on_request_(std::move(on_request)),
      on_gone_(std::move(on_gone)),
      limits_(limits),
      turn_(loop.timers().create([this] { serve_next(); })),
      flush_(loop.timers().create([this] { flush_all(); })),
      sweep_(loop.timers().create([this] { sweep(); })) {}

ControlServer::~ControlServer() {
  leave(/*remove=*/false);
  for (const Timers::Id timer : {turn_, flush_, sweep_})
    loop_.timers().destroy(timer);
}

shm::Status ControlServer::listen(const std::string& path, std::optional<gid_t> group) {
  struct stat there{};
  if (::lstat(path.c_str(), &there) == 0 && !S_ISSOCK(there.st_mode)) {
    return shm::Error{shm::ErrorKind::invalid, 0, "listen at", path,
                      "there is something else than a socket; choose another control_socket"};
  }
  if (!is_own(path) && engine::is_listened_at(path)) {
    return shm::Error{shm::ErrorKind::busy, 0, "listen at", path,
                      "another process listens there; choose another control_socket, or stop it"};
  }
  const std::string fresh = path + ".new." + std::to_string(::getpid());
  ::unlink(fresh.c_str());
  const auto listener =
      engine::listen_unix(fresh, 0660, group ? static_cast<long>(*group) : -1, kBacklog);
  if (!listener) {
    shm::Error error = listener.error();
    error.path = path;
    return error;
  }
  struct stat made{};
  static_cast<void>(::lstat(fresh.c_str(), &made));
  // In the place of an old one at once: clients find either, and never none.
  if (::rename(fresh.c_str(), path.c_str()) != 0) {
    const int code = errno;
    ::close(*listener);
    ::unlink(fresh.c_str());
    return shm::system_error(code, "listen at", path);
  }
  if (path_ != path) remove_own();
  stop_listening();
  path_ = path;
  device_ = made.st_dev;
  inode_ = made.st_ino;
  listener_ = *listener;
  accepting_ = true;
  loop_.watch(listener_, [this] { on_connect(); });
  return shm::Done{};
}

// While it listens nobody else's file can have the number of its own.
bool ControlServer::is_own(const std::string& path) const {
  struct stat there{};
  return listener_ >= 0 && ::lstat(path.c_str(), &there) == 0 && there.st_dev == device_ &&
         there.st_ino == inode_;
}

void ControlServer::remove_own() {
  if (is_own(path_)) ::unlink(path_.c_str());
}

void ControlServer::stop_listening() {
  if (listener_ < 0) return;
  if (std::exchange(accepting_, false)) loop_.unwatch(listener_);
  ::close(std::exchange(listener_, -1));
}

void ControlServer::leave(bool remove) {
  if (remove) remove_own();
  stop_listening();
  path_.clear();
  queue_.clear();
  while (!clients_.empty()) {
    Client& client = *clients_.begin()->second;
    client.state = State::closing;  // nobody is told that it has gone
    const ClientId id = client.id;
    if (flush(client)) drop(id);
  }
}

void ControlServer::on_connect() {
  const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    // No descriptor or memory: not again at once, it would only fail again.
    loop_.unwatch(listener_);
    accepting_ = false;
    loop_.timers().arm(sweep_, steady_clock::now() + limits_.sweep);
    return;
  }
  auto peer = peer_of(fd);
  if (!peer) {
    ::close(fd);
    return;
  }
  const auto now = steady_clock::now();
  auto made = std::make_unique<Client>();
  Client& client = *made;
  client.id = next_id_++;
  client.fd = fd;
  client.peer = std::move(*peer);
  client.since_idle = client.since_begun = client.since_sent = now;
  const bool full = clients_.size() >= limits_.clients;
  clients_.emplace(client.id, std::move(made));
  if (clients_.size() == 1) loop_.timers().arm(sweep_, now + limits_.sweep);
  if (full) {
    refuse(client, "busy",
           std::to_string(limits_.clients) + " clients are connected already; try again later");
    return;
  }
  watch(client, true);
}

void ControlServer::watch(Client& client, bool wanted) {
  if (client.watched == wanted) return;
  client.watched = wanted;
  if (wanted) {
    loop_.watch(client.fd, [this, id = client.id] { on_readable(id); });
  } else {
    loop_.unwatch(client.fd);
  }
}

void ControlServer::on_readable(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  Client& client = *found->second;
  std::array<char, 16384> buffer;  // NOLINT: filled by the kernel
  const ssize_t got = ::recv(client.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) {
    drop(id);
    return;
  }
  if (got == 0) client.ended = true;
  if (client.in.empty()) client.since_begun = steady_clock::now();
  client.in.append(buffer.data(), static_cast<std::size_t>(got));
  take_lines(client);
}

// Goes on with what has been read: a complete line has its turn, else more is waited for.
void ControlServer::take_lines(Client& client) {
  std::size_t begin = 0;
  for (;;) {
    const auto end = client.in.find('\n', std::max(client.looked, begin));
    if (end == std::string::npos || end - begin > limits_.request_bytes) break;
    if (!is_blank(std::string_view(client.in).substr(begin, end - begin))) {
      client.in.erase(0, begin);
      client.line = end - begin;
      client.blanks = 0;
      client.state = State::queued;
      watch(client, false);
      queue_.push_back(client.id);
      arm_turn();
      return;
    }
    if (++client.blanks > limits_.blank_lines) {
      refuse(client, "bad_request",
             "more than " + std::to_string(limits_.blank_lines) + " blank lines and no request");
      return;
    }
    begin = end + 1;
  }
  client.in.erase(0, begin);
  client.looked = client.in.size();
  if (client.in.size() > limits_.request_bytes) {
    refuse(client, "too_large",
           "a request has at most " + std::to_string(limits_.request_bytes) + " bytes");
    return;
  }
  if (client.ended) {
    // What it has said last had no end; it may still read what it was answered.
    client.state = State::closing;
    watch(client, false);
    if (client.unsent() == 0) drop(client.id);
    return;
  }
  watch(client, true);
}

void ControlServer::arm_turn() {
  loop_.timers().arm(turn_, std::max(steady_clock::now(), not_before_));
}

// One request a turn of the loop, and then a pause as long as it took, several times over: however
// much operators want, most of the time belongs to the checks.
void ControlServer::serve_next() {
  while (!queue_.empty()) {
    const ClientId id = queue_.front();
    queue_.pop_front();
    const auto found = clients_.find(id);
    if (found == clients_.end()) continue;
    Client& client = *found->second;
    client.state = State::asked;
    std::string line = client.in.substr(0, client.line);
    client.in.erase(0, client.line + 1);
    client.looked = 0;
    const auto from = steady_clock::now();
    client.since_begun = from;
    on_request_(id, client.peer, line);
    const auto now = steady_clock::now();
    if (now - from > kFree) not_before_ = now + kRequestPauseFactor * (now - from);
    break;
  }
  if (!queue_.empty()) arm_turn();
}

bool ControlServer::tell(ClientId id, std::string_view line) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return false;
  if (found->second->unsent() > kTellBytes) return true;
  return send(*found->second, line);
}

void ControlServer::answer(ClientId id, std::string_view line) {
  const auto found = clients_.find(id);
  if (found == clients_.end() || found->second->state != State::asked) return;
  Client& client = *found->second;
  client.since_idle = steady_clock::now();
  client.state = State::reading;
  if (unsent_ + line.size() > limits_.unread_bytes) {
    refuse(client, "busy", "too much that clients were answered is not read yet; try again later");
    return;
  }
  send(client, line);
  // With `id`, since sending may have found out that it has gone.
  const auto still = clients_.find(id);
  if (still != clients_.end()) go_on(*still->second);
}

// After an answer. A client that has not read it waits with its next request.
void ControlServer::go_on(Client& client) {
  if (client.state == State::closing) {
    if (client.unsent() == 0) drop(client.id);
  } else if (client.state == State::reading && client.unsent() == 0) {
    take_lines(client);
  }
}

void ControlServer::refuse(Client& client, const char* code, const std::string& text) {
  const ClientId id = client.id;
  client.state = State::closing;
  client.in.clear();
  watch(client, false);
  send(client, refusal_line(code, text));
  const auto still = clients_.find(id);
  if (still != clients_.end()) go_on(*still->second);
}

// False: the client has gone.
bool ControlServer::send(Client& client, std::string_view line) {
  if (client.unsent() == 0) client.since_sent = steady_clock::now();
  client.out.append(line).append("\n");
  unsent_ += line.size() + 1;
  if (!flush(client)) return false;
  if (client.unsent() != 0) loop_.timers().arm(flush_, steady_clock::now() + kFlushPeriod);
  return true;
}

// False: the client has gone.
bool ControlServer::flush(Client& client) {
  while (client.unsent() != 0) {
    const ssize_t sent = ::send(client.fd, client.out.data() + client.sent, client.unsent(),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return true;
    if (sent < 0) {
      drop(client.id);
      return false;
    }
    client.sent += static_cast<std::size_t>(sent);
    unsent_ -= static_cast<std::size_t>(sent);
    client.since_sent = steady_clock::now();
  }
  client.out.clear();
  client.sent = 0;
  return true;
}

void ControlServer::flush_all() {
  std::vector<ClientId> waiting;
  for (const auto& [id, client] : clients_) {
    if (client->unsent() != 0) waiting.push_back(id);
  }
  bool more = false;
  for (const ClientId id : waiting) {
    Client& client = *clients_.at(id);
    if (!flush(client)) continue;
    more |= client.unsent() != 0;
    go_on(client);
  }
  if (more) loop_.timers().arm(flush_, steady_clock::now() + kFlushPeriod);
}

void ControlServer::sweep() {
  const auto now = steady_clock::now();
  std::vector<ClientId> gone;
  std::vector<ClientId> slow;
  for (const auto& [id, client] : clients_) {
    if (client->unsent() != 0) {
      if (now - client->since_sent > limits_.unread) gone.push_back(id);
    } else if (client->state == State::asked) {
      // It is not read from while it waits; that it has gone shows here.
      pollfd look{client->fd, 0, 0};
      if (::poll(&look, 1, 0) == 1 && (look.revents & (POLLHUP | POLLERR)) != 0) gone.push_back(id);
    } else if (client->state == State::reading) {
      if (!client->in.empty() && now - client->since_begun > limits_.half_request) {
        slow.push_back(id);
      } else if (client->in.empty() && now - client->since_idle > limits_.idle) {
        gone.push_back(id);
      }
    }
  }
  for (const ClientId id : gone)
    drop(id);
  for (const ClientId id : slow) {
    refuse(*clients_.at(id), "timeout",
           "the rest of the request did not come within " +
               std::to_string(limits_.half_request.count()) + " ms");
  }
  if (listener_ >= 0 && !accepting_) {
    accepting_ = true;
    loop_.watch(listener_, [this] { on_connect(); });
  }
  if (!clients_.empty()) loop_.timers().arm(sweep_, now + limits_.sweep);
}

void ControlServer::drop(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  const std::unique_ptr<Client> client = std::move(found->second);
  clients_.erase(found);
  watch(*client, false);
  unsent_ -= client->unsent();
  ::close(client->fd);
  if (client->state == State::asked) on_gone_(id);
}

}  // namespace ballast::checker
