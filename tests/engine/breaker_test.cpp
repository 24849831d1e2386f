// The breaker, its window and the budget on words of plain memory: each rule by itself.
#include "engine/breaker.hpp"

#include <doctest/doctest.h>

#include <array>
#include <optional>
#include <vector>

#include "shm/layout.hpp"
#include "tests/support/breaker_world.hpp"

using namespace ballast;
using namespace ballast::engine;
using namespace ballast::tests;

TEST_CASE(
    "the fifth failure in a row opens it, wherever they were seen, and a success starts over") {
  World w(10);
  for (int i = 0; i < 4; ++i)
    CHECK(w.fail() == Noted::counted);
  w.succeed();
  for (int i = 0; i < 4; ++i)
    CHECK(w.fail() == Noted::counted);
  CHECK(w.gate() == Gate::closed);
  CHECK(w.fail() == Noted::opened);
  CHECK(w.gate() == Gate::open);
  CHECK(w.out() == 1);
  CHECK(w.fail() == Noted::nothing);  // of a request that was under way
  w.succeed();
  CHECK(w.state().state == BreakerState::open);
}

TEST_CASE("a limit of one opens at the first failure, none at all leaves it to the rate") {
  World one(10, {.breaker_consecutive = 1});
  CHECK(one.fail() == Noted::opened);
  World none(10, {.breaker_consecutive = 0, .breaker_rate_percent = 0});
  for (int i = 0; i < 2000; ++i)
    CHECK(none.fail() == Noted::counted);
  CHECK(none.state().count == kMaxCount);
}

TEST_CASE("at the failure rate it opens, but not before there are enough requests") {
  World w(10, {.breaker_consecutive = 0, .breaker_rate_percent = 50, .breaker_requests = 40});
  for (int i = 0; i < 19; ++i) {
    CHECK(w.fail() == Noted::counted);
    if (i < 2) add_successes(w.all[0].window);
  }
  // 19 failures of 35.
  add_successes(w.all[0].window);
  CHECK(w.fail() == Noted::counted);  // 20 of 44: below the rate
  for (int i = 0; i < 3; ++i)
    CHECK(w.fail() == Noted::counted);
  CHECK(w.fail() == Noted::opened);  // 24 of 48
}

TEST_CASE("the window forgets") {
  Record r;
  const std::uint64_t window_ms = 10'000;
  std::uint64_t now = 5'000 * 70'000ULL;  // the number of the half is cut to 16 bits
  for (int i = 0; i < 10; ++i)
    add_failure(r.window, now, window_ms);
  FailureWindow w = add_failure(r.window, now + 5'000, window_ms);
  CHECK(w.prev_failures == 10);
  CHECK(w.cur_failures == 1);
  // Of the half before counts what the window still covers: all of it, half of it.
  CHECK(is_over_rate(w, now + 5'000, window_ms, 100, 11));
  CHECK(is_over_rate(w, now + 7'500, window_ms, 100, 6));
  CHECK_FALSE(is_over_rate(w, now + 7'500, window_ms, 100, 7));
  w = add_failure(r.window, now + 15'000, window_ms);
  CHECK(w.prev_total == 0);
  CHECK(w.cur_total == 1);
  // A clock that is a little behind adds to what there is; an unwritten word begins anywhere.
  CHECK(add_failure(r.window, now + 14'999, window_ms).cur_total == 2);
  Record unwritten;
  CHECK(add_failure(unwritten.window, now, window_ms).epoch ==
        static_cast<std::uint16_t>(now / 5'000));
}

TEST_CASE("a window without failures is not written; a full one is halved and keeps its rate") {
  Record r;
  add_successes(r.window);
  CHECK(r.window.load(std::memory_order_relaxed) == 0);
  for (int i = 0; i < 1000; ++i)
    add_failure(r.window, kStart, 10'000);
  for (int i = 0; i < 375; ++i)
    add_successes(r.window);
  FailureWindow w = unpack_window(r.window.load(std::memory_order_relaxed));
  CHECK(w.cur_failures == 1000);
  CHECK(w.cur_total == 4000);
  for (int i = 0; i < 12; ++i)
    add_successes(r.window);
  w = unpack_window(r.window.load(std::memory_order_relaxed));
  CHECK(w.cur_failures == 500);
  CHECK(w.cur_total == 4088 / 2 + 8);
  // Successes alone wash the failures out in the end, and then nothing is written any more.
  for (int i = 0; i < 100'000; ++i)
    add_successes(r.window);
  CHECK(unpack_window(r.window.load(std::memory_order_relaxed)).cur_failures == 0);
}

TEST_CASE("it stays open twice as long each time, up to the limit, with jitter") {
  World w(10);
  w.open();
  std::uint64_t expected = 30'000;
  for (int level = 1; level <= 70; ++level) {
    CHECK(w.state().level == std::min(level, 63));
    const std::uint64_t open_ms = w.state().until_ms - w.now;
    CHECK(open_ms >= expected * 9 / 10);
    CHECK(open_ms <= expected * 11 / 10);
    expected = std::min<std::uint64_t>(2 * expected, 300'000);
    w.now = w.state().until_ms - 1;
    CHECK(w.gate() == Gate::open);
    CHECK_FALSE(w.permit().has_value());
    w.now += 1;
    CHECK(w.gate() == Gate::due);
    const auto stamp = w.permit();
    REQUIRE(stamp.has_value());
    CHECK(w.decide(*stamp, Effect::failure) == Noted::opened);
  }
}

TEST_CASE("jitter is the same everywhere, spreads over its range, and none is none") {
  CHECK(jittered_ms(1000, 0, 3, 1, kStart) == 1000);
  CHECK(jittered_ms(1000, 10, 3, 1, kStart) == jittered_ms(1000, 10, 3, 1, kStart));
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  for (std::uint32_t slot = 0; slot < 1000; ++slot) {
    const std::uint64_t ms = jittered_ms(1000, 10, slot, 1, kStart);
    CHECK(ms >= 900);
    CHECK(ms <= 1100);
    low += ms < 950 ? 1 : 0;
    high += ms > 1050 ? 1 : 0;
  }
  CHECK(low > 200);
  CHECK(high > 200);
  CHECK(jittered_ms(1000, 900, 3, 1, kStart) <= 2000);
}

TEST_CASE("the level is forgotten after twice its time without trouble") {
  World w(10, without_jitter());
  const auto close = [&w] {
    w.wait_until_due();
    const auto stamp = w.permit();
    REQUIRE(stamp.has_value());
    CHECK(w.decide(*stamp, Effect::success) == Noted::closed);
  };
  w.open();
  close();
  w.now += 2 * 30'000;
  w.open();
  CHECK(w.state().level == 2);
  close();
  w.now += 2 * 60'000 + 1;
  w.open();
  CHECK(w.state().level == 1);
}

TEST_CASE("one permit at a time, and its report decides") {
  World w(10);
  w.open();
  w.wait_until_due();
  const auto stamp = w.permit();
  REQUIRE(stamp.has_value());
  CHECK(w.gate() == Gate::open);
  CHECK_FALSE(w.permit().has_value());
  CHECK(w.out() == 1);

  SUBCASE("success closes and gives the budget back") {
    CHECK(w.decide(*stamp, Effect::success) == Noted::closed);
    CHECK(w.gate() == Gate::closed);
    CHECK(w.out() == 0);
    CHECK(w.decide(*stamp, Effect::failure) == Noted::nothing);
    CHECK(w.fail() == Noted::counted);  // the failures from before are forgotten
  }
  SUBCASE("what says nothing lets the next one try at once") {
    CHECK(w.decide(*stamp, Effect::none) == Noted::opened);
    CHECK(w.state().level == 1);
    CHECK(w.gate() == Gate::due);
    const auto next = w.permit();
    REQUIRE(next.has_value());
    CHECK(*next != *stamp);  // in the same millisecond
    CHECK(w.decide(*stamp, Effect::success) == Noted::nothing);
    CHECK(w.decide(*next, Effect::success) == Noted::closed);
  }
  SUBCASE("so does a pick that went elsewhere") {
    return_permit(w.all[0].words(), kTenant, *stamp, w.clock());
    CHECK(w.gate() == Gate::due);
  }
  SUBCASE("a request to be left alone is granted, at the same level") {
    CHECK(w.decide(*stamp, Effect::pushback, 5'000) == Noted::opened);
    CHECK(w.state().level == 1);
    CHECK(w.state().until_ms == w.now + 5'000);
  }
  SUBCASE("without a time it counts as a failed trial") {
    CHECK(w.decide(*stamp, Effect::pushback) == Noted::opened);
    CHECK(w.state().level == 2);
  }
  SUBCASE("it expires, and then a late report decides nothing") {
    w.now += w.policy.breaker_trial_ms - 1;
    CHECK_FALSE(w.permit().has_value());
    w.now += 1;
    const auto next = w.permit();
    REQUIRE(next.has_value());
    for (const Effect effect : {Effect::success, Effect::failure, Effect::none, Effect::pushback})
      CHECK(w.decide(*stamp, effect, 100) == Noted::nothing);
    return_permit(w.all[0].words(), kTenant, *stamp, w.clock());
    CHECK(w.gate() == Gate::open);
    CHECK(w.decide(*next, Effect::success) == Noted::closed);
  }
  SUBCASE("other requests decide nothing meanwhile") {
    CHECK(w.fail() == Noted::nothing);
    w.succeed();
    CHECK(w.push_back(1000) == Noted::nothing);
    CHECK(w.state().state == BreakerState::half_open);
  }
}

TEST_CASE("a dead holder's permit is freed at once, a living one's never") {
  World w(10);
  w.open();
  w.wait_until_due();
  REQUIRE(w.permit(0, 3).has_value());
  CHECK_FALSE(release_permit(
      w.all[0].words(), [](std::uint32_t row, std::uint32_t) { return row != 3; }, w.clock()));
  CHECK(w.gate() == Gate::open);
  CHECK(release_permit(
      w.all[0].words(), [](std::uint32_t row, std::uint32_t) { return row == 3; }, w.clock()));
  CHECK(w.gate() == Gate::due);
  // The next holder stopped before it could say who it is, in the same millisecond: what the first
  // one left there is not about it.
  const std::uint64_t left = w.all[0].permit.load(std::memory_order_relaxed);
  REQUIRE(w.permit(0, 4).has_value());
  w.all[0].permit.store(left, std::memory_order_relaxed);
  CHECK_FALSE(release_permit(
      w.all[0].words(), [](std::uint32_t row, std::uint32_t) { return row == 3; }, w.clock()));
}

TEST_CASE("a deadline that is too far away counts as past") {
  World w(10);
  w.open();
  w.now = 5;  // another boot's clock
  CHECK(w.gate() == Gate::due);
  REQUIRE(w.permit().has_value());
  CHECK(w.gate() == Gate::open);
  w.all[0].breaker.store(~std::uint64_t{0} << 26 | std::uint64_t{kTenant} << 18 | 2,
                         std::memory_order_relaxed);
  CHECK(w.gate() == Gate::due);
  CHECK(w.permit().has_value());
}

TEST_CASE("another tenant's breaker says nothing, and its reports change nothing") {
  World w(10);
  w.open();
  CHECK(breaker_allows(w.all[0].breaker, kTenant + 1, w.policy, w.clock()) == Gate::closed);
  reset_breaker(w.all[0].words(), kTenant + 1, w.clock());
  const std::uint64_t fresh = w.all[0].breaker.load(std::memory_order_relaxed);
  CHECK(w.fail() == Noted::nothing);
  CHECK(w.push_back(1000) == Noted::nothing);
  CHECK_FALSE(w.permit().has_value());
  CHECK(w.all[0].breaker.load(std::memory_order_relaxed) == fresh);
  CHECK(w.all[0].window.load(std::memory_order_relaxed) == 0);
}

TEST_CASE("overload opens for as long as it asks, at most the longest time, and only then") {
  World w(10);
  CHECK(w.push_back(0) == Noted::nothing);
  CHECK(w.push_back(2'000) == Noted::opened);
  CHECK(w.state().until_ms == w.now + 2'000);
  CHECK(w.state().level == 0);
  CHECK(w.out() == 1);
  World greedy(10);
  CHECK(greedy.push_back(1'000'000'000'000ULL) == Noted::opened);
  CHECK(greedy.state().until_ms == greedy.now + 300'000);
}

TEST_CASE("how many may be out") {
  CHECK(ejection_cap(50, 0) == 0);
  CHECK(ejection_cap(0, 100) == 0);
  CHECK(ejection_cap(100, 1) == 0);
  CHECK(ejection_cap(10, 2) == 1);
  CHECK(ejection_cap(100, 3) == 2);
  CHECK(ejection_cap(10, 10) == 1);
  CHECK(ejection_cap(10, 29) == 2);
  CHECK(ejection_cap(1000, 100) == 99);
}

TEST_CASE("the budget is kept, and what it refused opens when there is room again") {
  World w(20);  // 2 may be out
  w.open(0);
  w.open(1);
  for (int i = 0; i < 4; ++i)
    CHECK(w.fail(2) == Noted::counted);
  CHECK(w.fail(2) == Noted::refused);
  CHECK(w.fail(2) == Noted::refused);
  CHECK(w.push_back(1000, 3) == Noted::refused);
  CHECK(w.out() == 2);
  w.wait_until_due();
  const auto stamp = w.permit();
  REQUIRE(stamp.has_value());
  CHECK(w.decide(*stamp, Effect::success) == Noted::closed);
  CHECK(w.fail(2) == Noted::opened);
  CHECK(w.out() == 2);
}

TEST_CASE("a count repairs the budget, both ways, and nobody who took before acts on it") {
  World w(20);
  w.open(0);
  // Somebody took and died.
  const auto taken = take_budget(w.budget, 2);
  REQUIRE(taken.has_value());
  CHECK(w.fail(1) == Noted::counted);
  std::uint64_t seen = w.all[1].breaker.load(std::memory_order_relaxed);
  CHECK(w.out() == 2);
  CHECK(w.count_again());
  CHECK(w.out() == 1);
  // It was only stopped: it can neither open with what it took nor give it back.
  CHECK_FALSE(
      change(w.all[1].breaker, seen, {BreakerState::open, 0, 1, tenant_of(kTenant), w.now + 1000}));
  give_budget(w.budget, *taken);
  CHECK(w.out() == 1);
  CHECK(w.state(1).count == 1);  // a count forgets no failure
  // A worker that went mad.
  w.budget.store(0, std::memory_order_relaxed);
  CHECK(w.count_again());
  CHECK(w.out() == 1);
  // Words about former tenants are made this one's.
  reset_breaker(w.all[0].words(), kTenant + 1, w.clock());
  CHECK(w.count_again());
  CHECK(w.out() == 0);
  CHECK(w.state(0).tenant == kTenant);
}

TEST_CASE("a count during which the budget changed is dropped") {
  World w(20);
  w.open(0);
  w.budget.store(pack(Budget{5, 0, 0}), std::memory_order_relaxed);
  CHECK_FALSE(recount(w.budget, [&] {
    CHECK(take_budget(w.budget, 10).has_value());
    return 1U;
  }));
  CHECK(w.out() == 6);
}

TEST_CASE("what an outcome says") {
  const auto standard = [](shm::CounterIndex outcome) {
    return effect_of(outcome, Policy{}.breaker_outcomes);
  };
  CHECK(standard(shm::kSuccess) == Effect::success);
  CHECK(standard(shm::kConnectFailure) == Effect::failure);
  CHECK(standard(shm::kTimeout) == Effect::failure);
  CHECK(standard(shm::kReset) == Effect::failure);
  CHECK(standard(shm::kServerError) == Effect::failure);
  CHECK(standard(shm::kOverload) == Effect::pushback);
  CHECK(standard(shm::kCancelled) == Effect::none);
  CHECK(standard(shm::kAbandoned) == Effect::none);
  CHECK(effect_of(0, ~0U) == Effect::none);
  CHECK(effect_of(9, ~0U) == Effect::none);
  for (unsigned o = shm::kFirstOutcome; o <= shm::kLastOutcome; ++o) {
    CHECK(effect_of(o, 1U << o) == (o == shm::kSuccess ? Effect::success : Effect::failure));
    CHECK(effect_of(o, ~(1U << o)) == kMilderEffects[o]);
  }
  CHECK(kMilderEffects[shm::kServerError] == Effect::success);
}
