// What `ballast dump` says of a service's instances and of their traffic, for people. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "engine/inspect/snapshot.hpp"
#include "tools/ballast/render.hpp"
#include "tools/ballast/table.hpp"

namespace ballast::tools {

// Whether every request may use it: what the state word says, less a breaker that is not closed.
[[nodiscard]] bool is_in_use(const InstanceView& instance);

// "312 us", "1.5 ms", "25 ms", "2.5 s", "over 100 s" for inspect::kBeyondUs.
[[nodiscard]] std::string time_text(std::uint64_t us);

// What the table spares first, with WHY beside the rest, and what also, with WHY below it.
inline constexpr unsigned kSparedGladly = 5;
inline constexpr unsigned kSparedAtNeed = 9;

// One row an instance. `rates`: what a second brought instead of what all time has.
[[nodiscard]] TextTable instance_table(const ServiceView& service, std::uint64_t now, bool colour,
                                       bool why_below, bool rates);

// An indented line: how many requests, how many of them failed, how long they took; in `over_ns`,
// where there are rates. Empty if there was never one.
[[nodiscard]] std::string traffic_text(const ServiceView& service, std::uint64_t over_ns);

}  // namespace ballast::tools
