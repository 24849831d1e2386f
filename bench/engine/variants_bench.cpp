// Other ways of reading a table while it may be replaced, timed like the one that Ballast uses, to
// show what the choice in docs/design.md rests on. They lie in private memory and nobody
// republishes: only their cost for a pick that succeeds is compared. All check bounds and the
// usable bit as the real pick does. Rows for information, without goals.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "bench/engine/cases.hpp"
#include "bench/engine/worker.hpp"
#include "bench/support/namespace.hpp"
#include "bench/support/paired.hpp"

namespace ballast::bench {

namespace {

// Two generations, as the table holds them, with what the variants want beside them.
struct Generation {
  std::vector<shm::Word16> lookup;
  std::vector<shm::Word32> tagged;  // the slot with the generation's number above it
  alignas(shm::kCacheLine) shm::Word64 sequence{0};
};

struct Published {
  alignas(shm::kCacheLine) shm::Word64 root{1};
  Generation generations[2];
  std::vector<shm::Word64> states;

  explicit Published(const engine::GenerationView& view) : states(view.slot_count) {
    constexpr auto relaxed = std::memory_order_relaxed;  // nobody else looks yet
    for (Generation& g : generations) {
      g.lookup = std::vector<shm::Word16>(view.lookup_count);
      g.tagged = std::vector<shm::Word32>(view.lookup_count);
      const std::uint32_t tag = &g == &generations[1] ? 1 : 0;
      for (std::uint64_t i = 0; i < view.lookup_count; ++i) {
        const std::uint16_t slot = shm::get(view.lookup[i]);
        g.lookup[i].store(slot, relaxed);
        g.tagged[i].store(tag << 16 | slot, relaxed);
      }
    }
    for (std::uint64_t i = 0; i < view.slot_count; ++i)
      states[i].store(shm::get(view.states[i]), relaxed);
  }
  Published(const Published&) = delete;
  Published& operator=(const Published&) = delete;

  // `confirm()` looks, after the loads, whether they belonged together.
  template <class Confirm>
  [[nodiscard, gnu::always_inline]] inline std::uint32_t judge(std::uint32_t slot,
                                                               Confirm&& confirm) const noexcept {
    if (slot < states.size()) [[likely]] {
      if (shm::is_plain(shm::get(states[slot]))) [[likely]] {
        if (confirm()) [[likely]]
          return slot;
      }
    }
    return shm::kNoSlot;
  }
};

// Root says which generation, and is not looked at again: wrong, but the least that a reader does
// who keeps nothing from the pick before.
struct RootUnchecked {
  [[gnu::always_inline]] static std::uint32_t pick(const Published& p,
                                                   std::uint64_t hash) noexcept {
    const Generation& g = p.generations[shm::enter(p.root) % 2];
    return p.judge(shm::get(g.lookup[engine::reduce(hash, g.lookup.size())]), [] { return true; });
  }
};

// Root first, and root again at the end.
struct RootTwice {
  [[gnu::always_inline]] static std::uint32_t pick(const Published& p,
                                                   std::uint64_t hash) noexcept {
    const std::uint64_t root = shm::enter(p.root);
    const Generation& g = p.generations[root % 2];
    return p.judge(shm::get(g.lookup[engine::reduce(hash, g.lookup.size())]),
                   [&] { return shm::unchanged(p.root, root); });
  }
};

// A seqlock on each generation, found by way of root.
struct Seqlock {
  [[gnu::always_inline]] static std::uint32_t pick(const Published& p,
                                                   std::uint64_t hash) noexcept {
    const Generation& g = p.generations[shm::enter(p.root) % 2];
    const std::uint64_t before = shm::get(g.sequence);
    if (before % 2 != 0) [[unlikely]]
      return shm::kNoSlot;  // being written
    return p.judge(shm::get(g.lookup[engine::reduce(hash, g.lookup.size())]),
                   [&] { return shm::unchanged(g.sequence, before); });
  }
};

// Every entry carries the number of its generation; root says which number is right.
struct TaggedSlots {
  [[gnu::always_inline]] static std::uint32_t pick(const Published& p,
                                                   std::uint64_t hash) noexcept {
    const std::uint64_t root = shm::enter(p.root);
    const Generation& g = p.generations[root % 2];
    const std::uint32_t entry = shm::get(g.tagged[engine::reduce(hash, g.tagged.size())]);
    return p.judge(entry & 0xffff, [&] { return entry >> 16 == (root & 0xffff); });
  }
};

struct VariantPair {
  Worker worker;
  PrivateTable floor;
  Published published;

  VariantPair(Namespace& made, unsigned rank)
      : worker(made.directory(), made.publisher().segment_id(), KeyOrder::runs, rank),
        floor(worker.view()),
        published(worker.view()) {}
};

template <class Variant>
void bench_variant(Rows& rows, const char* name, std::size_t instances) {
  Namespace made(instances, engine::Strategy::maglev);
  PairedPlan plan;
  plan.base_operations = plan.subject_operations = 4 * kKeyCount;
  const PairedResult r = run_paired(plan, [&](unsigned rank) {
    const auto pair = std::make_shared<VariantPair>(made, rank);
    return Contenders{
        [pair](std::uint64_t n) {
          over_keys(pair->worker.keys, n,
                    [&](const Key& key) { return pair->floor.table.pick(key.bytes, key.size); });
        },
        [pair](std::uint64_t n) {
          over_keys(pair->worker.keys, n, [&](const Key& key) {
            return Variant::pick(pair->published, engine::key_hash(key.bytes, key.size));
          });
        }};
  });
  rows.add({std::string("variant.") + name + "_over_floor/n" + std::to_string(instances) + "/1p",
            r.ratio,
            "x",
            Better::lower,
            {}});
}

}  // namespace

void add_variant_cases(Suite& suite) {
  suite.add("variants", [](Rows& rows) {
    for (const std::size_t instances : {100U, 1000U}) {
      bench_variant<RootUnchecked>(rows, "root_unchecked", instances);
      bench_variant<RootTwice>(rows, "root_twice", instances);
      bench_variant<Seqlock>(rows, "seqlock", instances);
      bench_variant<TaggedSlots>(rows, "tagged_slots", instances);
    }
  });
}

}  // namespace ballast::bench
