// The candidates of one pick, in order, for strategies that take the first eligible one: where a
// key belongs and where it goes from there, the next turns, or random ones. Reads the group's
// lookup arrays; writes only the tickets of a round robin.
#pragma once

#include <cstdint>

#include "engine/pick.hpp"
#include "engine/service_view.hpp"

namespace ballast::engine {

class Candidates {
 public:
  Candidates(ServiceView& service, const GenerationView& group, Picker& me,
             std::uint64_t hash) noexcept
      : service_(service), group_(group), me_(me), hash_(hash) {
    if (group.kind == shm::LookupKind::ring)
      place_ = ring_place(group, static_cast<std::uint32_t>(hash));
  }

  [[nodiscard]] std::uint32_t next(std::uint32_t attempt) noexcept {
    switch (group_.kind) {
      case shm::LookupKind::table:
        return table_candidate(group_, hash_, attempt);
      case shm::LookupKind::ring: {
        const std::uint64_t here = place_;
        place_ = place_ + 1 == group_.lookup_count ? 0 : place_ + 1;
        return at(here);
      }
      case shm::LookupKind::schedule:
        // An unusable instance's turn is skipped, so that its share is spread over all others.
        if (service_.policy.strategy == Strategy::round_robin) {
          last_ = take_turn(service_.shared->next_ticket, service_.tickets, group_.lookup_count);
          return at(last_);
        }
        last_ = me_.random.below(group_.lookup_count);
        return at(last_);
      case shm::LookupKind::none:
        break;
    }
    return shm::kNoSlot;
  }

  // Where to begin walking the members: different for each key (or turn), the same on every host.
  [[nodiscard]] std::uint64_t walk_start() const noexcept {
    const std::uint64_t from = group_.kind == shm::LookupKind::schedule ? last_ : hash_;
    return reduce(attempt_hash(from, kWalkAttempt), group_.member_count);
  }

 private:
  static constexpr std::uint32_t kWalkAttempt = 24;  // behind every candidate's

  [[nodiscard]] std::uint32_t at(std::uint64_t place) const noexcept {
    return shm::get(group_.lookup[place]);
  }

  ServiceView& service_;
  const GenerationView& group_;
  Picker& me_;
  std::uint64_t hash_;
  std::uint64_t place_ = 0;
  std::uint64_t last_ = 0;
};

}  // namespace ballast::engine
