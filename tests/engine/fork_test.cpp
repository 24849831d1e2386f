// Forking with a handle: the child takes a row of its own, its parent's counts stay its parent's,
// and the death of either is seen although the other lives.
#include <ballast.h>
#include <doctest/doctest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/attached.hpp"
#include "tests/support/child.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

// A pipe that carries one byte at a time: "I have got here".
struct Signal {
  int ends[2] = {-1, -1};
  Signal() { REQUIRE(::pipe(ends) == 0); }
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  void give() const { static_cast<void>(!::write(ends[1], "x", 1)); }
  void await() const {
    char byte = 0;
    static_cast<void>(!::read(ends[0], &byte, 1));
  }
};

}  // namespace

TEST_CASE("a child of an attached process takes a row of its own") {
  Published published(settings_of({service_of("web", Strategy::maglev, 5)}));
  const Attached a(published.directory());
  ballast_pick_t before = BALLAST_PICK_INIT;
  REQUIRE(a.pick("key", before) == BALLAST_OK);
  const Signal picked;
  const Signal leave;
  const pid_t child = ::fork();
  if (child == 0) {
    // The parent's pick is not the child's to report, before and after its own first pick.
    ballast_pick_t copy = before;
    if (ballast_report(a.handle, &copy, BALLAST_SUCCESS, 1) != BALLAST_WRONG_HANDLE) ::_exit(1);
    ballast_pick_t own = BALLAST_PICK_INIT;
    if (a.pick("key", own) != BALLAST_OK) ::_exit(2);
    if (own.row == before.row || own.slot != before.slot) ::_exit(3);
    if (ballast_report(a.handle, &copy, BALLAST_SUCCESS, 1) != BALLAST_WRONG_HANDLE) ::_exit(4);
    ballast_pick_t second = BALLAST_PICK_INIT;
    if (a.pick("key", second) != BALLAST_OK) ::_exit(5);
    if (ballast_report(a.handle, &second, BALLAST_SUCCESS, 1) != BALLAST_OK) ::_exit(6);
    picked.give();
    leave.await();
    ballast_detach(a.handle);
    ::_exit(0);
  }
  picked.await();
  CHECK(published.totals(before.slot).in_flight() == 2);
  CHECK(published.totals(before.slot).values[shm::kSuccess] == 1);
  leave.give();
  CHECK(tests::exit_of(child) == 0);
  CHECK(published.totals(before.slot).in_flight() == 1);
  CHECK(published.publisher().tick().reaped_rows == 0);
  CHECK(ballast_report(a.handle, &before, BALLAST_SUCCESS, 1) == BALLAST_OK);
  CHECK(published.in_flight() == 0);
}

TEST_CASE("a parent's death is seen while its child lives, and the other way round") {
  Published published(settings_of({service_of("web", Strategy::maglev, 5)}));
  const Signal ready;
  int pids[2];
  REQUIRE(::pipe(pids) == 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    const Attached a(published.directory());
    ballast_pick_t pick = BALLAST_PICK_INIT;
    for (int i = 0; i < 3; ++i) {
      if (a.pick("key", pick) != BALLAST_OK) ::_exit(1);
    }
    const pid_t child = ::fork();
    if (child == 0) {
      for (int i = 0; i < 2; ++i) {
        if (a.pick("key", pick) != BALLAST_OK) ::_exit(1);
      }
      const pid_t self = ::getpid();
      static_cast<void>(!::write(pids[1], &self, sizeof self));
    }
    ::pause();
    ::_exit(0);
  }
  pid_t child = 0;
  REQUIRE(::read(pids[0], &child, sizeof child) == sizeof child);
  CHECK(published.in_flight() == 5);
  CHECK(published.publisher().tick().reaped_rows == 0);
  ::kill(parent, SIGKILL);
  tests::exit_of(parent);
  const auto after_parent = published.publisher().tick();
  CHECK(after_parent.reaped_rows == 1);
  CHECK(after_parent.abandoned == 3);
  CHECK(published.in_flight() == 2);
  ::kill(child, SIGKILL);
  while (published.publisher().tick().reaped_rows == 0)  // not our child: seen by its lock alone
    ::sched_yield();
  CHECK(published.in_flight() == 0);
  ::close(pids[0]);
  ::close(pids[1]);
}

TEST_CASE("a child does not use the tickets its parent took") {
  Published published(settings_of({service_of("web", Strategy::round_robin, 64)}));
  const Attached a(published.directory());
  ballast_pick_t first = BALLAST_PICK_INIT;
  REQUIRE(a.pick("", first) == BALLAST_OK);
  int slots[2];
  REQUIRE(::pipe(slots) == 0);
  const pid_t child = ::fork();
  ballast_pick_t next = BALLAST_PICK_INIT;
  if (child == 0) {
    if (a.pick("", next) != BALLAST_OK) ::_exit(1);
    static_cast<void>(!::write(slots[1], &next.slot, sizeof next.slot));
    ::_exit(0);
  }
  REQUIRE(tests::exit_of(child) == 0);
  std::uint32_t of_child = 0;
  REQUIRE(::read(slots[0], &of_child, sizeof of_child) == sizeof of_child);
  REQUIRE(a.pick("", next) == BALLAST_OK);
  CHECK(of_child != next.slot);
  CHECK(of_child != first.slot);
  ::close(slots[0]);
  ::close(slots[1]);
}

TEST_CASE("forks in the middle of other threads' work leave usable children") {
  Published published(settings_of({service_of("web", Strategy::maglev, 5)}, 64));
  const Attached a(published.directory());
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&published, &stop] {
      while (!stop.load(std::memory_order_relaxed)) {
        const Attached own(published.directory());
        for (int i = 0; i < 20; ++i) {
          ballast_service_t service = 0;
          ballast_find_service(own.handle, ("s" + std::to_string(i)).c_str(), &service);
          ballast_pick_t pick = BALLAST_PICK_INIT;
          if (own.pick("key", pick) == BALLAST_OK) ballast_abandon(own.handle, &pick);
        }
      }
    });
  }
  std::set<int> results;
  for (int i = 0; i < 100; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ballast_pick_t pick = BALLAST_PICK_INIT;
      if (a.pick("key", pick) != BALLAST_OK) ::_exit(1);
      if (ballast_report(a.handle, &pick, BALLAST_SUCCESS, 1) != BALLAST_OK) ::_exit(2);
      ::_exit(0);
    }
    results.insert(tests::exit_of(child));
    published.publisher().tick();
  }
  stop.store(true, std::memory_order_relaxed);
  for (auto& thread : threads)
    thread.join();
  CHECK(results == std::set<int>{0});
  published.publisher().tick();
  CHECK(published.in_flight() == 0);
}

TEST_CASE("a child does not draw what its parent draws") {
  tests::Published published(
      tests::settings_of({tests::service_of("web", engine::Strategy::random, 1000)}));
  const tests::Attached worker(published.directory());
  constexpr std::size_t kPicks = 64;
  using Slots = std::array<std::uint32_t, kPicks>;
  const auto draw = [&] {
    Slots slots{};
    for (std::uint32_t& slot : slots) {
      ballast_pick_t pick = BALLAST_PICK_INIT;
      const auto status = ballast_pick(worker.handle, worker.service, nullptr, 0, nullptr, &pick);
      if (status != BALLAST_OK ||
          ballast_report(worker.handle, &pick, BALLAST_SUCCESS, 1) != status)
        ::_exit(1);
      slot = pick.slot;
    }
    return slots;
  };
  static_cast<void>(draw());
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const Slots drawn = draw();
    ::_exit(::write(ends[1], &drawn, sizeof drawn) == sizeof drawn ? 0 : 1);
  }
  const Slots own = draw();
  Slots childs{};
  REQUIRE(::read(ends[0], &childs, sizeof childs) == sizeof childs);
  CHECK(tests::exit_of(child) == 0);
  ::close(ends[0]);
  ::close(ends[1]);
  CHECK(own != childs);
}
