// Instances that are used for a part of their weight only: what they keep of what comes to them, by
// every strategy, and that nobody fails or moves for it.
#include "engine/share.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/choose.hpp"
#include "tests/support/chi_square.hpp"
#include "tests/support/plain_keys.hpp"
#include "tests/support/plain_service.hpp"

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
}  // namespace

TEST_CASE("an instance of less than its weight loses that part of its keys, nobody else any") {
  for (const Strategy strategy : {Strategy::maglev, Strategy::ketama}) {
    CAPTURE(to_text(strategy));
    PlainService service({.strategy = strategy}, equal(10));
    const auto before = where_keys_go(service);
    std::vector<std::uint32_t> last = before;
    std::size_t had = 0;
    for (const std::uint32_t place : before)
      had += place == 4 ? 1 : 0;
    for (const std::uint32_t share : {48U, 32U, 6U, 0U}) {
      service.set(4, true, share);
      const auto after = where_keys_go(service);
      std::size_t has = 0;
      for (std::size_t key = 0; key < kKeys; ++key) {
        if (before[key] != 4) CHECK(after[key] == before[key]);
        // As its share shrinks it never gets a key back.
        if (after[key] == 4) CHECK(last[key] == 4);
        has += after[key] == 4 ? 1 : 0;
      }
      const double part = share / 64.0;
      CHECK(static_cast<double>(has) / static_cast<double>(had) ==
            doctest::Approx(part).epsilon(0.15));
      last = after;
    }
  }
}

TEST_CASE("every strategy gives an instance of less than its weight that much less") {
  for (const Strategy strategy : {Strategy::round_robin, Strategy::random}) {
    CAPTURE(to_text(strategy));
    PlainService service({.strategy = strategy}, {2, 2, 2});
    service.set(1, true, 16);  // a quarter of 2
    PlainPicker picker(service);
    std::vector<std::uint64_t> counts(3);
    for (int i = 0; i < 90'000; ++i)
      ++counts[picker.pick().slot];
    CHECK(tests::fits(counts, {4.0 / 9, 1.0 / 9, 4.0 / 9}));
  }
}

TEST_CASE("where everybody takes a part of its picks only, no pick fails") {
  for (const Strategy strategy :
       {Strategy::maglev, Strategy::ketama, Strategy::rendezvous, Strategy::round_robin,
        Strategy::random, Strategy::least_connections, Strategy::adaptive}) {
    CAPTURE(to_text(strategy));
    for (const std::size_t count : {1U, 2U, 5U}) {
      CAPTURE(count);
      // With a second group that could take what the first one refuses, and must not.
      std::vector<std::size_t> groups(2 * count, 0);
      std::fill(groups.begin() + static_cast<std::ptrdiff_t>(count), groups.end(), 1);
      for (const bool has_other : {false, true}) {
        PlainService service({.strategy = strategy}, equal(has_other ? 2 * count : count),
                             has_other ? groups : std::vector<std::size_t>{});
        for (std::size_t i = 0; i < count; ++i)
          service.set(i, true, 2);
        service.record.shares[0].store(has_other ? 0xffffffffffffU << 16 | 0xffff : 0xffff,
                                       kRelaxed);
        PlainPicker picker(service);
        std::vector<std::uint64_t> counts(count);
        for (std::size_t key = 0; key < kKeys; ++key) {
          const Choice choice = picker.pick(hash_of(strategy, key));
          REQUIRE(choice.result == PickResult::ok);
          REQUIRE(choice.slot < count);
          if (choice.attempts == 1) REQUIRE(choice.because == Because::first_choice);
          ++counts[choice.slot];
        }
        for (const std::uint64_t has : counts)
          CHECK(static_cast<double>(has) ==
                doctest::Approx(static_cast<double>(kKeys) / static_cast<double>(count))
                    .epsilon(0.3));
      }
    }
  }
}

TEST_CASE("strategies by load give an instance of less than its weight about that part") {
  for (const Strategy strategy : {Strategy::least_connections, Strategy::adaptive}) {
    for (const std::uint32_t choices : {2U, 3U, 0U}) {
      for (const std::uint32_t share : {6U, 16U, 32U, 48U}) {
        // However many requests are in flight at a time, one at a time included.
        for (const std::size_t concurrency : {1U, 6U, 21U, 81U, 321U}) {
          CAPTURE(to_text(strategy));
          CAPTURE(choices);
          CAPTURE(share);
          CAPTURE(concurrency);
          PlainService service({.strategy = strategy, .choices = choices}, equal(10));
          service.set(3, true, share);
          PlainPicker picker(service);
          std::vector<std::uint32_t> in_flight(10);
          std::vector<std::uint32_t> started;
          const auto show = [&](std::uint32_t slot) {
            service.set_load(slot, {.cost_us = 1000, .in_flight = in_flight[slot]});
          };
          for (std::uint32_t slot = 0; slot < 10; ++slot)
            show(slot);
          constexpr std::size_t kPicks = 8'000;
          std::size_t has = 0;
          for (std::size_t i = 0; i < kPicks; ++i) {
            const std::uint32_t slot = picker.pick().slot;
            has += slot == 3 ? 1 : 0;
            ++in_flight[slot];
            show(slot);
            started.push_back(slot);
            if (started.size() < concurrency) continue;
            const std::uint32_t ended = started[started.size() - concurrency];
            --in_flight[ended];
            show(ended);
          }
          const double part = share / 64.0;
          const double fair = kPicks * part / (9 + part);
          CHECK(static_cast<double>(has) > 0.4 * fair);
          // Above it at most while it has nothing in flight and so wins all that is drawn for it.
          CHECK(static_cast<double>(has) < 3.5 * fair + 10);
        }
      }
    }
  }
}
