// Which generations of a service a worker has read, told to the checker: one word a row and
// service, which the row's owner alone writes when it enters a generation, and the checker reads
// after it has published one, to know when nobody goes by an earlier one any more. If the owner
// dies the word stays, and counts for nothing once its row is reaped. Templates over the words, so
// that tests/model explores this very source. docs/memory-model.md, "seen-epoch", has the argument.
#pragma once

#include <atomic>
#include <cstdint>

#include "shm/generation.hpp"

namespace ballast::shm {

// By a worker that has read all of the generation under root `entered`, before it picks by it.
// False: root has moved on; read the new one first. Without that second look, a checker that finds
// the word still 0, "never used the service", could be wrong: the store might be under way.
template <class Seen, class Root>
[[nodiscard]] bool note_seen(Seen& seen, const Root& root, std::uint64_t entered) noexcept {
  // [mm:seen-epoch] release: whoever sees the epoch sees all that was counted by earlier ones.
  // seq_cst, with the load below: pairs with publish(), supersede() or restate() and read_seen(),
  // of which one must see it.
  seen.store(entered, std::memory_order_seq_cst);
  BALLAST_POINT("seen.noted");
  return root.load(std::memory_order_seq_cst) == entered;  // [mm:seen-epoch] as above
}

// By a worker that has left the segment for the one that replaced it, and only reports what it has
// picked here.
template <class Seen>
void forget_seen(Seen& seen) noexcept {
  // [mm:seen-epoch] release: pairs with read_seen(). All that was started here is counted before.
  seen.store(0, std::memory_order_release);
}

// By the checker that has published an epoch: the root that the owner goes by. With the superseded
// bit, it goes on by a segment that was replaced, because it cannot open the new one. 0: it has not
// read any, and will go by that epoch or a later one when it does.
template <class Seen>
[[nodiscard]] std::uint64_t read_seen(const Seen& seen) noexcept {
  // [mm:seen-epoch] acquire: with the epoch come all counts by earlier ones. seq_cst: pairs with
  // note_seen().
  return seen.load(std::memory_order_seq_cst);
}

}  // namespace ballast::shm
