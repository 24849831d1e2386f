// The flight recorder's rings: the last transitions, whole, whoever dies while writing one. One
// ring lies in the table, where the checker alone writes; one in the workers file, where any worker
// may. A writer draws a ticket, claims the ticket's place by compare-and-swap, stores the fields
// and then the commit word that names the ticket. A place that is claimed is nobody else's, so no
// record is ever torn: who meets one, draws another ticket. A writer that is killed leaves its
// place claimed, in its own name, and `free_claims` makes it free once that writer is gone; one
// that is stopped keeps it, and finishes when it goes on. Readers copy and look at the commit word
// again; they hold nothing and delay nobody. Templates over the words, so that tests/model explores
// this very source. What the fields mean is shm/event.hpp's.
//
// A word `commit` is 0: nothing was ever written here, or what was begun was given up; an even
// number: the record of ticket (commit / 2 - 1) is whole; an odd one: claimed, by whom the rest
// says.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "shm/crash_point.hpp"

namespace ballast::shm {

// Who writes: a row and its incarnation, or the checker of a term.
struct EventWriter {
  std::uint16_t row = 0;
  std::uint32_t incarnation = 0;

  friend bool operator==(const EventWriter&, const EventWriter&) = default;
};
// The checker in place of a row, its term's low bits in place of the incarnation.
inline constexpr std::uint16_t kCheckerWriter = 0x7fff;

[[nodiscard]] constexpr std::uint64_t event_claim(EventWriter writer) noexcept {
  return std::uint64_t{writer.incarnation} << 32 | std::uint64_t{writer.row} << 1 | 1;
}
[[nodiscard]] constexpr bool is_event_claim(std::uint64_t commit) noexcept {
  return (commit & 1) != 0;
}
[[nodiscard]] constexpr EventWriter event_claimer(std::uint64_t commit) noexcept {
  return {static_cast<std::uint16_t>(commit >> 1 & 0x7fff),
          static_cast<std::uint32_t>(commit >> 32)};
}
[[nodiscard]] constexpr std::uint64_t event_commit(std::uint64_t ticket) noexcept {
  return (ticket + 1) << 1;
}

// How many places a writer tries. Places are taken only by writers that stand still in the middle,
// so more than that are hardly ever taken in a row.
inline constexpr unsigned kEventTries = 8;

// Calls `fill(record)`, which stores the fields by put_event_word(). False, and nothing is
// recorded: every place that was tried belongs to somebody who stands still.
template <class Word, class Records, class Fill>
bool write_event(Word& next, Records&& records, EventWriter writer, Fill&& fill) noexcept {
  const std::uint64_t size = std::size(records);
  for (unsigned i = 0; i < kEventTries && size != 0; ++i) {
    // Relaxed: a ticket is only a number that nobody else gets.
    const std::uint64_t ticket = next.fetch_add(1, std::memory_order_relaxed);
    auto& record = records[ticket % size];
    BALLAST_POINT("event.ticket");
    // Relaxed: the compare-and-swap refuses what is out of date.
    std::uint64_t was = record.commit.load(std::memory_order_relaxed);
    // Claimed, or so late that a later round has been here.
    if (is_event_claim(was) || was >= event_commit(ticket)) continue;
    // [mm:events] acquire, pairs with the commit below and with free_claims(): the fields of who
    // was here before come first. Release, pairs with free_claims(): that this writer has its row.
    if (!record.commit.compare_exchange_strong(was, event_claim(writer), std::memory_order_acq_rel,
                                               std::memory_order_relaxed)) {
      continue;
    }
    BALLAST_POINT("event.claimed");
    fill(record);
    BALLAST_POINT("event.filled");
    // [mm:events] release: the fields come first. Pairs with read_event() and the claim above.
    record.commit.store(event_commit(ticket), std::memory_order_release);
    BALLAST_POINT("event.committed");
    return true;
  }
  return false;
}

template <class Word>
void put_event_word(Word& word, std::uint64_t value) noexcept {
  // [mm:events] release: who reads this also finds the place claimed. Pairs with get_event_word().
  word.store(value, std::memory_order_release);
}

template <class Word>
[[nodiscard]] std::uint64_t get_event_word(const Word& word) noexcept {
  // [mm:events] acquire: before the second look at the commit word. Pairs with put_event_word().
  return word.load(std::memory_order_acquire);
}

enum class EventRead : unsigned char {
  whole = 0,    // `copy` has seen the record of this ticket and nothing else
  pending = 1,  // it is not there yet, or never will be
  gone = 2,     // a later one has taken its place
};

// Reads the record of `ticket`: calls `copy(record)`, which loads by get_event_word(). What it
// copied counts only if the answer is `whole`.
template <class Records, class Copy>
[[nodiscard]] EventRead read_event(Records&& records, std::uint64_t ticket, Copy&& copy) noexcept {
  const std::uint64_t size = std::size(records);
  if (size == 0) return EventRead::gone;
  const auto& record = records[ticket % size];
  const std::uint64_t wanted = event_commit(ticket);
  // [mm:events] acquire: the fields are seen as of this commit or newer. Pairs with write_event().
  const std::uint64_t now = record.commit.load(std::memory_order_acquire);
  if (now != wanted)
    return !is_event_claim(now) && now > wanted ? EventRead::gone : EventRead::pending;
  copy(record);
  // Relaxed: get_event_word() keeps it after the copy ([mm:events]).
  return record.commit.load(std::memory_order_relaxed) == wanted ? EventRead::whole
                                                                 : EventRead::gone;
}

// Makes places free that writers claimed who are gone for good: `is_gone(EventWriter)` says so of
// one. Only a writer itself may undo its claim while it lives. And those whose record is of a
// ticket that `next` has not given out yet: a process gone mad wrote them, and no writer would come
// by them again for as long as they look newer than all others. Returns how many.
template <class Word, class Records, class IsGone>
std::uint64_t free_claims(const Word& next, Records&& records, IsGone&& is_gone) noexcept {
  std::uint64_t freed = 0;
  for (auto& record : records) {
    // [mm:events] acquire, pairs with the claim in write_event(): is_gone() sees that its writer
    // has its row.
    std::uint64_t was = record.commit.load(std::memory_order_acquire);
    if (is_event_claim(was)) {
      if (!is_gone(event_claimer(was))) continue;
    } else {
      // Relaxed: whoever committed had drawn its ticket before, which the acquire above brings with
      // it ([mm:events]); so `next` is seen past the ticket of every honest record.
      const std::uint64_t head = next.load(std::memory_order_relaxed);
      if (was <= head << 1) continue;
    }
    // [mm:events] release: what the dead one stored comes before what the next one does. Pairs with
    // the claim in write_event().
    if (record.commit.compare_exchange_strong(was, 0, std::memory_order_release,
                                              std::memory_order_relaxed)) {
      ++freed;
    }
  }
  return freed;
}

}  // namespace ballast::shm
