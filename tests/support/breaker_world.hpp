// Instances with breakers on words of plain memory, a budget, and a clock that the test moves: what
// the tests of the breaker's rules have in common.
#pragma once

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/breaker.hpp"
#include "shm/layout.hpp"

namespace ballast::tests {

struct Record {
  shm::Word64 breaker{0};
  shm::Word64 window{0};
  shm::Word64 permit{0};

  [[nodiscard]] engine::BreakerWords<shm::Word64> words() { return {breaker, window, permit}; }
};

inline constexpr std::uint32_t kTenant = 7;
inline constexpr std::uint64_t kStart = 1'000'000;

// Spelt out, so that the numbers below do not hang on the defaults.
inline engine::Policy standard() {
  return {.breaker_consecutive = 5,
          .breaker_rate_percent = 85,
          .breaker_requests = 50,
          .breaker_window_ms = 10'000,
          .breaker_open_ms = 30'000,
          .breaker_open_max_ms = 300'000,
          .breaker_trial_ms = 30'000,
          .breaker_jitter_percent = 10};
}
inline engine::Policy without_jitter() {
  engine::Policy policy = standard();
  policy.breaker_jitter_percent = 0;
  return policy;
}

// One service of instances with breakers, and a clock that the test moves.
struct World {
  explicit World(std::size_t instances, engine::Policy with = standard())
      : policy(with), all(instances) {
    for (Record& r : all)
      engine::reset_breaker(r.words(), kTenant, [] { return kStart; });
  }

  std::uint64_t now = kStart;
  engine::Policy policy;
  std::vector<Record> all;
  shm::Word64 budget{0};

  struct Clock {
    const std::uint64_t& now;
    std::uint64_t operator()() const { return now; }
  };
  [[nodiscard]] Clock clock() const { return {now}; }
  [[nodiscard]] std::uint32_t cap() const { return engine::ejection_cap(10, all.size()); }
  [[nodiscard]] engine::Breaker state(std::size_t i = 0) const {
    return engine::unpack_breaker(all[i].breaker.load(std::memory_order_relaxed));
  }
  [[nodiscard]] std::uint32_t out() const {
    return engine::unpack_budget(budget.load(std::memory_order_relaxed)).count;
  }
  engine::Noted fail(std::size_t i = 0) {
    return engine::note_failure(all[i].words(), {kTenant, static_cast<std::uint32_t>(i)}, policy,
                                budget, cap(), clock());
  }
  void succeed(std::size_t i = 0) { engine::note_success(all[i].words(), kTenant); }
  engine::Noted push_back(std::uint64_t ms, std::size_t i = 0) {
    return engine::note_pushback(all[i].words(), {kTenant, static_cast<std::uint32_t>(i)}, policy,
                                 ms, budget, cap(), clock());
  }
  [[nodiscard]] engine::Gate gate(std::size_t i = 0) {
    return engine::breaker_allows(all[i].breaker, kTenant, policy, clock());
  }
  std::optional<std::uint32_t> permit(std::size_t i = 0, std::uint32_t row = 1) {
    return engine::take_permit(all[i].words(), kTenant, policy, row, 1, clock());
  }
  engine::Noted decide(std::uint32_t stamp, engine::Effect effect, std::uint64_t retry_after_ms = 0,
                       std::size_t i = 0) {
    return engine::decide_trial(all[i].words(), {kTenant, static_cast<std::uint32_t>(i)}, policy,
                                stamp, effect, retry_after_ms, budget, clock());
  }
  void open(std::size_t i = 0) {
    while (fail(i) == engine::Noted::counted) {
    }
    REQUIRE(state(i).state == engine::BreakerState::open);
  }
  // Past any jitter.
  void wait_until_due(std::size_t i = 0) { now = state(i).until_ms; }
  bool count_again() {
    return engine::recount(budget, [&] {
      std::uint32_t count = 0;
      for (Record& r : all)
        count += engine::settle_breaker(r.breaker, kTenant, clock());
      return count;
    });
  }
};

}  // namespace ballast::tests
