// Filling a placement by strategy.
#include "engine/placement.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "engine/ketama.hpp"
#include "engine/maglev.hpp"
#include "engine/round_robin.hpp"

namespace ballast::engine {

std::optional<Placement> build_placement(Strategy strategy, std::vector<Member> members,
                                         RendezvousTable* kept) {
  Placement placement;
  std::erase_if(members, [](const Member& m) { return m.weight == 0; });
  if (members.empty()) return placement;
  for (const Member& m : members)
    placement.members.push_back(m.slot);
  std::sort(placement.members.begin(), placement.members.end());
  switch (strategy) {
    case Strategy::maglev:
      placement.kind = shm::LookupKind::table;
      placement.lookup.resize(kDefaultMaglevSize);
      static_cast<void>(maglev_fill(members, placement.lookup));  // the size is a prime
      break;
    case Strategy::ketama: {
      auto ring = build_ketama(members);
      if (!ring) return std::nullopt;
      placement.kind = shm::LookupKind::ring;
      placement.lookup = std::move(ring->slots);
      placement.points = std::move(ring->points);
      placement.index = std::move(ring->index);
      break;
    }
    case Strategy::round_robin:
    case Strategy::random:
    case Strategy::least_connections:
    case Strategy::least_response_time:
    case Strategy::adaptive:
      // Walked by turns, or drawn from at random: either way each has its weight.
      placement.kind = shm::LookupKind::schedule;
      placement.lookup = round_robin_schedule(members);
      break;
    case Strategy::rendezvous: {
      RendezvousTable fresh;
      RendezvousTable& table = kept != nullptr ? *kept : fresh;
      table.update(members);
      placement.kind = shm::LookupKind::table;
      placement.lookup.assign(table.lookup().begin(), table.lookup().end());
      if (members.size() > 1) {
        placement.seconds.assign(table.seconds().begin(), table.seconds().end());
      }
      break;
    }
  }
  return placement;
}

std::uint64_t estimate_buffer_bytes(Strategy strategy, std::uint64_t members,
                                    std::uint64_t weights) noexcept {
  constexpr std::uint64_t kPadding = 8 * shm::kCacheLine;
  const std::uint64_t base = sizeof(shm::Word16) * members + kPadding;
  switch (strategy) {
    case Strategy::maglev:
      return base + sizeof(shm::Word16) * kDefaultMaglevSize;
    case Strategy::ketama: {
      const std::uint64_t points =
          std::min<std::uint64_t>(kKetamaPointsPerWeight * weights, kMaxKetamaPoints);
      return base + points * (sizeof(shm::Word16) + sizeof(shm::Word32)) +
             2 * std::bit_ceil(points) * sizeof(shm::Word32);
    }
    case Strategy::rendezvous:
      return base + 2 * sizeof(shm::Word16) * kRendezvousSize;
    case Strategy::round_robin:
    case Strategy::random:
    case Strategy::least_connections:
    case Strategy::least_response_time:
    case Strategy::adaptive:
      return base + sizeof(shm::Word16) * std::min<std::uint64_t>(weights, kMaxRoundRobinLength);
  }
  return base;
}

}  // namespace ballast::engine
