// A pick as a handle makes it, but over any view: straight if that goes, else the long way.
#pragma once

#include <cstdint>

#include "engine/choose.hpp"
#include "engine/pick.hpp"
#include "engine/service_view.hpp"

namespace ballast::tests {

template <class Also>
engine::Choice pick_straightly(engine::ServiceView& view, engine::Picker& me, std::uint64_t hash,
                               Also&& also) {
  switch (view.path) {
    case engine::Path::table:
      return engine::pick_straight(view.first(), hash, also);
    case engine::Path::ring:
      return engine::pick_ring(view.first(), static_cast<std::uint32_t>(hash), also);
    case engine::Path::turns:
      return engine::pick_turn(view.first(), view.shared->next_ticket, view.tickets, also);
    case engine::Path::random:
      return engine::pick_random(view.first(), me.random, also);
    case engine::Path::least:
      return engine::pick_least(view, me, also);
    case engine::Path::bounded:
      return engine::pick_bounded(view, me, hash, also);
    case engine::Path::long_way:
      break;
  }
  return {};
}

template <class Also>
engine::Choice pick_any(engine::ServiceView& view, engine::Picker& me,
                        const engine::Request& request, Also&& also) {
  if (request.excluded.empty() && !request.is_retry && request.preferred.slot == shm::kNoSlot) {
    const engine::Choice straight = pick_straightly(view, me, request.hash, also);
    if (straight.result != engine::PickResult::long_way) return straight;
  }
  return engine::choose(view, me, request, also);
}

}  // namespace ballast::tests
