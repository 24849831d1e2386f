// Reads identities, addresses and state words of the active segment, all of them as input.
#include "engine/checker/publishing/known_health.hpp"

#include <vector>

#include "engine/checker/publishing/instance_use.hpp"
#include "engine/service_name.hpp"
#include "shm/generation.hpp"
#include "shm/mapped_file.hpp"
#include "shm/paths.hpp"
#include "shm/segment.hpp"
#include "shm/views.hpp"

namespace ballast::checker {

std::map<InstanceKey, shm::Health> read_known_health(const std::string& directory) {
  std::map<InstanceKey, shm::Health> known;
  const auto file = shm::MappedFile::open(shm::locator_path(directory),
                                          shm::MappedFile::Access::read_only, /*populate=*/false);
  if (!file) return known;
  const auto locator = shm::open_locator(*file, shm::BootCheck::required);
  if (!locator) return known;
  // [mm:growth] pairs with the release store of set_active_segment().
  const std::uint64_t id = (*locator)->active_segment.load(std::memory_order_acquire);
  if (id == 0) return known;
  const auto segment = shm::InspectedSegment::open(directory, id, shm::BootCheck::required);
  if (!segment) return known;
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
    const std::array<std::uint64_t, 3> words{
        shm::get(record.endpoint[0]), shm::get(record.endpoint[1]), shm::get(record.endpoint[2])};
    known[{names[service], words}] = checked_health(shm::unpack(shm::get(table.states[slot])));
  }
  return known;
}

}  // namespace ballast::checker
