// Any bytes may come as a configuration. Judging them must end, in settings or in errors of which
// each has one line, and whatever is accepted lies within the limits that the rest relies on.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "engine/policy.hpp"
#include "tools/ballastd/config.hpp"

namespace {

using namespace ballast;

void require(bool condition) {
  if (!condition) std::abort();
}

void judge(const engine::Policy& policy) {
  require(engine::strategy_of(static_cast<std::uint64_t>(policy.strategy)).has_value());
#define BALLAST_REQUIRE_FIELD(name, initial, low, high) \
  require(policy.name >= std::uint32_t{low} && policy.name <= std::uint32_t{high});
  BALLAST_POLICY_FIELDS(BALLAST_REQUIRE_FIELD)
#undef BALLAST_REQUIRE_FIELD
  require(policy.hash_bound_percent == 0 || policy.hash_bound_percent > 100);
  require(policy.choices != 1);
  require(policy.breaker_open_max_ms >= policy.breaker_open_ms);
}

void judge(const checker::Settings& settings) {
  require(!settings.services.empty());
  for (const checker::ServiceSettings& service : settings.services) {
    judge(service.policy);
    require(!tools::judge_name("", service.name));
    require(!service.instances.empty());
    require(service.outlier.ejection_max >= service.outlier.ejection);
    require(service.check.timeout <= service.check.interval);
    for (const checker::InstanceSettings& instance : service.instances) {
      require(instance.weight >= 1 && instance.weight <= checker::kMaxWeight);
      require(instance.tier <= checker::kMaxTier);
      require(instance.endpoint.port != 0);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tools::ConfigEnvironment environment;
  environment.resolve = [](const std::string& host) -> tools::Parsed<shm::Endpoint> {
    if (host.size() % 2 == 0) return *shm::parse_endpoint("127.0.0.1:1");
    return tools::Complaint{"cannot resolve", "correct it"};
  };
  environment.find_group = [](const std::string& group) {
    return group.size() % 2 == 0 ? std::optional<std::uint32_t>(7) : std::nullopt;
  };
  const auto result = tools::read_config_text(
      "f", std::string(reinterpret_cast<const char*>(data), size), environment);
  require(result.settings.has_value() == result.errors.empty());
  if (result.settings) judge(*result.settings);
  for (const tools::Diagnostic& error : result.errors) {
    require(!error.line.empty() && error.line.find('\n') == std::string::npos);
    require(error.text.starts_with(error.line));
  }
  return 0;
}
