// A published service in plain memory, for tests of the picks: no files, no checker. What the
// checker would write the test writes; several pickers may share it, as threads or in turn.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/agent_word.hpp"
#include "engine/choose.hpp"
#include "engine/ketama.hpp"
#include "engine/maglev.hpp"
#include "engine/pick.hpp"
#include "engine/placement.hpp"
#include "engine/service_view.hpp"
#include "shm/state_word.hpp"
#include "tests/support/any_pick.hpp"

namespace ballast::tests {

// One group's arrays, as read_generation() would find them.
struct PlainGroup {
  std::vector<shm::Word16> lookup;
  std::vector<shm::Word16> members;
  std::vector<shm::Word32> points;
  std::vector<shm::Word32> index;
  std::vector<shm::Word16> seconds;
  shm::LookupKind kind = shm::LookupKind::none;

  explicit PlainGroup(const engine::Placement& placement)
      : lookup(placement.lookup.begin(), placement.lookup.end()),
        members(placement.members.begin(), placement.members.end()),
        points(placement.points.begin(), placement.points.end()),
        index(placement.index.begin(), placement.index.end()),
        seconds(placement.seconds.begin(), placement.seconds.end()),
        kind(placement.kind) {}

  void show(engine::GenerationView& view) const {
    view.kind = kind;
    view.lookup = lookup.data();
    view.lookup_count = lookup.size();
    view.members = members.data();
    view.member_count = members.size();
    view.points = points.data();
    view.index = index.data();
    view.index_count = index.size();
    view.seconds = seconds.empty() ? nullptr : seconds.data();
  }
};

class PlainService {
 public:
  static constexpr std::uint32_t kIncarnation = 7;
  static constexpr std::uint64_t kRoot = 6;

  // One instance for each weight; `group_of[i]`, if given, is the group of instance i.
  PlainService(const engine::Policy& with_policy, const std::vector<std::uint32_t>& with_weights,
               const std::vector<std::size_t>& group_of = {})
      : policy(with_policy),
        weights(with_weights),
        states(weights.size()),
        loads(weights.size()),
        details(weights.size()),
        breakers(weights.size()),
        instances(std::make_unique<shm::InstanceRecord[]>(weights.size())),
        shared_instances(std::make_unique<shm::SharedInstanceRecord[]>(weights.size())) {
    std::vector<std::vector<engine::Member>> members;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const std::size_t group = group_of.empty() ? 0 : group_of[i];
      if (members.size() <= group) members.resize(group + 1);
      members[group].push_back(
          {static_cast<std::uint16_t>(i),
           "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":80", weights[i]});
      instances[i].weight.store(weights[i], std::memory_order_relaxed);
      set(i, true);
    }
    for (auto& of_group : members) {
      auto placement = engine::build_placement(policy.strategy, std::move(of_group));
      if (!placement) throw std::runtime_error("the strategy has no placement");
      groups.emplace_back(*placement);
    }
    load.weight_sum.store(sum_of_weights(), std::memory_order_relaxed);
    record.root.store(kRoot, std::memory_order_relaxed);
  }

  // Of full weight, or of `share` of it in 1/64.
  void set(std::size_t slot, bool usable, std::uint32_t share = shm::kWeightUnit,
           shm::Admin admin = shm::Admin::ready) {
    const engine::AgentReport agent =
        engine::unpack_agent(details[slot].agent.load(std::memory_order_relaxed));
    shm::State state;
    state.incarnation = kIncarnation;
    state.weight = static_cast<std::uint16_t>(weights[slot] * share);
    state.health = usable ? shm::Health::up : shm::Health::down;
    state.admin = admin;
    state.usable = usable;
    state.limited = engine::agent_limit(agent) != 0;
    state.plain = usable && share == shm::kWeightUnit && !state.limited;
    states[slot].store(shm::pack(state), std::memory_order_relaxed);
  }
  // As its agent says; 0: as many as come.
  void limit(std::size_t slot, std::uint32_t max_in_flight) {
    engine::AgentReport agent;
    agent.max_in_flight = max_in_flight;
    details[slot].agent.store(engine::pack(agent), std::memory_order_relaxed);
    set(slot, true);
  }
  void set_load(std::size_t slot, const engine::Load& value) {
    loads[slot].store(engine::pack(value), std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t sum_of_weights() const {
    std::uint64_t sum = 0;
    for (const std::uint32_t weight : weights)
      sum += std::uint64_t{weight} * shm::kWeightUnit;
    return sum;
  }

  // A view as a handle in order has it.
  [[nodiscard]] engine::ServiceView view() {
    engine::ServiceView view;
    view.record = &record;
    view.header = &header;
    view.instances = instances.get();
    view.loads = loads.data();
    view.details = details.data();
    view.load = &load;
    view.workers = &workers;
    view.shared = &shared;
    view.shared_instances = shared_instances.get();
    view.breakers = breakers.data();
    view.policy = policy;
    view.flags = engine::constant_flags(policy);
    view.group_count = static_cast<std::uint32_t>(groups.size());
    for (std::size_t g = 0; g < groups.size(); ++g) {
      engine::GenerationView& group = view.groups[g];
      groups[g].show(group);
      group.states = states.data();
      group.slot_count = states.size();
      group.root = &record.root;
      group.entered = kRoot;
      group.open_breakers = &shared.open_breakers;
      group.breakers = breakers.data();
      group.flags = view.flags;
    }
    view.arm();
    return view;
  }

  engine::Policy policy;
  std::vector<std::uint32_t> weights;
  std::vector<PlainGroup> groups;
  std::vector<shm::Word64> states;
  std::vector<shm::Word64> loads;
  std::vector<shm::LoadRecord> details;
  std::vector<shm::Word64> breakers;
  std::unique_ptr<shm::InstanceRecord[]> instances;
  std::unique_ptr<shm::SharedInstanceRecord[]> shared_instances;
  shm::ServiceRecord record{};
  shm::FileHeader header{};
  shm::ServiceLoadRecord load{};
  shm::SharedServiceRecord shared{};
  shm::WorkersWriter workers{};
};

// One picking thread of a PlainService, with a row of its own in plain memory.
class PlainPicker {
 public:
  explicit PlainPicker(PlainService& service, std::uint64_t seed = 1)
      : view(service.view()),
        counters_(std::make_unique<shm::CounterRecord[]>(service.states.size())),
        journal_(std::make_unique<shm::JournalRecord>()),
        in_flight_(service.states.size()) {
    me.random = engine::Random(seed);
    // Time stands still: a slow machine must not let the service's beats grow old.
    me.clock_ms = []() noexcept -> std::uint64_t { return 1; };
    me.row = {.counters = counters_.get(),
              .journal = journal_.get(),
              .in_flight = in_flight_.data(),
              .slots = service.states.size(),
              .index = 0,
              .incarnation = 1};
  }

  engine::Choice pick(const engine::Request& request = {}) {
    return pick_any(view, me, request, [](std::uint32_t) {});
  }
  engine::Choice pick(std::uint64_t hash) {
    engine::Request request;
    request.hash = hash;
    return pick(request);
  }
  // Never straight: must decide the same.
  engine::Choice choose(const engine::Request& request = {}) {
    return engine::choose(view, me, request, [](std::uint32_t) {});
  }

  void start(std::uint32_t slot) { ++in_flight_[slot]; }
  [[nodiscard]] shm::CounterRecord& counters(std::size_t slot) { return counters_[slot]; }

  engine::ServiceView view;
  engine::Picker me;

 private:
  std::unique_ptr<shm::CounterRecord[]> counters_;
  std::unique_ptr<shm::JournalRecord> journal_;
  std::vector<std::uint32_t> in_flight_;
};

}  // namespace ballast::tests
