// The bound of consistent hashing with bounded loads: how many requests an instance may have in
// flight before its keys go elsewhere. Made by a pick from what the load board publishes of the
// service; while the board stands still there is none, for what a dead checker published last is no
// bound to keep to. Pure arithmetic beside that. Source: Mirrokni, Thorup, Zadimoghaddam, arXiv
// 1608.01350; where an overloaded instance's keys go, arXiv 1908.08762.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/group_word.hpp"
#include "engine/service_view.hpp"

namespace ballast::engine {

struct HashBound {
  std::uint64_t percent = 0;  // of the mean load; 0: no bound
  std::uint64_t total = 0;    // in flight at all instances
  std::uint64_t weights = 0;  // of all instances that the total is spread over

  [[nodiscard]] bool is_set() const noexcept { return percent != 0; }

  // in flight >= c * (total + 1) * w / W: one more would be above the ceiling of the right side.
  [[nodiscard]] bool reached(std::uint64_t in_flight, std::uint64_t weight) const noexcept {
    return in_flight * 100 * weights >= percent * (total + 1) * weight;
  }
};

// For the instances of one of the service's groups. A group's fair part of the total is what is
// drawn for it, whatever its weight: so the weights are those that the service would have if all of
// its traffic were spread as that of the group is.
[[nodiscard]] inline HashBound bound_of(const ServiceView& service,
                                        std::size_t group = 0) noexcept {
  if (service.policy.hash_bound_percent == 0 || !is_keyed(service.policy.strategy) ||
      service.sums_rows) {
    return {};
  }
  // Relaxed: numbers to go by, no order hangs on them.
  std::uint64_t weights = service.load->weight_sum.load(std::memory_order_relaxed);
  if (service.group_count > 1) {
    // Its own traffic is that of groups that have nobody: there is nothing to compare it with.
    const std::uint64_t share = share_of_group(service.record->shares, group);
    if (share == 0) return {};
    weights = weights * part_of_group(service.load->group_parts, group) / share;
  }
  if (weights == 0) return {};
  return {service.policy.hash_bound_percent,
          service.load->in_flight.load(std::memory_order_relaxed), weights};
}

}  // namespace ballast::engine
