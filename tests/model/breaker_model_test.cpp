// The breaker and its budget (engine/breaker.hpp, engine/ejection_budget.hpp), explored by Relacy.
// Two programs. Opening: workers that report failures and successes of several instances, and a
// checker that counts; each worker may be killed at any store. No more breakers than the budget
// allows are ever out, and a count makes exact what the dead left. Trying: workers that meet a due
// breaker, hold its permit for a while and report, die or come late, beside a checker that frees
// what the dead held. No two permits within one's time; only the holder decides. Every sabotaged
// variant must be caught. Guards docs/memory-model.md#breaker and #ejection-budget.
#include <doctest/doctest.h>

#include <array>
#include <optional>

#include "engine/breaker.hpp"
#include "tests/model/relacy_word.hpp"

namespace ballast::model {
namespace {

enum class Sabotage {
  none,
  changed_by_storing,
  opened_before_the_budget,
  counted_without_touching,
  counted_without_version,
  given_back_regardless,
  word_loaded_late,
  recounts_read_late,
  report_without_stamp,
  hint_without_stamp,
  permits_not_counted,
  clock_before_the_word,
  changes_relaxed,
  changes_loaded_relaxed,
};

constexpr const char* name_of(Sabotage sabotage) noexcept {
  switch (sabotage) {
    case Sabotage::none:
      return "breaker";
    case Sabotage::changed_by_storing:
      return "breaker, changed by a load and a store";
    case Sabotage::opened_before_the_budget:
      return "breaker, opened before the budget is taken";
    case Sabotage::counted_without_touching:
      return "breaker, counted without touching closed ones";
    case Sabotage::counted_without_version:
      return "breaker, counted without a version";
    case Sabotage::given_back_regardless:
      return "breaker, given back after a count";
    case Sabotage::word_loaded_late:
      return "breaker, the word loaded after the budget is taken";
    case Sabotage::recounts_read_late:
      return "breaker, the number of counts read after closing";
    case Sabotage::report_without_stamp:
      return "breaker, a report that does not look at the stamp";
    case Sabotage::hint_without_stamp:
      return "breaker, a hint without a stamp";
    case Sabotage::permits_not_counted:
      return "breaker, permits not counted";
    case Sabotage::clock_before_the_word:
      return "breaker, the clock read before the word";
    case Sabotage::changes_relaxed:
      return "breaker, changed relaxed";
    case Sabotage::changes_loaded_relaxed:
      return "breaker, loaded relaxed";
  }
  return "?";
}

using engine::Breaker;
using engine::BreakerState;
using engine::Budget;
using engine::Effect;
using engine::Noted;

constexpr std::uint32_t kTenant = 1;
constexpr std::uint64_t kStart = 100;
constexpr unsigned kNobody = ~0U;

// What really is, kept beside the model by every change in the order of its word: Relacy runs one
// thread at a time and does not see this.
struct Audit {
  std::uint64_t now = kStart;
  unsigned cap = 1;
  unsigned out = 0;    // breakers not closed
  unsigned count = 0;  // what the budget's word says
  unsigned opened = 0;
  unsigned holder = kNobody;  // of the permit
  std::uint64_t permit_end = 0;
  std::array<bool, Mortality::kThreads> gone{};  // rows that nobody holds any more
  unsigned checker = kNobody;                    // the thread that may free a dead one's permit

  void changed(const Breaker& from, const Breaker& to) {
    const bool was_out = from.state != BreakerState::closed;
    const bool is_out = to.state != BreakerState::closed;
    if (!was_out && is_out) ++opened;
    if (was_out && !is_out) --out;
    if (!was_out && is_out) ++out;
    check_budget();
    const unsigned self = rl::thread_index();
    if (from.state == BreakerState::half_open && to.state != BreakerState::half_open) {
      RL_ASSERT(self == holder || (self == checker && gone[holder]));
      holder = kNobody;
    }
    if (to.state == BreakerState::half_open) {
      RL_ASSERT(from.until_ms <= now);
      holder = self;
      permit_end = to.until_ms;
    }
  }
  void check_budget() const {
    RL_ASSERT(out <= count);
    RL_ASSERT(out <= cap);
  }
};
inline Audit audit;

constexpr Orders orders_of(Sabotage sabotage) noexcept {
  if (sabotage == Sabotage::changes_relaxed) return Orders::relaxed_stores;
  return sabotage == Sabotage::changes_loaded_relaxed ? Orders::relaxed_loads : Orders::as_written;
}

// A word whose changes are audited, at once.
template <Sabotage kSabotage, bool kIsBudget>
class Audited : public Word<orders_of(kSabotage)> {
 public:
  using Base = Word<orders_of(kSabotage)>;

  bool compare_exchange_strong(std::uint64_t& expected, std::uint64_t desired,
                               std::memory_order success, std::memory_order failure) {
    if (mortality.dead()) return true;
    const std::uint64_t from = expected;
    if constexpr (kSabotage == Sabotage::changed_by_storing && !kIsBudget) {
      const std::uint64_t now = Base::load(failure);
      if (now != expected) {
        expected = now;
        return false;
      }
      Base::store(desired, success);
    } else if (!Base::compare_exchange_strong(expected, desired, success, failure)) {
      return false;
    }
    if constexpr (kIsBudget) {
      audit.count = engine::unpack_budget(desired).count;
      audit.check_budget();
    } else {
      audit.changed(engine::unpack_breaker(from), engine::unpack_breaker(desired));
    }
    return true;
  }
};

// A budget's word that comes back to a value that it had.
template <class Base>
class Unversioned : public Base {
 public:
  static constexpr std::uint64_t kVersion = std::uint64_t{0xfffff} << 32;
  bool compare_exchange_strong(std::uint64_t& expected, std::uint64_t desired,
                               std::memory_order success, std::memory_order failure) {
    return Base::compare_exchange_strong(expected, desired & ~kVersion, success, failure);
  }
};

template <Sabotage kSabotage>
using BreakerWord = Audited<kSabotage, false>;
template <Sabotage kSabotage>
using BudgetWord =
    std::conditional_t<kSabotage == Sabotage::counted_without_version,
                       Unversioned<Audited<kSabotage, true>>, Audited<kSabotage, true>>;

// Not explored: the window and, where it is not the matter, the hint decide nothing here.
struct PlainWord {
  std::uint64_t value = 0;
  std::uint64_t load(std::memory_order) const { return value; }
  void store(std::uint64_t next, std::memory_order) {
    if (!mortality.dead()) value = next;
  }
  bool compare_exchange_strong(std::uint64_t&, std::uint64_t next, std::memory_order order,
                               std::memory_order) {
    store(next, order);
    return true;
  }
};

template <class Word, class Permit>
struct Words {
  Word& breaker;
  PlainWord& window;
  Permit& permit;
};

constexpr auto kClock = [] { return audit.now; };

constexpr engine::Policy policy() {
  engine::Policy policy;
  policy.breaker_consecutive = 2;
  policy.breaker_rate_percent = 0;
  policy.breaker_open_ms = 4;
  policy.breaker_open_max_ms = 4;
  policy.breaker_trial_ms = 2;
  policy.breaker_jitter_percent = 0;
  return policy;
}

struct Seen {
  std::uint64_t opened = 0;
  std::uint64_t refused = 0;
  std::uint64_t closed = 0;
  std::uint64_t killed = 0;
  std::uint64_t repaired = 0;  // counts that changed the budget
  std::uint64_t taken = 0;     // permits
  std::uint64_t taken_over = 0;
  std::uint64_t freed = 0;
  std::uint64_t too_late = 0;  // reports of a permit that another had
};

// Instance 0 is being tried by the closer, who has its permit. The others are closed and each is
// one failure away from opening.
template <Sabotage kSabotage, unsigned kClosers, unsigned kOpeners, unsigned kInstances,
          unsigned kCounts, unsigned kCap>
struct Opening : rl::test_suite<Opening<kSabotage, kClosers, kOpeners, kInstances, kCounts, kCap>,
                                kClosers + kOpeners + (kCounts != 0 ? 1 : 0)> {
  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  BreakerWord<kSabotage> breakers[kInstances];
  PlainWord window;
  PlainWord permit;
  BudgetWord<kSabotage> budget;

  static constexpr Breaker kTried{BreakerState::half_open, 0, 1, 1, kStart + 2};

  void before() {
    mortality.reset();
    audit = {};
    audit.cap = kCap;
    audit.checker = kClosers + kOpeners;
    for (auto& word : breakers)
      word.preset(engine::pack(Breaker{BreakerState::closed, 1, 0, 1, kStart}));
    if (kClosers != 0) {
      breakers[0].preset(engine::pack(kTried));
      audit.out = audit.count = 1;
      audit.holder = 0;
    }
    budget.preset(engine::pack(Budget{audit.count, 0, 0}));
  }

  void thread(unsigned index) {
    if (index < kClosers) {
      close();
    } else if (index < kClosers + kOpeners) {
      open(kInstances == 1 ? 0 : kClosers + (index - kClosers) % (kInstances - kClosers));
    } else {
      for (unsigned i = 0; i < kCounts; ++i)
        count();
    }
  }

  // When all are gone the checker counts once more.
  void after() {
    mortality.reset();
    while (!count()) {
    }
    RL_ASSERT(audit.count == audit.out);
    RL_ASSERT(kInstances > 1 || audit.opened <= 1);
  }

 private:
  [[nodiscard]] auto words(unsigned i) {
    return Words<BreakerWord<kSabotage>, PlainWord>{breakers[i], window, permit};
  }

  void give(engine::BudgetTaken taken) {
    if constexpr (kSabotage == Sabotage::given_back_regardless) {
      taken = engine::held_budget(budget);
    }
    engine::give_budget(budget, taken);
  }

  void open(unsigned i) {
    mortality.may_die_within(3);
    Noted noted = Noted::nothing;
    if constexpr (kSabotage == Sabotage::opened_before_the_budget) {
      std::uint64_t was = breakers[i].load(std::memory_order_acquire);
      const Breaker b = engine::unpack_breaker(was);
      if (b.state != BreakerState::closed) return;
      if (!engine::change(breakers[i], was, engine::opened(b, policy(), 1, i, audit.now))) return;
      if (engine::take_budget(budget, kCap)) return;
      was = breakers[i].load(std::memory_order_acquire);
      static_cast<void>(engine::change(breakers[i], was, b));
    } else if constexpr (kSabotage == Sabotage::word_loaded_late) {
      const auto taken = engine::take_budget(budget, kCap);
      if (!taken) return;
      std::uint64_t was = breakers[i].load(std::memory_order_acquire);
      const Breaker b = engine::unpack_breaker(was);
      if (b.state == BreakerState::closed &&
          engine::change(breakers[i], was, engine::opened(b, policy(), 1, i, audit.now))) {
        return;
      }
      give(*taken);
    } else if constexpr (kSabotage == Sabotage::given_back_regardless) {
      std::uint64_t was = breakers[i].load(std::memory_order_acquire);
      const Breaker b = engine::unpack_breaker(was);
      if (b.state != BreakerState::closed) return;
      const auto taken = engine::take_budget(budget, kCap);
      if (!taken) return;
      if (!engine::change(breakers[i], was, engine::opened(b, policy(), 1, i, audit.now))) {
        give(*taken);
      }
    } else {
      noted = engine::note_failure(words(i), {kTenant, i}, policy(), budget, kCap, kClock);
    }
    if (mortality.dead()) {
      ++seen.killed;
    } else if (noted == Noted::opened) {
      ++seen.opened;
    } else if (noted == Noted::refused) {
      ++seen.refused;
    }
  }

  void close() {
    mortality.may_die_within(2);
    if constexpr (kSabotage == Sabotage::recounts_read_late ||
                  kSabotage == Sabotage::given_back_regardless) {
      std::uint64_t was = engine::pack(kTried);
      if (!engine::change(breakers[0], was, {BreakerState::closed, 0, 1, 1, audit.now})) return;
      give(engine::held_budget(budget));
    } else if (engine::decide_trial(words(0), {kTenant, 0}, policy(), engine::stamp_of(kTried),
                                    Effect::success, 0, budget, kClock) == Noted::closed) {
      ++seen.closed;
    }
  }

  bool count() {
    const unsigned before = audit.count;
    const bool counted = engine::recount(budget, [this] {
      std::uint32_t out = 0;
      for (auto& word : breakers) {
        if constexpr (kSabotage == Sabotage::counted_without_touching) {
          out += engine::is_out(word, kTenant) ? 1 : 0;
        } else {
          out += engine::settle_breaker(word, kTenant, kClock);
        }
      }
      return out;
    });
    if (audit.count != before) ++seen.repaired;
    return counted;
  }
};

// Instance 0 is open and due. Rows are numbered as threads are.
template <Sabotage kSabotage, unsigned kWorkers, unsigned kPicks, unsigned kLooks>
struct Trying : rl::test_suite<Trying<kSabotage, kWorkers, kPicks, kLooks>, kWorkers + 1> {
  static inline Seen seen;
  static std::string name() { return name_of(kSabotage); }

  BreakerWord<kSabotage> breaker;
  PlainWord window;
  Word<> permit;
  Word<> claims[kWorkers];  // as in the rows' directory: live or not
  BudgetWord<kSabotage> budget;

  void before() {
    mortality.reset();
    audit = {};
    audit.out = audit.count = 1;
    audit.checker = kWorkers;
    breaker.preset(engine::pack(Breaker{BreakerState::open, 0, 1, 1, kStart}));
    permit.preset(0);
    for (auto& claim : claims)
      claim.preset(kFree);
    budget.preset(engine::pack(Budget{1, 0, 0}));
  }

  void thread(unsigned index) {
    if (index < kWorkers) {
      work(index);
    } else {
      for (unsigned i = 0; i < kLooks; ++i) {
        if (free_permit()) ++seen.freed;
      }
    }
  }

  static constexpr std::uint64_t kFree = 0;
  static constexpr std::uint64_t kLive = 1;

  // Nothing is stuck: after its time somebody can try, and close it.
  void after() {
    mortality.reset();
    audit.now += 100;
    if (audit.out == 0) return;
    const auto stamp = engine::take_permit(words(), kTenant, policy(), 9, 1, kClock);
    RL_ASSERT(stamp.has_value());
    if (!stamp) return;
    audit.holder = rl::thread_index();
    RL_ASSERT(decide(*stamp, Effect::success) == Noted::closed);
    RL_ASSERT(audit.out == 0 && audit.count == 0);
  }

 private:
  [[nodiscard]] auto words() {
    return Words<BreakerWord<kSabotage>, Word<>>{breaker, window, permit};
  }

  Noted decide(std::uint32_t stamp, Effect effect) {
    if constexpr (kSabotage == Sabotage::report_without_stamp) {
      stamp = engine::stamp_of(engine::unpack_breaker(breaker.load(std::memory_order_acquire)));
    }
    return engine::decide_trial(words(), {kTenant, 0}, policy(), stamp, effect, 0, budget, kClock);
  }

  std::optional<std::uint32_t> take(unsigned row) {
    if constexpr (kSabotage == Sabotage::permits_not_counted) {
      std::uint64_t was = breaker.load(std::memory_order_acquire);
      Breaker next = engine::unpack_breaker(was);
      if (!engine::is_due(next, policy(), audit.now)) return std::nullopt;
      next = engine::tried(next, policy(), audit.now);
      next.count = 0;
      if (!engine::change(breaker, was, next)) return std::nullopt;
      const engine::PermitHint hint{static_cast<std::uint16_t>(row), 1, engine::stamp_of(next)};
      permit.store(engine::pack(hint), std::memory_order_relaxed);
      return engine::stamp_of(next);
    } else if constexpr (kSabotage == Sabotage::clock_before_the_word) {
      const std::uint64_t now = audit.now;
      return engine::take_permit(words(), kTenant, policy(), row, 1, [now] { return now; });
    } else {
      return engine::take_permit(words(), kTenant, policy(), row, 1, kClock);
    }
  }

  void work(unsigned row) {
    claims[row].store(kLive, std::memory_order_release);
    mortality.may_die_within(2 * kPicks);
    for (unsigned i = 0; i < kPicks && !mortality.dead(); ++i) {
      const bool over = audit.holder != kNobody;
      const auto stamp = take(row);
      if (mortality.dead() || !stamp) continue;
      ++seen.taken;
      if (over) ++seen.taken_over;
      audit.now += rl::rand(4);
      const Effect effects[] = {Effect::none, Effect::success, Effect::failure};
      const Noted noted = decide(*stamp, effects[rl::rand(3)]);
      if (!mortality.dead() && noted == Noted::nothing) ++seen.too_late;
      audit.now += rl::rand(2);
    }
    // It left or died, in any case its lock is free. Where it died the checker frees the row.
    audit.gone[row] = true;
    claims[row].store(kFree, std::memory_order_release);
    if (mortality.dead()) ++seen.killed;
  }

  bool free_permit() {
    for (unsigned row = 0; row < kWorkers; ++row) {
      if (audit.gone[row]) claims[row].store(kFree, std::memory_order_release);
    }
    const auto is_gone = [this](std::uint32_t row, std::uint32_t) {
      return claims[row].load(std::memory_order_relaxed) != kLive;
    };
    if constexpr (kSabotage == Sabotage::hint_without_stamp) {
      const auto hint = engine::unpack_permit(permit.load(std::memory_order_relaxed));
      std::uint64_t was = breaker.load(std::memory_order_acquire);
      const Breaker b = engine::unpack_breaker(was);
      if (b.state != BreakerState::half_open || !is_gone(hint.row, 1)) return false;
      return engine::change(breaker, was, engine::due_now(b, audit.now));
    } else {
      return engine::release_permit(words(), is_gone, kClock);
    }
  }
};

constexpr std::uint64_t kIterations = 300'000;

// Two workers who see the fifth failure at once; and everybody at once.
template <Sabotage kSabotage>
using Racing = Opening<kSabotage, 0, 2, 1, 0, 1>;
template <Sabotage kSabotage>
using Counting = Opening<kSabotage, 0, 2, 2, 2, 1>;
template <Sabotage kSabotage>
using Everything = Opening<kSabotage, 1, 3, 4, 3, 2>;
template <Sabotage kSabotage>
using Closing = Opening<kSabotage, 1, 1, 2, 2, 1>;
template <Sabotage kSabotage>
using Trials = Trying<kSabotage, 3, 2, 3>;

}  // namespace

TEST_CASE("no more are out than the budget allows, whoever dies, and a count makes it exact") {
  using Model = Everything<Sabotage::none>;
  must_hold<Model>(kIterations);
  // Not idle.
  CHECK(Model::seen.opened > kIterations / 10);
  CHECK(Model::seen.refused > kIterations / 100);
  CHECK(Model::seen.closed > kIterations / 10);
  CHECK(Model::seen.killed > kIterations / 10);
  CHECK(Model::seen.repaired > kIterations / 100);
  must_hold<Counting<Sabotage::none>>(kIterations);
  must_hold<Closing<Sabotage::none>>(kIterations);
}

TEST_CASE("one permit at a time, and only its holder decides") {
  using Model = Trials<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen.taken > kIterations / 2);
  CHECK(Model::seen.taken_over > kIterations / 100);
  CHECK(Model::seen.freed > kIterations / 100);
  CHECK(Model::seen.too_late > kIterations / 100);
  CHECK(Model::seen.killed > kIterations / 10);
}

TEST_CASE("every schedule of two workers who see the last failure at once") {
  must_hold<Racing<Sabotage::none>>(0);
  CHECK(Racing<Sabotage::none>::seen.opened > 0);
  must_be_caught<Racing<Sabotage::changed_by_storing>>(0);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<Counting<Sabotage::opened_before_the_budget>>(kIterations);
  must_be_caught<Counting<Sabotage::counted_without_touching>>(kIterations);
  must_be_caught<Closing<Sabotage::counted_without_version>>(kIterations);
  must_be_caught<Closing<Sabotage::given_back_regardless>>(kIterations);
  must_be_caught<Counting<Sabotage::word_loaded_late>>(kIterations);
  must_be_caught<Closing<Sabotage::recounts_read_late>>(kIterations);
  must_be_caught<Trials<Sabotage::changed_by_storing>>(kIterations);
  must_be_caught<Trials<Sabotage::report_without_stamp>>(kIterations);
  must_be_caught<Trials<Sabotage::hint_without_stamp>>(kIterations);
  must_be_caught<Trials<Sabotage::permits_not_counted>>(kIterations);
  must_be_caught<Trials<Sabotage::clock_before_the_word>>(kIterations);
  must_be_caught<Trials<Sabotage::changes_relaxed>>(kIterations);
  must_be_caught<Trials<Sabotage::changes_loaded_relaxed>>(kIterations);
}

}  // namespace ballast::model
