// What an instance's agent has asked for so far, in one word of the table, for people and for the
// checker's successors: an agent speaks of what changes, so what it said once holds until it says
// otherwise, whoever the checker is by then. The checker alone writes it. What follows from it is
// in the state word; the limit alone is read from here, by picks of an instance that the state word
// calls limited.
//
//   bits 0-1     in or out of service: 0 never spoken of, else 1 + shm::Admin
//   bits 2-3     health: 0 never spoken of, 1 up, 2 down
//   bits 4-5     what the checks say of the health: 0 not kept, else 1 + shm::Health
//   bits 8-23    weight: 0 never spoken of, else 1 + percent of the configured one
//   bits 24-31   and the reason for it
//   bits 32-63   requests at once: 0 never spoken of, else 1 + the number, 0 being no limit
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "shm/state_word.hpp"

namespace ballast::engine {

// An agent may lower a weight, never raise it above the configured one.
inline constexpr std::uint32_t kMaxAgentPercent = 100;
inline constexpr std::uint32_t kMaxAgentInFlight = 1U << 24;

// What is unset an agent did not speak of.
struct AgentReport {
  std::optional<bool> up{};  // `up`; `down`, `fail`, `stopped`
  std::optional<shm::Admin> admin{};
  std::optional<std::uint32_t> weight_percent{};
  std::optional<std::uint32_t> max_in_flight{};

  friend bool operator==(const AgentReport&, const AgentReport&) = default;
};

// What holds once `newer` has been said after `older`.
[[nodiscard]] constexpr AgentReport merged(const AgentReport& older, const AgentReport& newer) {
  AgentReport both = older;
  if (newer.up) both.up = newer.up;
  if (newer.admin) both.admin = newer.admin;
  if (newer.weight_percent) both.weight_percent = newer.weight_percent;
  if (newer.max_in_flight) both.max_in_flight = newer.max_in_flight;
  return both;
}

[[nodiscard]] constexpr std::uint64_t pack(const AgentReport& report) noexcept {
  std::uint64_t word = 0;
  if (report.admin) word |= static_cast<std::uint64_t>(*report.admin) + 1;
  if (report.up) word |= (*report.up ? 1U : 2U) << 2;
  if (report.weight_percent)
    word |= std::uint64_t{std::min(*report.weight_percent, kMaxAgentPercent) + 1} << 8;
  if (report.max_in_flight)
    word |= std::uint64_t{std::min(*report.max_in_flight, kMaxAgentInFlight) + 1} << 32;
  return word;
}

// Never fails: what nobody could have stored reads as never spoken of.
[[nodiscard]] constexpr AgentReport unpack_agent(std::uint64_t word) noexcept {
  AgentReport report;
  const auto admin = static_cast<unsigned>(word & 3);
  const auto health = static_cast<unsigned>(word >> 2 & 3);
  const auto percent = static_cast<std::uint32_t>(word >> 8 & 0xffff);
  const auto in_flight = static_cast<std::uint32_t>(word >> 32);
  if (admin != 0) report.admin = static_cast<shm::Admin>(admin - 1);
  if (health == 1 || health == 2) report.up = health == 1;
  if (percent != 0 && percent - 1 <= kMaxAgentPercent) report.weight_percent = percent - 1;
  if (in_flight != 0 && in_flight - 1 <= kMaxAgentInFlight) report.max_in_flight = in_flight - 1;
  return report;
}

// How many requests it may have in flight, by its agent's word; 0: as many as come.
[[nodiscard]] constexpr std::uint32_t agent_limit(const AgentReport& report) noexcept {
  return report.max_in_flight.value_or(0);
}

// What the checks say of an instance. Kept beside what its agent says, since an agent's "down"
// hides it in the state word, and has the reason that a check of the agent itself gives as well.
struct Checked {
  shm::Health health = shm::Health::unknown;
  shm::Reason reason = shm::Reason::none;

  friend bool operator==(const Checked&, const Checked&) = default;
};
inline constexpr std::uint64_t kCheckedBits = 0xff00'0030;

[[nodiscard]] constexpr std::uint64_t pack(const Checked& checked) noexcept {
  return (static_cast<std::uint64_t>(checked.health) + 1) << 4 |
         static_cast<std::uint64_t>(checked.reason) << 24;
}

// From an instance's state word and its agent's. Never fails either.
[[nodiscard]] constexpr Checked checked(const shm::State& state, std::uint64_t word) noexcept {
  const auto health = static_cast<unsigned>(word >> 4 & 3);
  const auto reason = static_cast<unsigned>(word >> 24 & 0xff);
  if (state.reason != shm::Reason::agent_down || health == 0 || reason >= shm::kReasonCount)
    return {state.health, state.reason};
  return {static_cast<shm::Health>(health - 1), static_cast<shm::Reason>(reason)};
}

// Whether an instance may be in service: what the configuration says and what its agent says, the
// stricter of the two. A weight of nothing is a drain, as HAProxy has it.
[[nodiscard]] constexpr shm::Admin strictest(shm::Admin configured,
                                             const AgentReport& agent) noexcept {
  const shm::Admin asked = agent.admin.value_or(shm::Admin::ready);
  const shm::Admin weighed = agent.weight_percent == 0U ? shm::Admin::drain : shm::Admin::ready;
  return std::max({configured, asked, weighed});
}

}  // namespace ballast::engine
