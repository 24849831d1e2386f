// What the two backends share: choosing one, timers, and the turn of the loop.
#include "engine/checker/loop/loop.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/checker/loop/loop_backends.hpp"

namespace ballast::checker {

namespace {

std::size_t streams_allowed(std::size_t wanted) {
  rlimit limit{};
  std::size_t allowed = 1024;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) allowed = static_cast<std::size_t>(limit.rlim_cur);
  allowed = allowed > 2 * kReservedDescriptors ? allowed - kReservedDescriptors : allowed / 2 + 1;
  allowed = std::min(allowed, kMaxStreams);
  return wanted == 0 ? allowed : std::min(wanted, allowed);
}

const char* hint_for(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return "a seccomp filter or the sysctl kernel.io_uring_disabled forbids it";
    case ENOSYS:
      return "the kernel is built without it";
    case EINVAL:
      return "the kernel is older than 6.1";
    default:
      return "out of memory or descriptors";
  }
}

}  // namespace

Timers::Id Loop::every(Duration period, std::function<void()> task) {
  // The timer's own id is known only once it exists.
  auto id = std::make_shared<Timers::Id>(0);
  *id = timers_.create([this, id, period, task = std::move(task)] {
    // Before the task, which may destroy the timer.
    timers_.arm(*id, std::chrono::steady_clock::now() + period);
    // A task of this kind looks at much and takes its time. Checks that were started in the same
    // turn do not wait for it, and then leave together with those of the next.
    flush();
    task();
  });
  timers_.arm(*id, std::chrono::steady_clock::now() + period);
  return *id;
}

void Loop::run_once(Duration max_wait) {
  Duration wait = std::max(max_wait, Duration::zero());
  if (const auto next = timers_.next()) {
    const auto now = std::chrono::steady_clock::now();
    const auto due = pace_.due(*next, now);
    wait = std::clamp<Duration>(due - now, Duration::zero(), wait);
  }
  poll(wait);
  // In a busy loop what is due before the tick waits for it.
  const auto now = std::chrono::steady_clock::now();
  const auto next = timers_.next();
  if (next && pace_.due(*next, now) <= now) timers_.run_due(now);
}

void Loop::run() {
  stopped_ = false;
  while (!stopped_)
    run_once(std::chrono::hours(1));
}

shm::Result<std::unique_ptr<Loop>> make_loop(const LoopOptions& options) {
  const std::size_t max_streams = streams_allowed(options.max_streams);
  int error = 0;
  if (options.backend != Backend::epoll) {
    if (auto loop = make_uring_loop(max_streams, error)) return loop;
    if (options.backend == Backend::io_uring) {
      return shm::system_error(error, "set up io_uring", {}, hint_for(error));
    }
    if (options.log) {
      options.log(std::string("io_uring is not available, using epoll instead: ") +
                  std::strerror(error) + " (" + hint_for(error) + ")");
    }
  }
  if (auto loop = make_epoll_loop(max_streams, error)) return loop;
  return shm::system_error(error, "set up epoll", {});
}

}  // namespace ballast::checker
