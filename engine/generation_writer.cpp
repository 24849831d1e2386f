// Laying a placement's arrays into a buffer of the arena.
#include "engine/generation_writer.hpp"

#include <algorithm>
#include <span>

#include "shm/generation.hpp"

namespace ballast::engine {

namespace {

using shm::Word16;
using shm::Word32;

constexpr std::uint64_t align_up(std::uint64_t value) noexcept {
  return (value + shm::kCacheLine - 1) / shm::kCacheLine * shm::kCacheLine;
}

// Where each array starts inside a buffer: each on a cache line of its own.
struct Offsets {
  std::uint64_t members, lookup, points, index, seconds, end;
};

Offsets plan(const Placement& p, std::uint64_t start) noexcept {
  Offsets o{};
  o.members = start;
  o.lookup = align_up(o.members + p.members.size() * sizeof(Word16));
  o.points = align_up(o.lookup + p.lookup.size() * sizeof(Word16));
  o.index = align_up(o.points + p.points.size() * sizeof(Word32));
  o.seconds = align_up(o.index + p.index.size() * sizeof(Word32));
  o.end = align_up(o.seconds + p.seconds.size() * sizeof(Word16));
  return o;
}

template <class Word, class Value>
void put_all(const shm::TableWriter& table, std::uint64_t offset,
             const std::vector<Value>& values) noexcept {
  const std::span<Word> words = table.array<Word>(offset, values.size());
  for (std::size_t i = 0; i < words.size(); ++i)
    shm::put(words[i], values[i]);
}

void put_group(const shm::TableWriter& table, shm::GenerationRecord& g, std::uint64_t base,
               const Placement& placement, const Offsets& offsets) {
  shm::put(g.kind, static_cast<std::uint64_t>(placement.kind));
  shm::put(g.member_offset, base + offsets.members);
  shm::put(g.member_count, placement.members.size());
  shm::put(g.lookup_offset, base + offsets.lookup);
  shm::put(g.lookup_count, placement.lookup.size());
  shm::put(g.points_offset, base + offsets.points);
  shm::put(g.index_offset, base + offsets.index);
  shm::put(g.index_count, placement.index.size());
  shm::put(g.seconds_offset, placement.seconds.empty() ? 0 : base + offsets.seconds);
  shm::put(g.tier, placement.tier);
  shm::put(g.is_local, placement.is_local ? 1U : 0U);
  put_all<Word16>(table, base + offsets.members, placement.members);
  BALLAST_POINT("publish.members");
  put_all<Word16>(table, base + offsets.lookup, placement.lookup);
  BALLAST_POINT("publish.lookup");
  put_all<Word32>(table, base + offsets.points, placement.points);
  put_all<Word32>(table, base + offsets.index, placement.index);
  put_all<Word16>(table, base + offsets.seconds, placement.seconds);
}

bool is_whole(const shm::TableWriter& table, const shm::GenerationRecord& g) {
  const auto kind = static_cast<shm::LookupKind>(shm::get(g.kind));
  const std::uint64_t member_count = shm::get(g.member_count);
  const std::uint64_t lookup_count = shm::get(g.lookup_count);
  if (kind == shm::LookupKind::none) return member_count == 0 && lookup_count == 0;
  if (kind > shm::LookupKind::schedule || member_count == 0 || lookup_count == 0) return false;
  const auto members = table.array<Word16>(shm::get(g.member_offset), member_count);
  const auto lookup = table.array<Word16>(shm::get(g.lookup_offset), lookup_count);
  if (members.empty() || lookup.empty()) return false;
  std::vector<bool> is_member(std::size_t{shm::kNoSlot} + 1);
  std::uint32_t previous = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const std::uint16_t slot = shm::get(members[i]);
    if (slot >= table.instances.size() || (i != 0 && slot <= previous)) return false;
    is_member[slot] = true;
    previous = slot;
  }
  for (const Word16& entry : lookup) {
    if (!is_member[shm::get(entry)]) return false;
  }
  if (const std::uint64_t offset = shm::get(g.seconds_offset); offset != 0) {
    const auto seconds = table.array<Word16>(offset, lookup_count);
    if (seconds.empty()) return false;
    for (const Word16& entry : seconds) {
      if (!is_member[shm::get(entry)]) return false;
    }
  }
  if (kind != shm::LookupKind::ring) return true;
  const std::uint64_t index_count = shm::get(g.index_count);
  const auto points = table.array<Word32>(shm::get(g.points_offset), lookup_count);
  const auto index = table.array<Word32>(shm::get(g.index_offset), index_count);
  if (points.empty() || index.empty()) return false;
  for (std::size_t i = 1; i < points.size(); ++i) {
    if (shm::get(points[i - 1]) >= shm::get(points[i])) return false;
  }
  return true;
}

}  // namespace

std::uint64_t buffer_bytes(std::span<const Placement> groups) noexcept {
  std::uint64_t end = 0;
  for (const Placement& group : groups)
    end = plan(group, end).end;
  return end;
}

bool publish_placement(const shm::TableWriter& table, std::size_t service,
                       std::span<const Placement> groups, const Policy& policy) {
  shm::ServiceRecord& record = table.services[service];
  const std::uint64_t bytes = buffer_bytes(groups);
  const std::uint64_t region = record.arena_offset.load(std::memory_order_relaxed);
  const std::uint64_t half = record.half_bytes.load(std::memory_order_relaxed);
  // An empty generation needs no region: it can be published whatever the record says.
  if (groups.size() > shm::kMaxGroups || bytes > half ||
      (bytes != 0 &&
       (half > table.arena_bytes / 2 || table.array<std::byte>(region, 2 * half).empty()))) {
    return false;
  }
  shm::publish(record.root, [&](unsigned buffer) {
    const std::uint64_t base = region + buffer * half;
    auto& records = record.generations[buffer];
    put_policy(record.policies[buffer], policy);
    shm::put(records[0].group_count, groups.size());
    std::uint64_t start = 0;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      const Offsets offsets = plan(groups[i], start);
      put_group(table, records[i], base, groups[i], offsets);
      start = offsets.end;
    }
    if (groups.empty()) {
      put_group(table, records[0], base, {}, {});
    }
  });
  return true;
}

bool is_whole(const shm::TableWriter& table, std::size_t service) {
  const shm::ServiceRecord& record = table.services[service];
  const std::uint64_t root = record.root.load(std::memory_order_acquire);  // [mm:publish-and-pick]
  const auto& groups = record.generations[shm::buffer_of(root)];
  const std::uint64_t count = shm::get(groups[0].group_count);
  if (count > shm::kMaxGroups) return false;
  for (std::uint64_t i = 0; i < std::max<std::uint64_t>(count, 1); ++i) {
    if (!is_whole(table, groups[i])) return false;
    if (count > 1 && shm::get(groups[i].member_count) == 0) return false;
  }
  return true;
}

}  // namespace ballast::engine
