// Which instances of a service are tried together: those of one priority tier that are in the
// host's own zone, and those that are not. Each group has lookup arrays of its own; how much goes
// to which follows from health (engine/checker/steering/group_shares.hpp).
#pragma once

#include <compare>
#include <cstdint>
#include <map>

#include "engine/checker/settings.hpp"

namespace ballast::checker {

// In the order in which groups are preferred.
struct Group {
  std::uint32_t tier = 0;
  bool is_remote = false;

  friend auto operator<=>(const Group&, const Group&) = default;
};
static_assert(2 * (kMaxTier + 1) <= shm::kMaxGroups);

[[nodiscard]] inline Group group_of(const Settings& settings, const ServiceSettings& service,
                                    const InstanceSettings& instance) {
  const bool is_local = !service.spillover.prefer_local_zone || settings.zone.empty() ||
                        instance.zone.empty() || instance.zone == settings.zone;
  return {instance.tier, !is_local};
}

struct GroupSize {
  std::uint64_t count = 0;
  std::uint64_t weights = 0;
};

[[nodiscard]] inline std::map<Group, GroupSize> count_groups(const Settings& settings,
                                                             const ServiceSettings& service) {
  std::map<Group, GroupSize> groups;
  for (const InstanceSettings& instance : service.instances) {
    GroupSize& size = groups[group_of(settings, service, instance)];
    ++size.count;
    size.weights += instance.weight;
  }
  return groups;
}

}  // namespace ballast::checker
