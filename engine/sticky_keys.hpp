// How a service's sticky keys lie in the workers file: two buffers under an epoch of their own, by
// the protocol of `shm/generation.hpp`, so that no worker mixes words of two keys. The checker
// alone writes them; workers read them with each token. A checker killed half way leaves the keys
// before; the next one publishes again. Words are read as input: whatever is there makes a key, and
// a wrong key only opens no token. Templates over the record's words, as the protocol is.
#pragma once

#include <cstdint>

#include "engine/sticky.hpp"
#include "shm/generation.hpp"
#include "shm/layout.hpp"

namespace ballast::engine {

// How often a reader begins again when keys are replaced under it. They change with a reload, so
// one more look is always enough, unless the words are being spoiled.
inline constexpr unsigned kMaxKeyReads = 8;

// The keys as they are now; none if there are none, or they never hold still.
template <class Record>
[[nodiscard]] StickyKeys read_sticky_keys(const Record& record) noexcept {
  for (unsigned attempt = 0; attempt < kMaxKeyReads; ++attempt) {
    const std::uint64_t epoch = shm::enter(record.sticky_epoch);
    if (epoch == 0) return {};
    const auto& words = record.sticky_keys[shm::buffer_of(epoch)];
    const StickyKeys keys{{shm::get(words[0]), shm::get(words[1])},
                          {shm::get(words[2]), shm::get(words[3])}};
    if (shm::unchanged(record.sticky_epoch, epoch)) return keys;
  }
  return {};
}

// For the checker: replaces the keys, unless they are these already.
template <class Record>
void store_sticky_keys(Record& record, const StickyKeys& keys) noexcept {
  if (read_sticky_keys(record) == keys) return;
  static_cast<void>(shm::publish(record.sticky_epoch, [&](unsigned buffer) {
    auto& words = record.sticky_keys[buffer];
    shm::put(words[0], keys.current.k0);
    shm::put(words[1], keys.current.k1);
    shm::put(words[2], keys.previous.k0);
    shm::put(words[3], keys.previous.k1);
  }));
}

}  // namespace ballast::engine
