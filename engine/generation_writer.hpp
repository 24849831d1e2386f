// Writes a service's lookup arrays into the table and publishes them, or those that it has once
// more. The checker calls it when membership, configured weights, administration or policy change,
// never for a change of health. If it dies half way the
// published generation is untouched, and the next checker fills the same buffer again.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/policy.hpp"
#include "shm/layout.hpp"
#include "shm/views.hpp"

namespace ballast::engine {

// The lookup arrays of one group of a generation, ready to be stored.
struct Placement {
  shm::LookupKind kind = shm::LookupKind::none;
  std::vector<std::uint16_t> members;  // every slot once, sorted
  std::vector<std::uint16_t> lookup;
  std::vector<std::uint32_t> points;   // ring only: as long as `lookup`
  std::vector<std::uint32_t> index;    // ring only
  std::vector<std::uint16_t> seconds;  // rendezvous only: each place's second choice
  std::uint32_t tier = 0;
  bool is_local = true;
};

// Bytes of one buffer that holds these groups.
[[nodiscard]] std::uint64_t buffer_bytes(std::span<const Placement> groups) noexcept;

// Stores the groups (at most kMaxGroups, in the order in which they are preferred; none: the
// service has no instances) and the policy as the service's next generation, and publishes it. The
// service's region of the arena must have been set and be large enough: false if it is not, and
// then nothing was written. Only for the lease holder.
[[nodiscard]] bool publish_placement(const shm::TableWriter& table, std::size_t service,
                                     std::span<const Placement> groups, const Policy& policy);

// Publishes the lookup arrays that are published already once more, as the next generation, with
// this policy: for a change that the arrays do not depend on. Much cheaper than building them.
// False if they cannot be copied, because the record or its region is damaged or another; nothing
// was written then. Only for the lease holder.
[[nodiscard]] bool republish_placement(const shm::TableWriter& table, std::size_t service,
                                       const Policy& policy);
// Whether it could be done.
[[nodiscard]] bool can_republish(const shm::TableWriter& table, std::size_t service);

// Whether the published generation is one that a checker can have written: every array inside the
// arena, every entry a member. A service that was never published is whole. Costs a pass over the
// lookup array; for adoption, reloads and tests.
[[nodiscard]] bool is_whole(const shm::TableWriter& table, std::size_t service);

}  // namespace ballast::engine
