// Making and sending the datagrams of sd_notify(3).
#include "tools/ballastd/service_manager.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace ballast::tools {
namespace {

std::optional<std::uint64_t> number(const char* text) {
  if (text == nullptr) return std::nullopt;
  std::uint64_t value = 0;
  const char* const end = text + std::strlen(text);
  const auto [ptr, error] = std::from_chars(text, end, value);
  if (error != std::errc{} || ptr != end) return std::nullopt;
  return value;
}

constexpr std::size_t kAddressBytes = sizeof(sockaddr_un::sun_path);

}  // namespace

ServiceManager::ServiceManager()
    : ServiceManager(std::getenv("NOTIFY_SOCKET"), std::getenv("WATCHDOG_USEC"),
                     std::getenv("WATCHDOG_PID")) {
  for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
    ::unsetenv(name);
}

ServiceManager::ServiceManager(const char* notify_socket, const char* watchdog_usec,
                               const char* watchdog_pid) {
  if (notify_socket == nullptr) return;
  const std::size_t length = std::strlen(notify_socket);
  const bool is_abstract = notify_socket[0] == '@';
  if ((notify_socket[0] != '/' && !is_abstract) || length < 2 || length >= kAddressBytes) return;
  address_.assign(notify_socket, length);
  if (is_abstract) address_[0] = '\0';
  socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  // Meant for another process that this one was started by.
  const auto pid = number(watchdog_pid);
  if (pid && *pid != static_cast<std::uint64_t>(::getpid())) return;
  const auto limit_us = number(watchdog_usec);
  if (!limit_us || *limit_us == 0) return;
  const std::uint64_t half_ms = *limit_us / 2 / 1000;
  period_ = std::chrono::milliseconds(half_ms == 0 ? 1 : half_ms);
}

ServiceManager::~ServiceManager() {
  if (socket_ >= 0) ::close(socket_);
}

void ServiceManager::send(std::string_view state, std::string_view status) noexcept {
  if (socket_ < 0) return;
  try {
    std::string message(state);
    if (!status.empty()) {
      message += "\nSTATUS=";
      // A line's end would begin another assignment.
      for (const char c : status)
        message += c == '\n' ? ' ' : c;
    }
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, address_.data(), address_.size());
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size() +
                                               (address_[0] == '\0' ? 0 : 1));
    // Nobody hears it, or the queue is full: nothing that checks should wait for.
    static_cast<void>(::sendto(socket_, message.data(), message.size(), MSG_NOSIGNAL,
                               reinterpret_cast<const sockaddr*>(&to), length));
  } catch (...) {
    return;  // out of memory for a message
  }
}

void ServiceManager::ready(std::string_view status) noexcept {
  send("READY=1", status);
}

void ServiceManager::reloading() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  const auto us = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
                  static_cast<std::uint64_t>(now.tv_nsec) / 1000;
  char text[64] = "RELOADING=1\nMONOTONIC_USEC=";
  const std::size_t prefix = std::strlen(text);
  const auto end = std::to_chars(text + prefix, text + sizeof text, us).ptr;
  send({text, static_cast<std::size_t>(end - text)});
}

void ServiceManager::alive() noexcept {
  send("WATCHDOG=1");
}

void ServiceManager::stopping(std::string_view status) noexcept {
  send("STOPPING=1", status);
}

}  // namespace ballast::tools
