// The part of Handle that makes and honours sticky tokens. See docs/sticky.md.
#include "engine/handle.hpp"
#include "engine/sticky_keys.hpp"
#include "shm/endpoint.hpp"

namespace ballast::engine {

ballast_status_t Handle::sticky_token(ballast_service_t service, const ballast_pick_t& pick,
                                      std::span<char, kStickyText> out) noexcept {
  if (service >= services_.size() || (pick.family != 4 && pick.family != 6))
    return BALLAST_INVALID_ARGUMENT;
  Service& entry = services_[service];
  if (locate(entry) == nullptr) return BALLAST_SERVICE_UNKNOWN;
  const auto& shared = attachment_.segment().workers.services;
  if (entry.index >= shared.size()) return BALLAST_CORRUPT;
  const StickyKeys keys = read_sticky_keys(shared[entry.index]);
  if (!is_set(keys.current)) return BALLAST_NO_STICKY_KEY;
  // From the pick alone, which may be of a table that has been replaced since.
  shm::Endpoint endpoint;
  endpoint.family = static_cast<shm::Family>(pick.family);
  endpoint.port = pick.port;
  std::memcpy(endpoint.address.data(), pick.address, sizeof pick.address);
  encode_sticky(keys.current,
                {static_cast<std::uint16_t>(pick.slot), pick.incarnation,
                 sticky_fingerprint(keys.current, endpoint.to_words())},
                out);
  return BALLAST_OK;
}

// Where the instance that the token names is among the members; kNoSlot if it is not.
Excluded Handle::find_named(const Service& service, std::string_view token) noexcept {
  const ServiceView& view = service.view;
  const auto found = find_sticky({{view.groups.data(), view.group_count},
                                  view.instances,
                                  attachment_.segment_id(),
                                  view.index},
                                 read_sticky_keys(*view.shared), token, sticky_memory_);
  if (!found) return {shm::kNoSlot, 0};
  return {*found, shm::incarnation_of(shm::get(view.first().states[*found]))};
}

}  // namespace ballast::engine
