// Reads what /proc says of a process and of one of its threads.
#include "engine/checker/control/thread_activity.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>
#include <string_view>

namespace ballast::checker {
namespace {

constexpr std::uint64_t kNsPerTick = 10'000'000;  // of utime and stime: USER_HZ is 100

// The first 1024 bytes; empty if it cannot be read.
std::string read_start(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::array<char, 1024> buffer;  // NOLINT: filled by the kernel
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  ::close(fd);
  return got > 0 ? std::string(buffer.data(), static_cast<std::size_t>(got)) : std::string();
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// Field n of a stat file, counted as proc(5) does; 3 is the state. The name before may hold
// anything.
std::string_view field(std::string_view stat, int n) {
  const auto paren = stat.rfind(')');
  if (paren == std::string_view::npos || paren + 2 > stat.size()) return {};
  stat.remove_prefix(paren + 2);
  for (; n > 3; --n) {
    const auto blank = stat.find(' ');
    if (blank == std::string_view::npos) return {};
    stat.remove_prefix(blank + 1);
  }
  return stat.substr(0, stat.find(' '));
}

}  // namespace

std::optional<ThreadActivity> activity_of(std::uint64_t pid, std::uint64_t tid,
                                          std::uint64_t start_ticks) {
  if (pid == 0 || start_ticks == 0) return std::nullopt;
  const std::string process = "/proc/" + std::to_string(pid);
  const std::string started = read_start(process + "/stat");
  if (number(field(started, 22)) != start_ticks) return std::nullopt;
  const std::string thread = process + "/task/" + std::to_string(tid);
  const std::string stat = read_start(thread + "/stat");
  const std::string_view state = field(stat, 3);
  if (state.empty()) return std::nullopt;
  ThreadActivity activity;
  if (state == "S" || state == "I") {
    activity.state = ThreadActivity::State::sleeping;
  } else if (state == "T" || state == "t") {
    activity.state = ThreadActivity::State::stopped;
  }
  const std::string schedstat = read_start(thread + "/schedstat");
  activity.cpu_ns = schedstat.empty()
                        ? (number(field(stat, 14)) + number(field(stat, 15))) * kNsPerTick
                        : number(schedstat);
  return activity;
}

}  // namespace ballast::checker
