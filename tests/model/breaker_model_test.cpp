// The breaker (engine/breaker.hpp), explored by Relacy: workers that meet a due breaker, hold its
// permit for a while and report, die or come late, beside a checker that frees what the dead held.
// No two permits within one's time; only the holder decides. Every sabotaged variant must be
// caught. Guards docs/memory-model.md#breaker; the ejection budget is ejection_model_test.cpp's.
#include <doctest/doctest.h>

#include <optional>

#include "tests/model/breaker_words.hpp"

namespace ballast::model {
namespace {

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

template <Sabotage kSabotage>
using Trials = Trying<kSabotage, 3, 2, 3>;

}  // namespace

TEST_CASE("one permit at a time, and only its holder decides") {
  using Model = Trials<Sabotage::none>;
  must_hold<Model>(kIterations);
  CHECK(Model::seen.taken > kIterations / 2);
  CHECK(Model::seen.taken_over > kIterations / 100);
  CHECK(Model::seen.freed > kIterations / 100);
  CHECK(Model::seen.too_late > kIterations / 100);
  CHECK(Model::seen.killed > kIterations / 10);
}

TEST_CASE("sabotage is caught") {
  must_be_caught<Trials<Sabotage::changed_by_storing>>(kIterations);
  must_be_caught<Trials<Sabotage::report_without_stamp>>(kIterations);
  must_be_caught<Trials<Sabotage::hint_without_stamp>>(kIterations);
  must_be_caught<Trials<Sabotage::permits_not_counted>>(kIterations);
  must_be_caught<Trials<Sabotage::clock_before_the_word>>(kIterations);
  must_be_caught<Trials<Sabotage::changes_relaxed>>(kIterations);
  must_be_caught<Trials<Sabotage::changes_loaded_relaxed>>(kIterations);
}

}  // namespace ballast::model
