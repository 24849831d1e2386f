// What ballastd tells systemd, or whoever speaks its protocol: that it is in charge, reloads,
// stops, and still turns its loop. One datagram a message to the socket that NOTIFY_SOCKET names;
// without one all of this is nothing. A manager that does not listen is not waited for. Used by the
// daemon on its one thread; if the process hangs, no more WATCHDOG=1 comes and systemd restarts it,
// while workers go on with what is published.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace ballast::tools {

class ServiceManager {
 public:
  // As the environment says; the variables are taken out of it, so that commands that check
  // instances do not speak in ballastd's name.
  ServiceManager();
  // For tests: any of them may be null.
  ServiceManager(const char* notify_socket, const char* watchdog_usec, const char* watchdog_pid);
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  [[nodiscard]] bool is_there() const noexcept { return socket_ >= 0; }
  // How often to call alive(): half of what systemd waits; nothing: it does not wait for it.
  [[nodiscard]] std::optional<std::chrono::milliseconds> watchdog_period() const noexcept {
    return period_;
  }

  // `status` is one line for people, shown by `systemctl status`.
  void ready(std::string_view status) noexcept;
  // Until ready().
  void reloading() noexcept;
  void alive() noexcept;
  void stopping(std::string_view status) noexcept;

 private:
  void send(std::string_view state, std::string_view status = {}) noexcept;

  int socket_ = -1;
  std::string address_;  // as in sockaddr_un::sun_path: a path, or a NUL and a name
  std::optional<std::chrono::milliseconds> period_;
};

}  // namespace ballast::tools
