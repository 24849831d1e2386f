// The whole pick, for every strategy and whatever is the matter: a group is drawn, its candidates
// are asked in the strategy's order until one is eligible, or else those of the other groups; then
// what is wanted of its address, and one look at root at the end, which says whether all of it
// belonged to one generation. What the straight paths (engine/pick.hpp) cannot decide ends here.
// Reads what the checker publishes; writes the tickets of a round robin, a permit, tokens. No lock,
// system call or allocation; a clock only while a breaker is open or a beat of the checker's stands
// still (engine/beat_watch.hpp). A dead checker changes nothing but what the policy says of it, and
// that loads are summed over the rows.
#pragma once

#include <cstdint>

#include "engine/group_word.hpp"
#include "engine/pick.hpp"
#include "engine/search.hpp"
#include "engine/service_view.hpp"

namespace ballast::engine {

namespace detail {

// Independent of where the key's hash leads within a group.
inline constexpr std::uint32_t kGroupAttempt = 0x6707;

// What is refused whatever the candidates: ok if nothing is.
[[nodiscard]] inline PickResult refused_at_once(const ServiceView& service,
                                                const Request& request) noexcept {
  const Policy& policy = service.policy;
  const auto used = [](const shm::Word64& tokens) {
    return shm::unpack_tokens(tokens.load(std::memory_order_relaxed)).used;
  };
  if (request.is_retry && policy.retry_percent != 0 &&
      used(service.shared->retry_tokens) >= Eligibility::retries_allowed(service)) {
    return PickResult::retry_budget;
  }
  if (policy.service_max_in_flight != 0 &&
      used(service.shared->tokens) >= policy.service_max_in_flight) {
    return PickResult::limited;
  }
  return PickResult::ok;
}

// What the policy says of a checker that has not been heard of for too long.
[[nodiscard]] inline PanicMode staleness(ServiceView& service, const Picker& me) noexcept {
  const auto mode = static_cast<PanicMode>(service.policy.stale_mode);
  if (mode == PanicMode::none) return mode;
  const bool is_stale =
      service.heartbeat.stands_still(service.header->heartbeat.load(std::memory_order_relaxed),
                                     service.policy.stale_after_ms, me.clock_ms);
  return is_stale ? mode : PanicMode::none;
}

[[nodiscard]] inline std::uint32_t drawn_group(const ServiceView& service, Picker& me,
                                               const Request& request) noexcept {
  if (service.group_count == 1) return 0;
  const std::uint64_t draw = is_keyed(service.policy.strategy)
                                 ? attempt_hash(request.hash, kGroupAttempt)
                                 : me.random.next();
  return static_cast<std::uint32_t>(draw_group(service.record->shares, service.group_count,
                                               static_cast<std::uint16_t>(draw >> 48)));
}

// The end of a pick that found somebody.
template <class Also>
void conclude(const ServiceView& service, Search& search, const Candidate& found, Choice& choice,
              Also&& also) noexcept {
  also(found.slot);
  BALLAST_POINT("pick.read");
  if (!shm::unchanged(*service.first().root, service.first().entered)) {
    search.undo(found);
    choice.result = PickResult::changed;
    return;
  }
  choice.result = PickResult::ok;
  choice.slot = found.slot;
  choice.state = found.state;
  choice.permit = found.permit;
  choice.flags = found.flags;
  // Turned away at first, and yet the best that there is.
  if (search.began_with(found.slot)) choice.because = Because::first_choice;
  if (found.in_panic) choice.because = Because::panic;
  if (found.is_due) choice.because = Because::trial;
}

}  // namespace detail

// Within a group candidates are tried in the order that every process and host shares where keys
// decide, then every member once; so an eligible instance is always found. Kept out of the straight
// path's line.
template <class Also>
[[nodiscard, gnu::noinline]] Choice choose(ServiceView& service, Picker& me, const Request& request,
                                           Also&& also) noexcept {
  Choice choice;
  if (uses_load(service.policy) && look_at_load_beat(service, me) && service.may_arm) service.arm();
  choice.result = detail::refused_at_once(service, request);
  const bool is_refused = choice.result != PickResult::ok;
  const PanicMode stale = detail::staleness(service, me);
  const std::uint64_t panics = shm::get(service.record->panic);
  const auto mood_of = [&](std::uint32_t group) noexcept {
    const PanicMode panic = panic_of(panics, group);
    return stale == PanicMode::fail || panic == PanicMode::none ? stale : panic;
  };
  // Calls `find` of a search in each group in turn until one has somebody.
  const auto search_in = [&](std::uint32_t group, auto&& find) noexcept {
    const PanicMode mood = mood_of(group);
    if (mood == PanicMode::fail) return true;
    Search search(service, service.groups[group], me, request, mood, choice);
    const Found found = find(search);
    if (found.is_found) detail::conclude(service, search, found.candidate, choice, also);
    return found.is_found || search.stopped();
  };
  bool is_over = is_refused;
  if (!is_refused) choice.result = PickResult::no_instance;
  if (request.preferred.slot != shm::kNoSlot) {
    for (std::uint32_t g = 0; g < service.group_count && !is_over; ++g)
      is_over = mood_of(g) != PanicMode::fail &&
                search_in(g, [](Search& search) { return search.find_preferred(); });
  }
  if (!is_over) {
    const std::uint32_t drawn = detail::drawn_group(service, me, request);
    const auto find = [](Search& search) { return search.find(); };
    is_over = search_in(drawn, find);
    for (std::uint32_t g = 0; g < service.group_count && !is_over; ++g) {
      // Nor does one that is to fail get the picks of another.
      if (g != drawn && mood_of(g) != PanicMode::fail) is_over = search_in(g, find);
    }
  }
  if (choice.result != PickResult::ok &&
      !shm::unchanged(*service.first().root, service.first().entered)) {
    choice.result = PickResult::changed;
  }
  return choice;
}

}  // namespace ballast::engine
