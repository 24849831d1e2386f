// Reads identities, addresses and state words of the active segment, all of them as input.
#include "engine/checker/publishing/known_health.hpp"

#include <algorithm>
#include <vector>

#include "engine/agent_word.hpp"
#include "engine/hash.hpp"
#include "engine/service_name.hpp"
#include "shm/generation.hpp"
#include "shm/mapped_file.hpp"
#include "shm/paths.hpp"
#include "shm/segment.hpp"
#include "shm/views.hpp"

namespace ballast::checker {

namespace {

constexpr const char* kOtherZone = "elsewhere";

// Calls `see` with the service's name, the record, the state and the agent's word of each instance.
template <class See>
void for_each_known(const std::string& directory, See see) {
  const auto file = shm::MappedFile::open(shm::locator_path(directory),
                                          shm::MappedFile::Access::read_only, /*populate=*/false);
  if (!file) return;
  const auto locator = shm::open_locator(*file, shm::BootCheck::required);
  if (!locator) return;
  // [mm:growth] pairs with the release store of set_active_segment().
  const std::uint64_t id = (*locator)->active_segment.load(std::memory_order_acquire);
  if (id == 0) return;
  const auto segment = shm::InspectedSegment::open(directory, id, shm::BootCheck::required);
  if (!segment) return;
  const shm::Table& table = segment->table;
  std::vector<std::string> names;
  for (const auto& service : table.services) {
    const auto identity = shm::unpack_identity(shm::get(service.identity));
    names.push_back(identity.phase == shm::Phase::live ? engine::service_name(service) : "");
  }
  for (std::size_t slot = 0; slot < table.instances.size(); ++slot) {
    const shm::InstanceRecord& record = table.instances[slot];
    if (shm::unpack_identity(shm::get(record.identity)).phase != shm::Phase::live) continue;
    const std::uint64_t service = shm::get(record.service);
    if (service >= names.size() || names[service].empty()) continue;
    see(names[service], record, shm::unpack(shm::get(table.states[slot])),
        shm::get(table.load_details[slot].agent));
  }
}

std::array<std::uint64_t, 3> endpoint_words(const shm::InstanceRecord& record) {
  return {shm::get(record.endpoint[0]), shm::get(record.endpoint[1]), shm::get(record.endpoint[2])};
}

template <class T>
std::uint32_t within(std::uint64_t value, T low, T high) {
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(value, std::uint64_t{low}, std::uint64_t{high}));
}

}  // namespace

std::map<InstanceKey, shm::Health> read_known_health(const std::string& directory) {
  std::map<InstanceKey, shm::Health> known;
  for_each_known(directory, [&](const std::string& service, const shm::InstanceRecord& record,
                                const shm::State& state, std::uint64_t agent) {
    known[{service, endpoint_words(record)}] = engine::checked(state, agent).health;
  });
  return known;
}

std::map<std::string, std::vector<InstanceSettings>> read_known_members(
    const std::string& directory, const std::string& own_zone) {
  std::map<std::string, std::vector<InstanceSettings>> known;
  for_each_known(directory, [&](const std::string& service, const shm::InstanceRecord& record,
                                const shm::State& state, std::uint64_t) {
    InstanceSettings instance;
    instance.endpoint = shm::Endpoint::from_words(endpoint_words(record));
    if (instance.endpoint.family == shm::Family::none) return;
    instance.text = instance.endpoint.to_text();
    instance.weight = within(shm::get(record.weight), 1U, kMaxWeight);
    instance.tier = within(shm::get(record.tier), 0U, kMaxTier);
    instance.admin = state.admin;
    if (const std::uint64_t zone = shm::get(record.zone); zone != 0) {
      instance.zone = zone == engine::key_hash(own_zone) ? own_zone : kOtherZone;
    }
    known[service].push_back(std::move(instance));
  });
  return known;
}

}  // namespace ballast::checker
