// A tiny blocking HTTP/1.1 client: GET over kept-alive connections, one a server, each step bounded
// by a poll. It stands for whatever client a real worker has; one thread uses it. It never tries
// again by itself: the one retry that the demo allows is its caller's.
#pragma once

#include <ballast.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ballast::tools::demo {

struct Reply {
  Outcome outcome = Outcome::abandoned;
  int status = 0;
  int server = -1;  // from the header X-Server; -1 if there is none
};

class HttpClient {
 public:
  explicit HttpClient(unsigned timeout_ms) noexcept : timeout_ms_(timeout_ms) {}
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  // One request to 127.0.0.1:port and its whole answer. A kept connection that the server has
  // closed meanwhile is replaced before anything is sent.
  Reply get(std::uint16_t port, std::string_view path);

  // Sends a request on a connection of its own and leaves it there, unanswered, for as long as the
  // client lives. False if the server does not take it.
  bool leave_waiting(std::uint16_t port, std::string_view path);

 private:
  [[nodiscard]] Outcome connect_to(std::uint16_t port, int& fd) const;
  [[nodiscard]] bool wait_for(int fd, short events) const noexcept;
  [[nodiscard]] Outcome send_all(int fd, std::string_view bytes) const noexcept;
  [[nodiscard]] Reply receive(int fd) const;

  unsigned timeout_ms_;
  std::unordered_map<std::uint16_t, int> kept_;
  std::vector<int> waiting_;
};

}  // namespace ballast::tools::demo
