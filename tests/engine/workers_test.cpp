// Whole workers against a whole publisher, through the shared library: processes pick while
// membership changes between two disjoint sets of instances, health flips, and one of the workers
// is killed. Even epochs are of the one set and odd ones of the other, so an address of the wrong
// set is a pick that mixed generations.
#include <ballast.h>
#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <functional>
#include <iterator>
#include <new>
#include <vector>

#include "engine/pick.hpp"
#include "shm/generation.hpp"
#include "tests/support/attached.hpp"
#include "tests/support/published.hpp"
#include "tests/support/sanitized.hpp"

using namespace ballast;
using engine::Strategy;
using tests::Attached;
using tests::Published;
using tests::service_of;
using tests::settings_of;

namespace {

constexpr int kWorkers = 3;
constexpr int kGenerations = tests::kSanitized ? 60 : 200;
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

using PolicyOf = std::function<engine::Policy(std::uint64_t epoch)>;

// The first set has the third byte 0 in its addresses, the second one 4. Limits need tiers: what is
// above them goes to the second.
checker::Settings set_of(const PolicyOf& policy_of, std::uint64_t epoch) {
  const engine::Policy policy = policy_of(epoch);
  auto service = service_of("web", policy.strategy, kInstances, epoch % 2 == 0 ? 0 : 1000);
  service.policy = policy;
  for (std::size_t i = 0; i < service.instances.size() && policy.max_in_flight != 0; ++i)
    service.instances[i].tier = i % 2;
  return settings_of({service});
}
PolicyOf always(Strategy strategy) {
  return [strategy](std::uint64_t) {
    engine::Policy policy;
    policy.strategy = strategy;
    return policy;
  };
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

void run(const PolicyOf& strategy) {
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
  run(always(Strategy::maglev));
}
TEST_CASE("workers never see two generations at once: rings") {
  run(always(Strategy::ketama));
}
TEST_CASE("workers never see two generations at once: schedules") {
  run(always(Strategy::round_robin));
}
TEST_CASE("workers never see two generations at once: random draws") {
  run(always(Strategy::random));
}
TEST_CASE("workers never see two generations at once: by load") {
  run(always(Strategy::adaptive));
}
TEST_CASE("a change of strategy loses no pick") {
  run([](std::uint64_t epoch) {
    constexpr Strategy kChanging[] = {Strategy::maglev,
                                      Strategy::random,
                                      Strategy::least_connections,
                                      Strategy::rendezvous,
                                      Strategy::adaptive,
                                      Strategy::round_robin,
                                      Strategy::ketama,
                                      Strategy::least_response_time};
    engine::Policy policy;
    policy.strategy = kChanging[epoch % std::size(kChanging)];
    policy.choices = epoch % 3 == 0 ? 0 : 2;
    policy.hash_bound_percent = epoch % 5 == 0 ? 125 : 0;
    policy.max_in_flight = epoch % 4 == 0 ? 50 : 0;
    policy.service_max_in_flight = epoch % 7 == 0 ? 500 : 0;
    policy.panic_percent = epoch % 2 == 0 ? 50 : 0;
    return policy;
  });
}

TEST_CASE("round robin is one order for the whole host") {
  constexpr int kProcesses = 4;
  constexpr int kCount = 7;
  constexpr std::uint64_t kPicks = 1'000'000;
  Published published(settings_of({service_of("web", Strategy::round_robin, kCount)}));
  std::vector<pid_t> workers;
  for (int w = 0; w < kProcesses; ++w) {
    const pid_t child = ::fork();
    if (child == 0) {
      const Attached worker(published.directory());
      // Not alike: a tenth, two, three and four tenths of the picks.
      for (std::uint64_t i = 0; i < kPicks * static_cast<std::uint64_t>(w + 1) / 10; ++i) {
        ballast_pick_t pick = BALLAST_PICK_INIT;
        if (ballast_pick(worker.handle, worker.service, nullptr, 0, nullptr, &pick) != BALLAST_OK ||
            ballast_report(worker.handle, &pick, BALLAST_SUCCESS, 1) != BALLAST_OK) {
          ::_exit(1);
        }
      }
      ballast_detach(worker.handle);
      ::_exit(0);
    }
    workers.push_back(child);
  }
  for (const pid_t worker : workers) {
    int status = 0;
    ::waitpid(worker, &status, 0);
    CHECK(status == 0);
  }
  std::vector<std::uint64_t> counts;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kCount; ++i) {
    counts.push_back(published.totals(published.find(0, i).slot).values[shm::kSuccess]);
    sum += counts.back();
  }
  CHECK(sum == kPicks);
  const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
  CHECK(*most - *least <= engine::kTicketBlock);
  // What each worker sits on are successive turns.
  CHECK(*most - *least <= 1 + kProcesses);
}
