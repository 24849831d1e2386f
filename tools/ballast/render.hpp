// A snapshot as people and programs read it. Pure: the same snapshot gives the same bytes. The text
// may change between versions; the JSON is an interface (docs/operations.md): fields are added,
// never renamed or taken away without a new "format".
#pragma once

#include <cstddef>
#include <string>

#include "engine/inspect/snapshot.hpp"

namespace ballast::tools {

using inspect::BreakerView;
using inspect::CheckerState;
using inspect::Counters;
using inspect::effective_weight;
using inspect::failures_of;
using inspect::GroupView;
using inspect::in_flight_of;
using inspect::InstanceView;
using inspect::read_snapshot;
using inspect::RowView;
using inspect::ServiceView;
using inspect::Snapshot;

enum class Colours { no, yes };

// What stands in the mapped files is shown with control characters replaced, so that it cannot
// drive the terminal. Ends in a newline. `width`: of the terminal in characters; to fit, lines fold
// and tables leave columns out; 0: everything.
[[nodiscard]] std::string dump_text(const Snapshot& snapshot, Colours colours,
                                    std::size_t width = 0);
[[nodiscard]] std::string workers_text(const Snapshot& snapshot, Colours colours,
                                       std::size_t width = 0);

[[nodiscard]] std::string dump_json(const Snapshot& snapshot);
[[nodiscard]] std::string workers_json(const Snapshot& snapshot);

// "now", "12 s", "3 min", "4 h", "12 d" before `now_ns`; "-" for never, "?" for the future.
[[nodiscard]] std::string age_text(std::uint64_t then_ns, std::uint64_t now_ns);

[[nodiscard]] const char* to_text(CheckerState state) noexcept;
[[nodiscard]] const char* to_text(shm::Owner owner) noexcept;

}  // namespace ballast::tools
