// What every pick is measured against: a private, unsynchronised copy of a published generation
// with the same loads (key, table, state word) and the same hash, and nothing else: no atomics, no
// bounds check, no look at root. Nobody can do less and still send a key to a usable instance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/generation_view.hpp"
#include "engine/hash.hpp"
#include "shm/state_word.hpp"

namespace ballast::bench {

// The same over any plain memory, so that it can also lie in shared memory behind a lock.
struct PlainTable {
  const std::uint16_t* lookup = nullptr;
  std::uint64_t size = 0;
  const std::uint64_t* states = nullptr;

  [[nodiscard, gnu::always_inline]] inline std::uint32_t pick(const char* key,
                                                              std::size_t length) const noexcept {
    const std::uint32_t slot = lookup[engine::reduce(engine::key_hash(key, length), size)];
    if (shm::is_plain(states[slot])) [[likely]]
      return slot;
    return shm::kNoSlot;
  }
};

struct PrivateTable {
  std::vector<std::uint16_t> lookup;
  std::vector<std::uint64_t> states;
  PlainTable table;

  explicit PrivateTable(const engine::GenerationView& view) {
    for (std::uint64_t i = 0; i < view.lookup_count; ++i)
      lookup.push_back(shm::get(view.lookup[i]));
    for (std::uint64_t i = 0; i < view.slot_count; ++i)
      states.push_back(shm::get(view.states[i]));
    table = {lookup.data(), lookup.size(), states.data()};
  }
  PrivateTable(const PrivateTable&) = delete;
  PrivateTable& operator=(const PrivateTable&) = delete;
};

}  // namespace ballast::bench
