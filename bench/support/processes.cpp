// Forking, pinning and the barrier.
#include "bench/support/processes.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>

#include "bench/support/clock.hpp"

namespace ballast::bench {

namespace {

// With the parent's death the process goes too: a benchmark that is interrupted leaves no spinners.
[[noreturn]] void run_child(const std::function<void()>& body) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int status = 0;
  try {
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: a process failed: %s\n", error.what());
    status = 1;
  }
  std::fflush(nullptr);
  ::_exit(status);
}

pid_t fork_child(const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid == 0) run_child(body);
  return pid;
}

bool ended_well(int status) noexcept {
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

std::vector<int> processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> out;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) out.push_back(cpu);
  }
  return out;
}

void pin(unsigned rank) {
  static const std::vector<int> all = processors();  // as they were before the first pinning
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(all[rank % all.size()], &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) throw std::runtime_error("cannot pin");
}

void Barrier::wait(unsigned parties) noexcept {
  const std::uint32_t phase = phase_.load(std::memory_order_relaxed);
  // Acquire and release: what each did before the barrier is seen by all after it.
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == parties) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);  // pairs with the load below
    return;
  }
  // Yields now and then, for machines with other things to do.
  for (unsigned spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
    if (spins % 4096 == 4095) {
      ::sched_yield();
    } else {
      relax();
    }
  }
}

void run_processes(unsigned count, const std::function<void(unsigned rank)>& body) {
  static_cast<void>(ns_per_tick());  // measured once, before there are several of us
  std::vector<pid_t> running;
  for (unsigned rank = 0; rank < count; ++rank) {
    running.push_back(fork_child([&] {
      pin(rank);
      body(rank);
    }));
  }
  // Looked at in turn, so that one that died is noticed while the others wait for it at a barrier;
  // seldom, so as not to disturb them.
  bool failed = false;
  while (!running.empty()) {
    std::erase_if(running, [&](pid_t pid) {
      int status = 0;
      if (::waitpid(pid, &status, WNOHANG) != pid) return false;
      failed = failed || !ended_well(status);
      return true;
    });
    if (failed) {
      for (const pid_t pid : running)
        ::kill(pid, SIGKILL);
    }
    if (!running.empty()) ::usleep(20'000);
  }
  if (failed) throw std::runtime_error("a measuring process failed");
}

Child::Child(const std::function<void()>& body) : pid_(fork_child(body)) {}

Child::~Child() {
  kill();
}

void Child::kill() noexcept {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void Child::signal(int number) const noexcept {
  if (pid_ > 0) ::kill(pid_, number);
}

void Child::join() {
  if (pid_ < 0) return;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  if (!ended_well(status)) throw std::runtime_error("a process beside the measurement failed");
}

}  // namespace ballast::bench
