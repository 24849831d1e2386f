// The limits (shm/tokens.hpp), explored by Relacy: workers take and give tokens of one word and may
// be killed at any store, while a checker reaps rows and sets the word to what rows hold. At no
// time may the living hold more than the limit, and when all is reaped and counted the word says
// exactly what they hold. Every sabotaged variant must be caught. Guards
// docs/memory-model.md#tokens.
#include <doctest/doctest.h>

#include "shm/tokens.hpp"
#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

enum class Sabotage {
  none,
  row_words_relaxed,
  row_words_loaded_relaxed,
  swaps_relaxed,
  swaps_loaded_relaxed,
  without_version,
  pending_not_looked_at,
  pending_looked_at_late,
  given_in_the_row_first,
  dirty_before_dropping,
};

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "tokens";
    case Sabotage::row_words_relaxed:
      return "tokens, the row's words stored relaxed";
    case Sabotage::row_words_loaded_relaxed:
      return "tokens, the row's words loaded relaxed";
    case Sabotage::swaps_relaxed:
      return "tokens, swapped relaxed";
    case Sabotage::swaps_loaded_relaxed:
      return "tokens, the word loaded relaxed";
    case Sabotage::without_version:
      return "tokens, without a version";
    case Sabotage::pending_not_looked_at:
      return "tokens, what is pending not looked at";
    case Sabotage::pending_looked_at_late:
      return "tokens, what is pending looked at after adding up";
    case Sabotage::given_in_the_row_first:
      return "tokens, given back in the row before the word";
    case Sabotage::dirty_before_dropping:
      return "tokens, dirty before they are dropped";
  }
  return "?";
}

// A word that comes back to a value that it had.
template <Orders kOrders>
class Unversioned : public Word<kOrders> {
 public:
  std::uint64_t load(std::memory_order order) const {
    return Word<kOrders>::load(order) & 0xffffffff;
  }
  bool compare_exchange_strong(std::uint64_t& expected, std::uint64_t desired,
                               std::memory_order success, std::memory_order failure) {
    return Word<kOrders>::compare_exchange_strong(expected, desired & 0xffffffff, success, failure);
  }
};

struct Seen {
  std::uint64_t killed = 0;
  std::uint64_t refused = 0;
  std::uint64_t reaped = 0;
  std::uint64_t busy = 0;
  std::uint64_t changed = 0;
  std::uint64_t kept = 0;
};

constexpr shm::TokenName kName{shm::TokenKind::instance, 7};

// A reaper is somebody who claims a row of the dead: it drops, and only checkers reconcile.
template <Sabotage kSabotage, unsigned kWorkers, unsigned kCheckers, unsigned kReapers,
          unsigned kRequests, unsigned kLooks, bool kDeath>
struct TokensModel
    : rl::test_suite<
          TokensModel<kSabotage, kWorkers, kCheckers, kReapers, kRequests, kLooks, kDeath>,
          kWorkers + kCheckers + kReapers> {
  static constexpr Orders kRowOrders =
      kSabotage == Sabotage::row_words_relaxed
          ? Orders::relaxed_stores
          : (kSabotage == Sabotage::row_words_loaded_relaxed ? Orders::relaxed_loads
                                                             : Orders::as_written);
  static constexpr Orders kWordOrders =
      kSabotage == Sabotage::swaps_relaxed
          ? Orders::relaxed_stores
          : (kSabotage == Sabotage::swaps_loaded_relaxed ? Orders::relaxed_loads
                                                         : Orders::as_written);
  static constexpr std::uint32_t kLimit = 1;
  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  struct Row {
    Word<kRowOrders> pending;
    Word<kRowOrders> held[1];
    Word<kRowOrders> elsewhere;  // in place of `held`, for one kind of sabotage
    bool owner_died = false;     // only looked at under the lock
    KernelLock lock;
  };

  std::conditional_t<kSabotage == Sabotage::without_version, Unversioned<kWordOrders>,
                     Word<kWordOrders>>
      tokens;
  Word<> dirty;
  Row rows[kWorkers];
  std::uint32_t living_hold = 0;    // counted beside the model, one thread at a time
  std::uint64_t handled_dirty = 0;  // by the checker in office

  void before() {
    mortality.reset();
    tokens.preset(0);
    dirty.preset(0);
    for (Row& row : rows) {
      row.pending.preset(0);
      row.held[0].preset(0);
      row.elsewhere.preset(0);
    }
  }

  void thread(unsigned index) {
    if (index < kWorkers) {
      work(rows[index]);
    } else {
      for (unsigned i = 0; i < kLooks && !mortality.dead(); ++i) {
        for (Row& row : rows)
          reap_if_dead(row);
        if (index < kWorkers + kCheckers) reconcile(/*next=*/false);
      }
    }
  }

  // The checker, or its successor, comes by when all is quiet.
  void after() {
    mortality.reset();
    for (Row& row : rows)
      reap_if_dead(row);
    reconcile(/*next=*/kCheckers == 0);
    RL_ASSERT(shm::unpack_tokens(tokens.load(std::memory_order_relaxed)).used == living_hold);
  }

 private:
  void work(Row& row) {
    row.lock.lock();
    if constexpr (kDeath) mortality.may_die_within(4 * kRequests);
    bool holds = false;
    for (unsigned i = 0; i < kRequests && !mortality.dead(); ++i) {
      holds = shm::take_token(tokens, row.pending, row.held[0], kName, kLimit);
      if (mortality.dead()) break;
      if (!holds) {
        ++seen.refused;
        continue;
      }
      ++living_hold;
      RL_ASSERT(living_hold <= kLimit);
      if (i + 1 == kRequests && rl::rand(2) == 0) break;  // keeps it
      --living_hold;
      holds = false;
      give(row);
    }
    if (mortality.dead()) {
      // What it held died with it: living_hold counts only what a living thread took or gives.
      ++seen.killed;
      row.owner_died = true;
    } else if (holds) {
      ++seen.kept;  // and stays in the row, which nobody reaps
    }
    row.lock.unlock();
  }

  void give(Row& row) {
    if constexpr (kSabotage == Sabotage::given_in_the_row_first) {
      const std::uint64_t held = row.held[0].load(std::memory_order_relaxed);
      row.held[0].store(held - 1, std::memory_order_release);
      row.elsewhere.store(1, std::memory_order_relaxed);
      shm::give_token(tokens, row.pending, row.elsewhere, kName);
    } else {
      shm::give_token(tokens, row.pending, row.held[0], kName);
    }
  }

  // As reap_dead_rows.
  void reap_if_dead(Row& row) {
    if (!row.lock.try_lock()) return;
    if (row.owner_died) {
      if constexpr (kSabotage == Sabotage::dirty_before_dropping) {
        dirty.fetch_add(1, std::memory_order_release);
        row.held[0].store(0, std::memory_order_release);
        row.pending.store(0, std::memory_order_release);
      } else {
        shm::drop_tokens(dirty, row.pending, row.held, [](auto& held) -> auto& { return held; });
      }
      if (!mortality.dead()) {
        row.owner_died = false;  // reaped and free
        ++seen.reaped;
      }
    }
    row.lock.unlock();
  }

  void reconcile(bool next) {
    const std::uint64_t now = dirty.load(std::memory_order_acquire);
    // Without reapers at every look, since it must be sound at any time.
    if (!next && kReapers != 0 && now == handled_dirty) return;
    const auto pending = [&] {
      if constexpr (kSabotage == Sabotage::pending_not_looked_at) return false;
      return any_pending();
    };
    const auto sum = [&] {
      std::uint32_t held = 0;
      for (Row& row : rows)
        held += shm::held_of(row.held[0].load(std::memory_order_acquire), kName.kind);
      return held;
    };
    shm::Reconciled done{};
    if constexpr (kSabotage == Sabotage::pending_looked_at_late) {
      std::uint32_t held = 0;
      done = shm::reconcile_tokens(
          tokens,
          [&] {
            held = sum();
            return any_pending();
          },
          [&] { return held; });
    } else {
      done = shm::reconcile_tokens(tokens, pending, sum);
    }
    if (done == shm::Reconciled::busy) {
      ++seen.busy;
      return;
    }
    if (done == shm::Reconciled::changed) ++seen.changed;
    if (!mortality.dead()) handled_dirty = now;
  }

  [[nodiscard]] bool any_pending() {
    for (Row& row : rows) {
      if (row.pending.load(std::memory_order_acquire) == shm::pack(kName)) return true;
    }
    return false;
  }
};

template <Sabotage kSabotage>
using Large = TokensModel<kSabotage, 3, 1, 0, 3, 3, true>;
template <Sabotage kSabotage>
using Reaping = TokensModel<kSabotage, 2, 1, 1, 1, 2, true>;
template <Sabotage kSabotage>
using Reconciling = TokensModel<kSabotage, 2, 1, 0, 2, 3, false>;
// Every schedule of one who takes, gives and dies against one who reaps and counts.
template <Sabotage kSabotage>
using Small = TokensModel<kSabotage, 1, 1, 0, 1, 1, true>;

constexpr std::uint64_t kIterations = 500'000;

}  // namespace

TEST_CASE("the limit holds and the count ends exact, whoever dies and whenever") {
  using Model = Large<Sabotage::none>;
  must_hold<Model>(kIterations);
  // Not idle.
  CHECK(Model::seen.killed > kIterations / 10);
  CHECK(Model::seen.refused > kIterations / 10);
  CHECK(Model::seen.reaped > kIterations / 10);
  CHECK(Model::seen.busy > kIterations / 100);
  CHECK(Model::seen.changed > kIterations / 100);
  CHECK(Model::seen.kept > kIterations / 100);
  must_hold<Reaping<Sabotage::none>>(kIterations);
  CHECK(Reaping<Sabotage::none>::seen.reaped > kIterations / 10);
  must_hold<Reconciling<Sabotage::none>>(kIterations);
}

TEST_CASE("every schedule of a worker and a checker") {
  must_hold<Small<Sabotage::none>>(0);
  CHECK(Small<Sabotage::none>::seen.changed > 0);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<Reconciling<Sabotage::row_words_relaxed>>(kIterations);
  must_be_caught<Reconciling<Sabotage::row_words_loaded_relaxed>>(kIterations);
  must_be_caught<Reconciling<Sabotage::swaps_relaxed>>(kIterations);
  must_be_caught<Reconciling<Sabotage::swaps_loaded_relaxed>>(kIterations);
  must_be_caught<Reconciling<Sabotage::without_version>>(kIterations);
  must_be_caught<Reconciling<Sabotage::pending_not_looked_at>>(kIterations);
  must_be_caught<Reconciling<Sabotage::pending_looked_at_late>>(kIterations);
  must_be_caught<Reconciling<Sabotage::given_in_the_row_first>>(kIterations);
  must_be_caught<Reaping<Sabotage::dirty_before_dropping>>(kIterations);
}

}  // namespace ballast::model
