// Connecting, sending and reading, with an end to every wait.
#include "tools/ballast/control_client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>
#include <utility>

#include "engine/text/unix_socket.hpp"

namespace ballast::tools {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds kReconnectPause{20};
// A socket at which nobody listens may be one of a ballastd that is just handing over.
constexpr milliseconds kRefusedPatience{1'000};

shm::Error no_answer(const std::string& socket, std::string why) {
  return {shm::ErrorKind::system, 0, "ask ballastd at", socket, std::move(why)};
}

}  // namespace

ControlClient::~ControlClient() {
  disconnect();
}

void ControlClient::disconnect() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  in_.clear();
}

shm::Status ControlClient::connect(TimePoint until) {
  for (;;) {
    const auto connected = engine::connect_unix(socket_);
    if (connected) {
      fd_ = *connected;
      return shm::Done{};
    }
    const int code = connected.error().code;
    const bool passing = code == ECONNREFUSED || code == EAGAIN;
    if (!passing || steady_clock::now() >= until) return connected.error();
    std::this_thread::sleep_for(kReconnectPause);
  }
}

bool ControlClient::send(const std::string& line) const {
  std::size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t n = ::send(fd_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    sent += static_cast<std::size_t>(n);
  }
  return true;
}

shm::Result<std::string> ControlClient::read_line(TimePoint until) {
  for (;;) {
    if (const auto end = in_.find('\n'); end != std::string::npos) {
      std::string line = in_.substr(0, end);
      in_.erase(0, end + 1);
      return line;
    }
    const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
    if (left.count() <= 0) return no_answer(socket_, "it does not answer; is it stopped?");
    pollfd wanted{fd_, POLLIN, 0};
    const int ready = ::poll(&wanted, 1, static_cast<int>(std::min<long>(left.count(), 60'000)));
    if (ready <= 0) continue;
    std::array<char, 65536> buffer;  // NOLINT: filled by the kernel
    const ssize_t got = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::string();
    in_.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

shm::Result<json> ControlClient::ask(const json& request, milliseconds patience,
                                     const OnProgress& on_progress) {
  const auto until = steady_clock::now() + patience;
  auto connect_until = steady_clock::now() + kRefusedPatience;
  const std::string line = request.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  for (;;) {
    if (fd_ < 0) {
      if (const shm::Status connected = connect(connect_until); !connected)
        return connected.error();
    }
    if (send(line)) {
      for (;;) {
        const auto read = read_line(until);
        if (!read) return read.error();
        if (read->empty()) break;
        json answer = json::parse(*read, nullptr, /*allow_exceptions=*/false);
        if (!answer.is_object()) return no_answer(socket_, "what it says is no answer");
        if (!answer.contains("progress")) return answer;
        if (on_progress) on_progress(answer);
      }
    }
    // It has gone; another one may come. One that ends every connection at once is not asked for
    // ever.
    disconnect();
    const auto now = steady_clock::now();
    if (now >= until) return no_answer(socket_, "it ends the connection without an answer");
    connect_until = std::min(until, now + kReconnectPatience);
    std::this_thread::sleep_for(kReconnectPause);
  }
}

}  // namespace ballast::tools
