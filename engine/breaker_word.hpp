// The breaker of one instance as a 64-bit word, and the arithmetic of its times: pure functions,
// no state. Workers and the checker change the word only by the rules of engine/breaker.hpp.
// docs/protection.md, "breaker", explains it to people.
//
//   bits 0-1     state
//   bits 2-11    count. Closed: failures in a row. Else: permits given since it opened, modulo 1024
//   bits 12-17   level: how many times in a row it has opened
//   bits 18-25   tenant: the low bits of the incarnation that all of this is about
//   bits 26-63   until, in ms of CLOCK_MONOTONIC_COARSE. Open: when it may be tried. Half-open:
//                when the permit expires. Closed: since when
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/hash.hpp"
#include "engine/policy.hpp"

namespace ballast::engine {

enum class BreakerState : std::uint8_t { closed = 0, open = 1, half_open = 2 };

struct Breaker {
  BreakerState state = BreakerState::closed;
  std::uint16_t count = 0;
  std::uint8_t level = 0;
  std::uint8_t tenant = 0;
  std::uint64_t until_ms = 0;

  friend bool operator==(const Breaker&, const Breaker&) = default;
};

inline constexpr std::uint16_t kMaxCount = 1023;
inline constexpr std::uint8_t kMaxLevel = 63;
inline constexpr std::uint64_t kUntilMask = (std::uint64_t{1} << 38) - 1;  // 8.7 years

[[nodiscard]] constexpr std::uint64_t pack(const Breaker& b) noexcept {
  return (b.until_ms & kUntilMask) << 26 | static_cast<std::uint64_t>(b.tenant) << 18 |
         static_cast<std::uint64_t>(b.level & 63) << 12 |
         static_cast<std::uint64_t>(b.count & 1023) << 2 | static_cast<std::uint64_t>(b.state);
}
// Never fails, since a mapped word is input: an unknown state is taken for closed.
[[nodiscard]] constexpr Breaker unpack_breaker(std::uint64_t word) noexcept {
  const auto state = static_cast<std::uint8_t>(word & 3);
  return {state <= 2 ? static_cast<BreakerState>(state) : BreakerState::closed,
          static_cast<std::uint16_t>(word >> 2 & 1023), static_cast<std::uint8_t>(word >> 12 & 63),
          static_cast<std::uint8_t>(word >> 18), word >> 26};
}

// Where a word has its count. While this is 0, a success has no failures in a row to forget.
inline constexpr std::uint64_t kCountMask = std::uint64_t{1023} << 2;
// Whether a success has.
[[nodiscard]] constexpr bool may_reset(std::uint64_t word) noexcept {
  return (word & 3) == 0 && (word & kCountMask) != 0;
}
[[nodiscard]] constexpr std::uint8_t tenant_of(std::uint32_t incarnation) noexcept {
  return static_cast<std::uint8_t>(incarnation);
}

// How long a breaker of this level is open, before jitter.
[[nodiscard]] constexpr std::uint64_t open_time_ms(const Policy& policy, unsigned level) noexcept {
  const unsigned doublings = level == 0 ? 0 : std::min(level - 1, 31U);
  return std::min<std::uint64_t>(std::uint64_t{policy.breaker_open_ms} << doublings,
                                 policy.breaker_open_max_ms);
}

// The same with jitter, which depends only on what is given: two instances that fail together are
// not tried together, and every process computes the same.
[[nodiscard]] constexpr std::uint64_t jittered_ms(std::uint64_t ms, std::uint32_t percent,
                                                  std::uint32_t slot, unsigned level,
                                                  std::uint64_t now_ms) noexcept {
  const std::uint64_t span = ms * std::min<std::uint32_t>(percent, 100) / 100;
  const std::uint64_t hash = attempt_hash(now_ms << 16 ^ slot, level + 1);
  return ms - span + reduce(hash, 2 * span + 1);
}

// The longest that any breaker may be open from now on, jitter included. A deadline farther away
// was set by another clock or another policy, and counts as past.
[[nodiscard]] constexpr std::uint64_t longest_open_ms(const Policy& policy) noexcept {
  const std::uint64_t max = policy.breaker_open_max_ms;
  return max + max * std::min<std::uint32_t>(policy.breaker_jitter_percent, 100) / 100;
}
[[nodiscard]] constexpr std::uint64_t permit_time_ms(const Policy& policy) noexcept {
  return std::max<std::uint32_t>(policy.breaker_trial_ms, 1);
}

// Whether somebody may try the instance now: it has been open long enough, or the one who had the
// permit has not come back in time.
[[nodiscard]] constexpr bool is_due(const Breaker& b, const Policy& policy,
                                    std::uint64_t now_ms) noexcept {
  if (b.state == BreakerState::closed) return false;
  const std::uint64_t left = b.until_ms > now_ms ? b.until_ms - now_ms : 0;
  const std::uint64_t most =
      b.state == BreakerState::open ? longest_open_ms(policy) : permit_time_ms(policy);
  return left == 0 || left > most;
}

// The level of an opening now: one more than of the last, or the first again if it has stayed
// closed for longer than twice what it was open then.
[[nodiscard]] constexpr std::uint8_t next_level(const Breaker& closed, const Policy& policy,
                                                std::uint64_t now_ms) noexcept {
  const std::uint64_t calm = now_ms > closed.until_ms ? now_ms - closed.until_ms : 0;
  if (closed.level == 0 || calm > 2 * open_time_ms(policy, closed.level)) return 1;
  return static_cast<std::uint8_t>(std::min<unsigned>(closed.level + 1U, kMaxLevel));
}

[[nodiscard]] constexpr Breaker opened(const Breaker& b, const Policy& policy, std::uint8_t level,
                                       std::uint32_t slot, std::uint64_t now_ms) noexcept {
  const std::uint64_t ms =
      jittered_ms(open_time_ms(policy, level), policy.breaker_jitter_percent, slot, level, now_ms);
  const auto permits = b.state == BreakerState::closed ? std::uint16_t{0} : b.count;
  return {BreakerState::open, permits, level, b.tenant, now_ms + ms};
}

// Whoever is next may try at once.
[[nodiscard]] constexpr Breaker due_now(const Breaker& half_open, std::uint64_t now_ms) noexcept {
  return {BreakerState::open, half_open.count, half_open.level, half_open.tenant, now_ms};
}

// With a permit more. Counting them tells two of one millisecond apart, and a word from one that
// was the same before.
[[nodiscard]] constexpr Breaker tried(const Breaker& due, const Policy& policy,
                                      std::uint64_t now_ms) noexcept {
  return {BreakerState::half_open, static_cast<std::uint16_t>((due.count + 1) & kMaxCount),
          due.level, due.tenant, now_ms + permit_time_ms(policy)};
}

// --- the permit hint ---
//
// Who has the permit, so that the checker can free a dead holder's at once:
//
//   bits 0-15    row
//   bits 16-31   low bits of the row's incarnation
//   bits 32-63   the permit's stamp, which ties the hint to that permit
struct PermitHint {
  std::uint16_t row = 0;
  std::uint16_t row_incarnation = 0;
  std::uint32_t stamp = 0;

  friend bool operator==(const PermitHint&, const PermitHint&) = default;
};

[[nodiscard]] constexpr std::uint64_t pack(const PermitHint& h) noexcept {
  return static_cast<std::uint64_t>(h.stamp) << 32 |
         static_cast<std::uint64_t>(h.row_incarnation) << 16 | h.row;
}
[[nodiscard]] constexpr PermitHint unpack_permit(std::uint64_t word) noexcept {
  return {static_cast<std::uint16_t>(word), static_cast<std::uint16_t>(word >> 16),
          static_cast<std::uint32_t>(word >> 32)};
}
// What a pick carries of its permit: its number (10 bits) and its `until` (the low 22), so that no
// other permit has the same for an hour.
[[nodiscard]] constexpr std::uint32_t stamp_of(const Breaker& half_open) noexcept {
  return static_cast<std::uint32_t>(half_open.until_ms) << 10 | (half_open.count & kMaxCount);
}

}  // namespace ballast::engine
