// Priorities to tiers, weights to weights.
#include "engine/checker/discovery/dns_services.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

namespace ballast::checker {
namespace {

std::uint32_t to_tier(const std::set<std::uint16_t>& priorities, std::uint16_t priority) {
  const auto rank = std::distance(priorities.begin(), priorities.find(priority));
  return std::min(static_cast<std::uint32_t>(rank), kMaxTier);
}

}  // namespace

InstanceSettings instance_at(shm::Endpoint address, std::uint16_t port) {
  address.port = port;
  InstanceSettings instance;
  instance.endpoint = address;
  instance.text = address.to_text();
  return instance;
}

Discovered to_instances(std::vector<DnsService> services,
                        const std::map<std::string, std::vector<shm::Endpoint>>& addresses) {
  std::erase_if(services, [](const DnsService& s) { return s.target.empty() || s.port == 0; });
  std::set<std::uint16_t> priorities;
  std::uint32_t heaviest = 1;
  for (const DnsService& service : services) {
    priorities.insert(service.priority);
    heaviest = std::max<std::uint32_t>(heaviest, service.weight);
  }
  // Of an address that is named twice the preferred, then the heavier one counts.
  std::sort(services.begin(), services.end(), [](const DnsService& a, const DnsService& b) {
    return std::tuple(a.priority, -a.weight, a.target, a.port) <
           std::tuple(b.priority, -b.weight, b.target, b.port);
  });
  std::set<std::pair<std::string_view, std::uint16_t>> seen;
  std::size_t count = 0;
  for (const DnsService& service : services) {
    if (!seen.emplace(service.target, service.port).second) continue;
    const auto found = addresses.find(service.target);
    if (found != addresses.end()) count += found->second.size();
  }
  if (count > kMaxInstances) {
    return {{},
            std::to_string(seen.size()) + " services lead to " + std::to_string(count) +
                " instances: at most " + std::to_string(kMaxInstances) + " are taken",
            {}};
  }
  seen.clear();
  std::vector<InstanceSettings> instances;
  instances.reserve(count);
  for (const DnsService& service : services) {
    if (!seen.emplace(service.target, service.port).second) continue;
    const auto found = addresses.find(service.target);
    if (found == addresses.end()) continue;
    std::uint32_t weight = service.weight;
    if (heaviest > kMaxWeight) weight = (weight * kMaxWeight + heaviest / 2) / heaviest;
    for (const shm::Endpoint& address : found->second) {
      InstanceSettings instance = instance_at(address, service.port);
      instance.weight = std::max(weight, 1U);
      instance.tier = to_tier(priorities, service.priority);
      instances.push_back(std::move(instance));
    }
  }
  put_in_order(instances);
  Discovered found;
  found.instances = std::move(instances);
  return found;
}

}  // namespace ballast::checker
