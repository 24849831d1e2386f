// Laying a placement's arrays into a buffer of the arena.
#include "engine/generation_writer.hpp"

#include <algorithm>
#include <optional>
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

// A service's published generation, and the buffer that the next one goes into.
struct Copy {
  unsigned from = 0;
  std::uint64_t from_base = 0;
  std::uint64_t half = 0;
  std::uint64_t group_count = 0;
};

// Where the copy of an array goes.
std::uint64_t moved(const Copy& copy, std::uint64_t offset, std::uint64_t to_base) {
  return offset - copy.from_base + to_base;
}

// Whether `count` elements lie in the buffer that is copied.
template <class Word>
bool is_inside(const Copy& copy, const shm::Word64& offset, std::uint64_t count) {
  const std::uint64_t at = shm::get(offset);
  return count == 0 ||
         (at >= copy.from_base && at - copy.from_base <= copy.half && at % alignof(Word) == 0 &&
          count <= (copy.half - (at - copy.from_base)) / sizeof(Word));
}

std::optional<Copy> plan_copy(const shm::TableWriter& table, std::size_t service) {
  const shm::ServiceRecord& record = table.services[service];
  constexpr auto relaxed = std::memory_order_relaxed;  // the only writer reads its own words
  Copy copy;
  copy.from = shm::buffer_of(record.root.load(relaxed));
  copy.half = record.half_bytes.load(relaxed);
  const std::uint64_t region = record.arena_offset.load(relaxed);
  const auto& groups = record.generations[copy.from];
  copy.group_count = shm::get(groups[0].group_count);
  if (copy.half > table.arena_bytes / 2 ||
      table.array<std::byte>(region, 2 * copy.half).size() != 2 * copy.half ||
      copy.group_count == 0 || copy.group_count > shm::kMaxGroups) {
    return std::nullopt;
  }
  copy.from_base = region + copy.from * copy.half;
  for (std::uint64_t i = 0; i < copy.group_count; ++i) {
    const shm::GenerationRecord& g = groups[i];
    const std::uint64_t lookups = shm::get(g.lookup_count);
    const bool is_ring = static_cast<shm::LookupKind>(shm::get(g.kind)) == shm::LookupKind::ring;
    if (!is_inside<Word16>(copy, g.member_offset, shm::get(g.member_count)) ||
        !is_inside<Word16>(copy, g.lookup_offset, lookups) ||
        !is_inside<Word32>(copy, g.points_offset, is_ring ? lookups : 0) ||
        !is_inside<Word32>(copy, g.index_offset, is_ring ? shm::get(g.index_count) : 0) ||
        !is_inside<Word16>(copy, g.seconds_offset, shm::get(g.seconds_offset) != 0 ? lookups : 0)) {
      return std::nullopt;
    }
  }
  return copy;
}

template <class Word>
void copy_array(const shm::TableWriter& table, std::uint64_t from, std::uint64_t to,
                std::uint64_t count) noexcept {
  const std::span<Word> source = table.array<Word>(from, count);
  const std::span<Word> target = table.array<Word>(to, count);
  // Relaxed: the only writer reads its own words.
  for (std::size_t i = 0; i < source.size() && i < target.size(); ++i)
    shm::put(target[i], source[i].load(std::memory_order_relaxed));
}

void copy_group(const shm::TableWriter& table, const Copy& copy, const shm::GenerationRecord& from,
                shm::GenerationRecord& to, std::uint64_t to_base) {
  const auto kind = static_cast<shm::LookupKind>(shm::get(from.kind));
  for (const auto word : {&shm::GenerationRecord::kind, &shm::GenerationRecord::member_count,
                          &shm::GenerationRecord::lookup_count, &shm::GenerationRecord::index_count,
                          &shm::GenerationRecord::tier, &shm::GenerationRecord::is_local}) {
    shm::put(to.*word, shm::get(from.*word));
  }
  const std::uint64_t seconds = shm::get(from.seconds_offset);
  for (const auto word :
       {&shm::GenerationRecord::member_offset, &shm::GenerationRecord::lookup_offset,
        &shm::GenerationRecord::points_offset, &shm::GenerationRecord::index_offset}) {
    shm::put(to.*word, moved(copy, shm::get(from.*word), to_base));
  }
  shm::put(to.seconds_offset, seconds == 0 ? 0 : moved(copy, seconds, to_base));
  const std::uint64_t lookups = shm::get(from.lookup_count);
  copy_array<Word16>(table, shm::get(from.member_offset), shm::get(to.member_offset),
                     shm::get(from.member_count));
  BALLAST_POINT("publish.members");
  copy_array<Word16>(table, shm::get(from.lookup_offset), shm::get(to.lookup_offset), lookups);
  BALLAST_POINT("publish.lookup");
  if (seconds != 0) copy_array<Word16>(table, seconds, shm::get(to.seconds_offset), lookups);
  if (kind != shm::LookupKind::ring) return;
  copy_array<Word32>(table, shm::get(from.points_offset), shm::get(to.points_offset), lookups);
  copy_array<Word32>(table, shm::get(from.index_offset), shm::get(to.index_offset),
                     shm::get(from.index_count));
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

bool can_republish(const shm::TableWriter& table, std::size_t service) {
  return plan_copy(table, service).has_value();
}

bool republish_placement(const shm::TableWriter& table, std::size_t service, const Policy& policy) {
  const auto copy = plan_copy(table, service);
  if (!copy) return false;
  shm::ServiceRecord& record = table.services[service];
  shm::publish(record.root, [&](unsigned buffer) {
    const std::uint64_t base =
        record.arena_offset.load(std::memory_order_relaxed) + buffer * copy->half;
    auto& records = record.generations[buffer];
    put_policy(record.policies[buffer], policy);
    shm::put(records[0].group_count, copy->group_count);
    for (std::uint64_t i = 0; i < copy->group_count; ++i)
      copy_group(table, *copy, record.generations[copy->from][i], records[i], base);
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
