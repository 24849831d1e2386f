// Whole workers against a whole publisher, through the shared library: processes pick while
// membership changes between two disjoint sets of instances, health flips, and one of the workers
// is killed. Even epochs are of the one set and odd ones of the other, so an address of the wrong
// set is a pick that mixed generations.
#include <ballast.h>
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstring>
#include <new>
#include <vector>

#include "shm/generation.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

constexpr int kWorkers = 3;
constexpr int kGenerations = 200;
constexpr int kInstances = 20;

// What workers tell the test, in memory they share.
struct Board {
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> picks[kWorkers]{};
  std::atomic<std::uint64_t> mixed{0};
  std::atomic<std::uint64_t> failed{0};
};

struct SharedBoard {
  Board* board;
  SharedBoard() {
    void* memory =
        ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    board = new (memory) Board;
  }
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  ~SharedBoard() { ::munmap(board, sizeof(Board)); }
};

// The first set has the third byte 0 in its addresses, the second one 4.
checker::Settings set_of(Strategy strategy, std::uint64_t epoch) {
  return settings_of({service_of("web", strategy, kInstances, epoch % 2 == 0 ? 0 : 1000)});
}

[[noreturn]] void work(const std::string& directory, Board& board, int number) {
  const Attached worker(directory);
  for (std::uint64_t i = 0; !board.stop.load(std::memory_order_relaxed); ++i) {
    ballast_pick_t pick = BALLAST_PICK_INIT;
    const auto status = ballast_pick(worker.handle, worker.service, &i, sizeof i, nullptr, &pick);
    if (status != BALLAST_OK) {
      board.failed.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    const bool first_set = pick.address[2] == 0;
    if (pick.family != 4 || pick.address[0] != 127 || first_set != (pick.epoch % 2 == 0))
      board.mixed.fetch_add(1, std::memory_order_relaxed);
    if (ballast_report(worker.handle, &pick, BALLAST_SUCCESS, 1) != BALLAST_OK)
      board.failed.fetch_add(1, std::memory_order_relaxed);
    board.picks[number].fetch_add(1, std::memory_order_relaxed);
  }
  ballast_detach(worker.handle);
  ::_exit(0);
}

void run(Strategy strategy) {
  const SharedBoard shared;
  Board& board = *shared.board;
  // The first generation that holds instances has epoch 1.
  Published published(set_of(strategy, 1));
  std::vector<pid_t> workers;
  for (int w = 0; w < kWorkers; ++w) {
    const pid_t child = ::fork();
    if (child == 0) work(published.directory(), board, w);
    workers.push_back(child);
  }
  for (auto& picks : board.picks) {
    while (picks.load(std::memory_order_relaxed) == 0)
      ::sched_yield();
  }
  const auto& record = published.publisher().segment().table.services[0];
  for (int g = 0; g < kGenerations; ++g) {
    const std::uint64_t next = shm::epoch_of(record.root.load(std::memory_order_relaxed)) + 1;
    published.apply(set_of(strategy, next));
    REQUIRE(record.root.load(std::memory_order_relaxed) == next);
    const auto flipped = static_cast<std::size_t>(g % kInstances);
    published.set_usable(0, flipped, false);
    published.set_usable(0, flipped, true);
    if (g == kGenerations / 2) ::kill(workers[0], SIGKILL);
    published.publisher().tick();
  }
  const std::uint64_t before = board.picks[1].load(std::memory_order_relaxed);
  while (board.picks[1].load(std::memory_order_relaxed) == before)
    ::sched_yield();
  board.stop.store(true, std::memory_order_relaxed);
  for (const pid_t worker : workers)
    ::waitpid(worker, nullptr, 0);
  published.publisher().tick();
  CHECK(board.mixed.load() == 0);
  CHECK(board.failed.load() == 0);
  CHECK(published.in_flight() == 0);
}

}  // namespace

TEST_CASE("workers never see two generations at once: tables") {
  run(Strategy::maglev);
}
TEST_CASE("workers never see two generations at once: rings") {
  run(Strategy::ketama);
}
TEST_CASE("workers never see two generations at once: schedules") {
  run(Strategy::round_robin);
}
