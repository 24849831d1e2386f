// The candidates of one pick, in order, for strategies that take the first eligible one: where a
// key belongs and where it goes from there, the next turns, or random ones. Reads the group's
// lookup arrays; writes only the tickets of a round robin.
#pragma once

#include <cstdint>
#include <numeric>

#include "engine/pick.hpp"
#include "engine/service_view.hpp"

namespace ballast::engine {

// Every place of `count`, once, from a random one on in steps of a random length that has no
// divisor in common with `count`. Of any two places each comes first as often: in the order of the
// places the first one behind a gap would be found for all of the gap.
class Walk {
 public:
  // Two random numbers, independent of each other. `count` is not 0.
  Walk(std::uint64_t start, std::uint64_t step, std::uint64_t count) noexcept
      : count_(count), place_(reduce(start, count)), step_(1 + reduce(step, count)) {
    while (std::gcd(step_, count) != 1)  // ends at count + 1 at the latest; below 65,000 within 30
      ++step_;
    if (step_ >= count) step_ -= count;
  }

  // The present place; moves on to the next.
  [[nodiscard]] std::uint64_t next() noexcept {
    const std::uint64_t here = place_;
    place_ += step_;
    if (place_ >= count_) place_ -= count_;
    return here;
  }

 private:
  std::uint64_t count_;
  std::uint64_t place_;
  std::uint64_t step_;
};

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

  // How to walk the members when the lookup array has given nobody: another order for each key (or
  // turn), the same in every process, so that what is left shares evenly.
  [[nodiscard]] Walk walk() const noexcept {
    const std::uint64_t from = group_.kind == shm::LookupKind::schedule ? last_ : hash_;
    return {attempt_hash(from, kWalkAttempt), attempt_hash(from, kWalkAttempt + 1),
            group_.member_count};
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
