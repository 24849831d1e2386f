// How many of an instance's recent requests failed, host-wide, in one 64-bit word: a window of two
// halves, the one that is being filled and the one before it. Written by whichever worker reports,
// by compare-and-swap, and read by the one that reports a failure. Nobody can die in the middle of
// one word; what a worker held back dies with it, at most 7 successes.
//
//   bits 0-11    requests of the half before
//   bits 12-23   failures of the half before
//   bits 24-35   requests of this half
//   bits 36-47   failures of this half
//   bits 48-63   number of this half: time / half a window, modulo 2^16
//
// Failures are added at once, with a clock, since they are rare. Successes are added eight at a
// time and without a clock, so they count in the half that the last failure began; while the window
// holds no failure they are not added at all, and a healthy instance's word is never written. So
// the rate is that of the requests since the first failure that the window still holds, and is read
// slightly too high, by that one request, never too low because of a quiet time before it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace ballast::engine {

// Successes are added this many at a time.
inline constexpr std::uint32_t kSuccessBatch = 8;
inline constexpr std::uint32_t kMaxWindowCount = 4095;

struct FailureWindow {
  std::uint16_t epoch = 0;
  std::uint16_t cur_failures = 0;
  std::uint16_t cur_total = 0;
  std::uint16_t prev_failures = 0;
  std::uint16_t prev_total = 0;

  friend bool operator==(const FailureWindow&, const FailureWindow&) = default;
};

[[nodiscard]] constexpr std::uint64_t pack(const FailureWindow& w) noexcept {
  return static_cast<std::uint64_t>(w.epoch) << 48 |
         static_cast<std::uint64_t>(w.cur_failures & 0xfff) << 36 |
         static_cast<std::uint64_t>(w.cur_total & 0xfff) << 24 |
         static_cast<std::uint64_t>(w.prev_failures & 0xfff) << 12 |
         static_cast<std::uint64_t>(w.prev_total & 0xfff);
}
[[nodiscard]] constexpr FailureWindow unpack_window(std::uint64_t word) noexcept {
  return {static_cast<std::uint16_t>(word >> 48), static_cast<std::uint16_t>(word >> 36 & 0xfff),
          static_cast<std::uint16_t>(word >> 24 & 0xfff),
          static_cast<std::uint16_t>(word >> 12 & 0xfff), static_cast<std::uint16_t>(word & 0xfff)};
}

[[nodiscard]] constexpr std::uint64_t half_of(std::uint64_t window_ms) noexcept {
  return std::max<std::uint64_t>(1, window_ms / 2);
}

// How many halves a clock may be behind another process's, which stopped after reading it.
inline constexpr std::uint16_t kMaxHalvesBehind = 16;

// The window as it is at `now_ms`: halves that time has left behind are dropped. A clock that is a
// little behind leaves it as it is.
[[nodiscard]] constexpr FailureWindow advanced(FailureWindow w, std::uint64_t now_ms,
                                               std::uint64_t window_ms) noexcept {
  const auto epoch = static_cast<std::uint16_t>(now_ms / half_of(window_ms));
  const auto ahead = static_cast<std::uint16_t>(epoch - w.epoch);
  const bool empty = w.cur_total == 0 && w.prev_total == 0;
  if (ahead == 0 || (!empty && ahead >= 0x10000 - kMaxHalvesBehind)) return w;
  if (ahead == 1) return {epoch, 0, 0, w.cur_failures, w.cur_total};
  return {epoch, 0, 0, 0, 0};
}

// Adds to this half; when it is full both of its numbers are halved, which keeps their ratio, and
// the half before, which is older, is dropped.
[[nodiscard]] constexpr FailureWindow added(FailureWindow w, std::uint32_t failures,
                                            std::uint32_t total) noexcept {
  if (w.cur_total + total > kMaxWindowCount) {
    w.cur_total = static_cast<std::uint16_t>(w.cur_total / 2);
    w.cur_failures = static_cast<std::uint16_t>(w.cur_failures / 2);
    w.prev_total = w.prev_failures = 0;
  }
  w.cur_total = static_cast<std::uint16_t>(w.cur_total + total);
  w.cur_failures = static_cast<std::uint16_t>(w.cur_failures + failures);
  return w;
}

// Whether, of at least `min_requests`, at least `percent` failed. Of the half before counts the
// part that a window ending now still covers.
[[nodiscard]] constexpr bool is_over_rate(const FailureWindow& w, std::uint64_t now_ms,
                                          std::uint64_t window_ms, std::uint64_t percent,
                                          std::uint64_t min_requests) noexcept {
  const std::uint64_t half = half_of(window_ms);
  const std::uint64_t rest = half - now_ms % half;
  const std::uint64_t total = w.cur_total * half + w.prev_total * rest;
  const std::uint64_t failures = w.cur_failures * half + w.prev_failures * rest;
  return total >= min_requests * half && failures * 100 >= percent * total;
}

// Adds one failure and returns the window with it. Relaxed throughout: the word is all there is,
// nothing is published with it.
template <class Word>
FailureWindow add_failure(Word& word, std::uint64_t now_ms, std::uint64_t window_ms) noexcept {
  std::uint64_t was = word.load(std::memory_order_relaxed);
  for (;;) {
    const FailureWindow next = added(advanced(unpack_window(was), now_ms, window_ms), 1, 1);
    if (word.compare_exchange_strong(was, pack(next), std::memory_order_relaxed,
                                     std::memory_order_relaxed)) {
      return next;
    }
  }
}

// Adds a batch of successes, if there is any failure that they could be weighed against.
template <class Word>
void add_successes(Word& word) noexcept {
  std::uint64_t was = word.load(std::memory_order_relaxed);
  for (;;) {
    const FailureWindow now = unpack_window(was);
    if (now.cur_failures == 0 && now.prev_failures == 0) return;
    if (word.compare_exchange_strong(was, pack(added(now, 0, kSuccessBatch)),
                                     std::memory_order_relaxed, std::memory_order_relaxed)) {
      return;
    }
  }
}

}  // namespace ballast::engine
