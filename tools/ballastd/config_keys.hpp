// Every key that a configuration may have, table by table: the one list of them. What reads them is
// config_*.cpp; defaults come from the settings' own initialisers, limits from engine/policy.hpp
// and engine/checker/settings.hpp.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/ballastd/config_fields.hpp"

namespace ballast::tools::keys {

[[nodiscard]] Words root();
[[nodiscard]] Words ballast();
[[nodiscard]] Words service();
[[nodiscard]] Words instance();
[[nodiscard]] Words source();
[[nodiscard]] Words check();
[[nodiscard]] Words tls();
[[nodiscard]] Words agent();
[[nodiscard]] Words retry_budget();
[[nodiscard]] Words panic();
[[nodiscard]] Words stale();
[[nodiscard]] Words breaker();
[[nodiscard]] Words outlier();
[[nodiscard]] Words slow_start();
[[nodiscard]] Words controller();
[[nodiscard]] Words spillover();

// Fields of those tables; keys that are not among them are read by hand.
[[nodiscard]] std::span<const Field<checker::Settings>> ballast_fields();
[[nodiscard]] std::span<const Field<checker::InstanceSettings>> instance_fields();
[[nodiscard]] std::span<const Field<checker::SourceSettings>> source_fields();
[[nodiscard]] std::span<const Field<checker::CheckSettings>> check_fields();
[[nodiscard]] std::span<const Field<checker::TlsSettings>> tls_fields();
[[nodiscard]] std::span<const Field<checker::AgentSettings>> agent_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> service_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> retry_budget_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> panic_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> stale_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> breaker_fields();
[[nodiscard]] std::span<const Field<checker::OutlierSettings>> outlier_fields();
[[nodiscard]] std::span<const Field<checker::SlowStartSettings>> slow_start_fields();
[[nodiscard]] std::span<const Field<checker::ControllerSettings>> controller_fields();
[[nodiscard]] std::span<const Field<checker::SpilloverSettings>> spillover_fields();

// The kinds of checks, by their numbers, and which of them a key of [service.NAME.check] is for.
using Kinds = std::uint32_t;
[[nodiscard]] constexpr Kinds only(checker::CheckKind kind) {
  return Kinds{1} << static_cast<unsigned>(kind);
}
inline constexpr Kinds kEveryKind = ~Kinds{0};
struct CheckKey {
  std::string_view word;
  Kinds kinds = kEveryKind;
  // What is read by hand: what may be written, and its default or, if that is empty, what it means
  // to leave it out (at the end of the limits, after a semicolon). Of a field both are empty.
  std::string_view limits{};
  std::string_view value{};
};
[[nodiscard]] std::span<const CheckKey> check_keys();
[[nodiscard]] std::span<const CheckKey> tls_keys();
[[nodiscard]] std::span<const Choice> check_kinds();

// Read by hand, but spelt as fields are. A strategy's number is a Strategy's, or kConsistentHash.
inline constexpr std::uint32_t kConsistentHash = 0;
[[nodiscard]] const FieldInfo& strategy();
[[nodiscard]] const FieldInfo& hash();
[[nodiscard]] const FieldInfo& breaker_enabled();

}  // namespace ballast::tools::keys

namespace ballast::tools {

// The table or tables in which `key` would be right, seen from the service whose table is called
// `service` ("service.checkout"); empty if there is none.
[[nodiscard]] std::string home_of(const std::string& key, const std::string& service);

// Each key with its default and limits, a line each, for `ballastd --defaults`:
//   service.NAME.breaker.consecutive = 5    # 0 to 1000; 0: off
// Keys without a default are commented out.
[[nodiscard]] std::string defaults_text();

}  // namespace ballast::tools
