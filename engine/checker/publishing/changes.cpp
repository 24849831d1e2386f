// Comparing a plan with the table.
#include "engine/checker/publishing/changes.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>

#include "engine/agent_word.hpp"
#include "engine/policy.hpp"
#include "engine/service_name.hpp"
#include "shm/generation.hpp"

namespace ballast::checker {
namespace {

using shm::EventBy;
using shm::EventKind;

constexpr auto kRelaxed = std::memory_order_relaxed;  // the only writer reads its own words

using Words = std::array<std::uint64_t, 3>;

Words endpoint_of(const shm::InstanceRecord& record) {
  Words words{};
  for (std::size_t w = 0; w < words.size(); ++w)
    words[w] = record.endpoint[w].load(kRelaxed);
  return words;
}

bool is_live(const shm::Word64& identity) {
  return shm::unpack_identity(identity.load(kRelaxed)).phase == shm::Phase::live;
}

// The changes of one service's members.
class Members {
 public:
  explicit Members(const std::string& service) : service_(service) {}

  void add(Transition transition) {
    const EventKind kind = transition.event.kind;
    by_ = transition.event.by;
    if (named_.size() < kNamedChanges) {
      named_.push_back(std::move(transition));
    } else if (kind == EventKind::instance_added) {
      ++added_;
    } else if (kind == EventKind::instance_removed) {
      ++removed_;
    } else {
      ++changed_;
    }
  }
  void move_to(std::vector<Transition>& all) {
    std::move(named_.begin(), named_.end(), std::back_inserter(all));
    if (added_ + removed_ + changed_ == 0) return;
    Transition more = about(service_, EventKind::members_changed, by_);
    more.event.id = changed_;
    more.event.value = shm::pack_event_pair(added_, removed_);
    all.push_back(std::move(more));
  }

 private:
  std::string service_;
  std::vector<Transition> named_;
  EventBy by_ = EventBy::nobody;
  std::uint64_t added_ = 0;
  std::uint64_t removed_ = 0;
  std::uint64_t changed_ = 0;
};

class Comparison {
 public:
  Comparison(const shm::TableWriter& table, const Plan& plan, const Settings& wanted,
             const Settings* before)
      : table_(table), plan_(plan), wanted_(wanted) {
    if (before == nullptr) return;
    for (const ServiceSettings& service : before->services) {
      for (const InstanceSettings& instance : service.instances)
        before_.emplace(std::pair(service.name, instance.endpoint.to_words()), &instance);
    }
  }

  std::vector<Transition> find() {
    for (std::size_t s = 0; s < plan_.services.size(); ++s) {
      const ServicePlan& p = plan_.services[s];
      named_services_.insert(p.record);
      for (const InstancePlan& i : p.instances)
        named_slots_.insert(i.slot);
      if (p.is_new) {
        Transition added = about(wanted_.services[s].name, EventKind::service_added, wanted_.cause);
        added.event.value = p.instances.size();
        all_.push_back(std::move(added));
      } else {
        compare_service(p, wanted_.services[s]);
      }
    }
    find_retired();
    for (auto& [record, members] : members_)
      members.move_to(all_);
    return std::move(all_);
  }

 private:
  Members& members_of(std::size_t record) {
    return members_.try_emplace(record, engine::service_name(table_.services[record]))
        .first->second;
  }
  [[nodiscard]] const InstanceSettings* settings_before(const std::string& service,
                                                        const Words& endpoint) const {
    const auto found = before_.find({service, endpoint});
    return found == before_.end() ? nullptr : found->second;
  }

  void compare_service(const ServicePlan& p, const ServiceSettings& service) {
    const shm::ServiceRecord& record = table_.services[p.record];
    const std::uint64_t root = record.root.load(kRelaxed);
    const auto was = static_cast<std::uint8_t>(
        engine::get_policy(record.policies[shm::buffer_of(root)]).strategy);
    const auto now = static_cast<std::uint8_t>(service.policy.strategy);
    if (p.publish && was != now) {
      Transition changed = about(service.name, EventKind::strategy_changed, wanted_.cause);
      changed.event.from = was;
      changed.event.to = now;
      all_.push_back(std::move(changed));
    }
    for (std::size_t i = 0; i < p.instances.size(); ++i)
      compare_instance(p, p.instances[i], service, service.instances[i]);
  }

  void compare_instance(const ServicePlan& p, const InstancePlan& i, const ServiceSettings& service,
                        const InstanceSettings& instance) {
    const shm::InstanceRecord& record = table_.instances[i.slot];
    if (i.is_new || i.returns) {
      Transition added =
          about(service.name, instance, EventKind::instance_added, instance.named_by);
      added.event.value = shm::pack_event_pair(instance.weight, instance.tier);
      added.event.to = static_cast<std::uint8_t>(instance.admin);
      members_of(p.record).add(std::move(added));
      return;
    }
    const InstanceSettings* before = settings_before(service.name, instance.endpoint.to_words());
    const std::uint64_t weight = record.weight.load(kRelaxed);
    if (weight != instance.weight) {
      // Who takes a value back that another had set is whoever caused all this.
      const bool is_given_up = before != nullptr && before->weight_by != instance.weight_by;
      Transition changed =
          about(service.name, instance, EventKind::weight_changed,
                is_given_up && instance.weight_by != EventBy::operators ? wanted_.cause
                                                                        : instance.weight_by);
      changed.event.value = shm::pack_event_pair(weight, instance.weight);
      members_of(p.record).add(std::move(changed));
    }
    const shm::Admin admin =
        before != nullptr ? before->admin : configured_before(i.slot, instance.admin);
    if (admin != instance.admin) {
      const bool is_given_up = before != nullptr && before->admin_by != instance.admin_by;
      Transition changed =
          about(service.name, instance, EventKind::admin_changed,
                is_given_up && instance.admin_by != EventBy::operators ? wanted_.cause
                                                                       : instance.admin_by);
      changed.event.from = static_cast<std::uint8_t>(admin);
      changed.event.to = static_cast<std::uint8_t>(instance.admin);
      members_of(p.record).add(std::move(changed));
    }
  }

  // What the table says, unless that follows from what is configured now and an agent's word.
  [[nodiscard]] shm::Admin configured_before(std::uint16_t slot, shm::Admin now) const {
    const shm::Admin shown = shm::unpack(table_.states[slot].load(kRelaxed)).admin;
    const auto agent = engine::unpack_agent(table_.load_details[slot].agent.load(kRelaxed));
    return shown == engine::strictest(now, agent) ? now : shown;
  }

  void find_retired() {
    std::map<std::uint64_t, std::uint64_t> of_retired;
    for (std::size_t slot = 0; slot < table_.instances.size(); ++slot) {
      const shm::InstanceRecord& record = table_.instances[slot];
      if (!is_live(record.identity) || named_slots_.contains(static_cast<std::uint16_t>(slot)))
        continue;
      const std::uint64_t service = record.service.load(kRelaxed);
      if (service >= table_.services.size()) continue;
      if (!named_services_.contains(service)) {
        ++of_retired[service];
        continue;
      }
      const std::string name = engine::service_name(table_.services[service]);
      const Words words = endpoint_of(record);
      InstanceSettings instance;
      instance.endpoint = shm::Endpoint::from_words(words);
      if (const InstanceSettings* before = settings_before(name, words))
        instance.text = before->text;
      Transition removed = about(name, instance, EventKind::instance_removed, wanted_.cause);
      removed.event.value =
          shm::pack_event_pair(record.weight.load(kRelaxed), record.tier.load(kRelaxed));
      members_of(service).add(std::move(removed));
    }
    for (std::size_t i = 0; i < table_.services.size(); ++i) {
      if (!is_live(table_.services[i].identity) || named_services_.contains(i)) continue;
      Transition removed = about(engine::service_name(table_.services[i]),
                                 EventKind::service_removed, wanted_.cause);
      removed.event.value = of_retired[i];
      all_.push_back(std::move(removed));
    }
  }

  const shm::TableWriter& table_;
  const Plan& plan_;
  const Settings& wanted_;
  std::map<std::pair<std::string, Words>, const InstanceSettings*> before_;
  std::unordered_set<std::size_t> named_services_;
  std::unordered_set<std::uint16_t> named_slots_;
  std::map<std::size_t, Members> members_;
  std::vector<Transition> all_;
};

}  // namespace

std::vector<Transition> find_changes(const shm::TableWriter& table, const Plan& plan,
                                     const Settings& wanted, const Settings* before) {
  return Comparison(table, plan, wanted, before).find();
}

}  // namespace ballast::checker
