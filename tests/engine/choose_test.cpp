// What stands between a candidate and a pick, whatever the strategy: bounds, breakers,
// limits, groups, panic and a checker that is silent.
#include "engine/choose.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/chi_square.hpp"
#include "tests/support/plain_keys.hpp"
#include "tests/support/plain_service.hpp"
#include "tests/support/property.hpp"

using namespace ballast;
using namespace ballast::engine;
using tests::equal;
using tests::hash_of;
using tests::kKeys;
using tests::PlainPicker;
using tests::PlainService;
using tests::where_keys_go;

namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
std::uint64_t now_ms = 1'000'000;
std::uint64_t test_clock() noexcept {
  return now_ms;
}

Strategy any_strategy() {
  return *rc::gen::element(Strategy::maglev, Strategy::ketama, Strategy::round_robin,
                           Strategy::random, Strategy::least_connections,
                           Strategy::least_response_time, Strategy::adaptive);
}

}  // namespace

TEST_CASE("who was turned away at first and is taken after all is the first choice") {
  PlainService service({.strategy = Strategy::maglev, .hash_bound_percent = 100}, equal(3));
  for (std::size_t i = 0; i < 3; ++i)
    service.set_load(i, {.in_flight = 1000});
  PlainPicker picker(service);
  CHECK(picker.pick(1).because == Because::first_choice);
  service.set(picker.pick(1).slot, false);
  CHECK(picker.pick(1).because == Because::unusable);
}

TEST_CASE("a walk comes to every place once, whatever their number") {
  Random random(1);
  for (const std::uint64_t count : {1U, 2U, 3U, 4U, 6U, 30U, 210U, 997U, 30'030U, 65'000U}) {
    CAPTURE(count);
    for (int i = 0; i < 5; ++i) {
      const std::uint64_t start = random.next();
      Walk walk(start, i == 0 ? 0 : i == 1 ? UINT64_MAX : random.next(), count);
      std::vector<bool> seen(count);
      for (std::uint64_t n = 0; n < count; ++n)
        seen.at(walk.next()) = true;
      CHECK(std::count(seen.begin(), seen.end(), true) == static_cast<std::int64_t>(count));
    }
  }
}

TEST_CASE("where nearly all are down, those that are left share evenly") {
  for (const Strategy strategy :
       {Strategy::maglev, Strategy::ketama, Strategy::round_robin, Strategy::random}) {
    CAPTURE(to_text(strategy));
    for (const std::size_t left : {2U, 10U}) {
      CAPTURE(left);
      PlainService service({.strategy = strategy}, equal(1000));
      for (std::size_t i = 0; i < 1000; ++i)
        service.set(i, i >= 500 && i < 500 + left);  // neighbours
      PlainPicker picker(service);
      std::vector<std::uint64_t> counts(left);
      for (std::size_t key = 0; key < kKeys / 4; ++key) {
        const Choice choice = picker.pick(hash_of(strategy, key));
        REQUIRE(choice.result == PickResult::ok);
        ++counts.at(choice.slot - 500);
      }
      for (const std::uint64_t has : counts)
        CHECK(static_cast<double>(has) * static_cast<double>(left) / (kKeys / 4) ==
              doctest::Approx(1).epsilon(0.3));
    }
  }
}

TEST_CASE("no instance goes above its bound while another is below") {
  for (const Strategy strategy : {Strategy::maglev, Strategy::ketama}) {
    CAPTURE(to_text(strategy));
    PlainService service({.strategy = strategy, .hash_bound_percent = 125}, {1, 1, 2, 4});
    PlainPicker picker(service);
    std::vector<std::uint32_t> in_flight(4);
    std::size_t moved = 0;
    for (std::uint64_t total = 0; total < 500; ++total) {
      // Always the same key: without a bound all would go to one.
      const Choice choice = picker.pick(hash_of(strategy, 1));
      REQUIRE(choice.result == PickResult::ok);
      const double cap = 1.25 * static_cast<double>(total + 1) * service.weights[choice.slot] / 8;
      CHECK(in_flight[choice.slot] + 1 <= std::ceil(cap));
      moved += choice.because == Because::load ? 1 : 0;
      ++in_flight[choice.slot];
      service.set_load(choice.slot, {.in_flight = in_flight[choice.slot]});
      service.load.in_flight.store(total + 1, kRelaxed);
    }
    CHECK(moved > 100);
  }
}

TEST_CASE("within a group the bound is of what falls to it, whatever the other groups weigh") {
  // Of all traffic, group 0 has a quarter of the weight and, as the next tier would, nothing or
  // all.
  for (const std::uint32_t share : {65535U, 16384U}) {
    CAPTURE(share);
    PlainService service({.strategy = Strategy::maglev, .hash_bound_percent = 125},
                         {1, 1, 2, 4, 8, 8, 8}, {0, 0, 0, 0, 1, 1, 1});
    service.record.shares[0].store(0xffffffffffff0000 | share, kRelaxed);
    service.load.group_parts[0].store(pack_parts({8, 24})[0], kRelaxed);
    PlainPicker picker(service);
    std::vector<std::uint32_t> in_flight(7);
    // A key of group 0: without a bound all would go to one instance.
    std::uint64_t key = 0;
    while (picker.pick(key_hash(std::to_string(key))).slot >= 4)
      ++key;
    for (std::uint64_t count = 0; count < 500; ++count) {
      const std::uint64_t total = share == 65535U ? count : 4 * count;
      service.load.in_flight.store(total, kRelaxed);
      const Choice choice = picker.pick(key_hash(std::to_string(key)));
      REQUIRE(choice.result == PickResult::ok);
      REQUIRE(choice.slot < 4);
      const double mine = static_cast<double>(total + 1) * (share == 65535U ? 1 : 0.25);
      const double cap = 1.25 * 1.002 * mine * service.weights[choice.slot] / 8;
      CHECK(in_flight[choice.slot] + 1 <= std::ceil(cap) + (total == 0 ? 1 : 0));
      ++in_flight[choice.slot];
      service.set_load(choice.slot, {.in_flight = in_flight[choice.slot]});
    }
  }
}

TEST_CASE("a bound that everybody has reached fails no pick") {
  PlainService service({.strategy = Strategy::maglev, .hash_bound_percent = 100}, equal(3));
  for (std::size_t i = 0; i < 3; ++i)
    service.set_load(i, {.in_flight = 1000});
  PlainPicker picker(service);
  CHECK(picker.pick(1).result == PickResult::ok);
}

TEST_CASE("limits hold exactly and are given back, by every strategy") {
  CHECK(tests::holds("limits hold exactly", [] {
    const auto strategy = any_strategy();
    const auto count = *rc::gen::inRange<std::uint32_t>(1, 6);
    const auto limit = *rc::gen::inRange<std::uint32_t>(0, 4);
    const auto service_limit = *rc::gen::inRange<std::uint32_t>(limit == 0 ? 1 : 0, 12);
    PlainService service(
        {.strategy = strategy, .max_in_flight = limit, .service_max_in_flight = service_limit},
        equal(count));
    PlainPicker picker(service);
    std::uint32_t room = limit == 0 ? service_limit : limit * count;
    if (service_limit != 0) room = std::min(room, service_limit);
    std::vector<Choice> picks;
    std::map<std::uint32_t, std::uint32_t> held;
    for (std::uint32_t i = 0; i < room; ++i) {
      picks.push_back(picker.pick(*rc::gen::arbitrary<std::uint64_t>()));
      RC_ASSERT(picks.back().result == PickResult::ok);
      ++held[picks.back().slot];
    }
    if (limit != 0) {
      for (const auto& [slot, used] : held)
        RC_ASSERT(used <= limit);
    }
    RC_ASSERT(picker.pick().result == PickResult::limited);
    RC_ASSERT(!picks.empty());
    const Choice& one = picks.front();
    Eligibility::give_tokens(picker.me.row, service.shared_instances[one.slot].tokens,
                             service.shared, one.slot, 0, one.flags);
    RC_ASSERT(picker.pick().result == PickResult::ok);
    RC_ASSERT(picker.pick().result == PickResult::limited);
  }));
}

TEST_CASE("retries are refused above their budget, other picks are not") {
  PlainService service({.strategy = Strategy::random, .retry_percent = 20, .retry_minimum = 2},
                       equal(4));
  PlainPicker picker(service);
  const Request retry{.is_retry = true};
  CHECK(picker.pick(retry).result == PickResult::ok);
  CHECK(picker.pick(retry).result == PickResult::ok);
  CHECK(picker.pick(retry).result == PickResult::retry_budget);
  CHECK(picker.pick().result == PickResult::ok);
  service.load.in_flight.store(20, kRelaxed);
  CHECK(picker.pick(retry).result == PickResult::ok);
  CHECK(picker.pick(retry).result == PickResult::ok);
  CHECK(picker.pick(retry).result == PickResult::retry_budget);
}

TEST_CASE("tokens and permits of a pick whose root moved are given back") {
  PlainService service({.strategy = Strategy::random,
                        .max_in_flight = 5,
                        .service_max_in_flight = 5,
                        .retry_percent = 50},
                       equal(1));
  const Breaker open{BreakerState::open, 0, 1, tenant_of(PlainService::kIncarnation), now_ms};
  service.breakers[0].store(pack(open), kRelaxed);
  service.shared.open_breakers.store(1, kRelaxed);
  PlainPicker picker(service);
  picker.me.clock_ms = test_clock;
  const auto move_root = [&](std::uint32_t) { service.record.root.store(7, kRelaxed); };
  const Request retry{.is_retry = true};
  CHECK(engine::choose(picker.view, picker.me, retry, move_root).result == PickResult::changed);
  CHECK(shm::unpack_tokens(service.shared.tokens.load(kRelaxed)).used == 0);
  CHECK(shm::unpack_tokens(service.shared.retry_tokens.load(kRelaxed)).used == 0);
  CHECK(shm::unpack_tokens(service.shared_instances[0].tokens.load(kRelaxed)).used == 0);
  CHECK(picker.counters(0).values[shm::kHeldTokens].load(kRelaxed) == 0);
  CHECK(unpack_breaker(service.breakers[0].load(kRelaxed)).state == BreakerState::open);
}

TEST_CASE("an open breaker is passed over, and tried by one pick when it is due") {
  CHECK(tests::holds("an open breaker is passed over", [] {
    const auto strategy = any_strategy();
    const auto count = *rc::gen::inRange<std::uint32_t>(2, 12);
    const auto out = *rc::gen::inRange<std::uint32_t>(0, count);
    PlainService service({.strategy = strategy, .choices = *rc::gen::element(0U, 2U, 3U)},
                         equal(count));
    const Breaker open{BreakerState::open, 0, 1, tenant_of(PlainService::kIncarnation),
                       now_ms + 500};
    service.breakers[out].store(pack(open), kRelaxed);
    service.shared.open_breakers.store(1, kRelaxed);
    PlainPicker picker(service, *rc::gen::arbitrary<std::uint64_t>());
    picker.me.clock_ms = test_clock;
    for (std::uint64_t i = 0; i < 200; ++i) {
      const Choice choice = picker.pick(hash_of(strategy, i));
      RC_ASSERT(choice.result == PickResult::ok);
      RC_ASSERT(choice.slot != out);
      RC_ASSERT(choice.attempts > 0);
      if (is_keyed(strategy) && choice.attempts > 1) RC_ASSERT(choice.because == Because::breaker);
    }
    now_ms += 500;
    std::uint32_t trials = 0;
    for (std::uint64_t i = 0; i < 500; ++i) {
      const Choice choice = picker.pick(hash_of(strategy, i));
      RC_ASSERT(choice.result == PickResult::ok);
      if (choice.slot != out) continue;
      RC_ASSERT(choice.because == Because::trial);
      RC_ASSERT((choice.flags & pick_flags::kPermit) != 0);
      RC_ASSERT(choice.permit == stamp_of(unpack_breaker(service.breakers[out].load(kRelaxed))));
      ++trials;
    }
    RC_ASSERT(trials == 1U);
    now_ms += 10'000;
  }));
}

TEST_CASE("the share of each group is drawn, for a key always the same") {
  const std::vector<std::size_t> group_of{0, 0, 0, 1, 1, 1, 2, 2, 2};
  for (const Strategy strategy : {Strategy::maglev, Strategy::ketama, Strategy::random,
                                  Strategy::round_robin, Strategy::adaptive}) {
    CAPTURE(to_text(strategy));
    PlainService service({.strategy = strategy}, equal(9), group_of);
    const auto words = pack(GroupEnds{32768, 49152, 65535, 65535, 65535, 65535, 65535, 65535});
    service.record.shares[0].store(words[0], kRelaxed);
    service.record.shares[1].store(words[1], kRelaxed);
    const auto first = where_keys_go(service);
    std::vector<std::uint64_t> counts(3);
    for (const std::uint32_t place : first)
      ++counts[group_of[place]];
    CHECK(tests::fits(counts, {0.5, 0.25, 0.25}));
    if (!is_keyed(strategy)) continue;
    CHECK(where_keys_go(service) == first);
    // The first group gives half of what it has to the second: nobody else moves.
    const auto less = pack(GroupEnds{16384, 49152, 65535, 65535, 65535, 65535, 65535, 65535});
    service.record.shares[0].store(less[0], kRelaxed);
    const auto after = where_keys_go(service);
    for (std::size_t key = 0; key < kKeys; ++key) {
      if (after[key] != first[key]) CHECK((group_of[first[key]] == 0 && group_of[after[key]] == 1));
    }
  }
}

TEST_CASE("a group without anybody to use gives its picks to the others in their order") {
  CHECK(tests::holds("a group without anybody gives to the others", [] {
    const auto strategy = any_strategy();
    PlainService service({.strategy = strategy}, equal(9), {0, 0, 0, 1, 1, 1, 2, 2, 2});
    const auto words = pack(GroupEnds{0, 65535, 65535, 65535, 65535, 65535, 65535, 65535});
    service.record.shares[0].store(words[0], kRelaxed);
    PlainPicker picker(service);
    RC_ASSERT(picker.pick(*rc::gen::arbitrary<std::uint64_t>()).slot / 3 == 1);
    for (std::size_t slot = 3; slot < 6; ++slot)
      service.set(slot, false);
    const Choice choice = picker.pick(*rc::gen::arbitrary<std::uint64_t>());
    RC_ASSERT(choice.result == PickResult::ok);
    RC_ASSERT(choice.slot / 3 == 0);
    for (std::size_t slot = 0; slot < 3; ++slot)
      service.set(slot, false);
    RC_ASSERT(picker.pick(*rc::gen::arbitrary<std::uint64_t>()).slot / 3 == 2);
  }));
}

TEST_CASE("in panic health and breakers are ignored, but not what people asked for") {
  for (const Strategy strategy :
       {Strategy::maglev, Strategy::round_robin, Strategy::random, Strategy::least_connections}) {
    CAPTURE(to_text(strategy));
    PlainService service({.strategy = strategy, .panic_percent = 50}, equal(4));
    service.set(0, false);
    service.set(1, false);
    service.set(2, false, shm::kWeightUnit, shm::Admin::drain);
    service.breakers[3].store(
        pack(Breaker{BreakerState::open, 0, 1, tenant_of(PlainService::kIncarnation), now_ms + 1}),
        kRelaxed);
    service.shared.open_breakers.store(1, kRelaxed);
    service.record.panic.store(pack_panic(PanicMode::all, 1), kRelaxed);
    PlainPicker picker(service);
    picker.me.clock_ms = test_clock;
    std::set<std::uint32_t> picked;
    for (std::size_t i = 0; i < 1000; ++i) {
      const Choice choice = picker.pick(hash_of(strategy, i));
      REQUIRE(choice.result == PickResult::ok);
      CHECK((choice.because == Because::panic) == (choice.slot < 2));
      picked.insert(choice.slot);
    }
    CHECK(picked == std::set<std::uint32_t>{0, 1, 3});
  }
}

TEST_CASE("a group that is to fail in panic is passed over by the picks of another") {
  PlainService service({.strategy = Strategy::random}, equal(3), {0, 1, 2});
  service.record.shares[0].store(0xffffffff0000, kRelaxed);  // all to group 1
  service.record.panic.store(pack_panic(PanicMode::fail, 1), kRelaxed);
  service.set(1, false);
  PlainPicker picker(service);
  const Choice choice = picker.pick(1);
  CHECK(choice.result == PickResult::ok);
  CHECK(choice.slot == 2);
  // What falls to it fails.
  service.record.shares[0].store(0xffffffffffff, kRelaxed);
  CHECK(picker.pick(1).result == PickResult::no_instance);
}

TEST_CASE("a service that is to fail in panic does") {
  PlainService service({.strategy = Strategy::maglev, .panic_percent = 50, .panic_mode = 2},
                       equal(4));
  PlainPicker picker(service);
  CHECK(picker.pick(1).result == PickResult::ok);
  service.record.panic.store(pack_panic(PanicMode::fail, 1), kRelaxed);
  CHECK(picker.pick(1).result == PickResult::no_instance);
}

TEST_CASE("while no checker lives the policy says what holds") {
  for (const auto mode : {PanicMode::all, PanicMode::fail}) {
    PlainService service({.strategy = Strategy::maglev,
                          .stale_after_ms = 1000,
                          .stale_mode = static_cast<std::uint32_t>(mode)},
                         equal(2));
    service.set(0, false);
    PlainPicker picker(service);
    picker.me.clock_ms = test_clock;
    const auto statuses = [&] {
      std::set<std::pair<PickResult, bool>> seen;
      for (std::size_t i = 0; i < 600; ++i) {
        const Choice choice = picker.pick(hash_of(Strategy::maglev, i));
        seen.insert({choice.result, choice.slot == 0});
      }
      return seen;
    };
    using Seen = std::set<std::pair<PickResult, bool>>;
    const Seen well{{PickResult::ok, false}};
    CHECK(statuses() == well);
    now_ms += 900;
    CHECK(statuses() == well);
    now_ms += 200;
    static_cast<void>(statuses());  // within 256 picks
    if (mode == PanicMode::all) {
      CHECK(statuses() == Seen{{PickResult::ok, false}, {PickResult::ok, true}});
    } else {
      CHECK(statuses() == Seen{{PickResult::no_instance, true}});
    }
    service.header.heartbeat.store(1, kRelaxed);
    CHECK(statuses() == well);
  }
}

TEST_CASE("a preferred instance is taken while it may be used, by every strategy") {
  CHECK(tests::holds("a preferred instance is taken", [] {
    const auto strategy = any_strategy();
    PlainService service({.strategy = strategy, .choices = 0}, equal(6), {0, 0, 0, 1, 1, 1});
    PlainPicker picker(service);
    Request request;
    request.preferred = {*rc::gen::inRange<std::uint32_t>(0, 6), PlainService::kIncarnation};
    service.set_load(request.preferred.slot, {.in_flight = 1000});
    RC_ASSERT(picker.choose(request).slot == request.preferred.slot);
    service.set(request.preferred.slot, false);
    const Choice lost = picker.choose(request);
    RC_ASSERT(lost.result == PickResult::ok);
    RC_ASSERT(lost.slot != request.preferred.slot);
  }));
}

TEST_CASE("an instance whose agent limits it gets no more than that, and the others no fewer") {
  for (const Strategy strategy :
       {Strategy::maglev, Strategy::ketama, Strategy::round_robin, Strategy::least_connections}) {
    for (const std::uint32_t of_policy : {0U, 3U, 20U}) {
      CAPTURE(of_policy);
      CAPTURE(static_cast<int>(strategy));
      constexpr std::uint32_t kLimit = 5;
      PlainService service({.strategy = strategy, .max_in_flight = of_policy}, {1, 1});
      service.limit(0, kLimit);
      PlainPicker picker(service);
      Request first;
      first.preferred = {0, PlainService::kIncarnation};
      const std::uint32_t most = of_policy != 0 ? std::min(of_policy, kLimit) : kLimit;
      std::uint32_t on_first = 0;
      Choice held;
      for (std::uint64_t key = 0; key < 8; ++key) {
        const Choice choice = picker.pick(first);
        if (choice.result != PickResult::ok) {
          CHECK(of_policy == 3);  // the other instance is full as well
        } else if (choice.slot == 0) {
          CHECK((choice.flags & pick_flags::kInstanceToken) != 0);
          ++on_first;
          held = choice;
        }
      }
      CHECK(on_first == most);
      // Once a request there has ended, the next may go there.
      Eligibility::give_tokens(picker.me.row, service.shared_instances[0].tokens, service.shared, 0,
                               0, held.flags);
      CHECK(picker.pick(first).slot == 0);
      const Choice one_more = picker.pick(first);
      CHECK_FALSE((one_more.result == PickResult::ok && one_more.slot == 0));
      // And when the agent takes it back, as many as come.
      service.limit(0, 0);
      for (int i = 0; of_policy == 0 && i < 20; ++i)
        CHECK(picker.pick(first).slot == 0);
    }
  }
}

TEST_CASE("while the load board stands still, loads are summed over the rows") {
  PlainService service({.strategy = Strategy::least_connections, .choices = 0}, equal(3));
  PlainPicker picker(service);
  picker.me.clock_ms = test_clock;
  service.set_load(0, {.in_flight = 0});
  service.set_load(1, {.in_flight = 5});
  service.set_load(2, {.in_flight = 5});
  for (int i = 0; i < 8; ++i)
    CHECK(picker.pick().slot == 0);
  now_ms += kLoadBeatLimitMs;
  for (int i = 0; i < 300; ++i)
    static_cast<void>(picker.pick());
  CHECK(picker.view.sums_rows);
  // No rows, nothing in flight: each is as good.
  std::set<std::uint32_t> picked;
  for (int i = 0; i < 100; ++i)
    picked.insert(picker.pick().slot);
  CHECK(picked.size() == 3);
  service.header.load_beat.store(1, kRelaxed);
  static_cast<void>(picker.pick());
  CHECK(!picker.view.sums_rows);
  CHECK(picker.pick().slot == 0);
}
