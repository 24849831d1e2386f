// Finding an instance for one pick within one group: the strategy's candidates one after the other,
// or the best of several by load, and if chance or the lookup array give none, every member once.
// Part of engine/choose.hpp, which confirms what is found here against root. Reads the group's
// arrays; what it writes, it writes through Eligibility and the round robin's tickets.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "engine/candidates.hpp"
#include "engine/eligibility.hpp"
#include "engine/in_flight.hpp"
#include "engine/load_score.hpp"
#include "engine/pick.hpp"
#include "engine/service_view.hpp"

namespace ballast::engine {

// How many candidates of the lookup array are tried before the members are walked one by one. With
// half of all instances down, 24 misses in a row happen once in 2^24 picks; when nearly all are
// down, walking the members is the cheaper way anyway.
inline constexpr std::uint32_t kMaxProbes = 24;
// How often a choice by load is made again because another thread was quicker at what it took.
inline constexpr unsigned kMaxLoadRounds = 8;

struct Found {
  Candidate candidate;
  bool is_found = false;
};

class Search {
 public:
  Search(ServiceView& service, const GenerationView& group, Picker& me, const Request& request,
         PanicMode panic, Choice& choice) noexcept
      : service_(service),
        group_(group),
        me_(me),
        request_(request),
        eligibility_(service, group, me, request, panic),
        choice_(choice) {}

  [[nodiscard]] Found find() noexcept {
    if (group_.kind == shm::LookupKind::none) return {};
    if (group_.kind == shm::LookupKind::schedule && compares_load(service_.policy.strategy)) {
      return find_least();
    }
    Found found = find_first();
    // Everybody who can be used is above the bound, or takes a part of its picks only, and not this
    // one: that is no reason to fail, nor to burden another group.
    if (!found.is_found && !stopped_ && seen_overloaded_) {
      eligibility_.ignore_bound();
      found = find_first();
    }
    if (!found.is_found && !stopped_ && seen_other_share_) {
      eligibility_.ignore_shares();
      found = find_first();
    }
    return found;
  }

  // The very instance that the request names, if it is a member and eligible.
  [[nodiscard]] Found find_preferred() noexcept {
    Found found;
    const auto [slot, incarnation] = request_.preferred;
    if (group_.kind == shm::LookupKind::none || slot >= group_.slot_count || !is_member(slot) ||
        shm::incarnation_of(shm::get(group_.states[slot])) != incarnation) {
      return found;
    }
    eligibility_.ignore_shares();
    eligibility_.ignore_bound();
    found.is_found = try_slot(slot, found.candidate);
    return found;
  }

  void undo(const Candidate& candidate) noexcept { eligibility_.undo(candidate); }

  // Whether the pick had come to this slot before any other.
  [[nodiscard]] bool began_with(std::uint32_t slot) const noexcept { return first_ == slot; }

  // The service's own limit or the retry budget is used up: no other group will do better.
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }

 private:
  struct Best {
    Candidate candidate;
    LoadScore score;
    std::uint32_t equals = 0;  // how many, of those compared, are as good; 0: none yet
  };

  [[nodiscard]] std::uint32_t member(std::uint64_t place) const noexcept {
    return shm::get(group_.members[place]);
  }

  [[nodiscard]] bool is_member(std::uint32_t slot) const noexcept {
    std::uint64_t low = 0;
    std::uint64_t high = group_.member_count;
    while (low < high) {
      const std::uint64_t middle = (low + high) / 2;
      (member(middle) < slot ? low : high) = member(middle) < slot ? middle + 1 : middle;
    }
    return low < group_.member_count && member(low) == slot;
  }

  void note(Verdict verdict) noexcept {
    if (verdict == Verdict::overloaded) seen_overloaded_ = true;
    if (verdict == Verdict::other_share) seen_other_share_ = true;
    if (verdict == Verdict::limited) choice_.result = PickResult::limited;
    if (choice_.attempts == 1) choice_.because = because_of(verdict);
  }

  [[nodiscard]] Verdict look(std::uint32_t slot, Candidate& candidate) noexcept {
    if (choice_.attempts == 0) first_ = slot;
    if (choice_.attempts != UINT16_MAX) ++choice_.attempts;
    BALLAST_POINT("pick.slot");
    const Verdict verdict = eligibility_.look(slot, candidate);
    if (verdict != Verdict::eligible) note(verdict);
    return verdict;
  }

  [[nodiscard]] bool commit(Candidate& candidate) noexcept {
    const Verdict verdict = eligibility_.commit(candidate);
    if (verdict == Verdict::eligible) return true;
    note(verdict);
    if (verdict == Verdict::service_limited || verdict == Verdict::retry_refused) {
      stopped_ = true;
      choice_.result =
          verdict == Verdict::retry_refused ? PickResult::retry_budget : PickResult::limited;
    }
    return false;
  }

  [[nodiscard]] bool try_slot(std::uint32_t slot, Candidate& candidate) noexcept {
    return look(slot, candidate) == Verdict::eligible && commit(candidate);
  }

  // The first eligible candidate in the strategy's order.
  [[nodiscard]] Found find_first() noexcept {
    Found found;
    Candidates candidates(service_, group_, me_, request_.hash);
    for (std::uint32_t attempt = 0; attempt < kMaxProbes && !found.is_found && !stopped_; ++attempt)
      found.is_found = try_slot(candidates.next(attempt), found.candidate);
    if (found.is_found || stopped_) return found;
    Walk walk = candidates.walk();
    for (std::uint64_t i = 0; i < group_.member_count && !found.is_found && !stopped_; ++i)
      found.is_found = try_slot(member(walk.next()), found.candidate);
    return found;
  }

  // Compares an eligible candidate with the best so far. Among equals each is as likely.
  void compare_with(Best& best, const Candidate& candidate) noexcept {
    const std::uint32_t effective = shm::weight_of(candidate.state);
    const std::uint32_t weight =
        shm::is_plain(candidate.state)
            ? effective
            : static_cast<std::uint32_t>(shm::get(service_.instances[candidate.slot].weight) &
                                         0xffff) *
                  shm::kWeightUnit;
    const LoadScore score =
        load_score(load_of(service_, me_, candidate.slot), weight, effective, rule_);
    const Better better = best.equals == 0 ? Better::second : compare(best.score, score);
    if (better == Better::first) return;
    if (better == Better::neither) {
      if (me_.random.below(++best.equals) != 0) return;
    } else {
      best.equals = 1;
    }
    best.candidate = candidate;
    best.score = score;
  }

  // Looks at a candidate; true when the search is over, because its breaker is due: whoever can
  // have the permit tries it, or an instance that was bad would never be compared again.
  [[nodiscard]] bool weigh(std::uint32_t slot, Best& best, std::uint32_t& weighed) noexcept {
    Candidate candidate;
    if (look(slot, candidate) != Verdict::eligible) return false;
    if (candidate.is_due) {
      if (!commit(candidate)) return false;
      best = {candidate, {}, 1};
      return true;
    }
    ++weighed;
    compare_with(best, candidate);
    return false;
  }

  // All members, until `enough` were eligible.
  [[nodiscard]] bool walk(std::uint64_t enough, Best& best) noexcept {
    const std::uint64_t start = me_.random.next();
    // Whoever compares everybody does so in the order of memory.
    const std::uint64_t step = enough < group_.member_count ? me_.random.next() : 0;
    Walk walk(start, step, group_.member_count);
    std::uint32_t weighed = 0;
    for (std::uint64_t i = 0; i < group_.member_count && weighed < enough; ++i) {
      if (weigh(member(walk.next()), best, weighed)) return true;
    }
    return false;
  }

  // Up to `choices` different ones, drawn by weight.
  [[nodiscard]] bool draw(std::uint32_t choices, Best& best) noexcept {
    std::array<std::uint32_t, kMaxProbes> seen;  // filled as far as it is used
    std::uint32_t weighed = 0;
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < kMaxProbes && weighed < choices; ++i) {
      const std::uint32_t slot = shm::get(group_.lookup[me_.random.below(group_.lookup_count)]);
      if (std::find(seen.begin(), seen.begin() + count, slot) != seen.begin() + count) continue;
      seen[count++] = slot;
      if (weigh(slot, best, weighed)) return true;
    }
    return false;
  }

  [[nodiscard]] Found find_least() noexcept {
    const Policy& policy = service_.policy;
    rule_ = load_rule(service_);
    const bool all = policy.choices == 0 || group_.member_count <= policy.choices;
    for (unsigned round = 0; round < kMaxLoadRounds && !stopped_; ++round) {
      Best best;
      bool is_trial = all ? walk(group_.member_count, best) : draw(policy.choices, best);
      if (!is_trial && best.equals == 0 && (!all || seen_other_share_)) {
        eligibility_.ignore_shares();
        is_trial = walk(all ? group_.member_count : policy.choices, best);
      }
      if (best.equals == 0) return {};
      if (is_trial || commit(best.candidate)) return {best.candidate, true};
    }
    return stopped_ ? Found{} : find_first();
  }

  ServiceView& service_;
  const GenerationView& group_;
  Picker& me_;
  const Request& request_;
  Eligibility eligibility_;
  Choice& choice_;
  LoadRule rule_;
  std::uint32_t first_ = shm::kNoSlot;
  bool seen_overloaded_ = false;
  bool seen_other_share_ = false;
  bool stopped_ = false;
};

}  // namespace ballast::engine
