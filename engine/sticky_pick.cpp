// First where the token says, then where it led before, then everywhere.
#include "engine/sticky_pick.hpp"

#include <algorithm>

#include "shm/generation.hpp"
#include "shm/state_word.hpp"

namespace ballast::engine {

namespace {

std::uint64_t fingerprint_at(const StickyPlace& place, const SipKey& key,
                             std::uint32_t slot) noexcept {
  const auto& endpoint = place.instances[slot].endpoint;
  return sticky_fingerprint(key,
                            {shm::get(endpoint[0]), shm::get(endpoint[1]), shm::get(endpoint[2])});
}

// A view without a lookup has none, whatever it held before.
std::uint64_t members_of(const GenerationView& view) noexcept {
  return view.kind == shm::LookupKind::none ? 0 : view.member_count;
}

// Members are sorted. Where they are not, since the file is damaged, this may miss one.
bool is_member(const GenerationView& view, std::uint32_t slot) noexcept {
  std::uint64_t low = 0;
  std::uint64_t high = members_of(view);
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    const std::uint32_t there = shm::get(view.members[middle]);
    if (there == slot) return true;
    (there < slot ? low : high) = there < slot ? middle + 1 : middle;
  }
  return false;
}

}  // namespace

std::optional<std::uint32_t> find_sticky(const StickyPlace& place, const StickyKeys& keys,
                                         std::string_view token, StickyMemory& memory) noexcept {
  const StickyOpened opened = decode_sticky(keys, token);
  if (opened.verdict != StickyVerdict::opened || place.groups.empty()) return std::nullopt;
  const SipKey& key = opened.by_previous ? keys.previous : keys.current;
  const StickyBody& body = opened.body;
  const GenerationView& first = place.groups.front();
  const auto is_it = [&](std::uint32_t slot) noexcept {
    if (slot >= first.slot_count || fingerprint_at(place, key, slot) != body.fingerprint)
      return false;
    return std::any_of(place.groups.begin(), place.groups.end(),
                       [slot](const GenerationView& view) { return is_member(view, slot); });
  };

  // Another tenant of the slot has another incarnation: then it need not be hashed.
  if (body.slot < first.slot_count &&
      shm::incarnation_of(shm::get(first.states[body.slot])) == body.incarnation &&
      is_it(body.slot)) {
    return body.slot;
  }

  const StickyMemory::Question question{body.fingerprint, place.segment, first.entered,
                                        place.service};
  if (const auto known = memory.recall(question)) {
    if (*known == shm::kNoSlot) return std::nullopt;
    if (is_it(*known)) return *known;
  }

  std::uint16_t found = shm::kNoSlot;
  for (const GenerationView& view : place.groups) {
    for (std::uint64_t i = 0; i < members_of(view) && found == shm::kNoSlot; ++i) {
      const std::uint16_t slot = shm::get(view.members[i]);
      if (slot < view.slot_count && fingerprint_at(place, key, slot) == body.fingerprint)
        found = slot;
    }
  }
  // What was read while the generation was being replaced is not worth keeping.
  if (shm::unchanged(*first.root, first.entered)) memory.keep(question, found);
  if (found == shm::kNoSlot) return std::nullopt;
  return found;
}

}  // namespace ballast::engine
