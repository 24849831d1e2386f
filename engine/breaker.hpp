// The circuit breaker of an instance, shared by all processes of the host: how its word changes.
// Whichever worker reports the last failure opens it for everybody, by one compare-and-swap, also
// while the checker is dead. After its time, the first pick that meets it takes the one permit and
// tries the instance, and that request's outcome closes or opens it again. Workers write; the
// checker only releases what the dead held and starts a new tenant afresh. A process that dies at
// any point leaves a word that is as it was or as it should be: a permit expires, and a budget that
// was taken for nothing is found at the next count. Templates over the words, so that tests/model
// explores this very source. docs/memory-model.md, "breaker" and "ejection-budget".
//
// `clock()` gives the milliseconds of CLOCK_MONOTONIC_COARSE and is called only on rare paths, each
// time after the word was loaded: a reader that is stopped in between then takes a deadline for
// nearer than it is, never one that was set meanwhile for farther than can be.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "engine/breaker_word.hpp"
#include "engine/ejection_budget.hpp"
#include "engine/failure_window.hpp"
#include "engine/outcome_effect.hpp"
#include "shm/crash_point.hpp"

namespace ballast::engine {

// Which instance, for those who change its breaker.
struct BreakerOwner {
  std::uint32_t incarnation = 0;
  std::uint32_t slot = 0;
};

// The words of one instance.
template <class Word>
struct BreakerWords {
  Word& breaker;
  Word& window;
  Word& permit;
};

// --- what a pick asks ---

enum class Gate : std::uint8_t {
  closed = 0,  // pick it
  due = 1,     // take_permit(), and pick it if you got it
  open = 2,    // pick another
};

// Asked only where any_out() says that it may matter. A word about another tenant says nothing.
template <class Word, class Clock>
[[nodiscard]] Gate breaker_allows(const Word& breaker, std::uint32_t incarnation,
                                  const Policy& policy, Clock&& clock) noexcept {
  // Relaxed: the word is all there is to know ([mm:breaker]).
  const Breaker b = unpack_breaker(breaker.load(std::memory_order_relaxed));
  if (b.state == BreakerState::closed || b.tenant != tenant_of(incarnation)) return Gate::closed;
  return is_due(b, policy, clock()) ? Gate::due : Gate::open;
}

template <class Word>
[[nodiscard]] bool change(Word& word, std::uint64_t& was, const Breaker& next) noexcept {
  // [mm:ejection-budget] pairs with the same in settle_breaker() and note_failure(): who takes from
  // the budget does so after the word was touched.
  return word.compare_exchange_strong(was, pack(next), std::memory_order_acq_rel,
                                      std::memory_order_acquire);
}

// Takes the permit to try an instance whose breaker is due, for breaker_trial_ms; nothing if
// another was quicker or it is not due. The pick must carry the stamp to decide_trial(), or to
// return_permit() if it goes elsewhere after all. `row` is the caller's own.
template <class Words, class Clock>
[[nodiscard]] std::optional<std::uint32_t> take_permit(const Words& words,
                                                       std::uint32_t incarnation,
                                                       const Policy& policy, std::uint32_t row,
                                                       std::uint32_t row_incarnation,
                                                       Clock&& clock) noexcept {
  // Relaxed: change() refuses what is out of date ([mm:breaker]).
  std::uint64_t was = words.breaker.load(std::memory_order_relaxed);
  const Breaker b = unpack_breaker(was);
  const std::uint64_t now_ms = clock();
  if (b.tenant != tenant_of(incarnation) || !is_due(b, policy, now_ms)) return std::nullopt;
  const Breaker next = tried(b, policy, now_ms);
  // [mm:breaker] its release pairs with release_permit(), which asks whether the row has an owner.
  if (!change(words.breaker, was, next)) return std::nullopt;
  BALLAST_POINT("breaker.permit_taken");
  const PermitHint hint{static_cast<std::uint16_t>(row),
                        static_cast<std::uint16_t>(row_incarnation), stamp_of(next)};
  words.permit.store(pack(hint), std::memory_order_relaxed);
  BALLAST_POINT("breaker.permit_named");
  return stamp_of(next);
}

// --- what a report says ---

enum class Noted : std::uint8_t {
  nothing = 0,  // the report no longer matters here
  counted = 1,
  opened = 2,   // by this report
  refused = 3,  // it should have opened, but too many are out already
  closed = 4,   // by this report
};

// After a request without a permit succeeded. Costs one load unless failures went before.
template <class Words>
void note_success(const Words& words, std::uint32_t incarnation) noexcept {
  // Relaxed: only the number of failures in a row hangs on it.
  std::uint64_t was = words.breaker.load(std::memory_order_relaxed);
  for (;;) {
    const Breaker b = unpack_breaker(was);
    if (b.count == 0 || b.state != BreakerState::closed || b.tenant != tenant_of(incarnation)) {
      return;
    }
    if (change(words.breaker, was, {b.state, 0, b.level, b.tenant, b.until_ms})) return;
  }
}

// After a batch of successes. What comes from a former tenant's requests, or while it is open, is
// not counted.
template <class Words>
void note_successes(const Words& words, std::uint32_t incarnation) noexcept {
  // Relaxed: a batch more or less in the window decides nothing.
  const Breaker b = unpack_breaker(words.breaker.load(std::memory_order_relaxed));
  if (b.state != BreakerState::closed || b.tenant != tenant_of(incarnation)) return;
  add_successes(words.window);
}

// Opens a closed breaker, to become `next`, if the budget allows. `was` must
// have been loaded before the budget is taken: what the checker counts meanwhile it changes.
template <class Word, class BudgetWord>
[[nodiscard]] Noted try_open(Word& word, std::uint64_t& was, const Breaker& next,
                             BudgetWord& budget, std::uint32_t cap) noexcept {
  const std::optional<BudgetTaken> taken = take_budget(budget, cap);
  if (!taken) return Noted::refused;
  if (change(word, was, next)) {
    BALLAST_POINT("breaker.opened");
    return Noted::opened;
  }
  give_budget(budget, *taken);
  return Noted::nothing;
}

// After a request without a permit failed. `cap` as ejection_cap() says.
template <class Words, class BudgetWord, class Clock>
Noted note_failure(const Words& words, BreakerOwner owner, const Policy& policy, BudgetWord& budget,
                   std::uint32_t cap, Clock&& clock) noexcept {
  // [mm:ejection-budget] acquire: the budget is taken after this, also after the checker's touch.
  std::uint64_t was = words.breaker.load(std::memory_order_acquire);
  std::optional<bool> over_rate;
  std::uint64_t now_ms = 0;
  for (;;) {
    const Breaker b = unpack_breaker(was);
    if (b.state != BreakerState::closed || b.tenant != tenant_of(owner.incarnation)) {
      return Noted::nothing;
    }
    if (!over_rate) {
      now_ms = clock();
      over_rate = false;
      if (policy.breaker_rate_percent != 0) {
        const FailureWindow window = add_failure(words.window, now_ms, policy.breaker_window_ms);
        over_rate = is_over_rate(window, now_ms, policy.breaker_window_ms,
                                 policy.breaker_rate_percent, policy.breaker_requests);
      }
    }
    const auto consecutive =
        static_cast<std::uint16_t>(std::min<unsigned>(b.count + 1U, kMaxCount));
    const bool too_many =
        policy.breaker_consecutive != 0 && consecutive >= policy.breaker_consecutive;
    Noted noted = Noted::counted;
    if (too_many || *over_rate) {
      const std::uint8_t level = next_level(b, policy, now_ms);
      noted =
          try_open(words.breaker, was, opened(b, policy, level, owner.slot, now_ms), budget, cap);
      if (noted == Noted::opened) return noted;
      if (noted == Noted::nothing) continue;  // the word changed: look again
    }
    if (change(words.breaker, was, {b.state, consecutive, b.level, b.tenant, b.until_ms})) {
      return noted;
    }
  }
}

// After an answer that asks to be left alone for `retry_after_ms` (at most breaker_open_max_ms is
// granted). The level stays: this is no failure.
template <class Words, class BudgetWord, class Clock>
Noted note_pushback(const Words& words, BreakerOwner owner, const Policy& policy,
                    std::uint64_t retry_after_ms, BudgetWord& budget, std::uint32_t cap,
                    Clock&& clock) noexcept {
  if (retry_after_ms == 0) return Noted::nothing;
  // [mm:ejection-budget] acquire, as in note_failure().
  std::uint64_t was = words.breaker.load(std::memory_order_acquire);
  for (;;) {
    const Breaker b = unpack_breaker(was);
    if (b.state != BreakerState::closed || b.tenant != tenant_of(owner.incarnation)) {
      return Noted::nothing;
    }
    const std::uint64_t ms = std::min<std::uint64_t>(retry_after_ms, policy.breaker_open_max_ms);
    const Breaker next{BreakerState::open, 0, b.level, b.tenant, clock() + ms};
    const Noted noted = try_open(words.breaker, was, next, budget, cap);
    if (noted != Noted::nothing) return noted;
  }
}

// After the request that had the permit `stamp` ended. Its outcome closes the breaker, or opens it
// again for longer; if it says nothing the next pick may try. If another has taken the permit over
// since, it decides nothing.
template <class Words, class BudgetWord, class Clock>
Noted decide_trial(const Words& words, BreakerOwner owner, const Policy& policy,
                   std::uint32_t stamp, Effect effect, std::uint64_t retry_after_ms,
                   BudgetWord& budget, Clock&& clock) noexcept {
  // Relaxed: change() refuses what is out of date ([mm:breaker]).
  std::uint64_t was = words.breaker.load(std::memory_order_relaxed);
  const Breaker b = unpack_breaker(was);
  if (b.state != BreakerState::half_open || b.tenant != tenant_of(owner.incarnation) ||
      stamp_of(b) != stamp) {
    return Noted::nothing;
  }
  const std::uint64_t now_ms = clock();
  if (effect == Effect::success) {
    // [mm:ejection-budget] before the breaker is closed.
    const BudgetTaken held = held_budget(budget);
    // Before, too: what fails from now on counts for the new window.
    words.window.store(0, std::memory_order_relaxed);
    if (!change(words.breaker, was, {BreakerState::closed, 0, b.level, b.tenant, now_ms})) {
      return Noted::nothing;
    }
    BALLAST_POINT("breaker.closed");
    give_budget(budget, held);
    return Noted::closed;
  }
  Breaker next = due_now(b, now_ms);
  if (effect == Effect::pushback && retry_after_ms != 0) {
    next.until_ms += std::min<std::uint64_t>(retry_after_ms, policy.breaker_open_max_ms);
  } else if (effect != Effect::none) {
    const auto level = static_cast<std::uint8_t>(std::min<unsigned>(b.level + 1U, kMaxLevel));
    next = opened(b, policy, level, owner.slot, now_ms);
  }
  return change(words.breaker, was, next) ? Noted::opened : Noted::nothing;
}

// For a pick that took a permit and then went elsewhere.
template <class Words, class Clock>
void return_permit(const Words& words, std::uint32_t incarnation, std::uint32_t stamp,
                   Clock&& clock) noexcept {
  // Relaxed: change() refuses what is out of date ([mm:breaker]).
  std::uint64_t was = words.breaker.load(std::memory_order_relaxed);
  const Breaker b = unpack_breaker(was);
  if (b.state != BreakerState::half_open || b.tenant != tenant_of(incarnation) ||
      stamp_of(b) != stamp) {
    return;
  }
  static_cast<void>(change(words.breaker, was, due_now(b, clock())));
}

// --- what the checker does ---

// Frees the permit of a holder that is gone, so that the next pick may try at once instead of when
// the permit expires. `is_gone(row, row_incarnation)` gets the low 16 bits of the incarnation.
template <class Words, class IsGone, class Clock>
bool release_permit(const Words& words, IsGone&& is_gone, Clock&& clock) noexcept {
  // Relaxed: a hint that is not this permit's has another stamp.
  const PermitHint hint = unpack_permit(words.permit.load(std::memory_order_relaxed));
  // [mm:breaker] acquire, pairs with take_permit(): is_gone() sees that the holder has its row.
  std::uint64_t was = words.breaker.load(std::memory_order_acquire);
  const Breaker b = unpack_breaker(was);
  if (b.state != BreakerState::half_open || stamp_of(b) != hint.stamp ||
      !is_gone(hint.row, hint.row_incarnation)) {
    return false;
  }
  return change(words.breaker, was, due_now(b, clock()));
}

// Closes a breaker that the settings no longer allow to be out, and forgets what led to it. A
// report of its trial decides nothing any more. False if it was not out.
template <class Words, class BudgetWord, class Clock>
bool close_breaker(const Words& words, std::uint32_t incarnation, BudgetWord& budget,
                   Clock&& clock) noexcept {
  // Relaxed: change() refuses what is out of date ([mm:breaker]).
  std::uint64_t was = words.breaker.load(std::memory_order_relaxed);
  for (;;) {
    const Breaker b = unpack_breaker(was);
    if (b.tenant != tenant_of(incarnation) || b.state == BreakerState::closed) return false;
    // [mm:ejection-budget] before the breaker is closed.
    const BudgetTaken held = held_budget(budget);
    words.window.store(0, std::memory_order_relaxed);
    if (!change(words.breaker, was, {BreakerState::closed, 0, 0, b.tenant, clock()})) continue;
    give_budget(budget, held);
    return true;
  }
}

// For recount(): 1 if the breaker is out. If it is not, its word is changed, so that whoever loaded
// it before can no longer open it and must look, and take from the budget, again. A word that is
// about another tenant is made this one's. `until` of a closed breaker becomes later by this, so a
// level is remembered for a little longer: the price of a count that is exact.
template <class Word, class Clock>
[[nodiscard]] std::uint32_t settle_breaker(Word& word, std::uint32_t incarnation,
                                           Clock&& clock) noexcept {
  // [mm:ejection-budget] pairs with change(): a closed word brings its budget's return along later.
  std::uint64_t was = word.load(std::memory_order_acquire);
  for (;;) {
    const Breaker b = unpack_breaker(was);
    const bool ours = b.tenant == tenant_of(incarnation);
    if (ours && b.state != BreakerState::closed) return 1;
    const std::uint64_t since = std::max<std::uint64_t>(clock(), b.until_ms + 1);
    const Breaker next = ours ? Breaker{b.state, b.count, b.level, b.tenant, since}
                              : Breaker{.tenant = tenant_of(incarnation), .until_ms = since};
    if (change(word, was, next)) return 0;
  }
}

// Whether the breaker is out, at a glance: for seeing whether recount() is called for.
template <class Word>
[[nodiscard]] bool is_out(const Word& word, std::uint32_t incarnation) noexcept {
  // Relaxed: a glance decides nothing.
  const Breaker b = unpack_breaker(word.load(std::memory_order_relaxed));
  return b.tenant == tenant_of(incarnation) && b.state != BreakerState::closed;
}

// For a new tenant, before its state is published. What its predecessor's breaker held of a budget
// is found at the next count.
template <class Words, class Clock>
void reset_breaker(const Words& words, std::uint32_t incarnation, Clock&& clock) noexcept {
  words.window.store(0, std::memory_order_relaxed);
  const Breaker fresh{.tenant = tenant_of(incarnation), .until_ms = clock()};
  // [mm:breaker] release: who sees the new tenant's word sees its empty window.
  words.breaker.store(pack(fresh), std::memory_order_release);
}

}  // namespace ballast::engine
