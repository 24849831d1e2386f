// Values from one thread to another of which only the newest counts, without either ever waiting
// for the other: three places, one with the writer, one with the reader, one between them that both
// swap theirs for. The checker's loop writes, the metrics thread reads. If either stops in the
// middle of anything, the other goes on with what it has.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace ballast::checker {

// `Word`: for tests, what stands in for the atomic word.
template <class T, class Word = std::atomic<std::uint64_t>>
class Mailbox {
 public:
  // The writer's thread alone: fill this in as a whole (it holds some former value), then post().
  [[nodiscard]] T& draft() noexcept { return places_[mine_]; }
  void post() noexcept {
    // Release: the reader that takes the place finds what was written to it. Acquire: the reader is
    // done with the place that comes back, and all that it read there lies before.
    // [mm:mailbox] pairs with the exchange in take(), both ways.
    const std::uint64_t back = between_.exchange(mine_ | kNew, std::memory_order_acq_rel);
    mine_ = back & kPlace;
  }

  // The reader's thread alone: the newest value that was posted; a default one before the first.
  // Good until the next call.
  [[nodiscard]] const T& take() noexcept {
    // Relaxed: only whether it is worth to swap; the exchange orders.
    if ((between_.load(std::memory_order_relaxed) & kNew) != 0) {
      // [mm:mailbox] pairs with the exchange in post(), both ways.
      const std::uint64_t fresh = between_.exchange(yours_, std::memory_order_acq_rel);
      yours_ = fresh & kPlace;
    }
    return places_[yours_];
  }

 private:
  static constexpr std::uint64_t kPlace = 3;
  static constexpr std::uint64_t kNew = 4;  // the place between holds what the reader has not seen

  std::array<T, 3> places_{};
  std::uint64_t mine_ = 0;
  std::uint64_t yours_ = 1;
  Word between_{2};  // the place that lies between, and kNew
};

}  // namespace ballast::checker
