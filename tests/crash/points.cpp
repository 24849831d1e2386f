// Forking, counting passages, and waiting.
#include "tests/crash/points.hpp"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "shm/crash_point.hpp"

namespace ballast::crash {

namespace {

constexpr std::size_t kMaxPoints = 96;

// In memory shared with children: a child's last words.
struct Shared {
  Ledger ledger;
  struct Passed {
    char name[32];
    std::uint64_t count;
  };
  std::array<Passed, kMaxPoints> passed;
};

Shared& shared() {
  static Shared* const memory = [] {
    void* at =
        ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    return static_cast<Shared*>(at);
  }();
  return *memory;
}

bool profiling = false;
Fate fate_now;
std::uint64_t hits = 0;

void note_passage(const char* name) {
  for (Shared::Passed& p : shared().passed) {
    if (p.name[0] == '\0') std::strncpy(p.name, name, sizeof p.name - 1);
    if (std::strncmp(p.name, name, sizeof p.name - 1) != 0) continue;
    ++p.count;
    return;
  }
  std::abort();  // raise kMaxPoints
}

void pass(const char* name) {
  // The books first: what the point stands behind has happened.
  if (std::strcmp(name, "pick.counted") == 0) ++shared().ledger.started;
  if (std::strcmp(name, "report.counted") == 0) ++shared().ledger.reported;
  if (profiling) note_passage(name);
  if (fate_now.point.empty() || fate_now.point != name || ++hits != fate_now.hit) return;
  ::raise(fate_now.signal);
}

Ended wait_for(pid_t pid) {
  Ended ended;
  ended.pid = pid;
  int status = 0;
  if (::waitpid(pid, &status, WUNTRACED) != pid) return ended;
  ended.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  ended.stopped = WIFSTOPPED(status);
  if (WIFEXITED(status)) ended.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) ended.exit_code = -WTERMSIG(status);
  return ended;
}

}  // namespace

Ledger& ledger() {
  shm::crash_point_hook = pass;
  return shared().ledger;
}

Ended run_child(const Fate& fate, const std::function<void()>& work) {
  static_cast<void>(ledger());
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    fate_now = fate;
    hits = 0;
    work();
    ::_exit(0);
  }
  return wait_for(pid);
}

Ended resume(pid_t pid) {
  ::kill(pid, SIGCONT);
  return wait_for(pid);
}

Ended kill_stopped(pid_t pid) {
  ::kill(pid, SIGKILL);
  return wait_for(pid);
}

Profile profile_of(const std::function<void()>& work) {
  shared().passed = {};
  const Ended ended = run_child({}, [&] {
    profiling = true;
    work();
  });
  Profile profile;
  if (ended.exit_code != 0) return profile;
  for (const Shared::Passed& p : shared().passed) {
    if (p.count != 0) profile[p.name] = p.count;
  }
  return profile;
}

void give_up(const std::string& why) {
  std::fprintf(stderr, "child: %s\n", why.c_str());
  ::_exit(2);
}

}  // namespace ballast::crash
