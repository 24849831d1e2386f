// The loop on io_uring. A check on a new connection is one submission: socket -> connect -> send ->
// receive, linked, on a direct descriptor (no entry in the process's descriptor table, and the
// links need to know the descriptor before it exists). The receive is multishot into shared
// buffers, so an idle stream costs one pending operation and no memory, and its end is reported
// without being asked for. All state is this process's own; the kernel cancels everything when it
// dies.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "engine/checker/loop/loop_backends.hpp"
#include "engine/checker/loop/stream_places.hpp"
#include "engine/checker/loop/uring_ring.hpp"

namespace ballast::checker {

namespace {

constexpr unsigned kChainLength = 5;
// How many completions before its turn a stream is fetched, and what its handler has.
constexpr unsigned kStreamAhead = 8;
constexpr unsigned kHandlerAhead = 4;
// Sockets that are kept for the next connection, at most.
constexpr std::size_t kMaxBlankSockets = 256;
// Socket options by io_uring: Linux 6.7, later than liburing 2.3.
constexpr unsigned kSetSocketOption = 3;  // SOCKET_URING_OP_SETSOCKOPT
// The index of a stream that never came to be, beyond any descriptor table.
constexpr std::uint32_t kRefusedIndex = 0xFFFFFF;
static_assert(kMaxStreams < kRefusedIndex);

// user_data: generation (32 bits), index (24), operation (8).
enum class Op : std::uint8_t {
  socket = 1,
  option,
  connect,
  send,
  receive,
  cancel,
  disconnect,
  close,
  watch,
  ignore
};

constexpr std::uint64_t tag(Op op, std::uint32_t index, std::uint32_t generation) {
  return std::uint64_t{generation} << 32 | std::uint64_t{index} << 8 |
         static_cast<std::uint8_t>(op);
}

constexpr std::uint32_t index_of(std::uint64_t tag) {
  return static_cast<std::uint32_t>(tag >> 8) & 0xFFFFFF;
}

// The address of a peer, kept where the kernel can read it until the connection stands.
union Address {
  sockaddr generic;
  sockaddr_in ipv4;
  sockaddr_in6 ipv6;
};

class UringLoop final : public Loop {
 public:
  explicit UringLoop(std::size_t max_streams) : Loop(max_streams) {}

  // An errno, 0 for success.
  int start() { return ring_.start(static_cast<unsigned>(max_streams_)); }

  [[nodiscard]] Backend backend() const noexcept override { return Backend::io_uring; }

  StreamId open(const OpenRequest& request) override {
    if (open_streams_ >= max_streams_) return refuse(EMFILE, request);
    sockaddr_storage address{};
    const socklen_t length = request.peer.to_sockaddr(address);
    if (length == 0 || length > sizeof(Address)) return refuse(EAFNOSUPPORT, request);

    const bool abrupt = request.abrupt && !request.datagram;
    const Left blank = address.ss_family == AF_INET ? Left::ipv4_socket : Left::ipv6_socket;
    const StreamId id = streams_.claim(abrupt ? blank : Left::nothing, max_streams_);
    ++open_streams_;
    Stream& stream = streams_[id.index];
    const bool has_socket = abrupt && stream.left == blank;
    stream.left = blank;
    stream.abrupt = abrupt;
    stream.handler = request.handler;
    stream.user = request.user;
    stream.payload = request.first;
    stream.datagram = request.datagram;
    std::memcpy(&stream.address, &address, length);

    ring_.reserve(kChainLength);
    if (!has_socket) prepare_socket(stream, id, address.ss_family);
    stream.receives = request.receive;
    // A chain that breaks at its connect costs a completion for each link behind it.
    stream.put_off = request.doubtful;
    const bool chained = !stream.put_off && (stream.payload != nullptr || stream.receives);
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_connect(sqe, static_cast<int>(id.index), &stream.address.generic, length);
    finish(sqe, Op::connect, id, IOSQE_FIXED_FILE | (chained ? IOSQE_IO_LINK : 0U));
    stream.connecting = true;
    ++stream.pending;
    pace_.expect(chained && stream.receives ? 2 : 1);
    if (chained) prepare_exchange(stream, id);
    return id;
  }

  void send(StreamId id, Payload payload) override {
    Stream* stream = streams_.find(id);
    if (stream == nullptr || payload == nullptr) return;
    if (stream->sending) return stream->waiting.push_back(std::move(payload));
    stream->payload = std::move(payload);
    stream->sent = 0;
    prepare_send(*stream, id, 0);
    if (stream->receives) pace_.expect(1);  // an answer
  }

  void close(StreamId id) override {
    std::erase_if(refused_, [id](const Refused& one) { return one.id == id; });
    if (Stream* stream = streams_.find(id)) wind_down(*stream, id);
  }

  void fetch(StreamId id) const noexcept override { streams_.fetch(id.index); }

  void watch(int fd, std::function<void()> ready) override {
    unwatch(fd);
    const std::uint32_t generation = ++watch_generation_;
    watched_[fd] = Watched{generation, std::move(ready)};
    prepare_watch(fd, generation);
  }

  void unwatch(int fd) override {
    const auto found = watched_.find(fd);
    if (found == watched_.end()) return;
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_cancel64(
        sqe, tag(Op::watch, static_cast<std::uint32_t>(fd), found->second.generation), 0);
    finish(sqe, Op::ignore, {}, 0);
    watched_.erase(found);
  }

 protected:
  void flush() override {
    // With the links of chains, which run when events are asked for.
    if (io_uring_sq_ready(ring_.get()) > 0) io_uring_submit_and_get_events(ring_.get());
  }

  void poll(Duration wait) override {
    if (!refused_.empty()) wait = Duration::zero();
    if (!closing_.empty()) wait = std::min<Duration>(wait, kCloseDelay);
    wait = pace_.patience(wait);
    __kernel_timespec timeout{};
    timeout.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(wait).count();
    timeout.tv_nsec = (wait % std::chrono::seconds(1)).count();
    io_uring_cqe* first = nullptr;
    io_uring_submit_and_wait_timeout(ring_.get(), &first, static_cast<unsigned>(pace_.worth()),
                                     &timeout, nullptr);

    for (std::size_t n = refused_.size(); n > 0 && !refused_.empty(); --n) {
      const Refused one = refused_.front();
      refused_.pop_front();
      one.handler->on_end(one.id, one.user, one.error);
    }

    unsigned count = 0;
    for (unsigned n = 0; n < kStreamAhead; ++n)
      fetch_stream(n);
    for (; const io_uring_cqe* cqe = ring_.peek(count); ++count) {
      fetch_stream(count + kStreamAhead);
      fetch_handler(count + kHandlerAhead);
      dispatch(Completion{cqe->user_data, cqe->res, cqe->flags});
    }
    io_uring_cq_advance(ring_.get(), count);
    pace_.came(count, std::chrono::steady_clock::now());
    const bool nothing_else = count == 0 || (pace_.busy() && closing_.size() <= kClosesAtOnce);
    if (nothing_else || closing_is_due(closing_.size(), open_streams_, max_streams_)) close_some();
  }

 private:
  struct Completion {
    std::uint64_t user_data;
    std::int32_t result;
    std::uint32_t flags;
  };
  // What a check on a kept connection needs lies in its first line.
  struct alignas(64) Stream {
    std::uint32_t generation = 1;
    std::uint16_t pending = 0;  // completions that the kernel still owes
    bool used = false;          // the handler may still be told something
    bool winding_down = false;  // being closed, as soon as the kernel owes nothing
    bool has_file = true;       // until the kernel says that there is none
    bool connecting = false;
    bool receives = false;
    bool put_off = false;  // the first exchange waits for the connection
    bool sending = false;
    bool cancelling = false;
    bool datagram = false;
    bool abrupt = false;
    bool disconnecting = false;  // or disconnected
    bool blank = false;          // disconnected: the socket is as new
    Left left = Left::nothing;   // once it is blank
    int send_error = 0;
    StreamHandler* handler = nullptr;
    std::uint64_t user = 0;
    Payload payload;
    std::size_t sent = 0;
    std::vector<Payload> waiting;  // to be sent after it
    Address address{};
  };
  struct Refused {
    StreamId id;
    StreamHandler* handler;
    std::uint64_t user;
    int error;
  };
  struct Watched {
    std::uint32_t generation;
    std::function<void()> ready;
  };

  static void finish(io_uring_sqe* sqe, Op op, StreamId id, unsigned flags) {
    io_uring_sqe_set_flags(sqe, flags);
    io_uring_sqe_set_data64(sqe, tag(op, id.index, id.generation));
  }

  // ---- streams

  void release(StreamId id, Left left = Left::nothing) {
    streams_.release(id.index, left);
    --open_streams_;
  }

  // Ahead of a completion's turn, what that touches.
  void fetch_stream(unsigned n) {
    if (const io_uring_cqe* cqe = ring_.peek(n)) streams_.fetch(index_of(cqe->user_data));
  }
  void fetch_handler(unsigned n) {
    const io_uring_cqe* cqe = ring_.peek(n);
    if (cqe == nullptr || index_of(cqe->user_data) >= streams_.size()) return;
    const Stream& stream = streams_[index_of(cqe->user_data)];
    if (stream.used) stream.handler->comes_soon(stream.user);
  }

  StreamId refuse(int error, const OpenRequest& request) {
    if (++refusals_ == 0) refusals_ = 1;
    const StreamId id{kRefusedIndex, refusals_};
    refused_.push_back({id, request.handler, request.user, error});
    return id;
  }

  // A new socket takes the place of whatever the last tenant has left there.
  void prepare_socket(const Stream& stream, StreamId id, int family) {
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_socket_direct(sqe, family, stream.datagram ? SOCK_DGRAM : SOCK_STREAM, 0,
                                id.index, 0);
    finish(sqe, Op::socket, id, IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS);
    if (stream.abrupt && options_work_) prepare_option(id);
  }

  // Saves the packet that ends the handshake: what is sent next says the same, be it the question
  // or the reset. A server that is only knocked at so never wakes up. (HAProxy's checks do the
  // same, by TCP_QUICKACK, which a socket that is used again forgets.) Goes on without where it
  // fails.
  void prepare_option(StreamId id) {
    static constexpr int kOn = 1;
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_rw(IORING_OP_URING_CMD, sqe, static_cast<int>(id.index), nullptr, 0, 0);
    sqe->cmd_op = kSetSocketOption;
    // As in newer versions of io_uring.h: the level and the name where `addr` is, the length and
    // the address of the value behind.
    sqe->addr = std::uint64_t{TCP_DEFER_ACCEPT} << 32 | std::uint64_t{IPPROTO_TCP};
    sqe->file_index = sizeof kOn;
    sqe->addr3 = reinterpret_cast<std::uintptr_t>(&kOn);
    finish(sqe, Op::option, id, IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK | IOSQE_CQE_SKIP_SUCCESS);
  }

  // The first payload, if there is one, and the receive that stays.
  void prepare_exchange(Stream& stream, StreamId id) {
    if (stream.payload != nullptr) prepare_send(stream, id, stream.receives ? IOSQE_IO_LINK : 0U);
    if (stream.receives) prepare_receive(stream, id);
  }

  void prepare_send(Stream& stream, StreamId id, unsigned link) {
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_send(sqe, static_cast<int>(id.index), stream.payload->data() + stream.sent,
                       stream.payload->size() - stream.sent, MSG_NOSIGNAL | MSG_WAITALL);
    finish(sqe, Op::send, id, IOSQE_FIXED_FILE | link);
    stream.sending = true;
    ++stream.pending;
    pace_.expect(1);
  }

  void prepare_receive(Stream& stream, StreamId id) {
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_recv_multishot(sqe, static_cast<int>(id.index), nullptr, 0, 0);
    sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;  // nothing has been answered yet: do not even try
    sqe->buf_group = UringRing::kBufferGroup;
    finish(sqe, Op::receive, id, IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT);
    ++stream.pending;
  }

  // From here on the handler hears nothing. The place is free once the kernel owes nothing more.
  void wind_down(Stream& stream, StreamId id) {
    stream.used = false;
    closing_.push_back(id);
  }

  void close_some() {
    for (std::size_t n = std::min(closing_.size(), kClosesAtOnce); n > 0; --n) {
      const StreamId id = closing_.front();
      closing_.pop_front();
      Stream& stream = streams_[id.index];
      if (stream.generation != id.generation || (stream.winding_down && is_ending(stream)))
        continue;  // here again after a cancel that found nothing, and it has got on since
      stream.winding_down = true;
      if (may_disconnect(stream) && !stream.connecting && !stream.sending) {
        prepare_disconnect(stream, id);
      } else if (stream.pending > 0) {
        prepare_cancel(stream, id);
      } else {
        finish_winding_down(stream, id);
      }
    }
  }

  // Whether some completion follows that takes the winding down further.
  static bool is_ending(const Stream& stream) {
    return stream.cancelling || stream.disconnecting || !stream.has_file;
  }

  // Cancels what is pending, one operation after the other: the first link of a chain takes the
  // others with it. By its tag, since looking for all operations of a descriptor walks through
  // those of every stream.
  void prepare_cancel(Stream& stream, StreamId id) {
    const Op op = stream.connecting ? Op::connect : stream.sending ? Op::send : Op::receive;
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_cancel64(sqe, tag(op, id.index, id.generation), 0);
    finish(sqe, Op::cancel, id, 0);
    stream.cancelling = true;
    ++stream.pending;
    pace_.expect(2);
  }

  [[nodiscard]] bool may_disconnect(const Stream& stream) const {
    return stream.abrupt && stream.has_file && !stream.disconnecting &&
           streams_.furnished() < kMaxBlankSockets;
  }

  // Resets the connection, which also ends the receive, and leaves the socket as new: making one
  // and unmaking it again costs a third of a check on a new connection.
  void prepare_disconnect(Stream& stream, StreamId id) {
    static constexpr sockaddr kNobody{AF_UNSPEC, {}};
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_connect(sqe, static_cast<int>(id.index), &kNobody, sizeof kNobody);
    finish(sqe, Op::disconnect, id, IOSQE_FIXED_FILE);
    stream.disconnecting = true;
    ++stream.pending;
    pace_.expect(stream.pending);
  }

  void finish_winding_down(Stream& stream, StreamId id) {
    if (stream.blank) return release(id, stream.left);
    if (!stream.has_file) return release(id);
    if (may_disconnect(stream)) return prepare_disconnect(stream, id);
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_close_direct(sqe, id.index);
    finish(sqe, Op::close, id, 0);
    stream.has_file = false;
    ++stream.pending;
    pace_.expect(1);
  }

  void end(Stream& stream, StreamId id, int error) {
    StreamHandler* handler = stream.handler;
    const std::uint64_t user = stream.user;
    wind_down(stream, id);
    handler->on_end(id, user, error);
  }

  // ---- completions

  void dispatch(const Completion& completion) {
    const Op op{static_cast<std::uint8_t>(completion.user_data)};
    const StreamId id{index_of(completion.user_data),
                      static_cast<std::uint32_t>(completion.user_data >> 32)};
    if (op == Op::ignore) return;
    if (op == Op::watch) return on_watch(id);

    Stream& stream = streams_[id.index];
    // The kernel owes nothing to a released place, so this is never an old tenant's business.
    if (stream.generation != id.generation) return;
    switch (op) {
      case Op::socket:  // heard of on failure only
        on_no_socket(stream, id, -completion.result);
        break;
      case Op::option:  // on failure only, which does not break the chain
        options_work_ = false;
        return;
      case Op::connect:
        --stream.pending;
        stream.connecting = false;
        on_connected(stream, id, completion.result);
        break;
      case Op::send:
        --stream.pending;
        on_sent(stream, id, completion.result);
        break;
      case Op::receive:
        on_received(stream, id, completion);
        break;
      case Op::cancel:
        --stream.pending;
        stream.cancelling = false;
        if (stream.pending == 0) break;
        // Found: its own completion follows, and what is to be done next is decided then. Not
        // found: most likely it has been done and the kernel is about to tell. Whatever it is, the
        // next round of closing asks again, with its bound on how many at once.
        if (completion.result < 0) closing_.push_back(id);
        return;
      case Op::disconnect:
        --stream.pending;
        stream.blank = completion.result >= 0;
        break;
      case Op::close:
        --stream.pending;
        break;
      case Op::watch:
      case Op::ignore:
        break;
    }
    if (stream.generation != id.generation || !stream.winding_down) return;
    if (stream.pending == 0) {
      finish_winding_down(stream, id);
    } else if (!is_ending(stream)) {
      prepare_cancel(stream, id);
    }
  }

  // Of a chain whose head may skip its completion the kernel tells nothing more once that has
  // failed: what is pending is at most a cancel that was too late.
  void on_no_socket(Stream& stream, StreamId id, int error) {
    stream.has_file = false;
    stream.connecting = false;
    stream.sending = false;
    stream.payload.reset();
    stream.pending = stream.cancelling ? 1 : 0;
    if (stream.used) end(stream, id, error);
  }

  void on_connected(Stream& stream, StreamId id, int result) {
    if (!stream.used) return;
    if (result < 0) return end(stream, id, -result);
    if (stream.put_off) {
      ring_.reserve(kChainLength);
      prepare_exchange(stream, id);
    }
    stream.handler->on_connect(id, stream.user);
  }

  void on_sent(Stream& stream, StreamId id, int result) {
    stream.sending = false;
    if (stream.datagram) {
      stream.payload.reset();
      // The receiving side hears nothing of it. Cancelled: by the link before, which is told.
      if (stream.used && result < 0 && result != -ECANCELED) return end(stream, id, -result);
    } else {
      if (stream.used && result > 0) {
        stream.sent += static_cast<std::size_t>(result);
        if (stream.sent < stream.payload->size()) return prepare_send(stream, id, 0);
      }
      // The receiving side reports the end; but an error is told once only, so remember it for
      // then.
      if (result < 0) stream.send_error = -result;
      stream.payload.reset();
    }
    if (!stream.used || result < 0 || stream.waiting.empty()) return;
    stream.payload = std::move(stream.waiting.front());
    stream.waiting.erase(stream.waiting.begin());
    stream.sent = 0;
    prepare_send(stream, id, 0);
  }

  // Not an end, which datagrams have none of.
  static bool is_empty_datagram(const Stream& stream, const Completion& completion) {
    return stream.datagram && completion.result == 0;
  }

  void on_received(Stream& stream, StreamId id, const Completion& completion) {
    if ((completion.flags & IORING_CQE_F_MORE) == 0) --stream.pending;
    if ((completion.flags & IORING_CQE_F_BUFFER) != 0) {
      const unsigned buffer = completion.flags >> IORING_CQE_BUFFER_SHIFT;
      if (stream.used && completion.result > 0) {
        stream.handler->on_data(id, stream.user,
                                ring_.buffer(buffer, static_cast<std::size_t>(completion.result)));
      }
      ring_.give_back_buffer(buffer);
    }
    if (stream.used && is_empty_datagram(stream, completion)) {
      stream.handler->on_data(id, stream.user, {});
    }
    if (!stream.used || stream.generation != id.generation) return;
    if ((completion.flags & IORING_CQE_F_MORE) != 0) return;
    // Ended without the stream having ended: out of buffers, the link before it broke, or the
    // completion queue was full. Whatever is waiting is reported when it is armed again.
    const bool armed_again = completion.result > 0 || completion.result == -ENOBUFS ||
                             completion.result == -ECANCELED || completion.result == -EINTR ||
                             is_empty_datagram(stream, completion);
    if (armed_again) return prepare_receive(stream, id);
    end(stream, id, completion.result == 0 ? stream.send_error : -completion.result);
  }

  // ---- watched descriptors

  void prepare_watch(int fd, std::uint32_t generation) {
    io_uring_sqe* sqe = ring_.next();
    io_uring_prep_poll_add(sqe, fd, POLLIN);
    finish(sqe, Op::watch, {static_cast<std::uint32_t>(fd), generation}, 0);
  }

  void on_watch(StreamId id) {
    const int fd = static_cast<int>(id.index);
    const auto found = watched_.find(fd);
    if (found == watched_.end() || found->second.generation != id.generation) return;
    const std::function<void()> ready = found->second.ready;  // it may unwatch itself
    ready();
    const auto after = watched_.find(fd);
    if (after != watched_.end() && after->second.generation == id.generation) {
      prepare_watch(fd, id.generation);
    }
  }

  UringRing ring_;
  StreamPlaces<Stream> streams_;
  std::deque<StreamId> closing_;
  bool options_work_ = true;
  std::deque<Refused> refused_;
  std::uint32_t refusals_ = 0;
  std::map<int, Watched> watched_;
  std::uint32_t watch_generation_ = 0;
};

}  // namespace

std::unique_ptr<Loop> make_uring_loop(std::size_t max_streams, int& error) {
  auto loop = std::make_unique<UringLoop>(max_streams);
  error = loop->start();
  if (error != 0) return nullptr;
  return loop;
}

}  // namespace ballast::checker
