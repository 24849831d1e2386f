// Finding whom a request means, and each verb's edit.
#include "engine/checker/control/change_edit.hpp"

#include <algorithm>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include "engine/text/spelling.hpp"

namespace ballast::checker {
namespace {

// Names looked at for one that was perhaps meant; an edit distance costs some microseconds.
constexpr std::size_t kNamesCompared = 1000;

Refusal not_found(std::string text) {
  return {"not_found", std::move(text), {}};
}
Refusal refused(std::string text) {
  return {"refused", std::move(text), {}};
}

std::string perhaps(std::string_view word, std::span<const std::string_view> names) {
  const std::string_view nearest =
      engine::nearest_word(word, names.first(std::min(names.size(), kNamesCompared)));
  return nearest.empty() ? std::string() : ": did you mean \"" + std::string(nearest) + "\"?";
}

Refusal no_such_instance(const Roster& roster, const Request& request, const std::string& name) {
  const Settings settings = roster.compose();
  std::vector<std::string_view> names;
  for (const ServiceSettings& service : settings.services) {
    if (service.name != request.service) continue;
    for (const InstanceSettings& instance : service.instances)
      names.emplace_back(instance.text);
  }
  return not_found("service " + request.service + " has no instance " + name +
                   perhaps(name, names));
}

bool is_nothing(const InstanceChange& change) {
  return !change.added && !change.removed && !change.admin && !change.weight;
}

// One instance's change, and what it is about.
struct Edit {
  const Request& request;
  const Roster& roster;
  const shm::Endpoint& endpoint;
  const InstanceSettings* named;  // by the configuration or a source; null: by nobody
  bool provisional;               // what is said there is not to be compared with
  InstanceChange& change;

  [[nodiscard]] bool exists() const {
    return (named != nullptr || change.added) && !change.removed;
  }
  [[nodiscard]] const InstanceSettings& base() const {
    return named != nullptr ? *named : change.instance;
  }

  void set_admin(shm::Admin admin) const {
    change.admin.reset();
    if (provisional || base().admin != admin) change.admin = admin;
  }
  void set_weight(std::uint32_t weight) const {
    change.weight.reset();
    if (provisional || base().weight != weight) change.weight = weight;
  }

  [[nodiscard]] std::optional<Refusal> add() const {
    if (named != nullptr && !provisional) {
      if (request.tier || request.zone || request.name) {
        return refused(endpoint.to_text() +
                       " is named by the configuration or a source, which say its tier, zone and "
                       "name; only weight and admin can be given");
      }
      change.removed = false;
      change.added = false;
      if (request.weight) set_weight(*request.weight);
      if (request.admin) set_admin(*request.admin);
      return std::nullopt;
    }
    InstanceSettings instance;
    instance.endpoint = endpoint;
    instance.text = request.name.value_or(endpoint.to_text());
    instance.weight = request.weight.value_or(kDefaultWeight);
    instance.tier = request.tier.value_or(0);
    instance.zone = request.zone.value_or("");
    instance.admin = request.admin.value_or(shm::Admin::ready);
    // Asked for again, word for word: what was changed since stays.
    if (change.added && !change.removed && change.instance == instance) return std::nullopt;
    const InstanceChange before = std::exchange(change, InstanceChange{});
    change.added = true;
    change.instance = std::move(instance);
    if (provisional) {
      // Perhaps a source goes on naming it, and then these count.
      change.admin = request.admin ? request.admin : before.admin;
      change.weight = request.weight ? request.weight : before.weight;
    }
    return std::nullopt;
  }

  void remove() const {
    const bool is_named = named != nullptr;
    change = InstanceChange{};
    change.removed = is_named;
  }

  [[nodiscard]] std::optional<Refusal> make() const {
    if (request.verb == Verb::add) return add();
    if (request.verb == Verb::reset) {
      change = InstanceChange{};
      return std::nullopt;
    }
    if (request.verb == Verb::remove) {
      if (named == nullptr && !change.added)
        return no_such_instance(roster, request, endpoint.to_text());
      remove();
      return std::nullopt;
    }
    if (!exists()) {
      if (!change.removed) return no_such_instance(roster, request, endpoint.to_text());
      return refused(endpoint.to_text() + " was removed by an operator: add it first");
    }
    switch (request.verb) {
      case Verb::drain:
        set_admin(shm::Admin::drain);
        break;
      case Verb::maint:
        set_admin(shm::Admin::maintenance);
        break;
      case Verb::ready:
        set_admin(shm::Admin::ready);
        break;
      case Verb::weight:
        set_weight(request.weight.value_or(kDefaultWeight));
        break;
      default:
        break;
    }
    return std::nullopt;
  }
};

}  // namespace

const ServiceSettings* find_service(const Roster& roster, const std::string& name) {
  for (const ServiceSettings& service : roster.configured().services) {
    if (service.name == name) return &service;
  }
  return nullptr;
}

Refusal no_such_service(const Roster& roster, const std::string& name) {
  std::vector<std::string_view> names;
  for (const ServiceSettings& service : roster.configured().services)
    names.emplace_back(service.name);
  return not_found("there is no service " + name + perhaps(name, names));
}

std::variant<std::vector<shm::Endpoint>, Refusal> find_instances(const Roster& roster,
                                                                 const Request& request) {
  std::vector<shm::Endpoint> found;
  std::set<std::string> seen;
  std::optional<Roster::Called> by_text;  // once for all that are no addresses
  const auto take = [&](const shm::Endpoint& endpoint) {
    if (seen.insert(endpoint.to_text()).second) found.push_back(endpoint);
  };
  for (const std::string& name : request.instances) {
    if (const auto endpoint = shm::parse_endpoint(name)) {
      take(*endpoint);
      continue;
    }
    if (request.verb == Verb::add) {
      return Refusal{"bad_request",
                     name +
                         " is not an address such as 10.0.0.1:80 or [::1]:80; names are for the "
                         "configuration and its sources",
                     {}};
    }
    if (!by_text) by_text = roster.endpoints_by_text(request.service);
    const auto of_name = by_text->find(name);
    if (of_name == by_text->end()) return no_such_instance(roster, request, name);
    const std::vector<shm::Endpoint>& called = of_name->second;
    if (called.size() > 1) {
      return refused(std::to_string(called.size()) + " instances are called " + name +
                     ": give an address, such as " + called.front().to_text());
    }
    take(called.front());
  }
  return found;
}

std::variant<RuntimeChanges, Refusal> edit_changes(const Roster& roster, const Request& request) {
  RuntimeChanges changes = roster.changes();
  const ServiceSettings* const service = find_service(roster, request.service);
  // What was changed of a service that is gone can still be forgotten.
  const bool forgets =
      request.verb == Verb::reset &&
      (changes.instances.contains(request.service) || changes.strategies.contains(request.service));
  if (service == nullptr && !forgets) return no_such_service(roster, request.service);
  if (request.verb == Verb::strategy) {
    changes.strategies.erase(request.service);
    if (service->policy.strategy != *request.strategy)
      changes.strategies[request.service] = *request.strategy;
    return changes;
  }
  if (request.verb == Verb::reset && request.instances.empty()) {
    changes.instances.erase(request.service);
    changes.strategies.erase(request.service);
    return changes;
  }
  auto found = find_instances(roster, request);
  if (auto* refusal = std::get_if<Refusal>(&found)) return *refusal;
  auto& of_service = changes.instances[request.service];
  for (const shm::Endpoint& endpoint : std::get<std::vector<shm::Endpoint>>(found)) {
    const auto text = endpoint.to_text();
    InstanceChange& change = of_service[text];
    const Edit edit{request,
                    roster,
                    endpoint,
                    roster.named(request.service, endpoint),
                    roster.is_provisional(request.service, endpoint),
                    change};
    if (auto refusal = edit.make()) return *refusal;
    if (is_nothing(change)) of_service.erase(text);
  }
  if (of_service.empty()) changes.instances.erase(request.service);
  return changes;
}

}  // namespace ballast::checker
