// How a lookup table is read while it is being replaced. A service has two buffers and one `root`,
// the number of the published generation n, which lies in buffer n % 2. The one writer fills the
// other buffer and then stores root; readers check root once, at the end of a pick. The protocol is
// written as templates over the atomic words, so that tests/model explores this very source
// exhaustively.
//
//   writer  publish():  every word of buffer (n+1) % 2 .store(release);  root.store(n + 1, release)
//   reader  enter():    e = root.load(acquire)
//           pick:       words of buffer e % 2 .load(acquire), states and addresses .load(acquire)
//           unchanged(): root.load(relaxed) == e, or start again
//
// The buffer of e is written again only for e + 2, after root.store(e + 1, release). So a reader
// whose acquire load saw any word of e + 2 cannot load e from root afterwards. The writer never
// waits; a reader stalled for an hour holds nothing back; a writer killed half way leaves
// generation n whole.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/crash_point.hpp"

namespace ballast::shm {

// The top bit of root: this whole segment has been replaced; look at the locator again.
inline constexpr std::uint64_t kSupersededBit = std::uint64_t{1} << 63;

[[nodiscard]] constexpr std::uint64_t epoch_of(std::uint64_t root) noexcept {
  return root & ~kSupersededBit;
}
[[nodiscard]] constexpr bool is_superseded(std::uint64_t root) noexcept {
  return (root & kSupersededBit) != 0;
}
[[nodiscard]] constexpr unsigned buffer_of(std::uint64_t root) noexcept {
  return static_cast<unsigned>(root & 1);
}

// A word of a generation, an address or a state: stored so that whoever sees it also sees every
// earlier store of root.
template <class Word, class Value>
void put(Word& word, Value value) noexcept {
  word.store(value, std::memory_order_release);  // [mm:publish-and-pick] pairs with get()
}

template <class Word>
[[nodiscard]] auto get(const Word& word) noexcept {
  return word.load(std::memory_order_acquire);  // [mm:publish-and-pick] pairs with put()
}

// Fills the buffer that root does not name, by `fill(buffer)` using put(), then names it. Only the
// lease holder may call it. Returns the new epoch.
template <class Root, class Fill>
std::uint64_t publish(Root& root, Fill&& fill) {
  const std::uint64_t next = epoch_of(root.load(std::memory_order_relaxed)) + 1;
  BALLAST_POINT("publish.begin");
  fill(buffer_of(next));
  BALLAST_POINT("publish.filled");
  // [mm:publish-and-pick] release: pairs with enter(). seq_cst for who asks next which workers have
  // read it ([mm:seen-epoch]); picks need no more than the release.
  root.store(next, std::memory_order_seq_cst);
  BALLAST_POINT("publish.done");
  return next;
}

template <class Root>
[[nodiscard]] std::uint64_t enter(const Root& root) noexcept {
  return root.load(std::memory_order_acquire);  // [mm:publish-and-pick] pairs with publish()
}

// The one check. Relaxed is enough: the acquire loads before it keep it after them, and coherence
// does the rest ([mm:publish-and-pick]).
template <class Root>
[[nodiscard]] bool unchanged(const Root& root, std::uint64_t entered) noexcept {
  return root.load(std::memory_order_relaxed) == entered;
}

// Marks the segment as replaced. Picks under way fail their check and look for the new one; the
// generation itself stays whole for those who cannot move yet.
template <class Root>
void supersede(Root& root) noexcept {
  const std::uint64_t now = root.load(std::memory_order_relaxed);
  // [mm:growth] release: pairs with enter(). seq_cst for who asks next which workers still go by
  // this segment ([mm:seen-epoch]), as in publish().
  root.store(now | kSupersededBit, std::memory_order_seq_cst);
}

// Says once more what root says already, after a state word has changed: who asks next which
// workers have ever used the service knows that the others will find the state as it is now.
template <class Root>
void restate(Root& root) noexcept {
  // [mm:seen-epoch] seq_cst: pairs with note_seen(). Relaxed: the only writer's own word.
  root.store(root.load(std::memory_order_relaxed), std::memory_order_seq_cst);
}

}  // namespace ballast::shm
