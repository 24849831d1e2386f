// The control socket: takes lines from clients, one request each, and gives lines back. A client's
// requests are answered in their order, and one at a time; those of several clients in the order in
// which they came. It knows nothing of what the lines mean. Clients may do anything: say half a
// line and sleep, never read, send garbage without end, vanish; each costs little, and for a
// limited time.
//
// One thread: everything is called from, and called back on, the loop's. If the process dies the
// socket's file stays, and the next checker puts its own in its place.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "engine/checker/control/peer.hpp"
#include "engine/checker/control/request.hpp"
#include "engine/checker/loop/loop.hpp"
#include "engine/checker/settings.hpp"
#include "shm/result.hpp"

namespace ballast::checker {

struct ControlLimits {
  std::size_t clients = 64;
  std::size_t request_bytes = kMaxRequestBytes;
  std::size_t blank_lines = 1'000;                   // between two requests
  std::size_t unread_bytes = std::size_t{32} << 20;  // of answers, for all clients together
  Milliseconds half_request{10'000};                 // for the rest of a line that has begun
  Milliseconds idle{60'000};                         // without a request
  Milliseconds unread{10'000};                       // without reading what is there to read
  Milliseconds sweep{1'000};                         // between two looks at these times
  Milliseconds look_time{1};  // of a turn of the loop, for answers that are made in pieces
};

// Requests take at most one part in so many of the loop's time.
inline constexpr int kRequestPauseFactor = 4;

// Never given twice, so a stale one is harmless everywhere.
using ClientId = std::uint64_t;

class ControlServer {
 public:
  // To be answered, now or later, by answer(). `line` is good during the call only.
  using OnRequest = std::function<void(ClientId, const Peer&, std::string_view line)>;
  // A client whose request is not answered has gone.
  using OnGone = std::function<void(ClientId)>;

  // `loop` must outlive the server.
  ControlServer(Loop& loop, OnRequest on_request, OnGone on_gone, ControlLimits limits = {});
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // Listens at `path`, for its owner and `group`, in the place of a socket at which nobody listens
  // any more, or of its own. On error what was before goes on.
  shm::Status listen(const std::string& path, std::optional<gid_t> group);
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  // A line besides the answer. A client that does not read gets none. False: it has gone, which
  // was found out now or before.
  bool tell(ClientId client, std::string_view line);
  // The answer to the client's request.
  void answer(ClientId client, std::string_view line);

  // No more clients, no more requests. What has been said is sent as far as the clients take it at
  // once. `remove`: the socket's file too, if it is still its own.
  void leave(bool remove);

 private:
  struct Client;
  enum class State : std::uint8_t { reading, queued, asked, closing };

  void on_connect();
  void on_readable(ClientId id);
  void take_lines(Client& client);
  void watch(Client& client, bool wanted);
  void serve_next();
  void arm_turn();
  bool send(Client& client, std::string_view line);
  bool flush(Client& client);
  void refuse(Client& client, const char* code, const std::string& text);
  void go_on(Client& client);
  void flush_all();
  void sweep();
  void drop(ClientId id);
  void stop_listening();
  [[nodiscard]] bool is_own(const std::string& path) const;
  void remove_own();

  Loop& loop_;
  const OnRequest on_request_;
  const OnGone on_gone_;
  const ControlLimits limits_;
  std::string path_;
  dev_t device_ = 0;  // of the socket's file
  ino_t inode_ = 0;
  int listener_ = -1;
  bool accepting_ = false;
  std::map<ClientId, std::unique_ptr<Client>> clients_;
  std::deque<ClientId> queue_;  // those whose next request is complete
  std::size_t unsent_ = 0;
  ClientId next_id_ = 1;
  Timers::Id turn_;
  Timers::Id flush_;
  Timers::Id sweep_;
  Timers::TimePoint not_before_;
};

}  // namespace ballast::checker
