// How make_loop reaches the two backends. Internal to the loop: everybody else uses loop.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "engine/checker/loop/loop.hpp"

namespace ballast::checker {

// Closing can wait, news cannot: when a thousand servers die at once, a thousand new connections
// come first, and the dead ones are closed when there is nothing else to do, or too many have
// gathered.
inline constexpr std::chrono::milliseconds kCloseDelay{1};
inline constexpr std::size_t kClosesPutOff = 2048;
inline constexpr std::size_t kClosesAtOnce = 64;

[[nodiscard]] constexpr bool closing_is_due(std::size_t closing, std::size_t open,
                                            std::size_t max_streams) {
  return closing > kClosesPutOff || open + max_streams / 8 >= max_streams;
}

// Both return null and set `error` to an errno on failure. io_uring: EPERM (seccomp,
// io_uring_disabled), ENOSYS, ENOMEM, or EINVAL where the kernel lacks what is needed (before 6.1).
[[nodiscard]] std::unique_ptr<Loop> make_uring_loop(std::size_t max_streams, int& error);
[[nodiscard]] std::unique_ptr<Loop> make_epoll_loop(std::size_t max_streams, int& error);

}  // namespace ballast::checker
