// Limits that hold exactly for the whole host: how many requests may be in flight to an instance or
// a service, and how many of them may be retries. Each limit is one word in the workers file that
// workers move with compare-and-swap, so it is never exceeded, not by one and not for a moment.
// What a row holds of it stands in the row's own counters, so that nothing leaks: a worker killed
// at any step is reaped (what it held is zeroed, and `tokens_dirty` counts up), and the checker
// then sets each word to what the living hold. Without a checker the tokens of the dead stay taken:
// too few requests, never too many. Templates over the words, so that tests/model explores this
// very source. docs/memory-model.md, "tokens", has the argument.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/crash_point.hpp"

namespace ballast::shm {

// A limit's word. The version grows with every change, so that a word that is found as it was has
// not been touched in between.
struct Tokens {
  std::uint32_t version = 0;
  std::uint32_t used = 0;
};
[[nodiscard]] constexpr std::uint64_t pack(Tokens tokens) noexcept {
  return static_cast<std::uint64_t>(tokens.version) << 32 | tokens.used;
}
[[nodiscard]] constexpr Tokens unpack_tokens(std::uint64_t word) noexcept {
  return {static_cast<std::uint32_t>(word >> 32), static_cast<std::uint32_t>(word)};
}

// Which limit a token is of. The numbers are ABI: they stand in `pending`.
enum class TokenKind : std::uint8_t { instance = 1, service = 2, retry = 3 };

// Which token word: the kind, and the slot or the index of the service.
struct TokenName {
  TokenKind kind = TokenKind::instance;
  std::uint32_t index = 0;
};
// As it stands in a row's `pending`, which is 0 when nothing is.
[[nodiscard]] constexpr std::uint64_t pack(TokenName name) noexcept {
  return static_cast<std::uint64_t>(name.index) << 8 | static_cast<std::uint8_t>(name.kind);
}

// What one row holds by its picks of one slot: three counts in one word.
inline constexpr unsigned kHeldBits = 20;
inline constexpr std::uint32_t kMaxHeld = (1U << kHeldBits) - 1;

[[nodiscard]] constexpr unsigned held_shift(TokenKind kind) noexcept {
  return (static_cast<unsigned>(kind) - 1) * kHeldBits;
}
[[nodiscard]] constexpr std::uint32_t held_of(std::uint64_t held, TokenKind kind) noexcept {
  return static_cast<std::uint32_t>(held >> held_shift(kind)) & kMaxHeld;
}

// By a row's owner. `tokens` is the limit's word, `pending` the row's, `held` the row's word for
// the slot that is picked. False: the limit is reached, or the row holds kMaxHeld of it.
template <class Word, class RowWord>
[[nodiscard]] bool take_token(Word& tokens, RowWord& pending, RowWord& held, TokenName name,
                              std::uint32_t limit) noexcept {
  std::uint64_t seen = tokens.load(std::memory_order_relaxed);
  if (unpack_tokens(seen).used >= limit) return false;  // the usual refusal writes nothing
  const std::uint64_t held_now = held.load(std::memory_order_relaxed);
  if (held_of(held_now, name.kind) == kMaxHeld) return false;
  // [mm:tokens] release: what this row did before is seen by whoever sees this. Pairs with
  // reconcile_tokens()'s caller.
  pending.store(pack(name), std::memory_order_release);
  BALLAST_POINT("tokens.pending");
  bool taken = false;
  while (!taken) {
    const Tokens now = unpack_tokens(seen);
    if (now.used >= limit) break;
    // [mm:tokens] release: whoever loads this or a later value sees `pending` at least as new.
    taken = tokens.compare_exchange_strong(seen, pack(Tokens{now.version + 1, now.used + 1}),
                                           std::memory_order_release, std::memory_order_relaxed);
  }
  if (taken) {
    BALLAST_POINT("tokens.swapped");
    // [mm:tokens] release: whoever adds this up also sees the swap.
    held.store(held_now + (std::uint64_t{1} << held_shift(name.kind)), std::memory_order_release);
    BALLAST_POINT("tokens.held");
  }
  // [mm:tokens] release: `held` comes first.
  pending.store(0, std::memory_order_release);
  return taken;
}

// The reverse, for a token that this row holds by a pick of the slot of `held`. In the same order:
// the word first, since a row that says it holds less than it does would let the checker set the
// word too low.
template <class Word, class RowWord>
void give_token(Word& tokens, RowWord& pending, RowWord& held, TokenName name) noexcept {
  const std::uint64_t held_now = held.load(std::memory_order_relaxed);
  if (held_of(held_now, name.kind) == 0) return;         // a damaged row, or reaped under its owner
  pending.store(pack(name), std::memory_order_release);  // [mm:tokens] as in take_token()
  BALLAST_POINT("tokens.giving");
  std::uint64_t seen = tokens.load(std::memory_order_relaxed);
  bool given = false;
  while (!given) {
    const Tokens now = unpack_tokens(seen);
    const std::uint32_t used = now.used == 0 ? 0 : now.used - 1;
    // [mm:tokens] release, as in take_token()
    given = tokens.compare_exchange_strong(seen, pack(Tokens{now.version + 1, used}),
                                           std::memory_order_release, std::memory_order_relaxed);
  }
  BALLAST_POINT("tokens.given");
  held.store(held_now - (std::uint64_t{1} << held_shift(name.kind)),
             std::memory_order_release);        // [mm:tokens] as in take_token()
  pending.store(0, std::memory_order_release);  // [mm:tokens] as in take_token()
}

// Under the lock of a row whose owner is dead, or by an owner that leaves, before the row is made
// free: nothing is held any more. `held_of_record(record)` is the word of one slot. Says so in
// `dirty` last, and always: whoever was killed half way through this is reaped once more.
template <class Dirty, class RowWord, class Records, class HeldOfRecord>
void drop_tokens(Dirty& dirty, RowWord& pending, Records&& records,
                 HeldOfRecord&& held_of_record) noexcept {
  for (auto& record : records) {
    auto& held = held_of_record(record);
    if (held.load(std::memory_order_relaxed) == 0) continue;
    held.store(0, std::memory_order_release);  // [mm:tokens] as in take_token()
    BALLAST_POINT("tokens.dropped");
  }
  pending.store(0, std::memory_order_release);  // [mm:tokens] `held` comes first
  BALLAST_POINT("tokens.cleared");
  // [mm:tokens] release, and a read-modify-write so that several in a row release as one: the
  // checker that sees this count sees what was zeroed before. Pairs with the load of `dirty`.
  dirty.fetch_add(1, std::memory_order_release);
}

enum class Reconciled : std::uint8_t {
  exact,    // it was right
  changed,  // it is right now
  busy,     // somebody was at it: try again
};

// By the checker alone. `is_pending()` says whether any row's `pending` names this word, and
// `sum()` adds up what rows hold of it; both load with acquire, and are called in this order.
template <class Word, class IsPending, class Sum>
[[nodiscard]] Reconciled reconcile_tokens(Word& tokens, IsPending&& is_pending,
                                          Sum&& sum) noexcept {
  // [mm:tokens] acquire: every swap up to this value is seen with the `pending` before it.
  std::uint64_t seen = tokens.load(std::memory_order_acquire);
  if (is_pending()) return Reconciled::busy;
  const std::uint32_t actual = sum();
  const Tokens was = unpack_tokens(seen);
  if (was.used == actual) {
    // Relaxed: a swap whose `held` was added up happens before this load.
    return tokens.load(std::memory_order_relaxed) == seen ? Reconciled::exact : Reconciled::busy;
  }
  // Relaxed: as above, and nothing is published with it; takers and givers before it stay the head
  // of their release sequences.
  const bool set =
      tokens.compare_exchange_strong(seen, pack(Tokens{was.version + 1, actual}),
                                     std::memory_order_relaxed, std::memory_order_relaxed);
  return set ? Reconciled::changed : Reconciled::busy;
}

}  // namespace ballast::shm
