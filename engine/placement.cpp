// Filling a placement by strategy.
#include "engine/placement.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/ketama.hpp"
#include "engine/maglev.hpp"
#include "engine/round_robin.hpp"

namespace ballast::engine {

Placement build_placement(Strategy strategy, std::vector<Member> members) {
  Placement placement;
  std::erase_if(members, [](const Member& m) { return m.weight == 0; });
  if (members.empty()) return placement;
  for (const Member& m : members)
    placement.members.push_back(m.slot);
  std::sort(placement.members.begin(), placement.members.end());
  switch (strategy) {
    case Strategy::ketama: {
      std::optional<KetamaRing> ring = build_ketama(members);
      if (!ring) return {};
      placement.kind = shm::LookupKind::ring;
      placement.lookup = std::move(ring->slots);
      placement.points = std::move(ring->points);
      placement.index = std::move(ring->index);
      break;
    }
    case Strategy::round_robin:
      placement.kind = shm::LookupKind::schedule;
      placement.lookup = round_robin_schedule(members);
      break;
    case Strategy::maglev:
      placement.kind = shm::LookupKind::table;
      placement.lookup.resize(kDefaultMaglevSize);
      static_cast<void>(maglev_fill(members, placement.lookup));
      break;
  }
  return placement;
}

std::uint64_t estimate_buffer_bytes(Strategy strategy, std::uint64_t members,
                                    std::uint64_t weights) noexcept {
  constexpr std::uint64_t kPadding = 8 * shm::kCacheLine;
  constexpr std::uint64_t kMaxBytesPerPoint = 4 + 2 + 8;  // hash, slot, under two index entries
  const std::uint64_t member_bytes = 2 * members + kPadding;
  switch (strategy) {
    case Strategy::ketama:
      return member_bytes + kKetamaPointsPerWeight * weights * kMaxBytesPerPoint;
    case Strategy::round_robin:
      return member_bytes + 2 * std::min<std::uint64_t>(weights, kMaxRoundRobinLength);
    case Strategy::maglev:
      break;
  }
  return member_bytes + 2 * kDefaultMaglevSize;
}

}  // namespace ballast::engine
