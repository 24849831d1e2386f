// Putting the settings together; see roster.hpp for whose word counts.
#include "engine/checker/control/roster.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace ballast::checker {
namespace {

using Words = std::array<std::uint64_t, 3>;
using Set = std::vector<InstanceSettings>;

struct WordsHash {
  std::size_t operator()(const Words& words) const noexcept {
    std::uint64_t hash = 0;
    for (const std::uint64_t word : words)
      hash = (hash ^ word) * 0x9E37'79B9'7F4A'7C15U + (hash >> 29);
    return hash ^ hash >> 32;
  }
};

// Whatever a source or an operator's file says, within the limits.
void keep_within_limits(InstanceSettings& instance) {
  instance.weight = std::clamp<std::uint32_t>(instance.weight, 1, kMaxWeight);
  instance.tier = std::min(instance.tier, kMaxTier);
  if (!is_fit_for_text(instance.text)) instance.text = instance.endpoint.to_text();
  if (instance.zone.size() > kMaxZoneBytes) instance.zone.clear();
}

void alter(InstanceSettings& instance, const InstanceChange& change) {
  if (change.admin) {
    instance.admin = *change.admin;
    instance.admin_by = shm::EventBy::operators;
  }
  if (change.weight) {
    instance.weight = std::clamp<std::uint32_t>(*change.weight, 1, kMaxWeight);
    instance.weight_by = shm::EventBy::operators;
  }
}

void name_by(InstanceSettings& instance, shm::EventBy by) {
  instance.named_by = instance.weight_by = instance.admin_by = by;
}

Set as_discovered(Set instances) {
  for (InstanceSettings& instance : instances) {
    keep_within_limits(instance);
    name_by(instance, shm::EventBy::discovery);
  }
  return instances;
}

// The members of one service, as they are being found.
class Members {
 public:
  explicit Members(const std::map<std::string, InstanceChange>* changes) {
    if (changes == nullptr) return;
    for (const auto& [text, change] : *changes) {
      if (const auto endpoint = shm::parse_endpoint(text)) {
        changes_.emplace(endpoint->to_words(), &change);
      }
    }
  }

  void add(InstanceSettings instance) {
    if (instance.endpoint.family == shm::Family::none) return;
    const Words words = instance.endpoint.to_words();
    if (!seen_.insert(words).second) return;
    const auto found = changes_.find(words);
    if (found != changes_.end()) {
      if (found->second->removed) return;
      alter(instance, *found->second);
    }
    members_.push_back(std::move(instance));
  }

  Set take() { return std::move(members_); }

 private:
  std::unordered_map<Words, const InstanceChange*, WordsHash> changes_;
  std::unordered_set<Words, WordsHash> seen_;
  Set members_;
};

}  // namespace

bool is_fit_for_text(std::string_view text) {
  return !text.empty() && text.size() <= kMaxTextBytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

void Roster::configure(Settings configured) {
  std::map<Key, Found> kept;
  for (const ServiceSettings& service : configured.services) {
    const auto before =
        std::find_if(configured_.services.begin(), configured_.services.end(),
                     [&](const ServiceSettings& other) { return other.name == service.name; });
    if (before == configured_.services.end()) continue;
    const std::vector<SourceSettings>& old = before->sources;
    const std::vector<SourceSettings>& now = service.sources;
    std::vector<bool> taken(old.size(), false);
    std::vector<std::size_t> from(now.size(), old.size());
    std::vector<bool> replaces(now.size(), false);
    for (std::size_t i = 0; i < now.size(); ++i) {
      for (std::size_t j = 0; j < old.size(); ++j) {
        if (taken[j] || old[j] != now[i]) continue;
        taken[j] = true;
        from[i] = j;
        break;
      }
    }
    for (std::size_t i = 0; i < std::min(now.size(), old.size()); ++i) {
      if (from[i] != old.size() || taken[i]) continue;
      taken[i] = true;
      from[i] = i;
      replaces[i] = true;
    }
    for (std::size_t i = 0; i < now.size(); ++i) {
      const auto set = discovered_.find({service.name, from[i]});
      if (from[i] == old.size() || set == discovered_.end()) continue;
      Found found = std::move(set->second);
      if (replaces[i]) {
        found.provisional = true;
        found.offered.reset();
      }
      kept.emplace(std::pair(service.name, i), std::move(found));
    }
  }
  discovered_ = std::move(kept);
  configured_ = std::move(configured);
  // They grew while they were read, and stay as long as this process.
  for (ServiceSettings& service : configured_.services)
    service.instances.shrink_to_fit();
  leave_added_to_operators();
}

void Roster::discover(const std::string& service, std::size_t source, Set instances) {
  discovered_[{service, source}] = Found{as_discovered(std::move(instances)), false, {}, false};
}

void Roster::inherit(const std::string& service, std::size_t source, Set instances) {
  for (InstanceSettings& instance : instances)
    instance.admin = shm::Admin::ready;
  discovered_[{service, source}] = Found{as_discovered(std::move(instances)), true, {}, false};
  leave_added_to_operators();
}

void Roster::offer(const std::string& service, std::size_t source, Set instances) {
  Found& found = discovered_[{service, source}];
  found.offered = as_discovered(std::move(instances));
  found.offered_provisional = false;
}

std::vector<Roster::Key> Roster::offered() const {
  std::vector<Key> keys;
  for (const auto& [key, found] : discovered_) {
    if (found.offered) keys.push_back(key);
  }
  return keys;
}

void Roster::swap_offered(const Key& key) {
  Found& found = discovered_.at(key);
  std::swap(found.set, *found.offered);
  std::swap(found.provisional, found.offered_provisional);
}

void Roster::forget_offered(const Key& key) {
  discovered_.at(key).offered.reset();
}

void Roster::change(RuntimeChanges changes) {
  changes_ = std::move(changes);
  leave_added_to_operators();
}

// In a provisional set they are there because of the operators, and would come back by it when
// those remove them.
void Roster::leave_added_to_operators() {
  for (auto& [key, found] : discovered_) {
    if (!found.provisional) continue;
    const auto changes = changes_.instances.find(key.first);
    if (changes == changes_.instances.end()) continue;
    std::erase_if(found.set, [&changed = changes->second](const InstanceSettings& instance) {
      const auto change = changed.find(instance.endpoint.to_text());
      return change != changed.end() && change->second.added;
    });
  }
}

Settings Roster::compose() const {
  Settings settings = configured_;
  for (ServiceSettings& service : settings.services) {
    const auto changed = changes_.instances.find(service.name);
    const auto* changes = changed == changes_.instances.end() ? nullptr : &changed->second;
    if (const auto strategy = changes_.strategies.find(service.name);
        strategy != changes_.strategies.end()) {
      service.policy.strategy = strategy->second;
    }
    if (changes == nullptr && service.sources.empty()) continue;
    Members members(changes);
    for (InstanceSettings& instance : service.instances)
      members.add(std::move(instance));
    for (std::size_t source = 0; source < service.sources.size(); ++source) {
      const auto found = discovered_.find({service.name, source});
      if (found == discovered_.end()) continue;
      for (const InstanceSettings& instance : found->second.set)
        members.add(instance);
    }
    if (changes != nullptr) {
      for (const auto& [text, change] : *changes) {
        if (!change.added) continue;
        InstanceSettings instance = change.instance;
        keep_within_limits(instance);
        name_by(instance, shm::EventBy::operators);
        members.add(std::move(instance));
      }
    }
    service.instances = members.take();
  }
  return settings;
}

template <class Visit>
void Roster::visit_named(const std::string& name, Visit visit) const {
  for (const ServiceSettings& service : configured_.services) {
    if (service.name != name) continue;
    for (const InstanceSettings& instance : service.instances) {
      if (visit(instance, false)) return;
    }
    for (std::size_t i = 0; i < service.sources.size(); ++i) {
      const auto set = discovered_.find({name, i});
      if (set == discovered_.end()) continue;
      for (const InstanceSettings& instance : set->second.set) {
        if (visit(instance, set->second.provisional)) return;
      }
    }
  }
}

const InstanceSettings* Roster::named(const std::string& service,
                                      const shm::Endpoint& endpoint) const {
  const InstanceSettings* found = nullptr;
  visit_named(service, [&](const InstanceSettings& instance, bool /*provisional*/) {
    if (instance.endpoint != endpoint) return false;
    found = &instance;
    return true;
  });
  return found;
}

bool Roster::is_provisional(const std::string& service, const shm::Endpoint& endpoint) const {
  bool found = false;
  visit_named(service, [&](const InstanceSettings& instance, bool provisional) {
    if (instance.endpoint != endpoint) return false;
    found = provisional;
    return true;
  });
  return found;
}

Roster::Called Roster::endpoints_by_text(const std::string& service) const {
  Called called;
  std::unordered_map<std::string_view, std::unordered_set<Words, WordsHash>> seen;
  const auto take = [&](const InstanceSettings& instance, bool /*provisional*/) {
    if (seen[instance.text].insert(instance.endpoint.to_words()).second)
      called[instance.text].push_back(instance.endpoint);
    return false;
  };
  visit_named(service, take);
  if (const auto changes = changes_.instances.find(service); changes != changes_.instances.end()) {
    for (const auto& [address, change] : changes->second) {
      if (change.added) take(change.instance, false);
    }
  }
  return called;
}

std::vector<std::string> Roster::idle_changes() const {
  std::vector<std::string> idle;
  std::map<std::string, const ServiceSettings*> services;
  for (const ServiceSettings& service : configured_.services)
    services.emplace(service.name, &service);
  for (const auto& [name, strategy] : changes_.strategies) {
    if (!services.contains(name)) idle.push_back(name);
  }
  for (const auto& [name, changes] : changes_.instances) {
    const auto service = services.find(name);
    std::unordered_set<Words, WordsHash> named;
    if (service != services.end()) {
      for (const InstanceSettings& instance : service->second->instances)
        named.insert(instance.endpoint.to_words());
      for (std::size_t i = 0; i < service->second->sources.size(); ++i) {
        const auto set = discovered_.find({name, i});
        if (set == discovered_.end()) continue;
        for (const InstanceSettings& instance : set->second.set)
          named.insert(instance.endpoint.to_words());
      }
    }
    for (const auto& [text, change] : changes) {
      if (service != services.end() && change.added && !change.removed) continue;
      const auto endpoint = shm::parse_endpoint(text);
      if (endpoint && named.contains(endpoint->to_words())) continue;
      idle.push_back(name + " " + text);
    }
  }
  return idle;
}

}  // namespace ballast::checker
