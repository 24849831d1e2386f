// Matching settings with the table, and carrying out the difference.
#include "engine/checker/publishing/plan.hpp"

#include <algorithm>
#include <array>
#include <compare>
#include <map>
#include <string>
#include <unordered_set>
#include <utility>

#include "engine/agent_word.hpp"
#include "engine/breaker_report.hpp"
#include "engine/checker/publishing/arena.hpp"
#include "engine/checker/publishing/groups.hpp"
#include "engine/checker/publishing/instance_use.hpp"
#include "engine/coarse_clock.hpp"
#include "engine/hash.hpp"
#include "engine/ketama.hpp"
#include "engine/placement.hpp"
#include "engine/service_name.hpp"
#include "shm/generation.hpp"
#include "shm/host.hpp"
#include "shm/totals.hpp"

namespace ballast::checker {

namespace {

using shm::Identity;
using shm::Phase;

// The only writer reads its own words.
constexpr auto kRelaxed = std::memory_order_relaxed;

Identity identity_of(const shm::Word64& word) {
  return shm::unpack_identity(word.load(kRelaxed));
}

std::uint32_t next_incarnation(std::uint32_t incarnation) {
  return incarnation + 1 == 0 ? 1 : incarnation + 1;
}

struct EndpointKey {
  std::size_t service;
  std::array<std::uint64_t, 3> words;
  friend auto operator<=>(const EndpointKey&, const EndpointKey&) = default;
};

std::array<std::uint64_t, 3> endpoint_words(const shm::InstanceRecord& record) {
  return {record.endpoint[0].load(kRelaxed), record.endpoint[1].load(kRelaxed),
          record.endpoint[2].load(kRelaxed)};
}

// What the table holds, indexed for matching.
struct Inventory {
  std::map<std::string, std::size_t> services;     // live, by name
  std::vector<std::size_t> free_services;          // ascending
  std::size_t resting_services = 0;                // gone, but their slots still cool
  std::map<EndpointKey, std::uint16_t> instances;  // live or cooling
  std::vector<std::uint16_t> free_slots;           // ascending
};

Inventory take_inventory(const shm::TableWriter& table) {
  Inventory inventory;
  // What late reports still count for: a record rests as long as the slots of the service before,
  // which cool down, and longer if a request of theirs is in flight.
  std::vector<bool> is_resting(table.services.size());
  for (const shm::InstanceRecord& record : table.instances) {
    const std::uint64_t service = record.service.load(kRelaxed);
    if (service < is_resting.size() && identity_of(record.identity).phase != Phase::free)
      is_resting[service] = true;
  }
  for (std::size_t i = 0; i < table.services.size(); ++i) {
    const shm::ServiceRecord& record = table.services[i];
    if (identity_of(record.identity).phase == Phase::live) {
      inventory.services.emplace(engine::service_name(record), i);
    } else if (!is_resting[i]) {
      inventory.free_services.push_back(i);
    } else {
      ++inventory.resting_services;
    }
  }
  for (std::size_t i = 0; i < table.instances.size(); ++i) {
    const shm::InstanceRecord& record = table.instances[i];
    const auto slot = static_cast<std::uint16_t>(i);
    const Phase phase = identity_of(record.identity).phase;
    if (phase == Phase::free) {
      inventory.free_slots.push_back(slot);
      continue;
    }
    const EndpointKey key{record.service.load(kRelaxed), endpoint_words(record)};
    // A record that changed its service may have a slot with this address cooling and another one
    // live: the live one is the tenant.
    if (phase == Phase::live) {
      inventory.instances.insert_or_assign(key, slot);
    } else {
      inventory.instances.emplace(key, slot);
    }
  }
  return inventory;
}

using Groups = std::map<Group, std::vector<engine::Member>>;

// What workers are told: the policy as configured, and what else follows from the settings.
engine::Policy published_policy(const ServiceSettings& service) {
  engine::Policy policy = service.policy;
  policy.watches_failures =
      service.check.kind != CheckKind::none && service.check.failures_to_check != 0;
  return policy;
}

// What the lookup arrays follow from.
std::string placement_text(const Groups& groups) {
  std::string text;
  for (const auto& [group, members] : groups) {
    text += '\n' + std::to_string(group.tier) + (group.is_remote ? " remote" : "");
    for (const engine::Member& m : members) {
      text += '\n' + m.text + ' ' + std::to_string(m.weight) + ' ' + std::to_string(m.slot);
    }
  }
  return text;
}

// Administration does not change what is built, but is published with a generation of its own, so
// that it has an epoch which workers can be seen to have reached.
KeptTables::Built hashes_of(const ServiceSettings& service, const ServicePlan& plan,
                            const Groups& groups) {
  const std::string placement = placement_text(groups);
  std::string text(engine::to_text(service.policy.strategy));
  KeptTables::Built hashes;
  hashes.placement_hash = engine::key_hash(text + placement);
#define BALLAST_ADD_FIELD(name, initial, low, high) \
  text += ' ' + std::to_string(service.policy.name);
  BALLAST_POLICY_FIELDS(BALLAST_ADD_FIELD)
#undef BALLAST_ADD_FIELD
  if (published_policy(service).watches_failures) text += " watched";
  text += placement;
  for (std::size_t i = 0; i < service.instances.size(); ++i) {
    const shm::Admin admin = service.instances[i].admin;
    if (admin == shm::Admin::ready) continue;
    text += '\n' + std::to_string(plan.instances[i].slot) + ' ' + shm::to_text(admin);
  }
  const std::uint64_t hash = engine::key_hash(text);
  hashes.settings_hash = hash != 0 ? hash : 1;  // 0 is what a record never published says
  return hashes;
}

shm::Error full(const char* what, std::size_t limit) {
  return shm::Error{shm::ErrorKind::full,
                    0,
                    "publish the settings",
                    {},
                    "the segment has room for " + std::to_string(limit) + " " + what};
}

// A buffer with room for some more members than now, so that not every reload needs a new region.
std::uint64_t roomy(std::uint64_t bytes) {
  return (bytes + bytes / 4 + 4 * shm::kCacheLine) & ~63ULL;
}

}  // namespace

shm::Result<Plan> make_plan(const shm::TableWriter& table, const Settings& settings,
                            KeptTables& kept) {
  Inventory inventory = take_inventory(table);
  FreeSpace space(table);
  auto next_service = inventory.free_services.begin();
  auto next_slot = inventory.free_slots.begin();
  Plan plan;
  for (const ServiceSettings& service : settings.services) {
    ServicePlan p;
    if (const auto known = inventory.services.find(service.name);
        known != inventory.services.end()) {
      p.record = known->second;
      p.incarnation = identity_of(table.services[p.record].identity).incarnation;
    } else {
      if (next_service == inventory.free_services.end()) {
        shm::Error error = full("services", table.services.size());
        if (inventory.resting_services != 0)
          error.detail += ", of which " + std::to_string(inventory.resting_services) +
                          " rest for some seconds after their services have left; try again then";
        return error;
      }
      p.record = *next_service++;
      p.is_new = true;
      p.incarnation = next_incarnation(identity_of(table.services[p.record].identity).incarnation);
    }
    Groups groups;
    for (const InstanceSettings& instance : service.instances) {
      InstancePlan i;
      const auto known =
          p.is_new ? inventory.instances.end()
                   : inventory.instances.find(EndpointKey{p.record, instance.endpoint.to_words()});
      if (known != inventory.instances.end()) {
        i.slot = known->second;
        const Identity identity = identity_of(table.instances[i.slot].identity);
        i.incarnation = identity.incarnation;
        i.returns = identity.phase == Phase::cooling;
      } else {
        if (next_slot == inventory.free_slots.end()) {
          return full("instances", table.instances.size());
        }
        i.slot = *next_slot++;
        i.is_new = true;
        i.incarnation = next_incarnation(identity_of(table.instances[i.slot].identity).incarnation);
      }
      p.instances.push_back(i);
      groups[group_of(settings, service, instance)].push_back(
          {i.slot, instance.text, instance.weight});
    }
    const shm::ServiceRecord& record = table.services[p.record];
    const KeptTables::Built hashes = hashes_of(service, p, groups);
    const KeptTables::Built before = std::exchange(kept.built(service.name), hashes);
    const std::uint64_t published_hash = record.settings_hash.load(kRelaxed);
    p.settings_hash = hashes.settings_hash;
    p.publish = p.is_new || published_hash != p.settings_hash;
    // 0 says that the published one is not to be relied on.
    p.copies =
        p.publish && !p.is_new && published_hash != 0 && published_hash == before.settings_hash &&
        before.placement_hash == hashes.placement_hash && engine::can_republish(table, p.record);
    if (p.publish && !p.copies) {
      kept.count_build();
      for (auto& [group, members] : groups) {
        engine::RendezvousTable* table_of_group =
            service.policy.strategy == engine::Strategy::rendezvous ? &kept.of(service.name, group)
                                                                    : nullptr;
        auto placement =
            engine::build_placement(service.policy.strategy, std::move(members), table_of_group);
        if (!placement) {
          return shm::Error{
              shm::ErrorKind::invalid, 0, "build the ring of", service.name,
              "the weights together exceed " +
                  std::to_string(engine::kMaxKetamaPoints / engine::kKetamaPointsPerWeight) +
                  "; divide them all by a common factor"};
        }
        placement->tier = group.tier;
        placement->is_local = !group.is_remote;
        p.groups.push_back(std::move(*placement));
      }
      const std::uint64_t needed = engine::buffer_bytes(p.groups);
      p.arena_offset = record.arena_offset.load(kRelaxed);
      p.half_bytes = p.is_new ? 0 : record.half_bytes.load(kRelaxed);
      // A damaged record may name a region that the arena does not have.
      const bool usable = p.half_bytes <= table.arena_bytes / 2 &&
                          !table.array<std::byte>(p.arena_offset, 2 * p.half_bytes).empty();
      if (p.half_bytes < needed || !usable) {
        p.half_bytes = roomy(needed);
        const auto region = space.take(2 * p.half_bytes);
        if (!region) return full("bytes of lookup tables", table.arena_bytes);
        p.arena_offset = *region;
        p.new_region = true;
      }
    }
    plan.services.push_back(std::move(p));
  }
  return plan;
}

namespace {

// What the checker has learnt of a slot's former tenant, or of this one before it left.
void forget_load(const shm::TableWriter& table, std::uint16_t slot) {
  shm::LoadRecord& details = table.load_details[slot];
  for (shm::Word64* word :
       {&details.latency_us, &details.qps_milli, &details.utilisation_ppm, &details.multiplier_ppm,
        &details.weight_reason, &details.ejections, &details.ejected_until_ns,
        &details.ramp_since_ns, &details.agent, &table.loads[slot]}) {
    word->store(0, kRelaxed);
  }
}

void admit(const shm::TableWriter& table, const shm::WorkersWriter& workers, const ServicePlan& p,
           const InstancePlan& i, const ServiceSettings& service,
           const InstanceSettings& instance) {
  shm::InstanceRecord& record = table.instances[i.slot];
  const std::uint64_t now = shm::realtime_ns();
  if (i.is_new) {
    const auto words = instance.endpoint.to_words();
    for (std::size_t w = 0; w < words.size(); ++w)
      shm::put(record.endpoint[w], words[w]);
    record.service.store(p.record, kRelaxed);
    for (shm::Word64* word : {&record.checked_ns, &record.check_us, &record.checks,
                              &record.check_failures, &record.flips, &record.cooling_since_ns}) {
      word->store(0, kRelaxed);
    }
    // Of another tenant.
    table.loads[i.slot].store(0, kRelaxed);
    table.load_details[i.slot].latency_us.store(0, kRelaxed);
    table.load_details[i.slot].qps_milli.store(0, kRelaxed);
    record.admitted_ns.store(now, kRelaxed);
    record.changed_ns.store(now, kRelaxed);
    workers.instances[i.slot].reported_load.store(0, kRelaxed);
    // The rows' counters belong to the slot and go on; this tenant's totals start from zero. A
    // request that a worker, stopped in mid-pick all through the cool-down, has started since then
    // goes on too: without its start its end would leave less than nothing in flight for ever.
    shm::Totals baseline;
    baseline -= shm::sum_rows(workers, i.slot);
    baseline.values[shm::kStarted] = baseline.finished();
    shm::store_record(table.carried[i.slot], baseline);
  }
  shm::State state = shm::unpack(table.states[i.slot].load(kRelaxed));
  const auto whole = static_cast<std::uint16_t>(instance.weight * shm::kWeightUnit);
  // Nobody checked it while its slot cooled, which requests in flight can make long.
  if (i.is_new || i.returns) {
    state = shm::State{};
    state.incarnation = i.incarnation;
    state.reason = shm::Reason::not_checked;
    state.weight = whole;
    forget_load(table, i.slot);
  } else if (const std::uint64_t before = record.weight.load(kRelaxed); before != instance.weight) {
    // The same part of another weight.
    state.weight = before == 0
                       ? whole
                       : static_cast<std::uint16_t>(std::min<std::uint64_t>(
                             state.weight * std::uint64_t{instance.weight} / before, whole));
  }
  // An agent's word holds through reloads and restarts, for as long as there is an agent to ask.
  shm::Word64& agent = table.load_details[i.slot].agent;
  // What the checks said beside it is still to be read.
  if (const std::uint64_t said = agent.load(kRelaxed); !has_agent(service) && said != 0)
    agent.store(said & engine::kCheckedBits, kRelaxed);
  const engine::AgentReport report = engine::unpack_agent(agent.load(kRelaxed));
  state.admin = engine::strictest(instance.admin, report);
  state.limited = engine::agent_limit(report) != 0;
  derive_use(state, instance.weight, is_trusted(service.check));
  shm::put(record.weight, instance.weight);
  record.tier.store(instance.tier, kRelaxed);
  record.zone.store(instance.zone.empty() ? 0 : engine::key_hash(instance.zone), kRelaxed);
  // Before the state word: a report about the new tenant then finds its breaker. What the former
  // one held of a budget the checker finds when it counts.
  if ((i.is_new || i.returns) && i.slot < workers.breakers.size())
    engine::reset_breaker(engine::breaker_words(workers, i.slot), i.incarnation, engine::coarse_ms);
  const std::uint64_t word = shm::pack(state);
  if (table.states[i.slot].load(kRelaxed) != word) shm::put(table.states[i.slot], word);
  BALLAST_POINT("apply.instance_written");
  // [mm:publish-and-pick] the identity comes last: tools that see it see a whole record.
  shm::put(record.identity, shm::pack(Identity{i.incarnation, Phase::live}));
}

void retire_instance(shm::InstanceRecord& record) {
  const Identity id = identity_of(record.identity);
  record.cooling_since_ns.store(shm::realtime_ns(), kRelaxed);
  shm::put(record.identity, shm::pack(Identity{id.incarnation, Phase::cooling}));
}

void retire_service(const shm::TableWriter& table, const shm::WorkersWriter& workers,
                    std::size_t index) {
  shm::ServiceRecord& record = table.services[index];
  const Identity id = identity_of(record.identity);
  record.settings_hash.store(0, kRelaxed);
  static_cast<void>(engine::publish_placement(table, index, {}, {}));
  BALLAST_POINT("apply.service_emptied");
  publish_sticky_keys(workers.services[index], {}, {});
  // What follows from health is worked out anew for the next service here, but only after workers
  // can find it: until then, or for as long as a checker that dies in between has no successor, it
  // would be in this one's panic.
  for (shm::Word64& word : record.shares)
    shm::put(word, 0U);
  shm::put(record.panic, 0U);
  shm::ServiceLoadRecord& load = table.service_loads[index];
  for (shm::Word64* word : {&load.in_flight, &load.hot_threshold, &load.weight_sum,
                            &load.group_parts[0], &load.group_parts[1]})
    word->store(0, kRelaxed);
  shm::put(record.identity, shm::pack(Identity{id.incarnation, Phase::free}));
}

}  // namespace

void carry_out(const Plan& plan, const Settings& settings, const StickySecrets& sticky,
               const shm::TableWriter& table, const shm::WorkersWriter& workers) {
  std::unordered_set<std::size_t> named_services;
  std::unordered_set<std::uint16_t> named_slots;
  for (std::size_t s = 0; s < plan.services.size(); ++s) {
    const ServicePlan& p = plan.services[s];
    const ServiceSettings& service = settings.services[s];
    shm::ServiceRecord& record = table.services[p.record];
    named_services.insert(p.record);
    for (std::size_t i = 0; i < p.instances.size(); ++i) {
      named_slots.insert(p.instances[i].slot);
      admit(table, workers, p, p.instances[i], service, service.instances[i]);
    }
    BALLAST_POINT("apply.instances");
    if (p.is_new) {
      engine::store_service_name(record, service.name);
      if (p.record < workers.services.size())
        engine::reset_budget(workers.services[p.record].open_breakers);
      // The rows' counts belong to the record and go on; this tenant's begin with nothing.
      shm::Latencies baseline;
      baseline -= shm::sum_latencies(workers, p.record);
      shm::store_latencies(table.carried_services[p.record], baseline);
      // How another service's traffic was divided, and that it was in panic, holds until the new
      // one's members are known, or for long if the checker dies here.
      for (shm::Word64& shares : record.shares)
        shares.store(0, kRelaxed);
      record.panic.store(0, kRelaxed);
    }
    // Before a worker can find the service, so that it never takes a good token for a bad one.
    publish_sticky_keys(workers.services[p.record], sticky, service.name);
    if (p.publish) {
      // Until the new hash is stored, a successor takes the generation for outdated and publishes
      // again.
      record.settings_hash.store(0, kRelaxed);
      if (p.new_region || p.is_new) {
        record.arena_offset.store(p.arena_offset, kRelaxed);
        record.half_bytes.store(p.half_bytes, kRelaxed);
      }
      static_cast<void>(
          p.copies
              ? engine::republish_placement(table, p.record, published_policy(service))
              : engine::publish_placement(table, p.record, p.groups, published_policy(service)));
      record.changed_ns.store(shm::realtime_ns(), kRelaxed);
      record.settings_hash.store(p.settings_hash, kRelaxed);
    }
    // [mm:publish-and-pick] a service is found by name only once its generation is published.
    if (p.is_new) shm::put(record.identity, shm::pack(Identity{p.incarnation, Phase::live}));
    BALLAST_POINT("apply.service");
  }
  for (std::size_t i = 0; i < table.services.size(); ++i) {
    if (identity_of(table.services[i].identity).phase == Phase::live &&
        !named_services.contains(i)) {
      retire_service(table, workers, i);
    }
  }
  for (std::size_t i = 0; i < table.instances.size(); ++i) {
    if (identity_of(table.instances[i].identity).phase == Phase::live &&
        !named_slots.contains(static_cast<std::uint16_t>(i))) {
      retire_instance(table.instances[i]);
      BALLAST_POINT("apply.retired");
    }
  }
}

}  // namespace ballast::checker
