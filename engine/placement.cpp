// Filling a placement by strategy.
#include "engine/placement.hpp"

#include <algorithm>

#include "engine/maglev.hpp"

namespace ballast::engine {

Placement build_placement(Strategy strategy, std::vector<Member> members) {
  Placement placement;
  std::erase_if(members, [](const Member& m) { return m.weight == 0; });
  if (members.empty()) return placement;
  for (const Member& m : members)
    placement.members.push_back(m.slot);
  std::sort(placement.members.begin(), placement.members.end());
  switch (strategy) {
    case Strategy::ketama:
    case Strategy::round_robin:
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
  const std::uint64_t member_bytes = 2 * members + kPadding;
  switch (strategy) {
    case Strategy::ketama:
      return member_bytes + 160 * weights * 10;
    case Strategy::round_robin:
    case Strategy::maglev:
      break;
  }
  return member_bytes + 2 * kDefaultMaglevSize;
}

}  // namespace ballast::engine
