// The journal in front of a row (shm/journal.hpp), explored by Relacy: owners that count and
// append, one after the other, each of which may be killed at any store, and a reader who keeps
// what it has last seen of each slot, as the checker's load board does. Whatever the reader says it
// has read, it must have missed no count that an entry before its position stands for; and when all
// is reaped, it ends with exactly what was counted. Every sabotaged variant must be caught. Guards
// docs/memory-model.md#journal.
#include <doctest/doctest.h>

#include <utility>

#include "shm/journal.hpp"
#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

enum class Sabotage {
  none,
  stores_relaxed,
  loads_relaxed,
  entries_relaxed,
  head_looked_at_once,
  appended_before_counting,
  claim_not_looked_at,
};

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "journal";
    case Sabotage::stores_relaxed:
      return "journal, stored relaxed";
    case Sabotage::loads_relaxed:
      return "journal, loaded relaxed";
    case Sabotage::entries_relaxed:
      return "journal, entries stored relaxed";
    case Sabotage::head_looked_at_once:
      return "journal, head looked at once";
    case Sabotage::appended_before_counting:
      return "journal, appended before counting";
    case Sabotage::claim_not_looked_at:
      return "journal, the row's claim not looked at";
  }
  return "?";
}

constexpr unsigned kSlots = 3;

template <Orders kHeadOrders, Orders kEntryOrders>
struct Journal {
  Word<kHeadOrders> head;
  Word<kEntryOrders> entries[2];
};

struct Seen {
  std::uint64_t killed = 0;
  std::uint64_t overrun = 0;
  std::uint64_t read = 0;
  std::uint64_t scanned = 0;
};

template <Sabotage kSabotage, unsigned kOwners, unsigned kRequests, unsigned kLooks, bool kDeath>
struct JournalModel
    : rl::test_suite<JournalModel<kSabotage, kOwners, kRequests, kLooks, kDeath>, kOwners + 1> {
  static constexpr Orders kHeadOrders =
      kSabotage == Sabotage::stores_relaxed
          ? Orders::relaxed_stores
          : (kSabotage == Sabotage::loads_relaxed ? Orders::relaxed_loads : Orders::as_written);
  static constexpr Orders kEntryOrders =
      kSabotage == Sabotage::entries_relaxed ? Orders::relaxed_stores : kHeadOrders;
  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  Journal<kHeadOrders, kEntryOrders> journal;
  Word<> claim;
  Word<> counts[kSlots];
  KernelLock lock;
  std::uint64_t really[kSlots] = {};  // counted beside the model
  std::uint64_t next = 0;

  // The reader's own memory.
  std::uint64_t position = 0;
  std::uint64_t known_claim = 0;
  std::uint64_t last[kSlots] = {};

  void before() {
    mortality.reset();
    journal.head.preset(0);
    for (auto& entry : journal.entries)
      entry.preset(kSlots);  // nobody's slot
    claim.preset(0);
    for (auto& count : counts)
      count.preset(0);
  }

  void thread(unsigned index) {
    if (index < kOwners) {
      own();
    } else {
      for (unsigned i = 0; i < kLooks; ++i) {
        look();
        if constexpr (!kDeath) expect_all_of_position();
      }
    }
  }

  void after() {
    mortality.reset();
    if (shm::unpack_identity(claim.load(std::memory_order_relaxed)).phase == shm::Phase::live)
      release();
    look();
    for (unsigned i = 0; i < kSlots; ++i)
      RL_ASSERT(last[i] == really[i]);
  }

 private:
  void own() {
    lock.lock();
    if constexpr (kDeath) mortality.may_die_within(3 * kRequests + 2);
    // As take(): a dead predecessor's row is reaped first.
    const shm::Identity was = shm::unpack_identity(claim.load(std::memory_order_relaxed));
    claim.store(shm::pack(shm::Identity{was.incarnation + 1, shm::Phase::live}),
                std::memory_order_release);
    for (unsigned i = 0; i < kRequests && !mortality.dead(); ++i) {
      const auto slot = static_cast<std::uint16_t>(next++ % kSlots);
      const auto count = [&] {
        if (!mortality.dead()) ++really[slot];
        shm::count_started(counts[slot]);
      };
      if constexpr (kSabotage == Sabotage::appended_before_counting) {
        shm::append_journal(journal, slot);
        count();
      } else {
        count();
        shm::append_journal(journal, slot);
      }
    }
    if (mortality.dead()) {
      ++seen.killed;
    } else {
      release();
    }
    lock.unlock();
  }

  void release() {
    const shm::Identity was = shm::unpack_identity(claim.load(std::memory_order_relaxed));
    claim.store(shm::pack(shm::Identity{was.incarnation, shm::Phase::free}),
                std::memory_order_release);
  }

  // As the load board looks at a row.
  void look() {
    const auto read_count = [&](std::uint64_t slot) {
      if (slot < kSlots) last[slot] = counts[slot].load(std::memory_order_relaxed);
    };
    const std::uint64_t now = claim.load(std::memory_order_acquire);
    bool whole = now != known_claim && kSabotage != Sabotage::claim_not_looked_at;
    known_claim = now;
    if (whole) ++seen.scanned;
    if constexpr (kSabotage == Sabotage::head_looked_at_once) {
      const std::uint64_t head = journal.head.load(std::memory_order_acquire);
      const std::uint64_t from = std::exchange(position, head);
      if (head - from >= 2) whole = true;
      for (std::uint64_t i = from; !whole && i < head; ++i)
        read_count(journal.entries[i % 2].load(std::memory_order_acquire));
    } else if (shm::read_journal(journal, position, read_count)) {
      ++seen.read;
    } else {
      ++seen.overrun;
      whole = true;
    }
    for (unsigned i = 0; i < kSlots && whole; ++i)
      read_count(i);
  }

  // One owner who does not die appends slot after slot.
  void expect_all_of_position() {
    for (unsigned i = 0; i < kSlots; ++i) {
      const std::uint64_t appended = (position + kSlots - 1 - i) / kSlots;
      RL_ASSERT(last[i] >= appended);
    }
  }
};

template <Sabotage kSabotage>
using Reading = JournalModel<kSabotage, 1, 6, 4, false>;
template <Sabotage kSabotage>
using Dying = JournalModel<kSabotage, 3, 3, 4, true>;
// Every schedule of an owner who fills the ring and a reader.
template <Sabotage kSabotage>
using Small = JournalModel<kSabotage, 1, 2, 1, false>;

constexpr std::uint64_t kIterations = 300'000;

}  // namespace

TEST_CASE("a reader misses no count that its position stands for") {
  using Model = Reading<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen.overrun > kIterations / 100);
  CHECK(Model::seen.read > kIterations / 10);
  must_hold<Small<Sabotage::none>>(0);
}

TEST_CASE("whoever dies and whenever, the reader ends exact") {
  using Model = Dying<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen.killed > kIterations / 10);
  CHECK(Model::seen.scanned > kIterations / 10);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<Reading<Sabotage::stores_relaxed>>(kIterations);
  must_be_caught<Reading<Sabotage::loads_relaxed>>(kIterations);
  must_be_caught<Reading<Sabotage::entries_relaxed>>(kIterations);
  must_be_caught<Reading<Sabotage::head_looked_at_once>>(kIterations);
  must_be_caught<Reading<Sabotage::appended_before_counting>>(kIterations);
  must_be_caught<Dying<Sabotage::claim_not_looked_at>>(kIterations);
}

}  // namespace ballast::model
