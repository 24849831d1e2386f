// What the kernel says of a worker's thread: whether it sleeps, is stopped, and how much processor
// time it has had. By that a thread that picks nothing can be told from one that may be in the
// middle of a pick.
#pragma once

#include <cstdint>
#include <optional>

namespace ballast::checker {

struct ThreadActivity {
  enum class State : std::uint8_t { running, sleeping, stopped };
  State state = State::running;
  std::uint64_t cpu_ns = 0;
};

// Of the thread `tid` of the process that started at `start_ticks`, as its row says. Nothing if
// there is no such thread, or none that can be seen from here (another pid namespace).
[[nodiscard]] std::optional<ThreadActivity> activity_of(std::uint64_t pid, std::uint64_t tid,
                                                        std::uint64_t start_ticks);

}  // namespace ballast::checker
