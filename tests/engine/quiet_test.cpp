// A million picks and reports through the shared library, while the kernel kills the process for
// any system call (seccomp's strict mode) and every allocation, lock and look at a clock is
// counted: none may happen but the clock's on the paths that ballast.h names (failures of a service
// with breakers, breakers that are open, a silent checker), and how often is bounded. The child
// that does it says so with the raw exit call, one of the four that strict mode allows.
#include <ballast.h>
#include <dlfcn.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <new>

#include <doctest/doctest.h>

#include "tests/support/attached.hpp"
#include "tests/support/child.hpp"
#include "tests/support/published.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/skip.hpp"
#include "tests/support/sticky_key.hpp"

#if defined(BALLAST_THREAD_SANITIZED) || defined(BALLAST_ADDRESS_SANITIZED)
#define BALLAST_QUIET_TEST_SKIPPED "sanitizers allocate and call the system for themselves"
#endif

#ifndef BALLAST_QUIET_TEST_SKIPPED
namespace {

// Counted only between start and stop, in the one thread of the child.
bool counting = false;
unsigned long allocations = 0;
unsigned long locks = 0;
unsigned long clocks = 0;

void count(unsigned long& what) noexcept {
  if (counting) ++what;
}

}  // namespace

// These stand before the C library's for the whole process, libballast.so included.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  count(allocations);
  return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
  count(allocations);
  return __libc_calloc(number, size);
}
void* realloc(void* old, std::size_t size) {
  count(allocations);
  return __libc_realloc(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  count(allocations);
  return __libc_memalign(alignment, size);
}
int pthread_mutex_lock(pthread_mutex_t* mutex) {
  count(locks);
  using Lock = int (*)(pthread_mutex_t*);
  static const auto real = reinterpret_cast<Lock>(::dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  return real(mutex);
}
int clock_gettime(clockid_t clock, timespec* out) {
  count(clocks);  // the vDSO answers without a system call, so seccomp would not see it
  if (counting) {
    // A clock of the test's own, on which every look takes a millisecond.
    out->tv_sec = 1'000'000 + static_cast<time_t>(clocks / 1000);
    out->tv_nsec = static_cast<long>(clocks % 1000) * 1'000'000;
    return 0;
  }
  return static_cast<int>(::syscall(SYS_clock_gettime, clock, out));
}
}

namespace {

using namespace ballast;
using engine::Strategy;

constexpr int kPicks = 1'000'000;

enum Exit : long {
  kQuiet = 0,
  kPickFailed = 1,
  kReportFailed = 2,
  kAllocated = 3,
  kLocked = 4,
  kReadClock = 5,
  kNoSeccomp = 77,
};

[[noreturn]] void leave(long code) {
  for (;;)
    ::syscall(SYS_exit, code);
}

// One pick and its report; every fourth is retried with the first excluded.
long one(const tests::Attached& worker, const unsigned char* key, std::size_t length, bool retry) {
  ballast_pick_t pick = BALLAST_PICK_INIT;
  if (ballast_pick(worker.handle, worker.service, key, length, nullptr, &pick) != BALLAST_OK)
    return kPickFailed;
  if (retry) {
    const ballast_pick_t* tried[] = {&pick};
    ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
    options.tried = tried;
    options.tried_count = 1;
    ballast_pick_t second = BALLAST_PICK_INIT;
    if (ballast_usable(worker.handle, worker.service, &options, 2) != 2) return kPickFailed;
    if (ballast_pick(worker.handle, worker.service, key, length, &options, &second) != BALLAST_OK)
      return kPickFailed;
    if (ballast_report(worker.handle, &second, BALLAST_SUCCESS, 7) != BALLAST_OK)
      return kReportFailed;
  }
  return ballast_report(worker.handle, &pick, BALLAST_TIMEOUT, 12) == BALLAST_OK ? kQuiet
                                                                                 : kReportFailed;
}

// The same with sticky tokens: made of a pick and honoured, also where the slot is not what the
// token says, and a report that brings the backend's load.
long one_sticky(const tests::Attached& worker, const unsigned char* key, std::size_t length,
                bool elsewhere) {
  ballast_pick_t pick = BALLAST_PICK_INIT;
  if (ballast_pick(worker.handle, worker.service, key, length, nullptr, &pick) != BALLAST_OK)
    return kPickFailed;
  ballast_pick_t named = pick;
  if (elsewhere) named.incarnation += 1;
  char token[BALLAST_STICKY_TEXT];
  if (ballast_sticky_token(worker.handle, worker.service, &named, token, sizeof token) !=
      BALLAST_OK) {
    return kPickFailed;
  }
  ballast_pick_options_t options = BALLAST_PICK_OPTIONS_INIT;
  options.sticky = token;
  options.sticky_length = sizeof token - 1;
  ballast_pick_t second = BALLAST_PICK_INIT;
  if (ballast_pick(worker.handle, worker.service, nullptr, 0, &options, &second) != BALLAST_OK ||
      second.reason != BALLAST_STICKY || second.slot != pick.slot) {
    return kPickFailed;
  }
  static constexpr char kLoad[] = "TEXT cpu_utilization=0.5, rps_fractional=1e3, eps=2.5";
  ballast_result_t result = BALLAST_RESULT_INIT;
  result.outcome = BALLAST_OVERLOAD;
  result.load = kLoad;
  result.load_length = sizeof kLoad - 1;
  if (ballast_report_full(worker.handle, &second, &result) != BALLAST_OK) return kReportFailed;
  return ballast_report(worker.handle, &pick, BALLAST_TIMEOUT, 12) == BALLAST_OK ? kQuiet
                                                                                 : kReportFailed;
}

using One = long (*)(const tests::Attached&, const unsigned char*, std::size_t, bool);

[[noreturn]] void pick_in_silence(const tests::Attached& worker, One pick,
                                  unsigned long clocks_allowed) {
  if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) ::_exit(kNoSeccomp);
  counting = true;
  for (int i = 0; i < kPicks; ++i) {
    unsigned char key[8];
    for (int b = 0; b < 8; ++b)
      key[b] = static_cast<unsigned char>(i >> (4 * b));
    if (const long failed = pick(worker, key, 4 + static_cast<std::size_t>(i) % 5, i % 4 == 0);
        failed != kQuiet) {
      leave(failed);
    }
  }
  counting = false;
  leave(allocations != 0          ? kAllocated
        : locks != 0              ? kLocked
        : clocks > clocks_allowed ? kReadClock
                                  : kQuiet);
}

// A service without breakers, whose reports of failures then read no clock either.
engine::Policy without_breaker(Strategy strategy) {
  engine::Policy policy;
  policy.strategy = strategy;
  policy.breaker_consecutive = 0;
  policy.breaker_rate_percent = 0;
  return policy;
}

[[maybe_unused]] void check_quiet(const engine::Policy& policy, unsigned long clocks_allowed = 0,
                                  One pick = one) {
  const tests::StickyKeyFile key;
  const auto settings = [&](int instances) {
    auto service = tests::service_of("web", policy.strategy, instances);
    service.policy = policy;
    for (std::size_t i = 0; i < service.instances.size(); i += 3)
      service.instances[i].tier = policy.max_in_flight != 0 ? 1 : 0;
    return tests::with_sticky_keys(tests::settings_of({service}), key);
  };
  tests::Published published(settings(100));
  int ready[2];
  int go[2];
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(go) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const tests::Attached worker(published.directory());
    if (pick(worker, nullptr, 0, true) != kQuiet) ::_exit(kPickFailed);
    char byte = 'x';
    static_cast<void>(!::write(ready[1], &byte, 1));
    static_cast<void>(!::read(go[0], &byte, 1));
    pick_in_silence(worker, pick, clocks_allowed);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  // What the silent child meets first: another generation, and instances that are down.
  published.apply(settings(97));
  for (std::size_t i = 0; i < 97; i += 9)
    published.set_usable(0, i, false);
  static_cast<void>(!::write(go[1], "x", 1));
  const int result = tests::exit_of(child);
  for (const int end : {ready[0], ready[1], go[0], go[1]})
    ::close(end);
  if (result == kNoSeccomp) return tests::skip("seccomp's strict mode is not to be had here");
  CHECK_MESSAGE(result != 1000 + SIGKILL, "a system call was made");
  CHECK(result == kQuiet);
  published.publisher().tick();
  CHECK(published.in_flight() == 0);
  std::uint64_t reported = 0;
  for (std::uint32_t slot = 0; slot < 100; ++slot)
    reported += published.totals(slot).values[shm::kTimeout];
  CHECK(reported == kPicks + 1);
}

}  // namespace

TEST_CASE("the counters of this test count") {
  counting = true;
  ::free(std::malloc(1));
  delete new int(0);
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  ::pthread_mutex_lock(&mutex);
  ::pthread_mutex_unlock(&mutex);
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  counting = false;
  CHECK(allocations >= 1);
  CHECK(locks == 1);
  CHECK(clocks == 1);
  allocations = locks = clocks = 0;
  // Allocations inside libballast.so are seen too: attaching makes some.
  tests::Published published(tests::settings_of({tests::service_of("web", Strategy::maglev, 3)}));
  const std::string directory = published.directory();
  counting = true;
  const tests::Attached worker(directory);
  counting = false;
  CHECK(allocations > 0);
  CHECK(locks > 0);
  allocations = locks = clocks = 0;
}

TEST_CASE("a million picks by a table are quiet") {
  check_quiet(without_breaker(Strategy::maglev));
}
TEST_CASE("a million picks by a table with second choices are quiet") {
  check_quiet(without_breaker(Strategy::rendezvous));
}
TEST_CASE("a million picks by a ring are quiet") {
  check_quiet(without_breaker(Strategy::ketama));
}
TEST_CASE("a million picks by turns are quiet") {
  check_quiet(without_breaker(Strategy::round_robin));
}
TEST_CASE("a million picks at random are quiet") {
  check_quiet(without_breaker(Strategy::random));
}
TEST_CASE("a million picks by load are quiet but for the clock of a silent load board") {
  for (const Strategy strategy :
       {Strategy::least_connections, Strategy::least_response_time, Strategy::adaptive}) {
    check_quiet(without_breaker(strategy), kPicks / 64);
  }
}
TEST_CASE("a million picks within limits, bounds, budgets and tiers are quiet") {
  engine::Policy policy = without_breaker(Strategy::maglev);
  policy.hash_bound_percent = 125;
  policy.max_in_flight = 5;
  policy.service_max_in_flight = 50;
  policy.retry_percent = 20;
  policy.panic_percent = 50;
  check_quiet(policy, kPicks / 64);
}
TEST_CASE("a million picks past open breakers are quiet but for their clock") {
  for (const Strategy strategy : {Strategy::maglev, Strategy::random}) {
    engine::Policy policy;
    policy.strategy = strategy;
    check_quiet(policy, 20UL * kPicks);
  }
}
TEST_CASE("a million sticky picks are quiet, and so are full reports") {
  check_quiet(without_breaker(Strategy::maglev), 0, one_sticky);
}
#else
TEST_CASE("picks are quiet") {
  ballast::tests::skip(BALLAST_QUIET_TEST_SKIPPED);
}
#endif
