// The pieces that a reading of a namespace is made of: mapping what is active, and each record as a
// plain value. `read_snapshot` puts all of them together; whoever must not hold ten thousand
// instances at once, as the checker's metrics, reads one at a time. Reading writes nothing and
// takes no lock; nothing in the files is trusted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/inspect/snapshot.hpp"
#include "shm/layout.hpp"
#include "shm/mapped_file.hpp"
#include "shm/result.hpp"
#include "shm/views.hpp"

namespace ballast::inspect {

// The active segment, mapped read-only for as long as this lives. The workers file may be closed to
// us, or left out of a copy: then `workers` is empty, and the snapshot has a warning.
struct MappedSegment {
  shm::MappedFile table_file;
  shm::MappedFile workers_file;
  shm::Table table;
  std::optional<shm::Workers> workers;
};

// Maps the active segment of `directory`; without a locator, the newest segment there. `head` says
// then what its files' headers say; it has no services and no rows.
[[nodiscard]] shm::Result<MappedSegment> map_active(const std::string& directory, Snapshot& head);

// A word for people; nothing follows from it.
[[nodiscard]] inline std::uint64_t relaxed(const shm::Word64& word) noexcept {
  return word.load(std::memory_order_relaxed);
}

void warn(Snapshot& snapshot, std::string text);
void read_header(const shm::Table& table, Snapshot& snapshot);

enum class Members { no, yes };  // whether to list the slots of each group
[[nodiscard]] ServiceView read_service(const shm::Table& table, const shm::ServiceRecord& record,
                                       Snapshot& snapshot, Members members);

// Without its address and its breaker; its counters are those that the table carries.
[[nodiscard]] InstanceView read_instance(const shm::Table& table, std::uint64_t slot,
                                         shm::Phase phase);
[[nodiscard]] std::string address_of(const shm::Table& table, std::uint64_t slot);
// `now_ms` 0: the clock of the machine that wrote this is not ours.
[[nodiscard]] BreakerView read_breaker(const shm::Workers& workers, const InstanceView& instance,
                                       std::uint64_t now_ms);

}  // namespace ballast::inspect
