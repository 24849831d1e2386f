// The journal in front of each row: which slots its owner touched of late, so that the checker's
// load board looks at those counters and at no others. The owner alone appends, with plain stores;
// the board reads from where it left off. Entries that were overwritten before they were read are
// noticed, and the board then looks at the whole row. An owner killed after it counted and before
// it appended leaves a change that no entry names: it is found when the row is reaped, because a
// row whose claim has changed is looked at as a whole, too. Journals go on from one owner of a row
// to the next and are never reset. Templates over the words, so that tests/model explores this very
// source.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "shm/crash_point.hpp"

namespace ballast::shm {

// A journal is a word `head`, how many entries were ever written, and an array `entries`, a ring.
template <class Journal>
inline constexpr std::size_t kEntriesOf =
    std::extent_v<std::remove_reference_t<decltype(std::declval<Journal&>().entries)>>;

// By the row's owner, after the slot's counter: who reads the entry then reads the count.
template <class Journal>
void append_journal(Journal& journal, std::uint16_t slot) noexcept {
  const std::uint64_t head = journal.head.load(std::memory_order_relaxed);
  // [mm:journal] release: who reads this entry in place of the one it overwrites also sees how far
  // head had come. Pairs with read_journal().
  journal.entries[head % kEntriesOf<Journal>].store(slot, std::memory_order_release);
  BALLAST_POINT("journal.entry");
  // [mm:journal] release: entry and count come first. Pairs with read_journal().
  journal.head.store(head + 1, std::memory_order_release);
}

// Calls `visit(slot)` for each entry from `position` on, repetitions included, and moves `position`
// behind the last. False, and nothing was visited: entries were overwritten before they could be
// read, or the journal is damaged; look at the whole row now, then go on from `position`, which has
// been moved. Slots are what the row's owner wrote: check their bounds.
template <class Journal, class Visit>
[[nodiscard]] bool read_journal(const Journal& journal, std::uint64_t& position,
                                Visit&& visit) noexcept {
  constexpr std::size_t kSize = kEntriesOf<Journal>;
  // [mm:journal] acquire: the counts of all entries before it are seen. Pairs with
  // append_journal().
  const std::uint64_t head = journal.head.load(std::memory_order_acquire);
  const std::uint64_t from = position;
  position = head;
  if (head - from >= kSize) return false;  // unsigned: a head that went back as well
  std::array<std::uint16_t, kSize> copy;   // filled as far as it is read
  const auto count = static_cast<std::size_t>(head - from);
  for (std::size_t i = 0; i < count; ++i) {
    // [mm:journal] acquire: before the second look at head. Pairs with append_journal().
    copy[i] = static_cast<std::uint16_t>(
        journal.entries[(from + i) % kSize].load(std::memory_order_acquire));
  }
  // The entry at `head` may be half way, over the one that is as many entries older as there are.
  if (journal.head.load(std::memory_order_relaxed) - from >= kSize) return false;
  for (std::size_t i = 0; i < count; ++i)
    visit(copy[i]);
  return true;
}

}  // namespace ballast::shm
