// What the control desk's answers are made of: facts out of the table, as JSON. Reads what the
// publisher has mapped, writes nothing. Only the desk's own unit includes this.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/checker/control/flight_sum.hpp"
#include "engine/checker/control/request.hpp"
#include "engine/checker/control/roster.hpp"
#include "engine/checker/control/seen_watch.hpp"
#include "engine/checker/discovery/source_set.hpp"
#include "engine/checker/publishing/publisher.hpp"

namespace ballast::checker {

using Epochs = std::vector<std::pair<std::string, std::uint64_t>>;

// The index of a live service's record, and its epoch.
[[nodiscard]] std::optional<std::size_t> record_of(const Publisher& publisher,
                                                   const std::string& service);
[[nodiscard]] std::optional<std::uint64_t> epoch_of(const Publisher& publisher,
                                                    const std::string& service);
[[nodiscard]] Epochs epochs_of(const Publisher& publisher);

// Adds what every answer has.
void finish_answer(nlohmann::json& answer, const std::string& id, const char* verb);
// Without the newline. Bytes that are no UTF-8 are replaced.
[[nodiscard]] std::string to_line(const nlohmann::json& answer);

[[nodiscard]] nlohmann::json about_change(const Request& request, const Publisher& publisher,
                                          std::uint64_t epoch, bool changed);
// `before`: the epochs when it was asked for.
[[nodiscard]] nlohmann::json about_reload(const Publisher& publisher, const Epochs& before,
                                          const Roster& roster);
[[nodiscard]] nlohmann::json about_services(const Publisher& publisher);
// But for its instances; null if there is no such service.
[[nodiscard]] nlohmann::json about_service(const Publisher& publisher, const std::string& service);
[[nodiscard]] nlohmann::json about_member(const Publisher& publisher,
                                          const PublishedInstance& member, std::uint64_t in_flight);

// Of one service, or, without a name, of all.
[[nodiscard]] nlohmann::json about_sources(const std::vector<SourceStatus>& statuses,
                                           const std::string& service);

// Instances that are waited for until nothing is in flight at them. Also of those that have been
// removed and whose slots are still cooling.
[[nodiscard]] std::variant<std::vector<DrainingSlot>, Refusal> draining_slots(
    const Publisher& publisher, std::size_t record, const Roster& roster, const Request& request);

[[nodiscard]] nlohmann::json about_wait(const std::string& service, std::uint64_t epoch,
                                        const Publisher& publisher, const SeenReport& report);
// For people: who has not seen it, and what is in flight.
[[nodiscard]] std::string timeout_text(const SeenReport& report, std::uint64_t in_flight);

}  // namespace ballast::checker
