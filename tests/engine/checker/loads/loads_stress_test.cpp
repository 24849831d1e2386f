// Workers on threads of their own, each with its row, who pick, report, take and give as fast as
// they can, while a board looks and a checker counts tokens: no limit is ever exceeded, and when
// all have stopped everything is exact. For ThreadSanitizer above all.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "engine/checker/loads/load_board.hpp"
#include "engine/random.hpp"
#include "shm/tokens.hpp"
#include "tests/support/fake_workers.hpp"

namespace ballast::checker {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr std::size_t kRows = 4;
constexpr std::uint16_t kSlots = 8;
constexpr std::uint32_t kLimit = 3;
constexpr int kRequests = 20'000;

shm::TokenName name_of(std::uint16_t slot) {
  return {shm::TokenKind::instance, slot};
}

struct Shared {
  tests::FakeWorkers workers{kRows, kSlots};
  tests::FakeLoads loads{kSlots};
  std::atomic<std::uint32_t> holders[kSlots] = {};
  std::atomic<std::uint64_t> exceeded{0};
  std::atomic<unsigned> working{kRows};
};

void work(Shared& shared, std::size_t row) {
  const auto& view = shared.workers.view;
  engine::Random random(row + 1);
  std::vector<std::uint16_t> open;
  for (int i = 0; i < kRequests; ++i) {
    const auto slot = static_cast<std::uint16_t>(random.below(kSlots));
    auto& held = view.row(row)[slot].values[shm::kHeldTokens];
    if (shm::take_token(view.instances[slot].tokens, view.journal(row).pending, held, name_of(slot),
                        kLimit)) {
      if (shared.holders[slot].fetch_add(1, kRelaxed) >= kLimit)
        shared.exceeded.fetch_add(1, kRelaxed);
      shared.workers.start(row, slot);
      open.push_back(slot);
    }
    if (open.size() > 2) {
      const std::uint16_t done = open.front();
      open.erase(open.begin());
      shared.workers.finish(row, done, shm::kSuccess, 10);
      shared.holders[done].fetch_sub(1, kRelaxed);
      shm::give_token(view.instances[done].tokens, view.journal(row).pending,
                      view.row(row)[done].values[shm::kHeldTokens], name_of(done));
    }
  }
  shared.working.fetch_sub(1, std::memory_order_release);
}

shm::Reconciled count(Shared& shared, std::uint16_t slot) {
  const auto& view = shared.workers.view;
  return shm::reconcile_tokens(
      view.instances[slot].tokens,
      [&] {
        for (std::size_t row = 0; row < kRows; ++row) {
          if (view.journal(row).pending.load(std::memory_order_acquire) == pack(name_of(slot)))
            return true;
        }
        return false;
      },
      [&] {
        std::uint32_t sum = 0;
        for (std::size_t row = 0; row < kRows; ++row) {
          sum += shm::held_of(
              view.row(row)[slot].values[shm::kHeldTokens].load(std::memory_order_acquire),
              shm::TokenKind::instance);
        }
        return sum;
      });
}

}  // namespace

TEST_CASE("limits hold and sums end exact, with all at it at once") {
  Shared shared;
  LoadBoard board;
  std::vector<LoadMember> members;
  for (std::uint16_t slot = 0; slot < kSlots; ++slot)
    members.push_back({slot, 1, 0});
  for (std::size_t row = 0; row < kRows; ++row)
    shared.workers.claim(row);
  std::uint64_t now_ns = 1;
  board.set_members(members, shared.workers.view, shared.loads.view.carried, now_ns);
  std::vector<std::thread> threads;
  for (std::size_t row = 0; row < kRows; ++row)
    threads.emplace_back([&shared, row] { work(shared, row); });
  std::uint64_t counted = 0;
  while (shared.working.load(std::memory_order_acquire) != 0) {
    static_cast<void>(board.look(shared.workers.view, ++now_ns));
    board.publish(shared.loads.view);
    for (std::uint16_t slot = 0; slot < kSlots; ++slot) {
      // Nobody dies here, so a word that is not right is one that somebody is at.
      const shm::Reconciled done = count(shared, slot);
      CHECK(done != shm::Reconciled::changed);
      counted += done == shm::Reconciled::exact ? 1 : 0;
    }
  }
  for (std::thread& thread : threads)
    thread.join();
  CHECK(counted > 0);
  CHECK(shared.exceeded.load(kRelaxed) == 0);
  static_cast<void>(board.look(shared.workers.view, ++now_ns));
  for (std::uint16_t slot = 0; slot < kSlots; ++slot) {
    const shm::Totals totals = shm::sum_rows(shared.workers.view, slot);
    CHECK(board.in_flight(slot) == totals.in_flight());
    CHECK(board.traffic(slot).finished == totals.finished());
    CHECK(board.traffic(slot).latency_sum_us == totals.values[shm::kLatencySumUs]);
    const auto word = shared.workers.view.instances[slot].tokens.load(kRelaxed);
    CHECK(shm::unpack_tokens(word).used == totals.in_flight());
    CHECK(count(shared, slot) == shm::Reconciled::exact);
  }
}

}  // namespace ballast::checker
