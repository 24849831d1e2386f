// Whether a pick may fall on a candidate: the one place that decides it, for every strategy. Reads
// the instance's state word and what the service's policy makes matter, in this order: excluded by
// the caller, usable (or, in panic, ready), for its share, its breaker closed, not above the bound
// of its load, within its limits. `look()` changes nothing, so that candidates can be compared;
// `commit()` takes what has to be taken (the permit of an open breaker, then tokens), and
// `undo()` gives it back when the pick goes elsewhere after all. If the worker dies in between, the
// permit expires and the tokens are found by the reaper.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/agent_word.hpp"
#include "engine/breaker.hpp"
#include "engine/hash_bound.hpp"
#include "engine/in_flight.hpp"
#include "engine/pick.hpp"
#include "engine/pick_flags.hpp"
#include "engine/retry_budget.hpp"
#include "engine/service_view.hpp"
#include "engine/share.hpp"
#include "shm/generation.hpp"
#include "shm/state_word.hpp"
#include "shm/tokens.hpp"

namespace ballast::engine {

// An instance that must not be picked again: which slot, and which tenant of it.
struct Excluded {
  std::uint32_t slot;
  std::uint32_t incarnation;
};

// What a pick asks for.
struct Request {
  // Of the key: crc32 for a ring, `key_hash` else. No matter where keys do not decide.
  std::uint64_t hash = 0;
  std::span<const Excluded> excluded{};
  bool is_retry = false;
  // An instance to be taken if it may be, whatever the strategy says: kNoSlot if there is none.
  Excluded preferred{shm::kNoSlot, 0};
};

enum class Verdict : std::uint8_t {
  eligible = 0,
  no_slot = 1,  // a damaged table
  excluded = 2,
  unusable = 3,
  other_share = 4,  // it takes a part of its picks only, and this is none of them
  breaker = 5,
  overloaded = 6,  // above its bound
  limited = 7,
  service_limited = 8,
  retry_refused = 9,
};

[[nodiscard]] constexpr Because because_of(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::eligible:
      return Because::first_choice;
    case Verdict::excluded:
      return Because::excluded;
    case Verdict::breaker:
      return Because::breaker;
    case Verdict::other_share:
    case Verdict::overloaded:
    case Verdict::limited:
    case Verdict::service_limited:
    case Verdict::retry_refused:
      return Because::load;
    case Verdict::no_slot:
    case Verdict::unusable:
      break;
  }
  return Because::unusable;
}

struct Candidate {
  std::uint64_t state = 0;
  std::uint32_t slot = shm::kNoSlot;
  std::uint32_t permit = 0;
  std::uint8_t flags = 0;   // what commit() took
  bool in_panic = false;    // it is eligible only because health is ignored
  bool is_due = false;      // its breaker is open and may be tried
  std::uint32_t limit = 0;  // of requests in flight; 0: there is none
};

// Of one pick in one group.
class Eligibility {
 public:
  Eligibility(ServiceView& service, const GenerationView& group, Picker& me, const Request& request,
              PanicMode panic) noexcept
      : service_(service),
        group_(group),
        me_(me),
        request_(request),
        panic_(panic),
        bound_(bound_of(service, static_cast<std::size_t>(&group - service.groups.data()))) {}

  void ignore_bound() noexcept { bound_ = {}; }
  // For the very instance that is asked for, and where nobody takes the pick for its share.
  void ignore_shares() noexcept { ignores_shares_ = true; }

  // Fills `candidate` unless the slot cannot be looked at.
  [[nodiscard]] Verdict look(std::uint32_t slot, Candidate& candidate) noexcept {
    if (slot >= group_.slot_count) return Verdict::no_slot;
    const std::uint64_t state = shm::get(group_.states[slot]);
    candidate = {.state = state, .slot = slot};
    for (const Excluded& e : request_.excluded) {
      if (e.slot == slot && e.incarnation == shm::incarnation_of(state)) return Verdict::excluded;
    }
    if (!shm::is_plain(state)) {
      if (const Verdict verdict = look_closer(slot, candidate); verdict != Verdict::eligible)
        return verdict;
    }
    if (panic_ != PanicMode::all && any_out(group_.open_breakers->load(std::memory_order_relaxed)))
        [[unlikely]] {
      const Gate gate = breaker_allows(group_.breakers[slot], shm::incarnation_of(state),
                                       service_.policy, me_.clock_ms);
      // Whoever has no row could not report how the trial ended.
      if (gate == Gate::open || (gate == Gate::due && me_.row.counters == nullptr))
        return Verdict::breaker;
      candidate.is_due = gate == Gate::due;
    }
    if (bound_.is_set() &&
        bound_.reached(load_of(service_, me_, slot).in_flight, shm::weight_of(state))) {
      return Verdict::overloaded;
    }
    candidate.limit = service_.policy.max_in_flight;
    if (shm::is_limited(state)) [[unlikely]]
      candidate.limit = stricter(candidate.limit, own_limit(slot));
    if (candidate.limit != 0 && is_full(slot, candidate.limit)) return Verdict::limited;
    return Verdict::eligible;
  }

  // Takes what the pick has to hold. Anything but `eligible`: somebody was quicker, and nothing is
  // held.
  [[nodiscard]] Verdict commit(Candidate& candidate) noexcept {
    if (candidate.is_due) {
      const auto stamp =
          take_permit(breaker_of(candidate.slot), shm::incarnation_of(candidate.state),
                      service_.policy, me_.row.index, me_.row.incarnation, me_.clock_ms);
      if (!stamp) return Verdict::breaker;
      candidate.permit = *stamp;
      candidate.flags |= pick_flags::kPermit;
    }
    if (!takes_tokens(candidate)) return Verdict::eligible;
    const Verdict verdict = take_tokens(candidate);
    if (verdict != Verdict::eligible) undo(candidate);
    return verdict;
  }

  void undo(const Candidate& candidate) noexcept {
    give_tokens(me_.row, service_.shared_instances[candidate.slot].tokens, *service_.shared,
                candidate.slot, service_.index, candidate.flags);
    if ((candidate.flags & pick_flags::kPermit) != 0) {
      return_permit(breaker_of(candidate.slot), shm::incarnation_of(candidate.state),
                    candidate.permit, me_.clock_ms);
    }
  }

  // Gives back the tokens that `flags` names. For a row that holds them.
  static void give_tokens(const OwnRow& row, shm::Word64& instance_tokens,
                          shm::SharedServiceRecord& shared, std::uint32_t slot,
                          std::uint32_t service, std::uint8_t flags) noexcept {
    if ((flags & pick_flags::kAllTokens) == 0 || row.counters == nullptr) return;
    auto& held = row.counters[slot].values[shm::kHeldTokens];
    auto& pending = row.journal->pending;
    if ((flags & pick_flags::kRetryToken) != 0) {
      shm::give_token(shared.retry_tokens, pending, held, {shm::TokenKind::retry, service});
    }
    if ((flags & pick_flags::kServiceToken) != 0) {
      shm::give_token(shared.tokens, pending, held, {shm::TokenKind::service, service});
    }
    if ((flags & pick_flags::kInstanceToken) != 0) {
      shm::give_token(instance_tokens, pending, held, {shm::TokenKind::instance, slot});
    }
  }

  // How many retries may be in flight now.
  [[nodiscard]] static std::uint32_t retries_allowed(const ServiceView& service) noexcept {
    return retry_limit(service.load->in_flight.load(std::memory_order_relaxed),
                       service.policy.retry_percent, service.policy.retry_minimum);
  }

 private:
  [[nodiscard]] BreakerWords<shm::Word64> breaker_of(std::uint32_t slot) const noexcept {
    shm::SharedInstanceRecord& shared = service_.shared_instances[slot];
    return {service_.breakers[slot], shared.window, shared.permit};
  }

  // Of an instance that is not plain.
  [[nodiscard]] Verdict look_closer(std::uint32_t slot, Candidate& candidate) noexcept {
    const std::uint64_t state = candidate.state;
    if (panic_ == PanicMode::all) {
      if (shm::unpack(state).admin != shm::Admin::ready) return Verdict::unusable;
      candidate.in_panic = !shm::is_usable(state);
      return Verdict::eligible;
    }
    if (!shm::is_usable(state)) return Verdict::unusable;
    if (ignores_shares_) return Verdict::eligible;
    const std::uint64_t draw =
        is_keyed(service_.policy.strategy) ? share_draw(request_.hash, slot) : me_.random.next();
    const std::uint64_t configured = shm::get(service_.instances[slot].weight);
    return takes_draw(draw, shm::weight_of(state), configured) ? Verdict::eligible
                                                               : Verdict::other_share;
  }

  // What the agent of an instance allows. Relaxed: one word, seen whole, and not older than the
  // state word that sent the pick here.
  [[nodiscard]] std::uint32_t own_limit(std::uint32_t slot) const noexcept {
    return agent_limit(unpack_agent(service_.details[slot].agent.load(std::memory_order_relaxed)));
  }

  // Of two limits, 0 being none.
  [[nodiscard]] static constexpr std::uint32_t stricter(std::uint32_t a, std::uint32_t b) noexcept {
    return a == 0 || b == 0 ? a + b : std::min(a, b);
  }

  [[nodiscard]] bool is_full(std::uint32_t slot, std::uint32_t limit) const noexcept {
    const std::uint64_t word =
        service_.shared_instances[slot].tokens.load(std::memory_order_relaxed);
    return shm::unpack_tokens(word).used >= limit;
  }

  [[nodiscard]] bool takes_tokens(const Candidate& candidate) const noexcept {
    const Policy& policy = service_.policy;
    const bool wanted = candidate.limit != 0 || policy.service_max_in_flight != 0 ||
                        (request_.is_retry && policy.retry_percent != 0);
    return wanted && me_.row.counters != nullptr;
  }

  [[nodiscard]] Verdict take_tokens(Candidate& candidate) noexcept {
    const Policy& policy = service_.policy;
    const std::uint32_t slot = candidate.slot;
    if (slot >= me_.row.slots) return Verdict::no_slot;
    auto& held = me_.row.counters[slot].values[shm::kHeldTokens];
    auto& pending = me_.row.journal->pending;
    const auto take = [&](shm::Word64& tokens, shm::TokenName name, std::uint32_t limit,
                          std::uint8_t flag) noexcept {
      if (!shm::take_token(tokens, pending, held, name, limit)) return false;
      candidate.flags |= flag;
      return true;
    };
    Verdict verdict = Verdict::eligible;
    if (request_.is_retry && policy.retry_percent != 0 &&
        !take(service_.shared->retry_tokens, {shm::TokenKind::retry, service_.index},
              retries_allowed(service_), pick_flags::kRetryToken)) {
      verdict = Verdict::retry_refused;
    } else if (policy.service_max_in_flight != 0 &&
               !take(service_.shared->tokens, {shm::TokenKind::service, service_.index},
                     policy.service_max_in_flight, pick_flags::kServiceToken)) {
      verdict = Verdict::service_limited;
    } else if (candidate.limit != 0 &&
               !take(service_.shared_instances[slot].tokens, {shm::TokenKind::instance, slot},
                     candidate.limit, pick_flags::kInstanceToken)) {
      verdict = Verdict::limited;
    }
    return verdict;
  }

  ServiceView& service_;
  const GenerationView& group_;
  Picker& me_;
  const Request& request_;
  PanicMode panic_;
  HashBound bound_;
  bool ignores_shares_ = false;
};

}  // namespace ballast::engine
