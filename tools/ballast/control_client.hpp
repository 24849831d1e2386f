// A request to a running ballastd over its control socket, and its answer. If the connection ends
// before the answer (one ballastd hands over to another), it connects again and asks again: every
// request can be asked for twice. Talks to one socket, writes no file.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "shm/result.hpp"

namespace ballast::tools {

inline constexpr std::chrono::milliseconds kReconnectPatience{5'000};

class ControlClient {
 public:
  explicit ControlClient(std::string socket) : socket_(std::move(socket)) {}
  ~ControlClient();
  ControlClient(const ControlClient&) = delete;
  ControlClient& operator=(const ControlClient&) = delete;

  using OnProgress = std::function<void(const nlohmann::json&)>;
  // The last line of the answer. The error has the errno of the connection, or none if what came is
  // no answer or none came within `patience`.
  shm::Result<nlohmann::json> ask(const nlohmann::json& request, std::chrono::milliseconds patience,
                                  const OnProgress& on_progress = {});

 private:
  using TimePoint = std::chrono::steady_clock::time_point;

  shm::Status connect(TimePoint until);
  // One line; empty: the connection has ended.
  shm::Result<std::string> read_line(TimePoint until);
  bool send(const std::string& line) const;
  void disconnect();

  const std::string socket_;
  int fd_ = -1;
  std::string in_;
};

}  // namespace ballast::tools
