// First fit over the gaps between used regions.
#include "engine/checker/publishing/arena.hpp"

#include <algorithm>
#include <span>

#include "shm/generation.hpp"

namespace ballast::checker {

namespace {

constexpr std::uint64_t align_up(std::uint64_t value) noexcept {
  return (value + shm::kCacheLine - 1) / shm::kCacheLine * shm::kCacheLine;
}

}  // namespace

FreeSpace::FreeSpace(const shm::TableWriter& table)
    : begin_(align_up(table.arena_offset)), end_(table.arena_offset + table.arena_bytes) {
  constexpr auto relaxed = std::memory_order_relaxed;  // the only writer reads its own words
  for (const shm::ServiceRecord& s : table.services) {
    if (shm::unpack_identity(s.identity.load(relaxed)).phase != shm::Phase::live) continue;
    use(s.arena_offset.load(relaxed), 2 * s.half_bytes.load(relaxed));
    const auto& groups = s.generations[shm::buffer_of(s.root.load(relaxed))];
    const std::uint64_t count =
        std::clamp<std::uint64_t>(groups[0].group_count.load(relaxed), 1, shm::kMaxGroups);
    for (const shm::GenerationRecord& g : std::span(groups).first(count)) {
      use(g.member_offset.load(relaxed), g.member_count.load(relaxed) * sizeof(shm::Word16));
      const std::uint64_t lookups = g.lookup_count.load(relaxed);
      use(g.lookup_offset.load(relaxed), lookups * sizeof(shm::Word16));
      use(g.seconds_offset.load(relaxed), lookups * sizeof(shm::Word16));
      if (g.kind.load(relaxed) == static_cast<std::uint64_t>(shm::LookupKind::ring)) {
        use(g.points_offset.load(relaxed), lookups * sizeof(shm::Word32));
        use(g.index_offset.load(relaxed), g.index_count.load(relaxed) * sizeof(shm::Word32));
      }
    }
  }
  std::sort(used_.begin(), used_.end());
}

void FreeSpace::use(std::uint64_t begin, std::uint64_t bytes) {
  // Words of a damaged table may say anything; what does not fit the arena blocks nothing in it.
  if (bytes == 0 || begin < begin_ || begin > end_ || bytes > end_ - begin) return;
  used_.emplace_back(begin, begin + align_up(bytes));
}

std::optional<std::uint64_t> FreeSpace::take(std::uint64_t bytes) {
  std::uint64_t cursor = begin_;
  auto gap = used_.begin();
  for (; gap != used_.end(); ++gap) {
    if (gap->first >= cursor && gap->first - cursor >= bytes) break;
    cursor = std::max(cursor, gap->second);
  }
  if (gap == used_.end() && (cursor > end_ || end_ - cursor < bytes)) return std::nullopt;
  used_.insert(gap, Range{cursor, cursor + align_up(bytes)});
  return cursor;
}

}  // namespace ballast::checker
