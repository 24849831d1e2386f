// Maglev's lookup table: every key goes to one of M entries, every instance holds its share of
// them, and a change of membership moves little more than it must. The checker fills a table for
// each rebuild; workers only read it (through `reduce(hash, M)`). A pure function of the set of
// (text, weight): the order of members and their slots do not matter, so every host agrees.
// docs/placement.md has the formulas, the balance and the disruption that were measured.
#pragma once

#include <cstdint>
#include <span>

#include "engine/hash.hpp"
#include "engine/member.hpp"

namespace ballast::engine {

inline constexpr std::uint32_t kDefaultMaglevSize = 65537;
// The fill's fixed-point arithmetic is exact below 2^20 (see maglev.cpp); 2 MiB of table.
inline constexpr std::uint32_t kMaxMaglevSize = 1U << 20;

[[nodiscard]] bool is_prime(std::uint32_t n) noexcept;

// Fills `table` with the slots of `members`: a member's first entry in its preference list that is
// still free, turn by turn in order of text, a member of weight w taking part in w of `max weight`
// rounds (all take part in the first). A member with weight therefore holds at least one entry, if
// there are as many entries as members; shares differ from weight / sum by at most
// 1 + N * weight / sum entries. No members, or none with weight: every entry is kNoSlot.
// Returns false, and leaves the table alone, when its size is not a prime of at most
// kMaxMaglevSize. Thread-safe; allocates. Source: Eisenbud et al., "Maglev" (NSDI 2016),
// section 3.4; turns skipped by weight as in Katran.
[[nodiscard]] bool maglev_fill(std::span<const Member> members, std::span<std::uint16_t> table);

}  // namespace ballast::engine
