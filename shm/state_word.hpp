// Everything a pick needs to know about an instance, in one 64-bit word that the checker alone
// writes with one store, so that a change of health is seen whole, by every worker, at once.
//
//   bit 0        usable: the only bit a pick looks at; the checker derives it from the rest
//   bits 1-3     health
//   bits 4-7     admin state
//   bits 8-15    reason for the health
//   bits 16-31   effective weight
//   bits 32-63   incarnation: which tenant of the slot this is
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
};
inline constexpr unsigned kReasonCount = 12;

struct State {
  std::uint32_t incarnation = 0;
  std::uint16_t weight = 0;
  Health health = Health::unknown;
  Admin admin = Admin::ready;
  Reason reason = Reason::none;
  bool usable = false;

  friend bool operator==(const State&, const State&) = default;
};

inline constexpr std::uint64_t kUsableBit = 1;

[[nodiscard]] constexpr bool is_usable(std::uint64_t word) noexcept {
  return (word & kUsableBit) != 0;
}
[[nodiscard]] constexpr std::uint32_t incarnation_of(std::uint64_t word) noexcept {
  return static_cast<std::uint32_t>(word >> 32);
}

[[nodiscard]] constexpr std::uint64_t pack(const State& s) noexcept {
  return static_cast<std::uint64_t>(s.incarnation) << 32 |
         static_cast<std::uint64_t>(s.weight) << 16 | static_cast<std::uint64_t>(s.reason) << 8 |
         (static_cast<std::uint64_t>(s.admin) & 15) << 4 |
         (static_cast<std::uint64_t>(s.health) & 7) << 1 | (s.usable ? kUsableBit : 0);
}

// Never fails: fields out of range read as their zero value, since a mapped word is input.
[[nodiscard]] constexpr State unpack(std::uint64_t word) noexcept {
  State s;
  s.incarnation = incarnation_of(word);
  s.weight = static_cast<std::uint16_t>(word >> 16);
  const auto reason = static_cast<unsigned>(word >> 8 & 0xff);
  const auto admin = static_cast<unsigned>(word >> 4 & 15);
  const auto health = static_cast<unsigned>(word >> 1 & 7);
  s.reason = reason < kReasonCount ? static_cast<Reason>(reason) : Reason::none;
  s.admin = admin <= 2 ? static_cast<Admin>(admin) : Admin::ready;
  s.health = health <= 2 ? static_cast<Health>(health) : Health::unknown;
  s.usable = is_usable(word);
  return s;
}

[[nodiscard]] const char* to_text(Health health) noexcept;
[[nodiscard]] const char* to_text(Admin admin) noexcept;
[[nodiscard]] const char* to_text(Reason reason) noexcept;

}  // namespace ballast::shm
