// How a service chooses: its strategy, and the keys that go with some strategies only.
#include "tools/ballastd/config_keys.hpp"
#include "tools/ballastd/config_service.hpp"

namespace ballast::tools {
namespace {

using engine::Strategy;

// Whether the strategy is known: after a wrong one, keys that depend on it are not judged.
bool read_name(ConfigWalk& walk, const ConfigValue& service, engine::Policy& policy) {
  const ConfigValue* given = service.find("strategy");
  const auto number = read_field(walk, service, keys::strategy());
  const bool takes_hash = given == nullptr || number == keys::kConsistentHash;
  const ConfigValue* hash = service.find("hash");
  if (takes_hash) {
    const auto placement = read_field(walk, service, keys::hash());
    if (placement) policy.strategy = static_cast<Strategy>(*placement);
    return hash == nullptr || placement.has_value();
  }
  if (!number) return false;
  policy.strategy = static_cast<Strategy>(*number);
  walk.refuse(service, "hash", "strategy is \"consistent_hash\"",
              "set strategy = \"consistent_hash\"");
  return true;
}

}  // namespace

void read_strategy(ConfigWalk& walk, const ConfigValue& service, engine::Policy& policy) {
  const bool known = read_name(walk, service, policy);
  policy.choices = engine::default_choices(policy.strategy);
  read_fields(walk, service, keys::service_fields(), policy);
  if (!known) return;
  if (!engine::is_keyed(policy.strategy)) {
    walk.refuse(service, "bound", "strategy is \"consistent_hash\"",
                "set strategy = \"consistent_hash\"");
  }
  if (!engine::compares_load(policy.strategy)) {
    walk.refuse(service, "choices",
                "strategy is \"least_connections\", \"least_response_time\" or \"adaptive\"",
                "set one of these");
  }
  if (policy.strategy != Strategy::adaptive) {
    walk.refuse(service, "hot_cold", "strategy is \"adaptive\"", "set strategy = \"adaptive\"");
  }
}

}  // namespace ballast::tools
