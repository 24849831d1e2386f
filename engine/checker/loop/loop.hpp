// The checker's event loop: TCP streams, UDP sockets, timers and watched descriptors on one thread.
// Two backends do the same work, io_uring and epoll, so that everything above is written once. A
// stream always has a receive pending: data, the end and a reset are reported the moment they come,
// which is what the sentinel lives on. Owned and driven by one thread; nothing here may be called
// from another.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/checker/loop/pace.hpp"
#include "engine/checker/loop/timers.hpp"
#include "shm/endpoint.hpp"
#include "shm/result.hpp"

namespace ballast::checker {

// A stream of a loop. A stale id (the stream has ended, its place may have a new tenant) is
// harmless everywhere.
struct StreamId {
  std::uint32_t index = 0;
  std::uint32_t generation = 0;  // 0: no stream

  [[nodiscard]] explicit operator bool() const noexcept { return generation != 0; }
  friend bool operator==(const StreamId&, const StreamId&) = default;
};

// What is sent. Shared, because the kernel may read it until the stream is gone.
using Payload = std::shared_ptr<const std::string>;

// Receives a stream's events; never called from inside open(), send() or close(). `user` is what
// open() was given. The handler may call anything on the loop, also close() on this very stream.
class StreamHandler {
 public:
  virtual void on_connect(StreamId stream, std::uint64_t user) = 0;
  // `bytes` are valid during the call only.
  virtual void on_data(StreamId stream, std::uint64_t user, std::string_view bytes) = 0;
  // Once at most, and the last event: the stream is gone. `error` is 0 when the peer has closed,
  // else an errno, from making the socket (EMFILE, ...), connecting, or receiving; or one of the
  // numbers below, from streams that do more than carry bytes.
  virtual void on_end(StreamId stream, std::uint64_t user, int error) = 0;
  // Something of the above comes soon: fetch what it needs into the processor's caches, and do
  // nothing else.
  virtual void comes_soon(std::uint64_t /*user*/) const noexcept {}

 protected:
  ~StreamHandler() = default;
};

// What no errno stands for: the handshake failed; the peer's certificate was not to be trusted.
inline constexpr int kTlsFailed = 10'001;
inline constexpr int kBadCertificate = 10'002;

class TlsPeer;

struct OpenRequest {
  shm::Endpoint peer;
  Payload first;  // sent once connected; null: nothing
  // False: nobody wants data or the end of this stream before it is closed (a bare connection
  // check). A backend may report them all the same.
  bool receive = true;
  StreamHandler* handler = nullptr;  // must outlive the stream
  std::uint64_t user = 0;            // handed back with every event
  // The connection will most likely be refused: a backend may put off what follows it until it is
  // there.
  bool doubtful = false;
  // Nothing is lost if the connection ends with a reset: whoever opens it closes it with the answer
  // read, or wanted to know only that it comes about. Costs both sides least, and leaves no socket
  // in TIME_WAIT. The peer's program may never hear of a connection on which nothing was sent. Not
  // for peers that speak first.
  bool abrupt = false;
  // A connected UDP socket instead of a TCP stream: every payload is a datagram, every on_data is
  // one, of which kMaxDatagramBytes are seen. It is told of refusals (ICMP) and of failures to send
  // as a stream's end, and never of an end without an error.
  bool datagram = false;
  // How to encrypt, for those streams that do (probing/tls_streams.hpp); must outlive the stream.
  TlsPeer* tls = nullptr;
};

// Where streams come from: the loop itself, or what encrypts over it.
class Streams {
 public:
  // Opens a connection. How it went comes as events.
  [[nodiscard]] virtual StreamId open(const OpenRequest& request) = 0;
  // Sends on a connected stream. While an earlier payload is still on its way this one waits for
  // its turn; bounding how much waits is the caller's business. A failure shows as the stream's
  // end.
  virtual void send(StreamId stream, Payload payload) = 0;
  // Ends a stream, whatever it is doing. No event follows.
  virtual void close(StreamId stream) = 0;
  // The stream is used soon: fetch what it needs, as with StreamHandler::comes_soon.
  virtual void fetch(StreamId /*stream*/) const noexcept {}

  // What there is to say about a stream's end beyond its number; asked during on_end() only.
  [[nodiscard]] virtual std::string_view end_note() const { return {}; }

 protected:
  ~Streams() = default;
};

enum class Backend : std::uint8_t { automatic = 0, io_uring = 1, epoll = 2 };

using LogFn = std::function<void(std::string_view)>;

struct LoopOptions {
  // automatic: io_uring; epoll where the kernel refuses it, which is logged once.
  Backend backend = Backend::automatic;
  // Streams at once; 0: as many as RLIMIT_NOFILE allows less kReservedDescriptors, at most
  // kMaxStreams.
  std::size_t max_streams = 0;
  LogFn log;
};

inline constexpr std::size_t kMaxStreams = 65536;
// What a longer datagram has beyond that is lost.
inline constexpr std::size_t kMaxDatagramBytes = 4096;
inline constexpr std::size_t kReservedDescriptors = 64;

class Loop : public Streams {
 public:
  using TimePoint = Timers::TimePoint;
  using Duration = std::chrono::steady_clock::duration;

  virtual ~Loop() = default;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  [[nodiscard]] virtual Backend backend() const noexcept = 0;

  // Calls `ready` whenever `fd` is readable, until unwatch(). The caller keeps the descriptor open.
  virtual void watch(int fd, std::function<void()> ready) = 0;
  virtual void unwatch(int fd) = 0;

  // Streams that can be open at once, and that are (those being torn down included).
  [[nodiscard]] std::size_t max_streams() const noexcept { return max_streams_; }
  [[nodiscard]] std::size_t open_streams() const noexcept { return open_streams_; }

  [[nodiscard]] Timers& timers() noexcept { return timers_; }
  // Calls `task` every `period` from now on; returns its timer, for destroy().
  Timers::Id every(Duration period, std::function<void()> task);

  // Waits for events up to `max_wait` and handles what there is.
  void run_once(Duration max_wait);
  void run();
  void stop() noexcept { stopped_ = true; }

 protected:
  explicit Loop(std::size_t max_streams) : max_streams_(max_streams) {}

  // Sends what is queued, waits up to `wait` for the first event, dispatches every event there is.
  virtual void poll(Duration wait) = 0;
  // Sends what is queued, now.
  virtual void flush() {}

  std::size_t max_streams_;
  std::size_t open_streams_ = 0;
  Pace pace_;

 private:
  Timers timers_;
  bool stopped_ = false;
};

[[nodiscard]] shm::Result<std::unique_ptr<Loop>> make_loop(const LoopOptions& options);

}  // namespace ballast::checker
