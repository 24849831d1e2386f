// The ejection budget (engine/ejection_budget.hpp) and the breakers that it limits, explored by
// Relacy: workers that report failures and successes of several instances, and a checker that
// counts; each worker may be killed at any store. No more breakers than the budget allows are ever
// out, and a count makes exact what the dead left. Every sabotaged variant must be caught. Guards
// docs/memory-model.md#ejection-budget.
#include <doctest/doctest.h>

#include "engine/ejection_budget.hpp"
#include "tests/model/breaker_words.hpp"

namespace ballast::model {
namespace {

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
}

}  // namespace ballast::model
