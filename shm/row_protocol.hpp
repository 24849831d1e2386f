// How counts survive SIGKILL. A row belongs to whoever holds the kernel lock on its byte. Its
// counters are written by that owner alone with plain load + store, only ever grow, and are never
// reset: each pick is one store (`started`), each report one store (an outcome), so a kill between
// any two instructions leaves a row that is exactly right. What its dead owner still held is the
// difference, and reaping adds that difference to `abandoned`, slot by slot, which may be killed
// and repeated at any point. Templates over the words, so that tests/model explores this very
// source.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "shm/crash_point.hpp"
#include "shm/layout.hpp"

namespace ballast::shm {

// One writer: no read-modify-write instruction is needed.
template <class Word>
void count_started(Word& word) noexcept {
  word.store(word.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

template <class Word>
void count_outcome(Word& word) noexcept {
  const auto next = word.load(std::memory_order_relaxed) + 1;
  // So that a reader who sees an outcome also sees its start: in flight is never read as negative.
  word.store(next, std::memory_order_release);  // [mm:row-counts] pairs with read_in_flight()
}

// Requests in flight by this record, as any process may read it while its owner counts on.
template <class Words>
[[nodiscard]] std::int64_t read_in_flight(const Words& values) noexcept {
  std::uint64_t finished = 0;
  for (unsigned i = kFirstOutcome; i <= kLastOutcome; ++i) {
    finished +=
        values[i].load(std::memory_order_acquire);  // [mm:row-counts] pairs with count_outcome()
  }
  return static_cast<std::int64_t>(values[kStarted].load(std::memory_order_relaxed) - finished);
}

// Counts as abandoned whatever this record still holds in flight. Only under the row's lock, or by
// its owner. Returns how much that was, modulo 2^64, since a row that went mad may say anything.
template <class Words>
std::uint64_t settle(Words& values) noexcept {
  const auto held = static_cast<std::uint64_t>(read_in_flight(values));
  if (held == 0) return 0;
  auto& abandoned = values[kAbandoned];
  abandoned.store(abandoned.load(std::memory_order_relaxed) + held,
                  std::memory_order_release);  // [mm:row-counts] pairs with read_in_flight()
  return held;
}

// Under the row's lock: makes a row of a dead owner free again. Returns what it had in flight.
template <class Claim, class Records>
std::uint64_t reap(Claim& claim, Records&& records) noexcept {
  std::uint64_t held = 0;
  for (auto& record : records) {
    held += settle(record.values);
    BALLAST_POINT("reap.slot");
  }
  const Identity was = unpack_identity(claim.load(std::memory_order_relaxed));
  // [mm:row-claim] pairs with the acquire loads of those who read whether a row is live.
  claim.store(pack(Identity{was.incarnation, Phase::free}), std::memory_order_release);
  return held;
}

// Under the row's lock: takes the row, first reaping a dead owner who left it live. Returns the new
// incarnation.
template <class Claim, class Records>
std::uint32_t take(Claim& claim, Records&& records) noexcept {
  const Identity was = unpack_identity(claim.load(std::memory_order_relaxed));
  if (was.phase == Phase::live) static_cast<void>(reap(claim, records));
  BALLAST_POINT("claim.before_live");
  const std::uint32_t next = was.incarnation + 1 == 0 ? 1 : was.incarnation + 1;
  // [mm:row-claim] release: pairs with the acquire loads of those who read whether a row is live.
  // seq_cst: who finds it free after a publication knows that its owner will read that one
  // ([mm:seen-epoch]).
  claim.store(pack(Identity{next, Phase::live}), std::memory_order_seq_cst);
  BALLAST_POINT("claim.live");
  return next;
}

}  // namespace ballast::shm
