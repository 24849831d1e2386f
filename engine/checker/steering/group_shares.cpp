// Tiers first, then the zones within each, then whole units.
#include "engine/checker/steering/group_shares.hpp"

#include <algorithm>

namespace ballast::checker {
namespace {

struct Tier {
  std::uint8_t number = 0;
  std::uint64_t usable = 0;
  std::uint64_t ready = 0;
  std::uint64_t total = 0;
  std::uint64_t unchecked = 0;
  double health = 0;  // 0..1
  double load = 0;    // of the whole
  bool panicking = false;
};

double health_of(const GroupPolicy& policy, std::uint64_t usable, std::uint64_t total) {
  if (total == 0) return 0;
  return std::min(1.0, policy.overprovisioning_percent / 100.0 * static_cast<double>(usable) /
                           static_cast<double>(total));
}

// Whole units for parts of the whole: rounded down, and what is left over to the largest rests, the
// first of equals, so that the same input gives the same division everywhere.
void round_to_units(const std::array<double, kMaxGroups>& parts, std::size_t count,
                    std::array<std::uint32_t, kMaxGroups>& units) {
  std::array<double, kMaxGroups> rests{};
  std::uint32_t given = 0;
  for (std::size_t g = 0; g < count; ++g) {
    const double exact = std::clamp(parts[g], 0.0, 1.0) * kShareUnit;
    units[g] = static_cast<std::uint32_t>(exact);
    rests[g] = parts[g] > 0 ? exact - units[g] : -1;
    given += units[g];
  }
  while (given < kShareUnit) {
    const auto next = static_cast<std::size_t>(
        std::max_element(rests.begin(), rests.begin() + static_cast<std::ptrdiff_t>(count)) -
        rests.begin());
    ++units[next];
    rests[next] = -0.5;  // behind everybody that has not had one, before those with no share
    ++given;
  }
}

}  // namespace

engine::GroupEnds GroupShares::ends() const noexcept {
  engine::GroupEnds ends{};
  std::uint32_t end = 0;
  for (std::size_t g = 0; g < kMaxGroups; ++g) {
    end += shares[g];
    ends[g] = static_cast<std::uint16_t>(std::min(end, kShareUnit - 1));
  }
  return ends;
}

GroupShares divide_traffic(const GroupPolicy& policy,
                           std::span<const GroupMembers> groups) noexcept {
  GroupShares result;
  const std::size_t count = std::min(groups.size(), kMaxGroups);
  std::array<Tier, kMaxGroups> tiers;
  std::size_t tier_count = 0;
  // The tier of this number, in its place among those seen so far.
  const auto tier_of = [&](std::uint8_t number) -> Tier& {
    std::size_t at = 0;
    while (at < tier_count && tiers[at].number < number)
      ++at;
    if (at == tier_count || tiers[at].number != number) {
      for (std::size_t t = tier_count++; t > at; --t)
        tiers[t] = tiers[t - 1];
      tiers[at] = Tier{};
      tiers[at].number = number;
    }
    return tiers[at];
  };
  for (std::size_t g = 0; g < count; ++g) {
    Tier& tier = tier_of(groups[g].tier);
    tier.usable += groups[g].usable;
    tier.ready += groups[g].ready;
    tier.total += groups[g].total;
    tier.unchecked += groups[g].unchecked;
  }
  const auto end = tiers.begin() + static_cast<std::ptrdiff_t>(tier_count);

  double sum = 0;
  for (auto tier = tiers.begin(); tier != end; ++tier) {
    tier->health = health_of(policy, tier->usable, tier->total);
    sum += tier->health;
  }
  // Panic is only thought of when all tiers together cannot take the whole. Rounding must not make
  // three tiers of a third each a catastrophe.
  const bool short_of = sum < 1 - 1e-9;
  if (short_of && policy.panic_percent > 0 && policy.panic != PanicMode::none) {
    for (auto tier = tiers.begin(); tier != end; ++tier) {
      // Nobody panics about what has not been looked at, as when a checker starts.
      tier->panicking = (tier->usable + tier->unchecked) * 100 < policy.panic_percent * tier->ready;
      if (tier->panicking) result.mode = policy.panic;
    }
  }
  if (sum > 0) {
    double left = 1;
    for (auto tier = tiers.begin(); tier != end; ++tier) {
      tier->load = std::min(left, short_of ? tier->health / sum : tier->health);
      left = std::max(0.0, left - tier->load);
    }
  } else {
    // Nobody is usable: the first tier that has members at all, ready ones before others. With
    // panic its members are tried, without it the pick finds nobody there.
    auto first = std::find_if(tiers.begin(), end, [](const Tier& t) { return t.ready != 0; });
    if (first == end) {
      first = std::find_if(tiers.begin(), end, [](const Tier& t) { return t.total != 0; });
    }
    if (first == end) return result;
    first->load = 1;
  }

  std::array<double, kMaxGroups> parts{};
  for (auto tier = tiers.begin(); tier != end; ++tier) {
    // In panic everybody who is ready takes part, and with nobody usable there is no better
    // measure.
    const bool by_ready = (tier->panicking && policy.panic == PanicMode::all) || tier->usable == 0;
    const auto measure = [&](const GroupMembers& g) {
      if (!by_ready) return g.usable;
      return tier->ready != 0 ? g.ready : g.total;
    };
    std::uint64_t local = 0;
    std::uint64_t local_total = 0;
    std::uint64_t remote = 0;
    for (std::size_t g = 0; g < count; ++g) {
      if (groups[g].tier != tier->number) continue;
      if (tier->panicking) result.panicking |= static_cast<std::uint8_t>(1U << g);
      (groups[g].local ? local : remote) += measure(groups[g]);
      if (groups[g].local) local_total += groups[g].total;
    }
    const double at_home = remote == 0 ? 1 : health_of(policy, local, local_total);
    for (std::size_t g = 0; g < count; ++g) {
      if (groups[g].tier != tier->number) continue;
      const std::uint64_t side = groups[g].local ? local : remote;
      if (side == 0) continue;
      const double of_side = static_cast<double>(measure(groups[g])) / static_cast<double>(side);
      parts[g] = tier->load * (groups[g].local ? at_home : 1 - at_home) * of_side;
    }
  }
  round_to_units(parts, count, result.shares);
  return result;
}

}  // namespace ballast::checker
