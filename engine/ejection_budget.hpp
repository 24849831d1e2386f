// How many instances of a service are out because of how they behave (open breakers, outlier
// ejections), in one 64-bit word, so that no more than the service allows ever are. Any worker
// takes from it by compare-and-swap before it opens a breaker and gives back after it closed one;
// the checker counts anew once a second. Whoever dies between the two steps leaves the count too
// high by one, which only delays another opening, until the checker has counted. Templates over the
// word, so that tests/model explores this very source. docs/memory-model.md, "ejection-budget".
//
//   bits 0-31    count
//   bits 32-51   version: grows with every change, so that a count made meanwhile is refused
//   bits 52-63   recounts: what was taken before one is not given back after it
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

#include "shm/crash_point.hpp"

namespace ballast::engine {

struct Budget {
  std::uint32_t count = 0;
  std::uint32_t version = 0;   // 20 bits
  std::uint32_t recounts = 0;  // 12 bits

  friend bool operator==(const Budget&, const Budget&) = default;
};

[[nodiscard]] constexpr std::uint64_t pack(const Budget& b) noexcept {
  return static_cast<std::uint64_t>(b.recounts & 0xfff) << 52 |
         static_cast<std::uint64_t>(b.version & 0xfffff) << 32 | b.count;
}
[[nodiscard]] constexpr Budget unpack_budget(std::uint64_t word) noexcept {
  return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32 & 0xfffff),
          static_cast<std::uint32_t>(word >> 52)};
}

// Whether any breaker of the service may be open: all that a pick looks at while none is.
[[nodiscard]] constexpr bool any_out(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word) != 0;
}

// How many of `instances` may be out at once: `percent` of them, but at least one, and never the
// last. So a service of one instance never loses it. 0 percent: none.
[[nodiscard]] constexpr std::uint32_t ejection_cap(std::uint32_t percent,
                                                   std::uint64_t instances) noexcept {
  if (percent == 0 || instances < 2) return 0;
  const std::uint64_t share = instances * std::min<std::uint32_t>(percent, 100) / 100;
  return static_cast<std::uint32_t>(std::min(std::max<std::uint64_t>(1, share), instances - 1));
}

// What give_budget() has to know: which recount was the last one when it was taken.
struct BudgetTaken {
  std::uint32_t recounts = 0;
};

// Takes one, or nothing if `cap` are out already.
template <class Word>
[[nodiscard]] std::optional<BudgetTaken> take_budget(Word& word, std::uint32_t cap) noexcept {
  // [mm:ejection-budget] pairs with the other changes of this word, here and below.
  std::uint64_t was = word.load(std::memory_order_acquire);
  for (;;) {
    const Budget now = unpack_budget(was);
    if (now.count >= cap) return std::nullopt;
    const Budget next{now.count + 1, now.version + 1, now.recounts};
    // [mm:ejection-budget] pairs with recount(): a count that does not know of this one is refused.
    if (word.compare_exchange_strong(was, pack(next), std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
      BALLAST_POINT("breaker.budget_taken");
      return BudgetTaken{now.recounts};
    }
  }
}

// To be read before a breaker is closed, for give_budget() after it.
template <class Word>
[[nodiscard]] BudgetTaken held_budget(const Word& word) noexcept {
  // [mm:ejection-budget] acquire, so that it is read before the breaker is closed.
  return {unpack_budget(word.load(std::memory_order_acquire)).recounts};
}

// Gives one back, unless the checker has counted since: then it has counted this one or not, as it
// found the breaker, and to give it back as well might free another's.
template <class Word>
void give_budget(Word& word, BudgetTaken taken) noexcept {
  // [mm:ejection-budget] pairs with the other changes of this word.
  std::uint64_t was = word.load(std::memory_order_acquire);
  for (;;) {
    const Budget now = unpack_budget(was);
    if (now.recounts != taken.recounts || now.count == 0) return;
    const Budget next{now.count - 1, now.version + 1, now.recounts};
    // [mm:ejection-budget] pairs with recount(): who sees this sees the breaker closed.
    if (word.compare_exchange_strong(was, pack(next), std::memory_order_acq_rel,
                                     std::memory_order_acquire)) {
      return;
    }
  }
}

// Makes the count what it should be: `count_all()` counts what is out and, for everything that is
// not, makes sure that nobody who took from the budget before can still act on it (settle_breaker()
// in engine/breaker.hpp). False if the budget changed meanwhile: then nothing was done, try later.
// For the checker alone.
template <class Word, class CountAll>
[[nodiscard]] bool recount(Word& word, CountAll&& count_all) {
  // [mm:ejection-budget] acquire, so that it is read before anything is counted.
  std::uint64_t was = word.load(std::memory_order_acquire);
  const Budget before = unpack_budget(was);
  const std::uint32_t count = count_all();
  if (count == before.count) return true;
  const Budget next{count, before.version + 1, before.recounts + 1};
  BALLAST_POINT("breaker.recounted");
  // [mm:ejection-budget] pairs with take_budget() and give_budget().
  return word.compare_exchange_strong(was, pack(next), std::memory_order_acq_rel,
                                      std::memory_order_acquire);
}

// For a new service: nothing is out, and what its predecessor's breakers hold is not given back.
template <class Word>
void reset_budget(Word& word) noexcept {
  const Budget was = unpack_budget(word.load(std::memory_order_relaxed));
  const Budget next{0, was.version + 1, was.recounts + 1};
  // [mm:ejection-budget] pairs with take_budget() and give_budget().
  word.store(pack(next), std::memory_order_release);
}

}  // namespace ballast::engine
