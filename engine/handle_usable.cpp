// The part of Handle that counts the instances a pick could fall on: for servers that must know
// before they try one whether there would be another. Only looks; a moment's answer, which nothing
// holds.
#include "engine/handle.hpp"

namespace ballast::engine {

namespace {

// Of one group, at most `limit`.
std::size_t count_in(ServiceView& view, const GenerationView& group, Picker& me,
                     const Request& request, PanicMode mood, std::size_t limit) noexcept {
  if (group.kind == shm::LookupKind::none || mood == PanicMode::fail) return 0;
  Eligibility eligibility(view, group, me, request, mood);
  // Neither keeps a pick from an instance when there is no other.
  eligibility.ignore_bound();
  eligibility.ignore_shares();
  std::size_t count = 0;
  Candidate candidate;
  for (std::uint64_t i = 0; i < group.member_count && count < limit; ++i) {
    if (eligibility.look(shm::get(group.members[i]), candidate) == Verdict::eligible) ++count;
  }
  return count;
}

}  // namespace

std::size_t Handle::count_usable(ballast_service_t service, const Wishes& wishes,
                                 std::size_t limit) noexcept try {
  if (service >= services_.size()) return 0;
  Service& entry = services_[service];
  if (!attachment_.in_order()) recover();
  ServiceView& view = entry.view;
  for (unsigned attempt = 0; attempt < kMaxRefreshes; ++attempt) {
    if (view.first().kind == shm::LookupKind::none && refresh(entry) != BALLAST_OK) return 0;
    std::array<Excluded, BALLAST_MAX_TRIED> excluded;  // filled only as far as it is used
    Request request;
    request.is_retry = !wishes.tried.empty();
    if (request.is_retry) {
      request.excluded = std::span<const Excluded>(excluded.data(),
                                                   resolve_excluded(entry, wishes.tried, excluded));
    }
    std::size_t count = 0;
    if (detail::refused_at_once(view, request) == PickResult::ok) {
      const PanicMode stale = detail::staleness(view, attachment_.picker());
      const std::uint64_t panics = shm::get(view.record->panic);
      for (std::uint32_t g = 0; g < view.group_count && count < limit; ++g) {
        const PanicMode panic = panic_of(panics, g);
        const PanicMode mood = stale == PanicMode::fail || panic == PanicMode::none ? stale : panic;
        count += count_in(view, view.groups[g], attachment_.picker(), request, mood, limit - count);
      }
    }
    if (shm::unchanged(*view.first().root, view.first().entered)) return count;
    view.poison();
  }
  return 0;
} catch (...) {  // out of memory while opening another segment or taking a row
  return 0;
}

}  // namespace ballast::engine
