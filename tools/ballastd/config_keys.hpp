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
[[nodiscard]] Words check();
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
[[nodiscard]] std::span<const Field<checker::CheckSettings>> check_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> service_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> retry_budget_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> panic_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> stale_fields();
[[nodiscard]] std::span<const Field<engine::Policy>> breaker_fields();
[[nodiscard]] std::span<const Field<checker::OutlierSettings>> outlier_fields();
[[nodiscard]] std::span<const Field<checker::SlowStartSettings>> slow_start_fields();
[[nodiscard]] std::span<const Field<checker::ControllerSettings>> controller_fields();
[[nodiscard]] std::span<const Field<checker::SpilloverSettings>> spillover_fields();

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
