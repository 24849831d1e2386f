// A measuring worker: attached to a namespace as any worker is, the table mapped read-only, with
// its keys and the private copy that it is compared with. Lives in one forked process.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/engine/private_table.hpp"
#include "bench/support/keys.hpp"
#include "engine/choose.hpp"
#include "engine/generation_view.hpp"
#include "engine/pick.hpp"
#include "shm/segment.hpp"

namespace ballast::bench {

// Hands a value to nobody, so that it must be computed; and, as a call to a library would, makes
// the compiler fetch from memory anew whatever others can see.
template <class T>
[[gnu::always_inline]] inline void keep(T value) noexcept {
  asm volatile("" : : "r"(value) : "memory");
}

class Worker {
 public:
  Worker(const std::string& directory, std::uint64_t segment_id, KeyOrder order, unsigned rank)
      : keys(make_keys(order, rank + 1)), segment_(open(directory, segment_id)) {
    refresh();
  }

  // The full safe pick, as the library does it: straight, else the long way, else refresh.
  [[nodiscard, gnu::always_inline]] inline std::uint32_t pick(const Key& key) noexcept {
    const std::uint64_t hash = engine::key_hash(key.bytes, key.size);
    const engine::Choice choice = engine::pick_straight(view(), hash, [](std::uint32_t) {});
    if (choice.result == engine::PickResult::ok) [[likely]]
      return choice.slot;
    return pick_slow(hash);
  }

  void refresh() {
    const std::uint64_t root = shm::enter(segment_.table.services[0].root);
    if (!engine::read_service(segment_.table, segment_.workers, 0, root, service_)) {
      throw std::runtime_error("the published generation cannot be read");
    }
    service_.arm();
  }

  std::vector<Key> keys;

  [[nodiscard]] const engine::ServiceView& service() const noexcept { return service_; }
  [[nodiscard]] const engine::GenerationView& view() const noexcept { return service_.first(); }

 private:
  static shm::WorkerSegment open(const std::string& directory, std::uint64_t id) {
    auto segment = shm::WorkerSegment::open(directory, id);
    if (!segment) throw std::runtime_error(segment.error().to_text());
    return std::move(*segment);
  }

  [[gnu::noinline, gnu::cold]] std::uint32_t pick_slow(std::uint64_t hash) noexcept {
    while (true) {
      const engine::Choice choice =
          engine::choose(service_, picker_, {.hash = hash}, [](std::uint32_t) {});
      if (choice.result == engine::PickResult::ok) return choice.slot;
      if (choice.result == engine::PickResult::no_instance) return shm::kNoSlot;
      refresh();
    }
  }

  shm::WorkerSegment segment_;
  engine::ServiceView service_;
  engine::Picker picker_;
};

// Calls `pick(key)` `operations` times, over the keys in turn.
template <class Pick>
[[gnu::always_inline]] inline void over_keys(const std::vector<Key>& keys, std::uint64_t operations,
                                             Pick&& pick) noexcept {
  const Key* const first = keys.data();
  for (std::uint64_t i = 0; i < operations; ++i)
    keep(pick(first[i % kKeyCount]));
}

}  // namespace ballast::bench
