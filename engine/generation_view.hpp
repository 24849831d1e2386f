// What a handle remembers of one published generation of a service: where its arrays lie, checked
// against the mapping once, and the root under which that was true. Made by a worker for itself
// from what the checker wrote; every use is confirmed by one look at root at the end of the pick
// (`shm/generation.hpp`), so a view made while the checker was writing, or has been killed writing,
// is never believed. Templates over the words, so that tests/model and the benchmarks' floor use
// this very source.
#pragma once

#include <algorithm>
#include <cstdint>

#include "shm/generation.hpp"
#include "shm/layout.hpp"

namespace ballast::engine {

// No root has this value: the superseded bit with an epoch that is never reached.
inline constexpr std::uint64_t kNeverEntered = ~std::uint64_t{0};

template <class W16, class W32, class W64>
struct BasicGenerationView {
  using Slot = W16;
  using Point = W32;
  using Long = W64;

  // A lookup array that names no instance, and a root that nobody stores to: what the first line
  // points at when the straight path must not be taken.
  static inline const W16 kNowhere{shm::kNoSlot};
  static inline const W64 kNoRoot{0};
  // A budget of which nothing is taken: no breaker is open.
  static inline const W64 kNoneOpen{0};

  // All that the straight path touches, in one cache line. `fast` is the lookup array when `kind`
  // is table and the handle is in order, else `kNowhere`: one bounds check then serves for bad
  // words, for other kinds and for everything that needs the long way, and costs nothing extra.
  alignas(shm::kCacheLine) const W16* fast = &kNowhere;
  std::uint64_t fast_count = 1;
  const W64* states = nullptr;
  std::uint64_t slot_count = 0;
  const W64* root = &kNoRoot;
  std::uint64_t entered = kNeverEntered;
  const W64* open_breakers = &kNoneOpen;  // the service's; while it counts none, no breaker matters
  // The rest of the line as the end of a ballast_pick_t has it (Handle::fill()).
  std::uint16_t attempts = 1;
  shm::LookupKind kind = shm::LookupKind::none;
  std::uint8_t flags = 0;     // pick_flags that every pick has
  std::uint32_t service = 0;  // index of its record

  const W64* breakers = nullptr;  // one a slot; looked at when `open_breakers` counts any
  const W16* lookup = nullptr;
  std::uint64_t lookup_count = 0;
  const W16* members = nullptr;
  std::uint64_t member_count = 0;
  const W32* points = nullptr;  // ring: lookup_count of them, sorted
  const W32* index = nullptr;   // ring
  std::uint64_t index_count = 0;
  const W16* seconds = nullptr;  // table: each place's second choice, or null

  // Allows the straight path. Only when picks may be counted and nothing needs attention.
  void arm() noexcept {
    if (kind != shm::LookupKind::table) return;
    fast = lookup;
    fast_count = lookup_count;
  }
  // Sends every pick the long way, from what is remembered.
  void disarm() noexcept {
    fast = &kNowhere;
    fast_count = 1;
  }
  // Forgets the generation: the next pick must refresh first. Writes plain fields only, so a fork
  // handler may call it.
  void poison() noexcept {
    disarm();
    entered = kNeverEntered;
    root = &kNoRoot;
    open_breakers = &kNoneOpen;
    kind = shm::LookupKind::none;
    slot_count = 0;
  }
};

using GenerationView = BasicGenerationView<shm::Word16, shm::Word32, shm::Word64>;

// How many groups the service's generation under root `entered` has; at least one, which may be
// empty.
template <class Service>
[[nodiscard]] std::uint64_t read_group_count(const Service& service,
                                             std::uint64_t entered) noexcept {
  const std::uint64_t count = shm::get(service.generations[shm::buffer_of(entered)][0].group_count);
  return std::clamp<std::uint64_t>(count, 1, shm::kMaxGroups);
}

// Fills `view` (disarmed) from a group of the service's record under root `entered`. False if any
// array lies outside the arena or a count makes no sense: then either the record was being
// replaced, which the next look at root tells, or the file is damaged.
template <class Table, class Service, class View>
[[nodiscard]] bool read_generation(const Table& table, const Service& service,
                                   std::uint64_t entered, View& view,
                                   std::uint64_t group = 0) noexcept {
  const auto& record = service.generations[shm::buffer_of(entered)][group];
  view.poison();
  view.states = table.states.data();
  view.slot_count = table.states.size();
  view.root = &service.root;
  view.entered = entered;
  const std::uint64_t kind = shm::get(record.kind);
  if (kind == static_cast<std::uint64_t>(shm::LookupKind::none)) return true;
  if (kind > static_cast<std::uint64_t>(shm::LookupKind::schedule)) return false;
  const std::uint64_t member_count = shm::get(record.member_count);
  const std::uint64_t lookup_count = shm::get(record.lookup_count);
  if (member_count == 0 || member_count > view.slot_count || lookup_count == 0) return false;
  const auto members =
      table.template array<typename View::Slot>(shm::get(record.member_offset), member_count);
  const auto lookup =
      table.template array<typename View::Slot>(shm::get(record.lookup_offset), lookup_count);
  if (members.empty() || lookup.empty()) return false;
  if (kind == static_cast<std::uint64_t>(shm::LookupKind::ring)) {
    const std::uint64_t index_count = shm::get(record.index_count);
    const auto points =
        table.template array<typename View::Point>(shm::get(record.points_offset), lookup_count);
    const auto index =
        table.template array<typename View::Point>(shm::get(record.index_offset), index_count);
    if (points.empty() || index.empty()) return false;
    view.points = points.data();
    view.index = index.data();
    view.index_count = index_count;
  }
  view.seconds = nullptr;
  if (const std::uint64_t offset = shm::get(record.seconds_offset); offset != 0) {
    const auto seconds = table.template array<typename View::Slot>(offset, lookup_count);
    if (seconds.empty()) return false;
    view.seconds = seconds.data();
  }
  view.lookup = lookup.data();
  view.lookup_count = lookup_count;
  view.members = members.data();
  view.member_count = member_count;
  view.kind = static_cast<shm::LookupKind>(kind);
  return true;
}

}  // namespace ballast::engine
