// One switch over the kinds.
#include "engine/checker/probing/exchanges.hpp"

#include "engine/checker/probing/agent_exchange.hpp"
#include "engine/checker/probing/connect_exchange.hpp"
#include "engine/checker/probing/grpc_exchange.hpp"
#include "engine/checker/probing/http_exchange.hpp"
#include "engine/checker/probing/preset_exchange.hpp"
#include "engine/checker/probing/steps_exchange.hpp"

namespace ballast::checker {

std::unique_ptr<Exchange> make_exchange(const Recipe& recipe, const InstanceSettings& instance) {
  const CheckSettings& check = recipe.settings;
  switch (check.kind) {
    case CheckKind::http:
      return std::make_unique<HttpExchange>(recipe, instance);
    case CheckKind::tcp:
      if (check.preset != Preset::none) return std::make_unique<PresetExchange>(check.preset);
      if (check.steps.empty()) return std::make_unique<ConnectExchange>();
      return std::make_unique<StepsExchange>(check.steps);
    case CheckKind::udp:
      if (check.steps.empty()) return nullptr;
      return std::make_unique<StepsExchange>(check.steps, /*datagrams=*/true);
    case CheckKind::agent:
      return std::make_unique<AgentExchange>(check.agent_send);
    case CheckKind::grpc:
      return make_grpc_exchange(check, instance);
    case CheckKind::none:
    case CheckKind::exec:
      return nullptr;
  }
  return nullptr;
}

}  // namespace ballast::checker
