// The row protocol (shm/row_protocol.hpp), explored by Relacy: two worker threads take one row in
// turn and a checker reaps it, each of which may be killed at any store, while another process adds
// up what is in flight. No count may be lost or invented, nothing in flight may ever be read as
// negative, and whoever gets the row finds nothing in flight in it. Every sabotaged variant must be
// caught. Guards docs/memory-model.md#row-counts and #row-claim.
#include <doctest/doctest.h>

#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

enum class Sabotage {
  none,
  outcome_relaxed,
  outcome_loaded_relaxed,
  started_read_first,
  reaped_without_lock,
  taken_without_reaping,
};

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "row";
    case Sabotage::outcome_relaxed:
      return "row, outcomes stored relaxed";
    case Sabotage::outcome_loaded_relaxed:
      return "row, outcomes loaded relaxed";
    case Sabotage::started_read_first:
      return "row, the starts read before the outcomes";
    case Sabotage::reaped_without_lock:
      return "row, reaped without the lock";
    case Sabotage::taken_without_reaping:
      return "row, taken from a dead owner without reaping";
  }
  return "?";
}

// A counter of a record. Those that nobody writes in this model are not shown to Relacy: a word
// that is always zero adds schedules and nothing to see.
template <Orders kOrders>
class Counter {
 public:
  std::uint64_t load(std::memory_order order) const { return used_ ? word_.load(order) : 0; }
  void store(std::uint64_t value, std::memory_order order) {
    RL_ASSERT(used_);
    word_.store(value, order);
  }
  void use() {
    used_ = true;
    word_.preset(0);
  }

 private:
  bool used_ = false;
  Word<kOrders> word_;
};

template <Orders kOrders>
struct Record {
  Counter<kOrders> values[shm::kCounterCount];
};

struct Seen {
  std::uint64_t killed = 0;
  std::uint64_t left = 0;
  std::uint64_t reaped = 0;       // by the checker
  std::uint64_t reaped_late = 0;  // by the next owner
  std::uint64_t read_busy = 0;    // the bystander saw something in flight
};

template <Sabotage kSabotage, unsigned kOwners, unsigned kCheckers, unsigned kReaders,
          unsigned kRequests, unsigned kLooks>
struct RowModel
    : rl::test_suite<RowModel<kSabotage, kOwners, kCheckers, kReaders, kRequests, kLooks>,
                     kOwners + kCheckers + kReaders> {
  static constexpr Orders kOrders =
      kSabotage == Sabotage::outcome_relaxed
          ? Orders::relaxed_stores
          : (kSabotage == Sabotage::outcome_loaded_relaxed ? Orders::relaxed_loads
                                                           : Orders::as_written);
  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  Word<> claim;
  Record<kOrders> records[1];
  KernelLock lock;
  // Counted beside the model, one thread at a time: what really happened before its thread died.
  std::uint64_t really_started = 0;
  std::uint64_t really_succeeded = 0;

  void before() {
    mortality.reset();
    claim.preset(0);
    for (const unsigned i : {shm::kStarted, shm::kSuccess, shm::kAbandoned})
      records[0].values[i].use();
  }

  void thread(unsigned index) {
    if (index < kOwners) {
      own();
    } else if (index < kOwners + kCheckers) {
      for (unsigned i = 0; i < kLooks && !mortality.dead(); ++i)
        check();
    } else {
      for (unsigned i = 0; i < kLooks; ++i)
        bystand();
    }
  }

  // When all are gone, the next checker comes by.
  void after() {
    mortality.reset();
    if (live()) static_cast<void>(shm::reap(claim, records));
    auto& values = records[0].values;
    const auto relaxed = std::memory_order_relaxed;
    RL_ASSERT(values[shm::kStarted].load(relaxed) == really_started);
    RL_ASSERT(values[shm::kSuccess].load(relaxed) == really_succeeded);
    RL_ASSERT(values[shm::kAbandoned].load(relaxed) == really_started - really_succeeded);
    RL_ASSERT(shm::read_in_flight(values) == 0);
  }

 private:
  [[nodiscard]] bool live() const {
    return shm::unpack_identity(claim.load(std::memory_order_acquire)).phase == shm::Phase::live;
  }

  // As Row::claim, a request or two, and Row::leave.
  void own() {
    lock.lock();  // the second one comes when the first is gone
    mortality.may_die_within(2 + 2 * kRequests);
    if (live()) ++seen.reaped_late;
    if constexpr (kSabotage == Sabotage::taken_without_reaping) {
      const shm::Identity was = shm::unpack_identity(claim.load(std::memory_order_relaxed));
      claim.store(shm::pack(shm::Identity{was.incarnation + 1, shm::Phase::live}),
                  std::memory_order_release);
    } else {
      shm::take(claim, records);
    }
    auto& values = records[0].values;
    if (!mortality.dead()) RL_ASSERT(shm::read_in_flight(values) == 0);
    for (unsigned i = 0; i < kRequests && !mortality.dead(); ++i) {
      ++really_started;
      shm::count_started(values[shm::kStarted]);
      if (!mortality.dead()) RL_ASSERT(shm::read_in_flight(values) == 1);
      if (!mortality.dead()) ++really_succeeded;
      shm::count_outcome(values[shm::kSuccess]);
    }
    static_cast<void>(shm::reap(claim, records));
    ++(mortality.dead() ? seen.killed : seen.left);
    lock.unlock();  // in order, or by the kernel when the process dies
  }

  // As reap_dead_rows.
  void check() {
    if (!live()) return;
    const bool locked = lock.try_lock();
    if (!locked && kSabotage != Sabotage::reaped_without_lock) return;
    mortality.may_die_within(1);
    if (live()) {
      static_cast<void>(shm::reap(claim, records));
      if (!mortality.dead()) {
        ++seen.reaped;
        RL_ASSERT(shm::read_in_flight(records[0].values) == 0);
      }
    }
    if (locked) lock.unlock();
  }

  void bystand() {
    std::int64_t in_flight = 0;
    if constexpr (kSabotage == Sabotage::started_read_first) {
      const auto& values = records[0].values;
      in_flight = static_cast<std::int64_t>(values[shm::kStarted].load(std::memory_order_acquire));
      for (unsigned i = shm::kFirstOutcome; i <= shm::kLastOutcome; ++i)
        in_flight -= static_cast<std::int64_t>(values[i].load(std::memory_order_acquire));
    } else {
      in_flight = shm::read_in_flight(records[0].values);
    }
    if (in_flight > 0) ++seen.read_busy;
    RL_ASSERT(in_flight >= 0);
    RL_ASSERT(in_flight <= static_cast<std::int64_t>(kOwners * kRequests));
  }
};

template <Sabotage kSabotage>
using Large = RowModel<kSabotage, 2, 2, 1, 2, 3>;
// Every schedule: an owner against somebody who reads, and a dying owner against the next one.
template <Sabotage kSabotage>
using Reading = RowModel<kSabotage, 1, 0, 1, 2, 1>;
template <Sabotage kSabotage>
using Reaping = RowModel<kSabotage, 1, 1, 0, 1, 1>;
template <Sabotage kSabotage>
using Inheriting = RowModel<kSabotage, 2, 0, 0, 1, 1>;

constexpr std::uint64_t kIterations = 1'000'000;

}  // namespace

TEST_CASE("no count is lost or invented, whoever dies and whenever") {
  using Model = Large<Sabotage::none>;
  must_hold<Model>(kIterations);
  // Not idle.
  CHECK(Model::seen.killed > kIterations / 10);
  CHECK(Model::seen.left > kIterations / 10);
  CHECK(Model::seen.reaped > kIterations / 1000);
  CHECK(Model::seen.reaped_late > kIterations / 100);
  CHECK(Model::seen.read_busy > kIterations / 100);
}

TEST_CASE("every schedule of two threads") {
  must_hold<Reading<Sabotage::none>>(0);
  must_hold<Reaping<Sabotage::none>>(0);
  must_hold<Inheriting<Sabotage::none>>(0);
  CHECK(Reading<Sabotage::none>::seen.read_busy > 0);
  CHECK(Reaping<Sabotage::none>::seen.reaped > 0);
  CHECK(Inheriting<Sabotage::none>::seen.reaped_late > 0);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<Large<Sabotage::outcome_relaxed>>(kIterations);
  must_be_caught<Reading<Sabotage::outcome_relaxed>>(0);
  must_be_caught<Large<Sabotage::outcome_loaded_relaxed>>(kIterations);
  must_be_caught<Reading<Sabotage::outcome_loaded_relaxed>>(0);
  must_be_caught<Large<Sabotage::started_read_first>>(kIterations);
  must_be_caught<Reading<Sabotage::started_read_first>>(0);
  must_be_caught<Large<Sabotage::reaped_without_lock>>(kIterations);
  must_be_caught<Reaping<Sabotage::reaped_without_lock>>(0);
  must_be_caught<Large<Sabotage::taken_without_reaping>>(kIterations);
  must_be_caught<Inheriting<Sabotage::taken_without_reaping>>(0);
}

}  // namespace ballast::model
