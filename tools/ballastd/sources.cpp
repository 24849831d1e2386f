// What the daemon has to do about sources at its start and at reloads.
#include "tools/ballastd/sources.hpp"

#include <algorithm>

#include "engine/checker/publishing/known_health.hpp"

namespace ballast::tools {

using checker::ServiceSettings;

void DaemonSources::begin(const std::string& directory) {
  const auto& configured = steward_.roster().configured();
  set_.configure(configured.services);
  const bool has_sources =
      std::any_of(configured.services.begin(), configured.services.end(),
                  [](const ServiceSettings& service) { return !service.sources.empty(); });
  if (!has_sources) return;
  const auto known = checker::read_known_members(directory, configured.zone);
  for (const ServiceSettings& service : configured.services) {
    const auto members = known.find(service.name);
    if (members == known.end()) continue;
    // Of which source each came nobody knows. Every one stands for all of them until it answers;
    // those of the configuration count by themselves.
    for (std::size_t i = 0; i < service.sources.size(); ++i) {
      steward_.inherit(service.name, i, members->second);
      set_.inherit(service.name, i, members->second.size());
    }
  }
}

bool DaemonSources::is_awaited() const {
  const checker::Settings settings = steward_.roster().compose();
  return std::any_of(settings.services.begin(), settings.services.end(),
                     [this](const ServiceSettings& service) {
                       return service.instances.empty() && !set_.has_heard_from_all(service.name);
                     });
}

void DaemonSources::configure() {
  set_.configure(steward_.roster().configured().services);
  set_.refresh();
}

}  // namespace ballast::tools
