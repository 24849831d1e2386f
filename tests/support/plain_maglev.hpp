// Maglev's fill as the paper has it, without anything that makes it quick: what the real one must
// equal (tests/engine/maglev_test.cpp), and what it is timed against (bench/engine).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/hash.hpp"
#include "engine/member.hpp"

namespace ballast::tests {

// Figure 3 of the paper, with a credit for each member: it grows by the member's weight a round,
// and a turn costs the heaviest weight. `table.size()` must be a prime.
inline void plain_maglev(std::vector<engine::Member> members, std::span<std::uint16_t> table) {
  const std::uint64_t size = table.size();
  std::fill(table.begin(), table.end(), engine::kNoSlot);
  std::erase_if(members, [](const engine::Member& m) { return m.weight == 0; });
  if (members.empty()) return;
  std::sort(members.begin(), members.end(),
            [](const engine::Member& a, const engine::Member& b) { return a.text < b.text; });
  struct Turn {
    std::uint64_t next, skip, credit;
  };
  std::uint64_t heaviest = 0;
  for (const engine::Member& m : members)
    heaviest = std::max<std::uint64_t>(heaviest, m.weight);
  std::vector<Turn> turns;
  for (const engine::Member& m : members) {
    const std::uint64_t hash = engine::key_hash(m.text);
    turns.push_back({engine::reduce(hash, size),
                     engine::reduce(engine::attempt_hash(hash, 1), size - 1) + 1,
                     heaviest - m.weight});
  }
  for (std::uint64_t filled = 0;;) {
    for (std::size_t i = 0; i < members.size(); ++i) {
      Turn& turn = turns[i];
      turn.credit += members[i].weight;
      if (turn.credit < heaviest) continue;
      turn.credit -= heaviest;
      const auto advance = [&turn, size] {
        turn.next += turn.skip;
        if (turn.next >= size) turn.next -= size;
      };
      while (table[turn.next] != engine::kNoSlot)
        advance();
      table[turn.next] = members[i].slot;
      advance();
      if (++filled == size) return;
    }
  }
}

}  // namespace ballast::tests
