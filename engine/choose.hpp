// The whole pick, for every strategy and whatever is the matter: candidates in the strategy's
// order, each asked whether it is eligible, until one is; what is wanted of its address; and one
// look at root at the end, which says whether all of it belonged to one generation. What the
// straight paths (engine/pick.hpp) cannot decide ends here. Reads what the checker publishes;
// writes the tickets of a round robin, a permit, tokens. No lock, system call or allocation; a
// clock only while a breaker is open or a beat of the checker's stands still. A dead checker
// changes nothing here but that loads are summed over the rows.
#pragma once

#include <cstdint>

#include "engine/pick.hpp"
#include "engine/search.hpp"
#include "engine/service_view.hpp"

namespace ballast::engine {

namespace detail {

// The end of a pick: whether what was found, or that nothing was, is true of one generation.
template <class Also>
void conclude(Choice& choice, Search& search, const Found& found, const GenerationView& first,
              Also&& also) noexcept {
  if (found.is_found) {
    also(found.candidate.slot);
    BALLAST_POINT("pick.read");
  }
  if (!shm::unchanged(*first.root, first.entered)) {
    if (found.is_found) search.undo(found.candidate);
    choice.result = PickResult::changed;
    return;
  }
  if (!found.is_found) return;
  choice.result = PickResult::ok;
  choice.slot = found.candidate.slot;
  choice.state = found.candidate.state;
  choice.permit = found.candidate.permit;
  choice.flags = found.candidate.flags;
  if (found.candidate.is_due) choice.because = Because::trial;
  if (found.candidate.in_panic) choice.because = Because::panic;
}

}  // namespace detail

// Candidates are tried in the order that every process and host shares where keys decide, then
// every member once; so an eligible instance is always found. Kept out of the straight path's line.
template <class Also>
[[nodiscard, gnu::noinline]] Choice choose(ServiceView& service, Picker& me, const Request& request,
                                           Also&& also) noexcept {
  Choice choice;
  choice.result = PickResult::no_instance;
  if (compares_load(service.policy.strategy) && look_at_load_beat(service, me) &&
      !service.sums_rows && me.row.counters != nullptr) {
    service.arm();
  }
  if (request.preferred.slot != shm::kNoSlot) {
    for (std::uint32_t g = 0; g < service.group_count; ++g) {
      Search search(service, service.groups[g], me, request, PanicMode::none, choice);
      const Found found = search.find_preferred();
      if (!found.is_found) continue;
      detail::conclude(choice, search, found, service.first(), also);
      return choice;
    }
  }
  const GenerationView& group = service.first();
  Search search(service, group, me, request, PanicMode::none, choice);
  const Found found = search.find();
  detail::conclude(choice, search, found, group, also);
  return choice;
}

}  // namespace ballast::engine
