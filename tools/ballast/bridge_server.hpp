// The server of `ballast bridge haproxy`: one thread, one listener, a line in and a line out, then
// the connection is closed. Whoever connects may be slow or hostile: a line has a length, a
// connection a deadline, and there are only so many; when they are all taken the oldest makes room,
// since it has had the longest to ask.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

#include "shm/endpoint.hpp"
#include "shm/result.hpp"

namespace ballast::tools {

class BridgeServer {
 public:
  struct Limits {
    std::size_t connections = 1024;    // fewer, if there are not as many descriptors
    std::uint64_t deadline_ms = 5000;  // to ask
  };
  // From a line, without its end, to the answer with its end; empty: closed without an answer.
  using Answer = std::function<std::string(std::string_view line, std::uint64_t now_ms)>;

  // Listens, and closes its descriptors at the end of its life.
  static shm::Result<BridgeServer> listen(const shm::Endpoint& at, const Limits& limits,
                                          Answer answer);
  BridgeServer(BridgeServer&& other) noexcept;
  BridgeServer& operator=(BridgeServer&&) = delete;
  ~BridgeServer();

  // Serves until `stop_fd` can be read.
  shm::Status run(int stop_fd);
  [[nodiscard]] const Limits& limits() const noexcept { return limits_; }

 private:
  struct Connection {
    int fd = -1;
    std::uint64_t deadline_ms = 0;
    std::string line;
  };
  // In the order of their deadlines, since all get the same time.
  using Connections = std::list<Connection>;

  BridgeServer(int listener, int epoll, const Limits& limits, Answer answer);
  void accept_all(std::uint64_t now_ms);
  // True: it is over.
  bool serve(Connection& connection, std::uint64_t now_ms);
  void close(Connections::iterator connection);
  void rest(std::uint64_t now_ms);

  int listener_ = -1;
  int epoll_ = -1;
  Limits limits_;
  Answer answer_;
  Connections connections_;
  std::unordered_map<int, Connections::iterator> by_fd_;
  std::uint64_t resting_until_ms_ = 0;  // no descriptors: accepts nobody until then; 0: accepts
};

}  // namespace ballast::tools
