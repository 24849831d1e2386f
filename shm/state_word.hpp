// Everything a pick needs to know about an instance, in one 64-bit word that the checker alone
// writes with one store, so that a change of health is seen whole, by every worker, at once.
//
//   bit 0        plain: may be picked without another question; all that the straight path looks at
//   bit 1        usable: may be picked, for its share (see `share_of` in engine/share.hpp)
//   bits 2-3     health
//   bits 4-5     admin state
//   bit 6        ejected by outlier detection
//   bit 7        limited: it has a limit of requests in flight of its own, in its LoadRecord's
//                `agent`; never plain
//   bits 8-15    reason for the health
//   bits 16-31   effective weight, in units of 1/kWeightUnit of a configured one
//   bits 32-63   incarnation: which tenant of the slot this is
//
// Plain and usable follow from the rest, and only the checker derives them.
#pragma once

#include <cstdint>

namespace ballast::shm {

enum class Health : std::uint8_t { unknown = 0, up = 1, down = 2 };

enum class Admin : std::uint8_t { ready = 0, drain = 1, maintenance = 2 };

// Why the health is what it is.
enum class Reason : std::uint8_t {
  none = 0,
  not_checked = 1,
  passed = 2,
  connect_refused = 3,
  connect_timeout = 4,
  unreachable = 5,
  reset = 6,
  closed = 7,
  timeout = 8,
  bad_status = 9,
  bad_response = 10,
  admin = 11,
  tls_failed = 12,       // the handshake
  bad_certificate = 13,  // not trusted, expired, or another's name
  bad_body = 14,         // HTTP: the status was right, the body was not
  unexpected = 15,       // send/expect: another answer
  not_serving = 16,      // gRPC
  agent_down = 17,       // the agent said so
  bad_exit = 18,         // the command's exit status
};
inline constexpr unsigned kReasonCount = 19;

inline constexpr std::uint32_t kWeightUnit = 64;

struct State {
  std::uint32_t incarnation = 0;
  std::uint16_t weight = 0;  // effective
  Health health = Health::unknown;
  Admin admin = Admin::ready;
  Reason reason = Reason::none;
  bool usable = false;
  bool plain = false;  // only ever together with `usable`
  bool ejected = false;
  bool limited = false;

  friend bool operator==(const State&, const State&) = default;
};

inline constexpr std::uint64_t kPlainBit = 1;
inline constexpr std::uint64_t kUsableBit = 2;
inline constexpr std::uint64_t kEjectedBit = 64;
inline constexpr std::uint64_t kLimitedBit = 128;

[[nodiscard]] constexpr bool is_plain(std::uint64_t word) noexcept {
  return (word & kPlainBit) != 0;
}
[[nodiscard]] constexpr bool is_usable(std::uint64_t word) noexcept {
  return (word & kUsableBit) != 0;
}
[[nodiscard]] constexpr bool is_ejected(std::uint64_t word) noexcept {
  return (word & kEjectedBit) != 0;
}
[[nodiscard]] constexpr bool is_limited(std::uint64_t word) noexcept {
  return (word & kLimitedBit) != 0;
}
[[nodiscard]] constexpr std::uint32_t weight_of(std::uint64_t word) noexcept {
  return static_cast<std::uint16_t>(word >> 16);
}
[[nodiscard]] constexpr std::uint32_t incarnation_of(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word >> 32);
}

[[nodiscard]] constexpr std::uint64_t pack(const State& s) noexcept {
  return static_cast<std::uint64_t>(s.incarnation) << 32 |
         static_cast<std::uint64_t>(s.weight) << 16 | static_cast<std::uint64_t>(s.reason) << 8 |
         (static_cast<std::uint64_t>(s.admin) & 3) << 4 |
         (static_cast<std::uint64_t>(s.health) & 3) << 2 | (s.ejected ? kEjectedBit : 0) |
         (s.limited ? kLimitedBit : 0) | (s.usable ? kUsableBit : 0) | (s.plain ? kPlainBit : 0);
}

// Never fails: fields out of range read as their zero value, since a mapped word is input.
[[nodiscard]] constexpr State unpack(std::uint64_t word) noexcept {
  State s;
  s.incarnation = incarnation_of(word);
  s.weight = static_cast<std::uint16_t>(word >> 16);
  const auto reason = static_cast<unsigned>(word >> 8 & 0xff);
  const auto admin = static_cast<unsigned>(word >> 4 & 3);
  const auto health = static_cast<unsigned>(word >> 2 & 3);
  s.reason = reason < kReasonCount ? static_cast<Reason>(reason) : Reason::none;
  s.admin = admin <= 2 ? static_cast<Admin>(admin) : Admin::ready;
  s.health = health <= 2 ? static_cast<Health>(health) : Health::unknown;
  s.usable = is_usable(word);
  s.plain = is_plain(word);
  s.ejected = is_ejected(word);
  s.limited = is_limited(word);
  return s;
}

[[nodiscard]] const char* to_text(Health health) noexcept;
[[nodiscard]] const char* to_text(Admin admin) noexcept;
[[nodiscard]] const char* to_text(Reason reason) noexcept;

}  // namespace ballast::shm
