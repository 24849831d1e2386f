// The loop on epoll, for where io_uring is refused (container engines' default seccomp profiles,
// kernel.io_uring_disabled, old kernels). Edge-triggered, one registration for a stream's whole
// life. State lives in this process alone and dies with it.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "engine/checker/loop/loop_backends.hpp"
#include "engine/checker/loop/stream_places.hpp"

namespace ballast::checker {

namespace {

constexpr int kEventsAtOnce = 256;
// In epoll_event.data the high word is the stream's generation, which is never 0; a watched
// descriptor has 0 there.
constexpr std::uint64_t pack(StreamId id) {
  return std::uint64_t{id.generation} << 32 | id.index;
}

class EpollLoop final : public Loop {
 public:
  EpollLoop(std::size_t max_streams, int epoll_fd) : Loop(max_streams), epoll_fd_(epoll_fd) {}

  ~EpollLoop() override {
    for (const Stream& stream : streams_) {
      if (stream.fd >= 0) ::close(stream.fd);
    }
    for (const int fd : closing_)
      ::close(fd);
    ::close(epoll_fd_);
  }

  [[nodiscard]] Backend backend() const noexcept override { return Backend::epoll; }

  StreamId open(const OpenRequest& request) override {
    const StreamId id = streams_.claim(Left::nothing, kMaxStreams);
    ++open_streams_;
    Stream& stream = streams_[id.index];
    stream.handler = request.handler;
    stream.user = request.user;
    stream.payload = request.first;
    stream.datagram = request.datagram;
    if (const int error = start(stream, id, request); error != 0) failed_.push_back({id, error});
    return id;
  }

  void send(StreamId id, Payload payload) override {
    Stream* stream = streams_.find(id);
    if (stream == nullptr || payload == nullptr) return;
    if (stream->payload != nullptr) return stream->waiting.push_back(std::move(payload));
    stream->payload = std::move(payload);
    stream->sent = 0;
    write(*stream, id);
  }

  void close(StreamId id) override {
    if (streams_.find(id) != nullptr) release(id.index);
  }

  void watch(int fd, std::function<void()> ready) override {
    unwatch(fd);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = static_cast<std::uint32_t>(fd);
    if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0) watched_[fd] = std::move(ready);
  }

  void unwatch(int fd) override {
    if (watched_.erase(fd) > 0) epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  }

 protected:
  void poll(Duration wait) override {
    // Failures inside open() are told here, because open() itself calls nobody.
    std::vector<Failure> failed;
    failed.swap(failed_);
    if (!failed.empty()) wait = Duration::zero();
    if (!closing_.empty()) wait = std::min<Duration>(wait, kCloseDelay);
    const int timeout_ms =
        static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count());
    std::array<epoll_event, kEventsAtOnce> events;  // NOLINT: filled by the kernel
    const int n = epoll_wait(epoll_fd_, events.data(), kEventsAtOnce, timeout_ms);
    for (const Failure& failure : failed)
      end(failure.id, failure.error);
    for (int i = 0; i < n; ++i) {
      const std::uint64_t data = events[static_cast<std::size_t>(i)].data.u64;
      const StreamId id{static_cast<std::uint32_t>(data), static_cast<std::uint32_t>(data >> 32)};
      if (id.generation != 0) {
        on_event(id, events[static_cast<std::size_t>(i)].events);
        continue;
      }
      const auto found = watched_.find(static_cast<int>(id.index));
      if (found == watched_.end()) continue;
      const std::function<void()> ready = found->second;  // it may unwatch itself
      ready();
    }
    pace_.came(static_cast<std::size_t>(std::max(n, 0)), std::chrono::steady_clock::now());
    const bool idle = n <= 0 && failed.empty();
    if (idle || closing_is_due(closing_.size(), open_streams_, max_streams_)) close_some();
  }

 private:
  struct Stream {
    int fd = -1;
    std::uint32_t generation = 1;
    bool used = false;
    Left left = Left::nothing;
    bool connected = false;
    bool datagram = false;
    StreamHandler* handler = nullptr;
    std::uint64_t user = 0;
    Payload payload;
    std::size_t sent = 0;
    std::vector<Payload> waiting;  // to be sent after it
    int send_error = 0;
  };
  struct Failure {
    StreamId id;
    int error;
  };

  void release(std::uint32_t index) {
    const int fd = streams_[index].fd;
    if (fd >= 0) {
      closing_.push_back(fd);  // what it still reports carries an old generation
    } else {
      --open_streams_;
    }
    streams_.release(index);
  }

  void close_some() {
    for (std::size_t n = std::min(closing_.size(), kClosesAtOnce); n > 0; --n) {
      ::close(closing_.front());
      closing_.pop_front();
      --open_streams_;
    }
  }

  int start(Stream& stream, StreamId id, const OpenRequest& request) {
    if (open_streams_ > max_streams_) return EMFILE;
    sockaddr_storage address{};
    const socklen_t length = request.peer.to_sockaddr(address);
    if (length == 0) return EAFNOSUPPORT;
    const int type = stream.datagram ? SOCK_DGRAM : SOCK_STREAM;
    stream.fd = socket(address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (stream.fd < 0) return errno;
    if (request.abrupt) {
      // Closing resets; and what is sent first also ends the handshake.
      const linger now{1, 0};
      setsockopt(stream.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
      const int on = 1;
      setsockopt(stream.fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &on, sizeof on);
    }
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    if (connect(stream.fd, generic, length) != 0 && errno != EINPROGRESS) return errno;
    // Only now: a socket that has not begun to connect would report a hang-up. No edge is missed,
    // registering reports what already holds.
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.u64 = pack(id);
    if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, stream.fd, &event) != 0) return errno;
    return 0;
  }

  void end(StreamId id, int error) {
    Stream* stream = streams_.find(id);
    if (stream == nullptr) return;
    StreamHandler* handler = stream->handler;
    const std::uint64_t user = stream->user;
    release(id.index);
    handler->on_end(id, user, error);
  }

  void on_event(StreamId id, std::uint32_t events) {
    Stream* stream = streams_.find(id);
    if (stream == nullptr) return;
    if (!stream->connected) {
      int error = 0;
      socklen_t length = sizeof error;
      if (getsockopt(stream->fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
      if (error != 0) return end(id, error);
      stream->connected = true;
      write(*stream, id);
      stream->handler->on_connect(id, stream->user);
      stream = streams_.find(id);
      if (stream == nullptr) return;
    }
    if ((events & EPOLLOUT) != 0) write(*stream, id);
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) read(id);
  }

  void write(Stream& stream, StreamId id) {
    if (stream.datagram) return write_datagrams(stream, id);
    while (stream.payload != nullptr) {
      if (stream.sent == stream.payload->size()) {
        next_payload(stream);
        continue;
      }
      const ssize_t n = ::send(stream.fd, stream.payload->data() + stream.sent,
                               stream.payload->size() - stream.sent, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        // EAGAIN: the next edge goes on. Anything else: the receiving side reports the end; but an
        // error is told once only, so remember it for then.
        if (errno != EAGAIN && errno != EWOULDBLOCK) stream.send_error = errno;
        return;
      }
      stream.sent += static_cast<std::size_t>(n);
    }
  }

  static void next_payload(Stream& stream) {
    stream.sent = 0;
    stream.payload.reset();
    if (stream.waiting.empty()) return;
    stream.payload = std::move(stream.waiting.front());
    stream.waiting.erase(stream.waiting.begin());
  }

  void write_datagrams(Stream& stream, StreamId id) {
    for (; stream.payload != nullptr; next_payload(stream)) {
      const std::string& bytes = *stream.payload;
      ssize_t n = 0;
      do {
        n = ::send(stream.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      } while (n < 0 && errno == EINTR);
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;  // the next edge goes on
      // What send() reports nobody hears again: told in the next turn, since send() calls nobody.
      if (n < 0) failed_.push_back({id, errno});
    }
  }

  void read(StreamId id) {
    while (Stream* stream = streams_.find(id)) {
      const std::size_t most = stream->datagram ? kMaxDatagramBytes : buffer_.size();
      const ssize_t n = recv(stream->fd, buffer_.data(), most, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
      const bool over = n < 0 || (n == 0 && !stream->datagram);
      if (over) return end(id, n == 0 ? stream->send_error : errno);
      stream->handler->on_data(id, stream->user, {buffer_.data(), static_cast<std::size_t>(n)});
    }
  }

  int epoll_fd_;
  StreamPlaces<Stream> streams_;
  std::vector<Failure> failed_;
  std::deque<int> closing_;
  std::map<int, std::function<void()>> watched_;
  std::array<char, 16384> buffer_{};
};

}  // namespace

std::unique_ptr<Loop> make_epoll_loop(std::size_t max_streams, int& error) {
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) {
    error = errno;
    return nullptr;
  }
  return std::make_unique<EpollLoop>(max_streams, fd);
}

}  // namespace ballast::checker
